"""The segmenter as a task of the training loop."""
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from core import checkpoint
from core.data import splits
from core.data.images import write_bytes
from core.data.records import Dataset, Record
from core.ema import Average
from core.errors import ConfigError, DataError, did_you_mean
from core.schedules import constant, cosine, polynomial, warmup
from core.task import Phase
from core.watch import WatchConfig

from . import models
from .apply import CLASSES, apply, read_classes
from .data import open_data
from .evaluate import evaluate, figure_names
from .export import export
from .history import write_history
from .infer import up_to
from .legacy import config_values
from .losses import losses
from .mixing import training_crops
from .settings import DataConfig, LossConfig, OptimConfig, SegmentConfig

SPLITS = "splits.json"


class SegmentTask:
    """Model 7. `run` keeps the splits and the names of the classes, so that a run that goes on has the same."""
    Config = SegmentConfig

    def __init__(self, config: SegmentConfig, device: torch.device, run: Path | None = None, keep: bool = True):
        self.config, self.device, self.watch = config, device, config.watch
        kept = run / SPLITS if run is not None else None
        data = config.data
        if kept is not None and kept.is_file() and data.splits is None:
            data = data.model_copy(update={"splits": kept})
        if not keep and run is not None and (run / CLASSES).is_file() and data.classes is None and not data.merge:
            data = data.model_copy(update={"classes": read_classes(run)})       # another set may not have them all
        dataset, found = open_data(data)
        self.classes = dataset.classes
        self.train_data = training_crops(dataset, config)
        self.held_out = held_out(dataset, config.data, splits.load(kept) if kept and kept.is_file() else found)
        if not self.held_out:
            raise DataError(f"{config.data.root}: no image to evaluate on, got none in '{config.data.evaluate_on}'. "
                            "Raise its share in data.ratios, or label more objects")
        check_loss(config.loss, self.classes)
        begins = run is None or not checkpoint.found(run)
        if begins:
            check_watch(config.watch, self.classes)
        outputs = models.output_count(config.loss, len(self.classes))
        self.network = models.build(config.network, outputs, config.data.channels)
        check_crop(config.data.crop_px, self.network.stride)
        if config.start is not None and begins:
            models.load_start(self.network, config.start)
        self.network.to(device, memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"network": self.network}
        self.averages: dict[str, Average] = {}
        if config.optim.ema_half_life_steps is not None:
            self.averages["network"] = Average(self.network, config.optim.ema_half_life_steps)
        self.phases = (Phase(name="network", optimizer=optimizer_of(self.network, config.optim),
                             learning_rate=schedule_of(config.optim, config.loop.steps)),)
        if run is not None and keep:
            splits.save(run / SPLITS, found)
            write_bytes(run / CLASSES, (json.dumps(self.classes) + "\n").encode())

    def losses(self, phase: str, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, target = batch
        logits = self.network(images.to(memory_format=torch.channels_last))
        options = self.config.loss.model_dump(exclude={"name"})
        return losses(self.config.loss.name, logits.float(), target, **options)

    def evaluate(self, folder: Path) -> dict[str, float]:
        """Figures of the averaged weights on the held-out images; see segment.evaluate."""
        network = self.averages["network"].module if self.averages else self.network
        return evaluate(network, self.held_out, self.classes, self.config, folder)

    @classmethod
    def apply(cls, run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
              on: torch.device) -> dict[str, float]:
        """See segment.apply."""
        return apply(run, inputs, output, overrides, on)

    @classmethod
    def export(cls, run: Path, output: Path, overrides: Sequence[str], images: Path | None) -> dict[str, float]:
        """See segment.export."""
        return export(run, output, overrides, images)

    @classmethod
    def earlier_config(cls, path: Path) -> tuple[dict, Sequence[str]] | None:
        """See segment.legacy."""
        return config_values(path)

    def summarise(self, run: Path) -> None:
        write_history(run, len(self.train_data) / self.config.loop.batch_size)


def held_out(dataset: Dataset, config: DataConfig, known: splits.Splits) -> tuple[Record, ...]:
    """What evaluations look at. DataError: with "all", a picture that is learned from, by the hash of its file."""
    if config.evaluate_on != "all":
        return dataset.of_split(config.evaluate_on)
    records = tuple(record for record in dataset.records if record.verified)
    learned = [record for record in records if known.groups.get(known.hashes.get(sha256(record.image))) == "train"]
    if learned:
        raise DataError(f"{config.root}: pictures that the network learns from, got {len(learned)} such as "
                        f"{learned[0].image}. Give another set, or data.evaluate_on=test")
    return records


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_loss(loss: LossConfig, classes: tuple[str, ...]) -> None:
    """Raises ConfigError where a loss does not fit the classes."""
    if loss.name.startswith("bce") and len(classes) > 1:
        raise ConfigError(f"loss.name: '{loss.name}' is for one class, got {len(classes)} ({', '.join(classes)}). "
                          "Take ce+dice, or data.merge=true to make them one")
    if isinstance(loss.class_weights, tuple) and len(loss.class_weights) != len(classes) + 1:
        raise ConfigError(f"loss.class_weights: one for the background and one a class, got {len(loss.class_weights)} "
                          f"for {len(classes) + 1}")


def check_watch(config: WatchConfig | None, classes: tuple[str, ...]) -> None:
    """Raises ConfigError where a figure is watched that no evaluation has: it would never find a best one."""
    names = figure_names(classes)
    if config is not None and config.metric not in names:
        raise ConfigError(f"watch.metric: no such figure, got '{config.metric}'. {did_you_mean(config.metric, names)}"
                          f"One of {', '.join(names)}")


def check_crop(crop_px: int, stride: int) -> None:
    """Raises ConfigError where a crop is not made of whole places of the network's coarsest grid."""
    if crop_px % stride:
        fitting = [side for side in (crop_px // stride * stride, up_to(crop_px, stride)) if side]
        raise ConfigError(f"data.crop_px: must be a multiple of {stride} for this network, got {crop_px}. Take "
                          f"{' or '.join(map(str, fitting))}")


def optimizer_of(network: nn.Module, config: OptimConfig) -> optim.Optimizer:
    if config.optimizer == "adam":
        made = optim.Adam(network.parameters(), config.learning_rate)
    else:
        made = optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    if config.clip_value is not None:
        made.register_step_pre_hook(clip_elements(config.clip_value))
    return made


def clip_elements(limit: float) -> Callable:
    """Every element of the gradient is cut to -limit..limit before a step."""
    def clip(optimizer: optim.Optimizer, *_) -> None:
        nn.utils.clip_grad_value_([p for group in optimizer.param_groups for p in group["params"]], limit)
    return clip


def schedule_of(config: OptimConfig, steps: int) -> Callable[[int], float]:
    made = {"constant": constant(config.learning_rate), "cosine": cosine(config.learning_rate, steps),
            "poly": polynomial(config.learning_rate, steps)}[config.schedule]
    return warmup(made, config.warmup_steps) if config.warmup_steps else made
