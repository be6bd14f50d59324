"""What the segmenter learns from and is measured on: any labelled set with shapes, split by photographed object."""
import csv
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.data import formats, splits
from core.data.formats.masks import index_mask
from core.data.hashing import Fingerprint, fingerprints
from core.data.images import is_grey, read_image, to_tensor
from core.data.records import Dataset as LabelledSet
from core.data.records import Record
from core.data.shapes import instance_crop
from core.errors import ConfigError, DataError
from core.seeding import rng

from .augment import draw_geometry, draw_light, warped, warped_labels
from .losses import IGNORE
from .paste import pasted
from .settings import AugmentConfig, DataConfig

MERGED = "defect"
HARD_SHARE = 0.5        # of the clean crops, where false alarms are given
PASTED = 1              # position of the draws for a pasted defect, behind the crop's
PASTE_TRIES = 3         # defects tried where those before were cut off, or too large for the crop
CLEAN_TRIES = 12        # places looked at for a crop without a defect


def open_data(config: DataConfig) -> tuple[LabelledSet, splits.Splits]:
    """Read a set, check that its defects have shapes, and fill in the splits. Raises DataError, ConfigError."""
    dataset = read_set(config)
    previous = splits.load(config.splits) if config.splits else None
    ratios, seed = (previous.ratios, previous.seed) if previous else (config.ratios, config.split_seed)
    prints = fingerprints(splits.paths(dataset))
    found = splits.split(dataset, ratios=ratios, seed=seed, previous=previous, prints=prints)
    dataset = splits.apply(dataset, found)
    if config.duplicates == "error":
        check_leaks(dataset, prints)
    return dataset, found


def read_set(config: DataConfig) -> LabelledSet:
    """The set without its splits."""
    dataset = formats.read(config.root, config.format, unlabelled=config.unlabelled, classes=config.classes,
                           **_options(config))
    for record in dataset.records:
        boxes = [instance for instance in record.instances if not instance.has_shape and not instance.ignore]
        if boxes:
            raise DataError(f"{record.image}: boxes alone, which say nothing of pixels, got {len(boxes)} without a "
                            "shape. Label masks or polygons")
    if config.merge:
        dataset = _merged(dataset)
    if not dataset.classes:
        raise DataError(f"{config.root}: no defect at all, got {len(dataset)} images. Label some")
    if len(dataset.classes) >= IGNORE:
        raise DataError(f"{config.root}: too many classes, got {len(dataset.classes)}. At most {IGNORE - 1}")
    return dataset


def check_leaks(dataset: LabelledSet, prints: Mapping[Path, Fingerprint]) -> None:
    """Raises DataError where pictures that are the same, or nearly, lie in training and in evaluation."""
    joined, held = splits.joined_groups(dataset, prints), defaultdict(dict)
    for record in dataset.records:
        held[joined[splits.group_of(record)]].setdefault(record.split, record.name)
    leaks = [places for places in held.values() if "train" in places and len(places) > 1]
    if leaks:
        shown = "; ".join(" and ".join(f"{name} ({split})" for split, name in places.items()) for places in leaks[:5])
        raise DataError(f"{dataset.root}: one picture, or nearly, in training and in evaluation, got "
                        f"{shown}{' ...' if len(leaks) > 5 else ''}. Put them into one split, or say "
                        "data.duplicates=keep")


def read_labelled(record: Record, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [H, W, 3] and labels uint8 [H, W]: 0, 1 + the class's place, or IGNORE. DataError: the sizes differ."""
    pixels, labels = read_image(record.image), index_mask(record, classes)
    if pixels.shape[:2] != labels.shape:
        raise DataError(f"{record.image}: not the size it had when the set was read, got {pixels.shape[1]}x"
                        f"{pixels.shape[0]} for {labels.shape[1]}x{labels.shape[0]}. Read the set anew")
    return pixels, labels


def network_input(pixels: np.ndarray, channels: int) -> Tensor:
    """Pixels [H, W, 3] -> float32 [C, H, W] in 0..1; one channel is the mean of the three."""
    image = to_tensor(pixels)
    return image if channels == 3 else image.mean(0, keepdim=True)


class Crops(Dataset):
    """Training crops at native scale; crop (index, draw) depends on the seed and the draw, not on those before it.

    Of each draw `defect_share` hold a pixel of a defect, whose class and then instance are drawn evenly; `clean_share`
    hold no defect; the others lie anywhere in image `index`.
    Returns float32 [C, S, S] in 0..1 and int64 [S, S].
    """

    def __init__(self, records: tuple[Record, ...], classes: tuple[str, ...], config: DataConfig,
                 augment: AugmentConfig, seed: int):
        self.records, self.classes, self.config, self.augment, self.seed = records, classes, config, augment, seed
        self.defects = [spots for name in classes if (spots := [
            (number, place) for number, record in enumerate(records) for place, instance in enumerate(record.instances)
            if instance.label == name and not instance.ignore])]
        if records and not self.defects:
            raise DataError(f"{config.root}: no defect to learn from, got none in {len(records)} training images. "
                            "Check the classes and the split")
        self.hard = read_hard(config.hard, records) if config.hard else []
        self.images = Cache(config.cache_mib * 2 ** 20)

    def __len__(self) -> int:
        return self.config.epoch_crops or len(self.records)

    def __getitem__(self, index_and_draw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, draw = index_and_draw
        random = rng(self.seed, draw)
        places = draw_geometry(random, self.augment, self.config.crop_px)
        kind = random.random()
        if kind < self.config.defect_share:
            number, centre = self._on_defect(random)
        elif kind < self.config.defect_share + self.config.clean_share:
            number, centre = self._on_clean(random, places)
        else:
            number = index % len(self.records)
            centre = self._anywhere(random, number)
        crop, target = self._cut(random, number, centre, places)
        if self.augment.enabled and self.augment.paste:
            crop, target = self._with_another(rng(self.seed, draw, PASTED), crop, target)
        grey = is_grey(crop)
        image = draw_light(random, self.augment, to_tensor(crop[..., :1] if grey else crop).numpy())
        if self.config.channels == 3:
            image = np.repeat(image, 3, axis=0) if grey else image
        else:
            image = image.mean(0, keepdims=True, dtype=np.float32)
        return torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(target.astype(np.int64))

    def _cut(self, random: np.random.Generator, number: int, centre: tuple[float, float],
             places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The crop round a centre, at native scale or of the smaller image."""
        if not self.config.reduced_share or random.random() >= self.config.reduced_share:
            return warped(*self.read(number), places, centre)
        by = self.config.reduced_by
        pixels, labels = self.images.get((number, by), lambda: reduced(*self.read(number), by))
        return warped(pixels, labels, places, self._held(labels.shape[::-1], tuple(at / by for at in centre)))

    def _with_another(self, random: np.random.Generator, crop: np.ndarray, target: np.ndarray) -> tuple:
        """The crop and its labels with the defect of another one, at the chance that is set."""
        if random.random() >= self.augment.paste:
            return crop, target
        made = crop, target
        for _ in range(PASTE_TRIES):
            number, place = self._defect(random)
            record = self.records[number]
            shape, x, y = instance_crop(record.instances[place], record.size)
            centre = x + shape.shape[1] // 2 + 0.5, y + shape.shape[0] // 2 + 0.5
            places = draw_geometry(random, self.augment, self.config.crop_px)
            made = pasted(random, crop, target, *warped(*self.read(number), places, centre))
            if made[0] is not crop:
                break
        return made

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images.get(number, lambda: read_labelled(self.records[number], self.classes))

    def _on_defect(self, random: np.random.Generator) -> tuple[int, tuple[float, float]]:
        """A record, and a centre so that some pixel of one of its defects lies in the middle half of the crop."""
        number, place = self._defect(random)
        record = self.records[number]
        rows, columns = self.images.get((number, "defect", place), lambda: pixels_of(record, place))
        at = random.integers(len(rows))
        shift = random.integers(-(self.config.crop_px // 4), self.config.crop_px // 4 + 1, 2)
        return number, self._held(record.size, (columns[at] + shift[0], rows[at] + shift[1]))

    def _defect(self, random: np.random.Generator) -> tuple[int, int]:
        """A record and the place of one of its instances; classes in turn."""
        spots = self.defects[random.integers(len(self.defects))]
        return spots[random.integers(len(spots))]

    def _on_clean(self, random: np.random.Generator, places: np.ndarray) -> tuple[int, tuple[float, float]]:
        """A record and a centre without a defect in the crop; the least covered of some tries where all hold one."""
        least, best = None, None
        for _ in range(CLEAN_TRIES):
            if self.hard and random.random() < HARD_SHARE:
                number, place = self.hard[random.integers(len(self.hard))]
                centre = self._held(self.records[number].size, place)
            else:
                number = int(random.integers(len(self.records)))
                centre = self._anywhere(random, number)
            record = self.records[number]
            covered = 0
            if record.instances:
                crop = warped_labels(self.read(number)[1], places, centre)
                covered = np.count_nonzero((crop > 0) & (crop != IGNORE))
            if least is None or covered < least:
                least, best = covered, (number, centre)
            if covered == 0:
                break
        return best

    def _anywhere(self, random: np.random.Generator, number: int) -> tuple[float, float]:
        width, height = self.records[number].size
        return self._held((width, height), (random.integers(width), random.integers(height)))

    def _held(self, size: tuple[int, int], place: tuple[float, float]) -> tuple[float, float]:
        """The centre nearest to a place with the whole crop inside the image, or in the middle of a smaller one."""
        half = (self.config.crop_px - 1) / 2
        offset = half % 1                               # so that crops of an even side fall on whole pixels
        return tuple(
            min(max(int(at) + offset, half), length - 1 - half) if length >= self.config.crop_px
            else length // 2 - 0.5 + (0.5 - offset) for at, length in zip(place, size))


def pixels_of(record: Record, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a defect's pixels, int32 each."""
    crop, x, y = instance_crop(record.instances[place], record.size)
    rows, columns = crop.nonzero()
    return (rows + y).astype(np.int32), (columns + x).astype(np.int32)


def reduced(pixels: np.ndarray, labels: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture `by` times smaller, and its labels; a px or more is left of each side."""
    size = tuple(max(1, side // by) for side in labels.shape[::-1])
    return (cv2.resize(pixels, size, interpolation=cv2.INTER_AREA),
            cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))


def read_hard(path: Path, records: Sequence[Record]) -> list[tuple[int, tuple[int, int]]]:
    """Record number and x, y of every line of a false_alarms.csv that is of one of the records. DataError: no such."""
    numbers = {record.name: number for number, record in enumerate(records)}
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        spots = [(numbers[row["image"]], (int(row["x"]), int(row["y"]))) for row in rows if row["image"] in numbers]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a table of false alarms, got {error!r}. Give false_alarms.csv of an evaluation "
                        "with data.evaluate_on=train") from error
    if rows and not spots:
        raise DataError(f"{path}: of none of the training images, got '{rows[0]['image']}' and others. Evaluate with "
                        "data.evaluate_on=train")
    return spots


class Cache:
    """Decoded images, those used last kept, up to a number of bytes; a copy in another process starts empty."""

    def __init__(self, limit: int):
        self.limit, self.held, self.size = limit, OrderedDict(), 0

    def get(self, key: object, make) -> tuple[np.ndarray, ...]:
        if key in self.held:
            self.held.move_to_end(key)
            return self.held[key]
        made = make()
        self.held[key] = made
        self.size += sum(array.nbytes for array in made)
        while self.size > self.limit and self.held:
            _, dropped = self.held.popitem(last=False)
            self.size -= sum(array.nbytes for array in dropped)
        return made

    def __getstate__(self) -> dict:
        return {"limit": self.limit, "held": OrderedDict(), "size": 0}


def _options(config: DataConfig) -> dict:
    """What the format `masks` takes beyond the others; given for another format it is refused by the reader."""
    given = {"colours": config.colours, "unknown_colours": config.unknown_colours, "clean_rings": config.clean_rings,
             "minimum_px": config.minimum_px}
    usual = DataConfig.model_fields
    options = {name: value for name, value in given.items() if value != usual[name].default}
    found = formats.detect(config.root) if config.format == "auto" else config.format
    if options and found != "masks":
        raise ConfigError(f"data.{next(iter(options))}: for label images alone, got the format '{found}'. Leave it out")
    return options


def _merged(dataset: LabelledSet) -> LabelledSet:
    records = tuple(replace(record, instances=tuple(replace(item, label=MERGED) for item in record.instances))
                    for record in dataset.records)
    return replace(dataset, records=records, classes=(MERGED,))
