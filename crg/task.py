"""CRG's two models as tasks of the loop: diffusion models of defect-free images and of defect patches."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, optim

from core.data.images import write_bytes
from core.data.records import Dataset
from core.ema import Average
from core.errors import ConfigError
from core.files import writing
from core.schedules import constant, linear, warmup
from core.task import Phase

from . import legacy, sheets
from .data import Patches, Squares, chosen_classes, chosen_split, clean_records, held_out_split, read_dataset
from .legacy_weights import load_earlier
from .losses import denoising
from .networks import UNet
from .settings import ContextConfig, DefectConfig, ModelConfig

PURPOSES = {ContextConfig: "context", DefectConfig: "defect"}


class DiffusionTask(ABC):
    """What both have in common: one network, its average, one optimiser, timesteps and noise drawn for each sample."""
    Config: type[ModelConfig]
    classes: tuple[str, ...] = ()
    learnt: bool                        # what is evaluated is learnt from, for want of other images

    def __init__(self, config: ModelConfig, device: torch.device, dataset: Dataset | None = None,
                 run: Path | None = None, keep: bool = True):
        """`dataset`: in place of the one that the config names; `run`: this run's folder; `keep`: it may be written."""
        self.config, self.device = config, device
        self.schedule = config.schedule.build()
        self.top = max(round(config.loss.noisiest * len(self.schedule)), 1)     # timesteps below it are learnt
        self.read_data(read_dataset(config.data, run, keep=keep) if dataset is None else dataset)
        shape = config.network.shape(len(self.classes))
        network = UNet(shape)
        if config.start_from is not None:
            network.load_state_dict(load_earlier(config.start_from, shape).state_dict())
        self.network = network.to(device, memory_format=torch.channels_last)
        self.modules = {"network": self.network}
        self.averages = {"network": Average(self.network, config.ema.half_life_steps)}
        self.phases = (phase(self.network, config),)
        if run is not None and keep:
            with writing(run):
                run.mkdir(parents=True, exist_ok=True)
            write_bytes(run / "classes.txt", "".join(f"{name}\n" for name in self.classes).encode())

    @abstractmethod
    def read_data(self, dataset: Dataset) -> None:
        """Set `train_data`, `held_out` and `learnt`."""

    def losses(self, name: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Squared error of the noise, and the bound for the variance: means over samples."""
        clean = sheets.signed(batch["image"])
        index = torch.randint(self.top, (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        noisy = self.schedule.noised(clean, index, noise)
        output = self.network(noisy, self.schedule.original(index, len(clean), clean.device), batch.get("label"))
        parts = denoising(self.schedule, output, clean, noisy, noise, index)
        return {"noise": parts["noise"].mean(), "variance": self.config.loss.variance * parts["variance"].mean()}

    def evaluate(self, folder: Path) -> dict[str, float]:
        """The average's loss on held-out images, by quarter of the noise, and a sheet of what it generates.

        Where there is no other image than those that it learns from, the figures are called train_ of them.
        """
        figures = sheets.evaluate(self, self.averages["network"].module, folder)
        return {f"train_{name}": value for name, value in figures.items()} if self.learnt else figures

    @classmethod
    def earlier_config(cls, path: Path) -> tuple[dict[str, Any], Sequence[str]] | None:
        """Values and notes of a train-*.yml of the earlier code; None: it is none. ConfigError: of the other model."""
        if not legacy.is_earlier(path):
            return None
        earlier = legacy.read_config(path)
        if earlier.purpose != PURPOSES[cls.Config]:
            names = {"context": "train --model crg-context with it", "defect": "train --model crg-defect with it",
                     "paint": "it is for scripts/sample_generation.py"}
            raise ConfigError(f"{path}: not of this model, got a file for '{earlier.purpose}'. Instead, "
                              f"{names[earlier.purpose]}")
        return earlier.values, earlier.notes


class ContextTask(DiffusionTask):
    """Model 5: defect-free images."""
    Config = ContextConfig
    config: ContextConfig

    def read_data(self, dataset: Dataset) -> None:
        config, records = self.config, clean_records(dataset)
        train = chosen_split(records, "train") or records
        side, seed = config.network.size_px, config.loop.seed
        self.train_data = Squares(train, config.data, side, seed)
        split = held_out_split(records)
        apart, self.learnt = (train, True) if split == "train" else (chosen_split(records, split), False)
        self.held_out = Squares(apart, config.data, side, seed).held_out(config.sheet.samples)


class DefectTask(DiffusionTask):
    """Model 6: patches with a defect of a class."""
    Config = DefectConfig
    config: DefectConfig

    def read_data(self, dataset: Dataset) -> None:
        config = self.config
        self.classes = chosen_classes(dataset, config.data)
        records = [record for record in dataset.defective
                   if any(item.label in self.classes and not item.ignore for item in record.instances)]
        side, seed = config.network.size_px, config.loop.seed
        split = held_out_split(records)
        self.learnt = split == "train"
        self.train_data = Patches(chosen_split(records, "train") or records, self.classes, config.data, side, seed)
        apart = (self.train_data if self.learnt
                 else Patches(chosen_split(records, split), self.classes, config.data, side, seed))
        self.held_out = apart.held_out(config.sheet.samples)


def phase(network: UNet, config: ModelConfig) -> Phase:
    rate = config.optimizer.learning_rate
    decay = config.optimizer.decay_steps
    schedule = constant(rate) if decay is None else linear(rate, 0.0, decay)
    if config.optimizer.warmup_steps:
        schedule = warmup(schedule, config.optimizer.warmup_steps)
    optimizer = optim.AdamW(network.parameters(), lr=rate, weight_decay=config.optimizer.weight_decay)
    return Phase(name="network", optimizer=optimizer, learning_rate=schedule)
