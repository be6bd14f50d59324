"""An experiment of the earlier MIDG code taken over: runs are made of the weights in its folder, and written back."""
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn, optim

from core import checkpoint
from core import config as configs
from core.data.images import write_bytes
from core.ema import Average
from core.errors import CheckpointError, OutputError
from core.files import writing
from core.lock import unlock
from core.runlog import Means, open_run

from . import runs
from .data import ALONE
from .earlier import config_values, test_inputs
from .legacy_weights import DEFECT_FILES, EDGE_FILES, load_earlier, save_earlier, width_of
from .settings import DefectConfig, EdgeConfig, GanConfig, GivenEdgesConfig, JointConfig, ModelConfig

NAMES = {EdgeConfig: "midg-edge", GivenEdgesConfig: "midg-inpaint", DefectConfig: "midg-defect",
         JointConfig: "midg-joint"}
PAIRS = {               # of a model: prefix of its modules, section of its networks, files
    EdgeConfig: [("", "network", EDGE_FILES)],
    GivenEdgesConfig: [("", "network", DEFECT_FILES)],
    DefectConfig: [("", "network", DEFECT_FILES)],
    JointConfig: [("edge_", "edge_network", EDGE_FILES), ("defect_", "network", DEFECT_FILES)],
}
CONFIG, NOTES = "config.yml", "config-notes.txt"
WITHOUT_CONFIG = {"SIGMA": 3, "INPUT_SIZE": 224, "MAX_ITERS": 10_000, "BATCH_SIZE": 2}      # the shipped experiment's


class EarlierExperiments:
    """Class methods of core.task.Earlier, for tasks with a `Config` of midg/settings.py."""
    Config: type[ModelConfig]

    @classmethod
    def earlier_config(cls, path: Path) -> tuple[dict, Sequence[str]] | None:
        found = config_values(path, cls.Config, trained_widths(path.parent, cls.Config))
        return found and (found[0], untold(path.parent, found[1]))

    @classmethod
    def adopt(cls, folder: Path) -> Sequence[str]:
        """Model 3 needs model 1's weights, so both are made runs of. What the config's keys mean here is told once."""
        wanted = [EdgeConfig, DefectConfig] if cls.Config is DefectConfig else [cls.Config]
        made = [note for model in wanted for note in make_run(folder, model)]
        return [*made, *first_notes(folder, cls.Config)]

    @classmethod
    def inputs(cls, folder: Path, given: Mapping[str, Path]) -> dict[str, Path]:
        path = folder / CONFIG
        inputs = test_inputs(path, given, with_inpaint=cls.Config is not EdgeConfig) if path.is_file() else dict(given)
        if inputs:
            beside = "results" if cls.Config is DefectConfig else f"results-{NAMES[cls.Config].removeprefix('midg-')}"
            inputs["output"] = folder / beside
        return inputs


def first_notes(folder: Path, model: type[ModelConfig]) -> list[str]:
    """The notes on the experiment's config.yml that were not told yet; from now on they are in its folder."""
    path = folder / CONFIG
    found = config_values(path, model, trained_widths(folder, model)) if path.is_file() else None
    told = told_notes(folder)
    fresh = [note for note in (found[1] if found else ()) if short(note, folder) not in told]
    if fresh:
        lines = [*told, *(short(note, folder) for note in fresh)]
        write_bytes(folder / NOTES, "".join(f"{line}\n" for line in lines).encode())
    return fresh


def untold(folder: Path, notes: Sequence[str]) -> list[str]:
    """The notes without those that are in the folder, which become one line."""
    told = told_notes(folder)
    fresh = [note for note in notes if short(note, folder) not in told]
    known = len(notes) - len(fresh)
    return fresh + ([f"{folder / CONFIG}: {known} notes on it are in {folder / NOTES}"] if known else [])


def told_notes(folder: Path) -> list[str]:
    path = folder / NOTES
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def short(note: str, folder: Path) -> str:
    """A note as it is kept: it is the same one from whatever folder the command is started."""
    return note.removeprefix(f"{folder}{os.sep}")


def trained_widths(folder: Path, model: type[ModelConfig]) -> dict[str, int]:
    """Section -> width of the networks whose earlier weights lie in the folder; {} unless all of a model's do."""
    paths = {section: folder / files[0] for _, section, files in PAIRS[model]}
    if not all(path.is_file() for path in paths.values()):
        return {}
    return {section: width_of(path) for section, path in paths.items()}


def make_run(folder: Path, model: type[ModelConfig]) -> list[str]:
    """A run of a model whose earlier weights are there and which has no checkpoint yet; what was done, a line each."""
    run, widths, path = folder / NAMES[model], trained_widths(folder, model), folder / CONFIG
    if not widths or checkpoint.found(run) or (folder / "config.yaml").is_file():
        return []
    notes = [] if path.is_file() else [write_config(path)]
    found = config_values(path, model, widths)
    if found is None:
        return []               # an experiment of this project, with files of the earlier code beside it
    config = configs.load(model, path, values=found[0])
    step, parts = trained_parts(folder, model, config)
    open_run(run, config.model_dump(mode="json"))
    write_bytes(run / "classes.txt", f"{ALONE}\n".encode())
    checkpoint.save(checkpoint.path_of(run, step), step, parts)
    unlock(run)
    names = " and ".join(files[0] for _, _, files in PAIRS[model])
    return [*notes, f"{run}: made of {names}, step {step}; from now on this is what is used and gone on with"]


def write_config(path: Path) -> str:
    write_bytes(path, "".join(f"{key}: {value}\n" for key, value in WITHOUT_CONFIG.items()).encode())
    return f"{path}: was not there; written with {WITHOUT_CONFIG} as in the earlier code's own experiment"


def trained_parts(folder: Path, model: type[ModelConfig], config: ModelConfig) -> tuple[int, dict]:
    """The step and all parts of a checkpoint, as core.loop has them. Optimisers start anew: theirs were not kept."""
    parts, steps = {}, []
    for prefix, section, files in PAIRS[model]:
        network = getattr(config, section)
        make = runs.edge_generator if files is EDGE_FILES else runs.defect_generator
        generator, modules = make(network, 0), {}
        steps.append(load_earlier(folder / files[0], generator))
        modules[f"{prefix}generator"] = generator
        if loss_of(config, prefix).is_judged:
            modules[f"{prefix}discriminator"] = judge = runs.discriminator(network.width, 0)
            if (folder / files[1]).is_file():
                load_earlier(folder / files[1], judge)
        for name, module in modules.items():
            parts[f"module/{name}"] = module
            parts[f"optimizer/{name}"] = optim.Adam(module.parameters(), lr=config.optimizer.learning_rate,
                                                    betas=config.optimizer.betas)
        parts[f"average/{prefix}generator"] = Average(generator, config.ema.half_life_steps)
    if model is DefectConfig:
        parts["module/edge_generator"] = trained_edges(folder)
    return max(steps), {**parts, "report": Means()}


def loss_of(config: ModelConfig, prefix: str) -> GanConfig:
    return config.edge_loss if prefix == "edge_" else config.loss


def trained_edges(folder: Path) -> nn.Module:
    """The edge network that goes with a defect network. CheckpointError: it is not there."""
    run = folder / NAMES[EdgeConfig]
    if not checkpoint.found(run):
        raise CheckpointError(f"{folder / EDGE_FILES[0]}: missing, got {DEFECT_FILES[0]} alone, which draws on "
                              "predicted edges. Put the edge model's file beside it, or use --model 2 with given edges")
    network = runs.edge_generator(runs.read_config(run, EdgeConfig).network, 0)
    return runs.load_average(run, "generator", network, torch.device("cpu"))


def adopt_all(folder: Path) -> list[str]:
    """Runs of models 1 and 3 made of the weights in the folder; what was done, a line each. CheckpointError: none."""
    notes = [note for model in (EdgeConfig, DefectConfig) for note in make_run(folder, model)]
    if not notes:
        raise CheckpointError(f"{folder}: nothing to make a run of, got no {EDGE_FILES[0]} or {DEFECT_FILES[0]} that "
                              "has none yet. Check the folder's name")
    return notes


def write_earlier(folder: Path, output: Path) -> list[Path]:
    """Write the newest averaged generators and their discriminators as the earlier code reads them; return the files.

    OutputError: such a file is there already, or the networks are not of the published form.
    """
    written = []
    for model in (EdgeConfig, DefectConfig):
        run, (_, section, files) = folder / NAMES[model], PAIRS[model][0]
        if not checkpoint.found(run):
            continue
        network, path = getattr(runs.read_config(run, model), section), checkpoint.found(run)[-1]
        classes = len(runs.read_classes(run))
        count = classes if classes > 1 else 0
        make = runs.edge_generator if files is EDGE_FILES else runs.defect_generator
        parts = {"average/generator": make(network, count)}
        if runs.read_config(run, model).loss.is_judged:
            parts["module/discriminator"] = runs.discriminator(network.width, count)
        step = checkpoint.restore(path, parts, whole=False)
        for file, module in zip(files, parts.values()):
            if (output / file).exists():
                raise OutputError(f"{output / file}: is there already. Choose another folder")
            with writing(output):
                output.mkdir(parents=True, exist_ok=True)
            save_earlier(output / file, module, step)
            written.append(output / file)
    if not written:
        raise CheckpointError(f"{folder}: no trained {NAMES[EdgeConfig]} or {NAMES[DefectConfig]} here. Check the "
                              "folder's name")
    return written
