"""An experiment's folder: which config a model takes from it, where the model's run lies, how the model is built."""
import argparse
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel

from . import config as configs
from . import registry
from .device import rank
from .errors import CheckpointError, ConfigError, OutputError
from .registry import Model
from .seeding import seed_step

ROOT = Path(__file__).resolve().parents[1]
OWN_MODEL_HELP = """\
a model of one's own: --model package.module:Class, importable from the working folder. The class has a nested pydantic
model `Config` with a section `loop` (core.task.LoopConfig), a constructor (config, device), and what core.task.Task
lists; its run lies in DIR/package.module.Class/. It may also have `apply`, which test.py uses on files, and
`earlier_config`, `adopt` and `inputs`, which take over experiments of another program (core.task.Applied, Earlier).
"""
INPUTS = {          # options of test.py: what a model is applied to, each a folder, an image, or a text file of paths
    "input": "images to work on, in place of an evaluation",
    "mask": "where on them: white on black, paired with the images by name; a single one serves all",
    "edge": "edges to take in place of predicted ones, white on black",
    "inpaint": "the same images without their defects (default: the images themselves)",
}


def parser(purpose: str, epilog: str = "") -> argparse.ArgumentParser:
    """The options that train.py and test.py share."""
    made = argparse.ArgumentParser(description=purpose, epilog=f"{epilog}\n{OWN_MODEL_HELP}", allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", metavar="N|NAME|MODULE:CLASS", help="number or name of a model, or one of your own")
    made.add_argument("--checkpoints", "--path", type=Path, metavar="DIR", help="folder of the experiment")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a config key; repeatable")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    made.add_argument("--list", action="store_true", help="print the table of models")
    return made


def needed(value: object, option: str, advice: str) -> object:
    """An option that has to be given."""
    if value is None:
        raise ConfigError(f"{option}: missing. {advice}")
    return value


def chosen_model(name: str | None) -> tuple[Model, type]:
    """The model that `--model` names, and its class. Raises ConfigError."""
    model = registry.find(needed(name, "--model", "Give a number, a name or package.module:Class; --list shows them"))
    task_type = registry.resolve(model.target)
    config = getattr(task_type, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel) and "loop" in config.model_fields):
        raise ConfigError(f"--model {name}: not a model that can be trained. It needs a nested pydantic model 'Config' "
                          "with a section 'loop'; see --help")
    return model, task_type


def training_config(model: Model, task_type: type, folder: Path | None, given: Path | None,
                    overrides: Sequence[str]) -> BaseModel:
    """The checked config of a model, from the first of these that there is, with the overrides over it:

    1. `given` (--config)                          3. DIR/MODEL/config.yaml, that of the run which goes on
    2. DIR/config.yml, that of the experiment      4. the one that is shipped with the model
    A file holds the config of one model, or one section a model, named as the model is; or it is another program's,
    which the model's class knows how to read (core.task.Earlier).
    """
    if given is None and folder is not None:
        places = (folder / "config.yml", folder / "config.yaml", run_folder(folder, model) / "config.yaml")
        given = next((path for path in places if path.is_file()), None)
    if given is None and model.config is not None:
        given = ROOT / model.config
    read = getattr(task_type, "earlier_config", None)
    values, notes = (read and given and read(given)) or (None, ())
    tell(notes)
    return configs.load(task_type.Config, given, overrides, model.name, values)


def adopt(task_type: type, folder: Path) -> None:
    """Let the model's class make runs of what another program left in the experiment's folder."""
    if hasattr(task_type, "adopt") and folder.is_dir() and rank() == 0:
        tell(task_type.adopt(folder))


def inputs(task_type: type, folder: Path, given: argparse.Namespace) -> dict[str, Path]:
    """What the model is to be applied to, see core.task.Applied; empty: it is evaluated. Raises ConfigError."""
    chosen = {name: path for name in INPUTS if (path := getattr(given, name)) is not None}
    if chosen and not hasattr(task_type, "apply"):
        raise ConfigError(f"--{next(iter(chosen))}: not for model '{given.model}', which can only be evaluated. Leave "
                          "it out")
    return task_type.inputs(folder, chosen) if hasattr(task_type, "inputs") else chosen


def one_class(task_type: type, inputs: dict[str, Path], label: str | None) -> list[tuple[str, str]]:
    """What --class means for the config; the model's class names the key, as `class_key`. Raises ConfigError."""
    if label is None:
        return []
    if not inputs or not hasattr(task_type, "class_key"):
        raise ConfigError(f"--class: only for a model that draws defects on images, got '{label}' "
                          f"{'for another one' if inputs else 'without --input'}. Leave it out")
    return [(f"{task_type.class_key}={json.dumps([label])}", f"--class {label}")]


def free(output: Path, overwrite: bool) -> Path:
    """The folder for results, if it has nothing in it or may be written over. Raises OutputError."""
    if not overwrite and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output}: has files in it. Give another --output, or --overwrite to write over them")
    return output


def tell(notes: Sequence[str]) -> None:
    """Once, whatever the number of processes, and apart from results."""
    if rank() == 0:
        for note in notes:
            print(note, file=sys.stderr)


def run_folder(folder: Path, model: Model) -> Path:
    return folder / model.name


def finished_run(folder: Path, model: Model) -> Path:
    """The run of a model in an experiment's folder, or that folder where it is itself a run. Raises CheckpointError."""
    run = run_folder(folder, model)
    if (run / "config.yaml").is_file():
        return run
    if any(folder.glob("step-*.pt")) and (folder / "config.yaml").is_file():
        return folder
    runs = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
    there = f"There are runs of {', '.join(runs)}" if runs else "Train first, or check the folder's name"
    raise CheckpointError(f"{folder}: has no run of model '{model.name}'. {there}")


def build(task_type: type, config: BaseModel, device: torch.device, run: Path | None = None, *,
          keep: bool = True) -> object:
    """The task, its first weights a function of `loop.seed`.

    run     its folder, for a task whose constructor has a parameter `run`: other models of the experiment lie beside
            it, and what is made of the data once is kept there, but with `keep` false
    """
    seed_step(config.loop.seed, 0)
    if "run" not in inspect.signature(task_type).parameters:
        return task_type(config, device)
    return task_type(config, device, run=run, keep=keep)
