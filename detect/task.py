"""Mask R-CNN as a task of the training loop."""
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim

from core.data import splits
from core.data.images import read_image, write_bytes, write_image
from core.data.records import Record
from core.data.shapes import instance_mask
from core.ema import Average
from core.errors import DataError
from core.experiment import tell
from core.metrics.detection import MOST, coco_figures
from core.schedules import drops, warmup
from core.task import Phase
from core.visualise import grid, overlay, shown, white_point

from . import networks, portable
from .apply import CLASSES, apply
from .data import Windows, anchor_sides, examples, open_data, training_picture
from .fullimage import inspect
from .history import image_figures, write_history
from .merging import Piece
from .models import build
from .predict import TileDetector, scored
from .score_picture import score_picture
from .settings import DetectConfig, OptimConfig

SPLITS, FIGURES, TRAINING = "splits.json", "figures.json", "training.png"
LEAST_SCORE = 0.001     # of a detection that COCO's figures count
OF_BOXES = ("bbox/AP", "bbox/AP50")
BESIDE = re.compile(r".*(_low|_high|_q[1-4]|/AR1|/AR10)|.*/(hit|miss|false|passed)|segm/(AP|AR)(_.*|/.*)")


class DetectTask:
    """Model 8. `run` keeps the splits, the names of the classes and the threshold of the best evaluation."""
    Config = DetectConfig

    def __init__(self, config: DetectConfig, device: torch.device, run: Path | None = None, keep: bool = True):
        self.device, self.watch, self.run = device, config.watch, run
        dataset, found = open_data(config.data, None if run is None else run / SPLITS)
        self.classes = dataset.classes
        self.train_data = Windows(dataset.of_split("train"), self.classes, config.data, config.augment,
                                  config.loop.seed)
        self.config = config = settled(config, self.train_data.defective)
        self.held_out = dataset.of_split(config.data.evaluate_on)
        if not self.held_out:
            raise DataError(f"{config.data.root}: no image to evaluate on, got none in '{config.data.evaluate_on}'. "
                            "Raise its share in data.ratios, or label more parts")
        if keep:
            tell(doubts(dataset.records, self.classes, config.data.evaluate_on))
        self.network = build(config.network, len(self.classes), config.loop.batch_size).to(device)
        self.modules: dict[str, nn.Module] = {"network": self.network}
        self.averages: dict[str, Average] = {}
        self.phases = (Phase(name="network", optimizer=optimizer_of(self.network, config.optim),
                             learning_rate=schedule_of(config.optim, config.loop.steps)),)
        if run is not None and keep:
            splits.save(run / SPLITS, found)
            write_bytes(run / CLASSES, (json.dumps(self.classes) + "\n").encode())
            if not (run / "samples" / TRAINING).is_file():
                (run / "samples").mkdir(exist_ok=True)
                write_image(run / "samples" / TRAINING, training_picture(self.train_data))

    def losses(self, phase: str, batch: tuple[list[Tensor], list[dict[str, Tensor]]]) -> dict[str, Tensor]:
        """classifier, box_reg, mask, objectness, rpn_box_reg."""
        images, targets = batch
        found = self.network(images, targets)
        return {name.removeprefix("loss_"): value.float() for name, value in found.items()}

    def evaluate(self, folder: Path) -> dict[str, float]:
        """COCO's figures on the held-out images, and image/NAME of core.metrics.decisions at the threshold.

        All of them, with intervals, go into figures.json; those that a training is watched by are returned.
        On val the threshold is chosen, and told; on test the one of the best evaluation on val is used.
        """
        look = self.config.frame.model_copy(update={"least_score": LEAST_SCORE, "most": 4 * MOST})
        detector = TileDetector(self.network, self.classes, self.device)
        found, scores, pictured = {}, [], {record.name for record in examples(self.held_out, self.config.panels)}
        for record in self.held_out:
            pixels = read_image(record.image)
            frame = inspect(pixels, detector, look)
            found[record.name] = scored(frame.defects, record.size)
            scores.append(frame.score)
            if record.name in pictured:
                sure = [piece for piece in frame.defects if piece.score >= self.config.frame.least_score]
                write_image(folder / f"{record.name.replace('/', '_')}.png", panel(pixels, record, sure, self.classes))
        figures = coco_figures(self.held_out, found, self.classes) | image_figures(
            self.held_out, scores, self.config.data.evaluate_on, self.run, self.config.threshold, LEAST_SCORE)
        if "image/threshold" in figures:
            bad = [not record.is_good for record in self.held_out]
            write_image(folder / "scores.png", score_picture(scores, bad, figures["image/threshold"]))
        write_bytes(folder / FIGURES, (json.dumps(figures, indent=1) + "\n").encode())
        return {name: value for name, value in figures.items() if watched(name)}

    def summarise(self, run: Path) -> None:
        write_history(run, self.watch)
        portable.write(run, self.config, self.classes)

    @classmethod
    def samples(cls, config: DetectConfig) -> int:
        """Samples of one epoch: each defective training image once, and the good ones beside them."""
        dataset, _ = open_data(config.data)
        return len(Windows(dataset.of_split("train"), dataset.classes, config.data, config.augment, 0))

    @classmethod
    def apply(cls, run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
              on: torch.device) -> dict[str, float]:
        """See detect.apply."""
        return apply(run, inputs, output, overrides, on)


def settled(config: DetectConfig, records: Sequence[Record]) -> DetectConfig:
    """The config with the anchors that suit the defects of `records`, where it leaves them open."""
    if config.network.anchors_px != "auto":
        return config
    sides = anchor_sides(records, config.data.crop_px, config.network.side_px)
    return config.model_copy(update={"network": config.network.model_copy(update={"anchors_px": sides})})


def doubts(records: Sequence[Record], classes: Sequence[str], on: str) -> list[str]:
    """What cannot be learned or measured on a set, a line each."""
    labels = {split: {item.label for record in records if record.split == split for item in record.instances
                      if not item.ignore} for split in ("train", on)}
    found = [f"note: class '{label}' has no defect in train and cannot be learned. Label some on other parts, or leave "
             "it out of data.classes" for label in classes if label not in labels["train"]]
    if not labels[on]:
        found.append(f"note: no defect in {on}: no average precision and no threshold there, the last weights are kept "
                     "and threshold.value counts. Label defects on more parts, or raise its share")
    return found


def watched(name: str) -> bool:
    """Whether a figure is told at every evaluation, or is in figures.json alone."""
    return name in OF_BOXES or not name.startswith("bbox/") and not BESIDE.fullmatch(name)


def optimizer_of(network: networks.Detector, config: OptimConfig) -> optim.Optimizer:
    decayed, plain = networks.parameters_by_decay(network)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return optim.SGD(groups, config.learning_rate, momentum=config.momentum)


def schedule_of(config: OptimConfig, steps: int):
    """Tenfold drops after parts of the training; warmed up in a straight line."""
    return warmup(drops(config.learning_rate, [round(part * steps) for part in config.drop_at]), config.warmup_steps)


def panel(pixels: np.ndarray, record: Record, pieces: Sequence[Piece], classes: tuple[str, ...]) -> np.ndarray:
    """Truth beside prediction."""
    image = shown(pixels, white_point([pixels]))
    true = [instance_mask(item, record.size) for item in record.instances]
    kinds = [classes.index(item.label) for item in record.instances]
    drawn = []
    for piece in pieces:
        mask = np.zeros(image.shape[:2], bool)
        mask[piece.y:piece.box[3], piece.x:piece.box[2]] = piece.crop
        drawn.append(mask)
    found = overlay(image, drawn, [piece.box for piece in pieces],
                    kinds=[classes.index(piece.label) for piece in pieces])
    return grid([[overlay(image, true, kinds=kinds), found]], column_labels=["truth", "found"])
