"""A trained segmenter on image files: index masks, overlays, and every found part as COCO and as a row of a table."""
import contextlib
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
from core.data.applied import on_each, only_input, refuse_unread
from core.data.bands import BlockRows, PngRows, WholeRows, open_rows
from core.data.images import encode_png, image_places, write_bytes, write_image
from core.data.records import Dataset, Record
from core.data.shapes import crop_instance
from core.errors import CheckpointError, ConfigError, did_you_mean
from core.files import whole_file, writing
from core.visualise import encode_jpeg, shown, white_point

from . import models
from .context import predict_in_context
from .evaluate import write_csv
from .infer import Rows, labels_of
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

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [H, W, 3] -> uint8 [M, H, W]: labels, the probability of each in 255ths, and with
        infer.probabilities those of every output in 255ths."""
        found = np.concatenate(list(self.bands(WholeRows(pixels))), 1)
        found[0] = without_small(found[0], self.config.infer.minimum_px)
        return found

    def bands(self, image: Rows, again: Rows | None = None) -> Iterator[np.ndarray]:
        """The same for an image in rows, as bands that follow each other, but that no small part is dropped.

        again   reads the same image, for infer.context
        """
        def finish(chances: torch.Tensor) -> torch.Tensor:
            likeliest = torch.maximum(chances[0], 1 - chances[0]) if len(chances) == 1 else chances.amax(0)
            labels = torch.from_numpy(labels_of(chances, self.config.infer.threshold))
            every = chances if self.config.infer.probabilities else chances[:0]
            return torch.cat([labels[None], torch.cat([likeliest[None], every]).mul(255).round().byte()])

        config = self.config
        for _, band in predict_in_context(self.network, image, image if again is None else again, config.infer,
                                          config.data.channels, finish):
            yield band.numpy()


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
    """Write into `output` labels/NAME.png (index, with a palette), overlays/NAME.jpg, objects.csv, verdicts.csv,
    classes.json and a COCO set; colours/NAME.png and probabilities/NAME/OUTPUT.png where they are asked for.

    Images that are worked on in bands have an overlay of at most 4096 px, and are in objects.csv but not in the COCO
    set. A file that cannot be read is passed over; when all others are done, DataError names every one.
    """
    places = image_places(only_input(inputs, "the segmenter"))
    segmenter = load(run, overrides, on)
    limits = check_limits(segmenter)
    done, unread = on_each(places, lambda name, path: work_on(segmenter, name, path, output))
    found = {name: parts for name, (parts, _) in done.items()}
    records = [record for _, record in done.values() if record is not None]
    if found:
        write_findings(output, segmenter.classes, found, limits)
    if records:
        made = Dataset(root=output, format="masks", classes=segmenter.classes, records=tuple(records))
        formats.write(made, output, "coco")
    refuse_unread(unread, places, output)
    return {"images": len(found), "objects": sum(map(len, found.values()))}


def check_limits(segmenter: Segmenter) -> list[int]:
    """Of each class the least area for which an image is NG. ConfigError: a limit of no class."""
    given = segmenter.config.infer.reject_px
    unknown = [name for name in given if name not in segmenter.classes]
    if unknown:
        raise ConfigError(f"infer.reject_px: no such class, got '{unknown[0]}'. "
                          f"{did_you_mean(unknown[0], segmenter.classes)}One of {', '.join(segmenter.classes)}")
    return [given.get(name, 1) for name in segmenter.classes]


def write_findings(output: Path, classes: Sequence[str], found: Mapping[str, list[Part]], limits: list[int]) -> None:
    """objects.csv, a row a part; verdicts.csv, a row an image; classes.json, the names of the labels."""
    rows = [(name, classes[part.number - 1], part.area_px, *part.box, part.confidence)
            for name, parts in found.items() for part in parts]
    write_csv(output / "objects.csv", HEAD, iter(rows))
    verdicts = [(name, "NG" if any(part.area_px >= limits[part.number - 1] for part in parts) else "OK", len(parts),
                 sum(part.area_px for part in parts)) for name, parts in found.items()]
    write_csv(output / "verdicts.csv", ("image", "verdict", "objects", "area_px"), iter(verdicts))
    write_bytes(output / CLASSES, (json.dumps(classes) + "\n").encode())


def work_on(segmenter: Segmenter, name: str, path: Path, output: Path) -> tuple[list[Part], Record | None]:
    """Write the pictures of one image; its parts, and its record where it was worked on as a whole."""
    image, classes, infer = open_rows(path), segmenter.classes, segmenter.config.infer
    picture = place(output, "overlays", f"{name}.jpg")
    (width, height), table = image.size, palette(len(classes))
    if isinstance(image, BlockRows) and width * height > infer.bands_above_mpx * 1e6:
        return in_bands(segmenter, path, name, output), None
    pixels, parts = image.rows(0, height), Parts()
    labels, sure, *chances = segmenter(pixels)
    parts.add(labels, sure)
    write_bytes(place(output, "labels", f"{name}.png"), encode_png(labels, palette=table))
    write_bytes(picture, encode_jpeg(tinted(shown(pixels, white_point([pixels])), labels), 90))
    if infer.colour:
        write_image(place(output, "colours", f"{name}.png"), table[labels])
    for number, values in zip(output_numbers(segmenter), chances):
        write_image(place(output, "probabilities", f"{name}/{number}.png"), values)
    return parts.finished(), found_on(path, name, labels, classes)


def in_bands(segmenter: Segmenter, path: Path, name: str, output: Path) -> list[Part]:
    """The same for an image larger than memory, which is read a second time for the overlay."""
    image, again = open_rows(path), open_rows(path)
    parts, thin, top, infer = Parts(), [], 0, segmenter.config.infer
    step, table = -(-max(image.size) // OVERLAY_PX), palette(len(segmenter.classes))
    outputs = output_numbers(segmenter) if infer.probabilities else []
    grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    with contextlib.ExitStack() as files:
        def writer(folder: str, file: str, colours: np.ndarray | None) -> PngRows:
            return PngRows(files.enter_context(whole_file(place(output, folder, file))), image.size, colours)

        index = writer("labels", f"{name}.png", table)
        coloured = writer("colours", f"{name}.png", None) if infer.colour else None
        each = [writer("probabilities", f"{name}/{number}.png", grey) for number in outputs]
        for labels, sure, *chances in segmenter.bands(image, open_rows(path)):
            index.write(labels)
            if coloured is not None:
                coloured.write(table[labels])
            for png, values in zip(each, chances):
                png.write(values)
            parts.add(labels, sure)
            first = -top % step
            pixels = again.rows(top, top + len(labels))
            thin.append((np.ascontiguousarray(pixels[first::step, ::step]), labels[first::step, ::step].copy()))
            top += len(labels)
        for png in (index, *filter(None, [coloured]), *each):
            png.close()
    pixels, labels = (np.concatenate(bands) for bands in zip(*thin))
    write_bytes(place(output, "overlays", f"{name}.jpg"),
                encode_jpeg(tinted(shown(pixels, white_point([pixels])), labels), 90))
    return parts.finished()


def output_numbers(segmenter: Segmenter) -> range:
    """Labels that the network's outputs stand for: without the background's where there is one output."""
    count = models.output_count(segmenter.config.loss, len(segmenter.classes))
    return range(len(segmenter.classes) + 1 - count, len(segmenter.classes) + 1)


def place(output: Path, folder: str, name: str) -> Path:
    """A file in a folder of the output, which is made."""
    path = output / folder / name
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


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
