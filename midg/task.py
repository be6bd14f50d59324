"""MIDG's four models as tasks of the loop: edges, a defect from given edges or from predicted ones, and all at once.

In each step the generator learns first; its discriminator then learns from what was made in that step.
"""
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from core.data.images import write_bytes
from core.data.records import Dataset
from core.ema import Average
from core.errors import ConfigError
from core.files import writing
from core.schedules import constant, cosine
from core.task import Phase

from . import grain, runs, sheets
from .adopted import EarlierExperiments
from .apply import AppliedToFiles
from .data import Scenes, chosen_classes, held_out, keep_split, read_dataset, read_scenes
from .edges import merged_edges
from .features import feature_extractor
from .lines import drawn_edges
from .maps import Maps, edge_map, to_maps
from .networks import Discriminator, EdgeGenerator
from .settings import (
    DefectConfig,
    EdgeConfig,
    GanConfig,
    GivenEdgesConfig,
    JointConfig,
    ModelConfig,
    OptimizerConfig,
)
from .turns import Losses, Pair, defect_losses, edge_losses, judge_losses
from .windows import Windows, held_out_windows


class MidgTask(EarlierExperiments, AppliedToFiles, ABC):
    """What the four have in common: data, and pairs of a generator and its discriminator."""
    modules: dict[str, nn.Module]
    averages: dict[str, Average]
    phases: tuple[Phase, ...]

    def __init__(self, config: ModelConfig, device: torch.device, dataset: Dataset | None = None,
                 run: Path | None = None, keep: bool = True):
        """Get ready; nothing is learnt yet.

        dataset     in place of the one that the config names
        run         this run's folder. `keep`: it may be written, and training is about to begin, so that all data are
                    read at once; otherwise only what is asked for, such as the held-out windows for a test
        """
        self.config, self.device, self.run, self.keep = config, device, run, keep
        self.dataset = read_dataset(config.data, run, keep=keep) if dataset is None else dataset
        if dataset is not None and run is not None and keep:
            keep_split(dataset, config.data, run)
        finished = run is not None and not keep and (run / "classes.txt").is_file()
        self.classes = runs.read_classes(run) if finished else chosen_classes(self.dataset, config.data)
        self.modules, self.averages, self.phases, self.made = {}, {}, (), {}
        self.build()
        if keep:
            self.read_all()

    def read_all(self) -> None:
        """Read what training needs, so that bad data show before it begins, and leave the classes' names in the run."""
        _ = self.train_data, self.held_out
        if self.run is not None:
            with writing(self.run):
                self.run.mkdir(parents=True, exist_ok=True)
            write_bytes(self.run / "classes.txt", "".join(f"{name}\n" for name in self.classes).encode())

    def scenes(self, split: str) -> Scenes:
        return read_scenes(self.dataset, split, self.classes, self.config.data, self.run, keep=self.keep)

    @cached_property
    def train_data(self) -> Windows:
        return Windows(self.scenes("train"), self.config.data, self.config.loop.seed)

    @cached_property
    def held_out(self) -> list[dict[str, Tensor]]:
        """The windows that are evaluated."""
        split = held_out(self.dataset)
        scenes = self.train_data.scenes if split == "train" else self.scenes(split)
        return held_out_windows(scenes, self.config.data, self.config.sheet.samples)

    def named(self, figures: dict[str, float]) -> dict[str, float]:
        """Figures under names that say so where nothing is held out: they are of windows that were learnt from."""
        learnt = held_out(self.dataset) == "train"
        return {f"train_{name}": value for name, value in figures.items()} if learnt else figures

    @abstractmethod
    def build(self) -> None:
        """Make modules, averages and phases."""

    def add_pair(self, generator: nn.Module, width: int, prefix: str = "") -> None:
        """A generator with its average, and its discriminator, if a loss asks for one, with their phases."""
        name, optimizer = f"{prefix}generator", self.config.optimizer
        self.modules[name] = generator.to(self.device, memory_format=runs.layout(self.device))
        self.averages[name] = Average(generator, self.config.ema.half_life_steps)
        self.phases += (phase(name, generator, optimizer.learning_rate, optimizer),)
        if self.gan_config(prefix).is_judged:
            judge = runs.discriminator(width, self.class_count).to(self.device, memory_format=torch.channels_last)
            name = f"{prefix}discriminator"
            self.modules[name] = judge
            self.phases += (phase(name, judge, optimizer.learning_rate * optimizer.discriminator_factor, optimizer),)

    @property
    def class_count(self) -> int:
        """As the networks take it: 0 where there is nothing to choose."""
        return len(self.classes) if len(self.classes) > 1 else 0

    def label(self, maps: Maps) -> Tensor | None:
        return maps.label if self.class_count else None

    def losses(self, name: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A generator's turn keeps what it made; its discriminator's turn takes that."""
        maps = to_maps(batch)
        prefix, _, kind = name.rpartition("_")
        prefix += "_" if prefix else ""
        judge = self.modules.get(f"{prefix}discriminator")
        if kind == "generator":
            losses, pair = self.generator_losses(prefix, maps, judge)
            self.made = {**self.made, prefix: pair} if judge is not None else self.made
            return losses
        real, made = self.made.pop(prefix)
        return judge_losses(judge, real, made, self.label(maps), self.gan_config(prefix))

    def gan_config(self, prefix: str) -> GanConfig:
        return self.config.loss

    @abstractmethod
    def generator_losses(self, prefix: str, maps: Maps, judge: Discriminator | None) -> tuple[Losses, Pair]:
        """The generator's losses, and what the discriminator is to tell apart: real and made."""

    def average(self, name: str) -> nn.Module:
        return self.averages[name].module


def phase(name: str, module: nn.Module, rate: float, optimizer: OptimizerConfig) -> Phase:
    schedule: Callable[[int], float] = constant(rate)
    if optimizer.decay_steps is not None:
        schedule = cosine(rate, optimizer.decay_steps)
    return Phase(name=name, learning_rate=schedule,
                 optimizer=optim.Adam(module.parameters(), lr=rate, betas=optimizer.betas))


class EdgeTask(MidgTask):
    """Model 1: a defect's edges inside the mask."""
    Config = EdgeConfig
    config: EdgeConfig

    def build(self) -> None:
        network = self.config.network
        self.add_pair(runs.edge_generator(network, self.class_count), network.width)

    def generator_losses(self, prefix, maps, judge):
        return edge_losses(self.modules["generator"], judge, maps, self.label(maps), self.config.loss)

    def evaluate(self, folder: Path) -> dict[str, float]:
        """In-mask precision and recall of the edges at 0 and 2 px, and a contact sheet."""
        return self.named(sheets.evaluate_edges(self, self.average("generator"), folder))


class GivenEdgesTask(MidgTask):
    """Model 2: a defect from given edges, so that its shape can be drawn."""
    Config = GivenEdgesConfig
    config: GivenEdgesConfig

    def build(self) -> None:
        network = self.config.network
        self.add_pair(runs.defect_generator(network, self.class_count), network.width)
        self.add_features()

    def add_features(self) -> None:
        loss = self.config.loss
        extractor = feature_extractor(loss.features if loss.perceptual or loss.style else "none")
        self.features = None if extractor is None else extractor.to(self.device, memory_format=torch.channels_last)

    def keep_grain(self, generator: nn.Module) -> None:
        """Leave the grain of the training defects in the run's folder, for use. A test leaves it as it is."""
        network = self.config.network
        if self.run is None or not (self.keep and network.blend and network.grain):
            return
        scenes = len(self.train_data)
        count = min(grain.WINDOWS, grain.WINDOWS_A_SCENE * scenes)
        windows = [self.train_data[number * scenes // count, number] for number in range(count)]
        batches = sheets.batches(windows, self.device)
        grain.keep(grain.measured(generator, batches, len(self.classes)), self.run)

    def edges_for(self, maps: Maps) -> Tensor:
        """The merged edges that the defect generator sees in training."""
        return maps.edges

    def edges_in_use(self, maps: Maps) -> Tensor:
        """Those that it sees in use."""
        return maps.edges

    def generator_losses(self, prefix, maps, judge):
        return defect_losses(self.modules[f"{prefix}generator"], judge, self.features, maps, self.edges_for(maps),
                             self.label(maps), self.config.loss)

    def evaluate(self, folder: Path) -> dict[str, float]:
        """PSNR, SSIM and L1, whole and in the mask, against the real defect, and a contact sheet."""
        self.keep_grain(self.average("generator"))
        return self.named(sheets.evaluate_defects(self, self.average("generator"), folder))


class DefectTask(GivenEdgesTask):
    """Model 3: a defect from the edges that model 1 predicts.

    The edge network is part of this model's checkpoints, frozen, so that a run is whole and goes on exactly.
    """
    Config = DefectConfig
    config: DefectConfig

    def build(self) -> None:
        edge_run, edge_config = self.edge_run()
        if runs.read_classes(edge_run) != self.classes:
            raise ConfigError(f"{edge_run}: has learnt other classes, got {', '.join(runs.read_classes(edge_run))} "
                              f"where these data have {', '.join(self.classes)}. Train midg-edge on the same data")
        runs.check_alike(edge_run, edge_config.data, self.config.data)
        super().build()
        self.line_threshold = edge_config.network.line_threshold
        network = runs.edge_generator(edge_config.network, self.class_count)
        self.modules["edge_generator"] = runs.load_average(edge_run, "generator", network, self.device)

    def edge_run(self) -> tuple[Path, EdgeConfig]:
        if self.config.edges is None and self.run is None:
            raise ConfigError("edges: no run of model 1, got nothing. Give --checkpoints, or --set edges=DIR")
        folder = runs.find_run(self.config.edges or self.run.parent, "midg-edge")
        return folder, runs.read_config(folder, EdgeConfig)

    @torch.no_grad()
    def edges_in_use(self, maps: Maps) -> Tensor:
        """Model 1's edges inside the mask, the background's outside."""
        return self.drawn(self.modules["edge_generator"], maps)

    def drawn(self, generator: EdgeGenerator, maps: Maps) -> Tensor:
        drawn = drawn_edges(edge_map(generator, maps, self.label(maps)), maps.mask, self.line_threshold)
        return merged_edges(drawn, maps.background_edges, maps.mask)

    @torch.no_grad()
    def edges_for(self, maps: Maps) -> Tensor:
        given = (maps.chance < self.config.given_share)[:, None, None, None]
        return torch.where(given, maps.edges, self.drawn(self.modules["edge_generator"], maps))


class JointTask(DefectTask):
    """Model 4: models 1 and 3 at once; the edge generator also learns what helps the defect generator."""
    Config = JointConfig
    config: JointConfig

    def build(self) -> None:
        config = self.config
        self.add_pair(runs.edge_generator(config.edge_network, self.class_count), config.edge_network.width, "edge_")
        self.add_pair(runs.defect_generator(config.network, self.class_count), config.network.width, "defect_")
        self.add_features()
        self.line_threshold = config.edge_network.line_threshold

    @torch.no_grad()
    def edges_in_use(self, maps: Maps) -> Tensor:
        return self.drawn(self.average("edge_generator"), maps)

    def gan_config(self, prefix: str) -> GanConfig:
        return self.config.edge_loss if prefix == "edge_" else self.config.loss

    def generator_losses(self, prefix, maps, judge):
        if prefix == "defect_":
            return super().generator_losses(prefix, maps, judge)
        label, config = self.label(maps), self.config
        losses, pair = edge_losses(self.modules["edge_generator"], judge, maps, label, config.edge_loss)
        if config.joint:
            edges = self.drawn(self.modules["edge_generator"], maps)
            through, _ = defect_losses(self.modules["defect_generator"], self.modules.get("defect_discriminator"),
                                       self.features, maps, edges, label, config.loss)
            losses["joint"] = config.joint * sum(through.values())
        return losses, pair

    def evaluate(self, folder: Path) -> dict[str, float]:
        """Figures of both models."""
        self.keep_grain(self.average("defect_generator"))
        values = sheets.evaluate_edges(self, self.average("edge_generator"), folder / "edges")
        return self.named(values | sheets.evaluate_defects(self, self.average("defect_generator"), folder))
