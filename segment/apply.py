"""A trained segmenter on image files: index masks, overlays, and every found part as COCO and as a row of a table."""
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from core import checkpoint
from core import config as configs
from core.data import formats
from core.data.bands import BlockRows, IndexPng, WholeRows, open_rows
from core.data.images import encode_png, image_places, write_bytes
from core.data.records import Dataset, Record
from core.data.shapes import crop_instance
from core.errors import CheckpointError, ConfigError, DataError
from core.files import whole_file, writing
from core.progress import Progress
from core.visualise import encode_jpeg, shown, white_point

from . import models
from .evaluate import write_csv
from .infer import Rows, labels_of, predict
from .panels import palette, tinted
from .parts import Part, Parts
from .settings import SegmentConfig

CLASSES = "classes.json"
OVERLAY_PX = 4096       # longest side of the overlay of an image in bands
HEAD = ("image", "class", "area_px", "x1", "y1", "x2", "y2", "confidence")


@dataclass(frozen=True)
class Segmenter:
    """A network at work: labels of whole images."""
    network: nn.Module
    classes: tuple[str, ...]
    config: SegmentConfig

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [H, W, 3] -> labels uint8 [H, W] and the probability of each in 255ths, uint8 [H, W]."""
        labels, sure = (np.concatenate(bands) for bands in zip(*self.bands(WholeRows(pixels))))
        return without_small(labels, self.config.infer.minimum_px), sure

    def bands(self, image: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same for an image in rows, as bands that follow each other, but that no small part is dropped."""
        def finish(chances: torch.Tensor) -> torch.Tensor:
            likeliest = torch.maximum(chances[0], 1 - chances[0]) if len(chances) == 1 else chances.amax(0)
            labels = torch.from_numpy(labels_of(chances, self.config.infer.threshold))
            return torch.stack([labels, likeliest.mul(255).round().byte()])

        for _, band in predict(self.network, image, self.config.infer, self.config.data.channels, finish):
            labels, sure = band.numpy()
            yield labels, sure


def load(run: Path, overrides: Sequence[str], device: torch.device) -> Segmenter:
    """The segmenter of a run with its best weights, or its newest; averaged ones where there are some."""
    config = configs.load(SegmentConfig, run / "config.yaml", overrides)
    classes = read_classes(run)
    network = models.build(config.network, models.output_count(config.loss, len(classes)), config.data.channels)
    best, paths = checkpoint.best_path(run), checkpoint.found(run)
    if not best.is_file() and not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    kept = "module" if config.optim.ema_half_life_steps is None else "average"
    checkpoint.load_part(best if best.is_file() else paths[-1], f"{kept}/network", network)
    return Segmenter(network.eval().to(device, memory_format=torch.channels_last), classes, config)


def read_classes(run: Path) -> tuple[str, ...]:
    try:
        return tuple(json.loads((run / CLASSES).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run / CLASSES}: cannot be read, got '{error}'. It names the classes that the run "
                              "learned; copy it with the run") from error


def apply(run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
          on: torch.device) -> dict[str, float]:
    """Write into `output` labels/NAME.png (index, with a palette), overlays/NAME.jpg, objects.csv, and a COCO set.

    Images that are worked on in bands have an overlay of at most 4096 px, and are in objects.csv but not in the COCO
    set. A file that cannot be read is passed over; when all others are done, DataError names every one.
    """
    for option in inputs:
        if option != "input":
            raise ConfigError(f"--{option}: not for the segmenter, which takes --input alone. Leave it out")
    places = image_places(inputs["input"])
    segmenter = load(run, overrides, on)
    records, rows, unread, done = [], [], [], 0
    with Progress(len(places), "images") as progress:
        for name, path in places.items():
            try:
                parts, record = work_on(segmenter, name, path, output)
            except DataError as error:
                unread.append(str(error))
            else:
                done += 1
                records += [record] * (record is not None)
                rows += [(name, segmenter.classes[part.number - 1], part.area_px, *part.box, part.confidence)
                         for part in parts]
            progress.step()
    if done:
        write_csv(output / "objects.csv", HEAD, iter(rows))
    if records:
        found = Dataset(root=output, format="masks", classes=segmenter.classes, records=tuple(records))
        formats.write(found, output, "coco")
    if unread:
        raise DataError("\n".join([*unread, f"{len(unread)} of {len(places)} images could not be read; {output} holds "
                                   "the results of the others"]))
    return {"images": done, "objects": len(rows)}


def work_on(segmenter: Segmenter, name: str, path: Path, output: Path) -> tuple[list[Part], Record | None]:
    """Write the pictures of one image; its parts, and its record where it was worked on as a whole."""
    image = open_rows(path)
    mask, picture = output / "labels" / f"{name}.png", output / "overlays" / f"{name}.jpg"
    for target in (mask, picture):
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
    width, height = image.size
    if isinstance(image, BlockRows) and width * height > segmenter.config.infer.bands_above_mpx * 1e6:
        return in_bands(segmenter, image, open_rows(path), mask, picture), None
    pixels, parts = image.rows(0, height), Parts()
    labels, sure = segmenter(pixels)
    parts.add(labels, sure)
    write_bytes(mask, encode_png(labels, palette=palette(len(segmenter.classes))))
    write_bytes(picture, encode_jpeg(tinted(shown(pixels, white_point([pixels])), labels), 90))
    return parts.finished(), found_on(path, name, labels, segmenter.classes)


def in_bands(segmenter: Segmenter, image: Rows, again: Rows, mask: Path, picture: Path) -> list[Part]:
    """The same for an image larger than memory; `again` reads it a second time, for the overlay."""
    parts, thin, top = Parts(), [], 0
    step = -(-max(image.size) // OVERLAY_PX)
    with whole_file(mask) as file:
        png = IndexPng(file, image.size, palette(len(segmenter.classes)))
        for labels, sure in segmenter.bands(image):
            png.write(labels)
            parts.add(labels, sure)
            first = -top % step
            pixels = again.rows(top, top + len(labels))
            thin.append((np.ascontiguousarray(pixels[first::step, ::step]), labels[first::step, ::step].copy()))
            top += len(labels)
        png.close()
    pixels, labels = (np.concatenate(bands) for bands in zip(*thin))
    write_bytes(picture, encode_jpeg(tinted(shown(pixels, white_point([pixels])), labels), 90))
    return parts.finished()


def found_on(path: Path, name: str, labels: np.ndarray, classes: tuple[str, ...]) -> Record:
    """A record of the image whose instances are the connected parts (8 neighbours) of each class."""
    size, items = labels.shape[::-1], []
    for number, label in enumerate(classes, 1):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == number).astype(np.uint8), connectivity=8)
        for part in range(1, count):
            x, y, width, height = stats[part, :4].tolist()
            items.append(crop_instance(parts[y:y + height, x:x + width] == part, x, y, size, label))
    return Record(image=path, name=name, size=size, instances=tuple(items))


def without_small(labels: np.ndarray, minimum_px: int) -> np.ndarray:
    """Labels without the connected parts (all classes as one) of fewer px."""
    if minimum_px <= 1:
        return labels
    _, parts, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8), connectivity=8)
    return np.where(stats[parts, cv2.CC_STAT_AREA] >= minimum_px, labels, 0).astype(np.uint8)
