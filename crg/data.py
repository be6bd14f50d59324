"""A labelled set as CRG's models learn from it: squares of defect-free images, and patches round the defects.

    Squares(records, config, side_px, seed)[index, draw]     model 5: {"image"}
    Patches(records, classes, config, side_px, seed)[...]    model 6: {"image", "label"}
"""
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from core.data import formats, images, splits
from core.data.records import Dataset, Instance, Record
from core.errors import DataError, did_you_mean
from core.progress import Progress
from core.seeding import rng

from .settings import ContextDataConfig, DataConfig, DefectDataConfig

NAMED = "named"                     # the earlier loader's layout
HELD_OUT = 2**40 + 9                # stream of numbers of what is evaluated
KEPT_BYTES = 1 << 30                # of decoded images, by process
SAME = "image"                      # the class of images that have none


def read_dataset(config: DataConfig, run: Path | None = None, *, keep: bool = True) -> Dataset:
    """The set that a config names, every record in a split. DataError, ConfigError: as its reader says.

    run     folder with the split, where the set has none of its own; `keep`: it may be written
    """
    if config.root is None:
        raise DataError("data.root: no data, got nothing. Give the folder of a labelled set: --set data.root=DIR")
    dataset = read_named(config.root) if config.format == NAMED else formats.read(
        config.root, config.format, unlabelled=config.unlabelled)
    if all(record.split is not None for record in dataset.records):
        return dataset
    path = run / "splits.json" if run is not None else None
    previous = splits.load(path) if path is not None and path.is_file() else None
    divided = splits.split(dataset, ratios=config.ratios, previous=previous)
    if path is not None and keep:
        splits.save(path, divided)
    return splits.apply(dataset, divided)


def read_named(root: Path) -> Dataset:
    """Images called CLASS_anything, in any subfolder, each showing one defect from border to border."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Check data.root")
    records = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and images.is_image(path)):
        label, mark, _ = path.stem.partition("_")
        if not mark or not label:
            raise DataError(f"{path}: its name says no class, got '{path.stem}'. Call it CLASS_anything{path.suffix}")
        size = images.read_size(path)
        records.append(Record(image=path, name=path.relative_to(root).with_suffix("").as_posix(), size=size,
                              instances=(Instance(label=label, box=(0, 0, *size)),)))
    if not records:
        raise DataError(f"{root}: no images. Check data.root")
    classes = sorted({record.instances[0].label for record in records})
    return Dataset(root=root, format=NAMED, classes=tuple(classes), records=tuple(records))


def chosen_split(records: Sequence[Record], split: str) -> list[Record]:
    return [record for record in records if record.split == split]


def held_out_split(records: Sequence[Record]) -> str:
    """The split that is evaluated on: val; test where there is no val; train where there is neither."""
    found = {record.split for record in records}
    return next((name for name in ("val", "test") if name in found), "train")


def clean_records(dataset: Dataset) -> list[Record]:
    """Defect-free images, and the twins of the others as records of their own. DataError: there are none."""
    found = [record for record in dataset.records if record.is_good]
    found += [Record(image=record.clean, name=f"{record.name} (clean)", size=record.size, group=record.group,
                     split=record.split) for record in dataset.records if record.clean is not None and record.instances]
    if not found:
        unsure = sum(not record.verified for record in dataset.records)
        more = f"; {unsure} have no label file: --set data.unlabelled=good takes those" if unsure else ""
        raise DataError(f"{dataset.root}: no defect-free image to learn from, got {len(dataset)} images{more}. Add "
                        "defect-free images, or twins of the defective ones")
    unique = {record.image: record for record in found}
    return list(unique.values())


def chosen_classes(dataset: Dataset, config: DefectDataConfig) -> tuple[str, ...]:
    """The labels that are learnt, in the order of their numbers. DataError: one that the set does not have."""
    for name in config.classes or ():
        if name not in dataset.classes:
            raise DataError(f"data.classes: no such class in {config.root}, got '{name}'. "
                            f"{did_you_mean(name, dataset.classes)}It has {', '.join(dataset.classes)}")
    return tuple(config.classes or dataset.classes)


class Squares(TorchDataset):
    """Squares of defect-free images, indexed by (index, draw): {"image": uint8 [3, S, S]}."""

    def __init__(self, records: Sequence[Record], config: ContextDataConfig, side_px: int, seed: int):
        self.records, self.config, self.side, self.seed = list(records), config, side_px, seed
        self.fits = sum(3 * record.size[0] * record.size[1] for record in records) <= KEPT_BYTES
        self.kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index_and_draw: tuple[int, int]) -> dict[str, torch.Tensor]:
        index, draw = index_and_draw
        return self.square(index, rng(self.seed, draw), still=False)

    def held_out(self, count: int) -> list[dict[str, torch.Tensor]]:
        """`count` squares spread over all images, the same every time, not turned."""
        return [self.square(number % len(self), rng(HELD_OUT, number), still=True) for number in range(count)]

    def square(self, index: int, draw: np.random.Generator, *, still: bool) -> dict[str, torch.Tensor]:
        pixels = self.pixels(index)
        if self.config.fit == "whole":
            square = squeezed(pixels, self.side)
        else:
            spare = [max(length - self.side, 0) for length in pixels.shape[:2]]
            top, left = (int(draw.integers(0, length + 1)) for length in spare)
            square = mirrored(pixels, left, top, self.side)
        turn = 0 if still or not self.config.turns else int(draw.integers(8))
        return {"image": as_planes(turned(square, turn))}

    def pixels(self, index: int) -> np.ndarray:
        """The image, decoded once where all of them fit into memory."""
        if index in self.kept:
            return self.kept[index]
        pixels = eight_bit(images.read_image(self.records[index].image))
        if self.fits:
            self.kept[index] = pixels
        return pixels


@dataclass(frozen=True)
class Patch:
    name: str
    label: int


class Patches(TorchDataset):
    """Patches round the defects, indexed by (index, draw): {"image": uint8 [3, S, S], "label": int64}.

    Every region is cut out once, at native resolution and with room for the jitter; beyond the image's border it is
    mirrored. With `balance`, the draw says which class, then which of its patches; the index says nothing then.
    """

    def __init__(self, records: Sequence[Record], classes: Sequence[str], config: DefectDataConfig, side_px: int,
                 seed: int):
        self.config, self.side, self.seed = config, side_px, seed
        self.patches, regions, self.too_large = [], [], 0
        with Progress(len(records), "images read") as progress:
            for record in records:
                for label, region in self.regions(record, classes):
                    self.patches.append(Patch(record.name, label))
                    regions.append(region)
                progress.step()
        if not regions:
            large = f"; {self.too_large} are longer than {config.largest} sides of a patch" if self.too_large else ""
            raise DataError(f"data: no defect of {', '.join(classes)} to learn from, got {len(records)} images{large}. "
                            "Check data.root and data.classes, or raise network.size_px")
        self.store = torch.from_numpy(np.stack(regions)).share_memory_()
        self.by_class = [rows for label in range(len(classes))
                         if (rows := [row for row, patch in enumerate(self.patches) if patch.label == label])]

    def regions(self, record: Record, classes: Sequence[str]) -> list[tuple[int, np.ndarray]]:
        wanted = [item for item in record.instances if item.label in classes and not item.ignore]
        if not wanted:
            return []
        pixels, found = eight_bit(images.read_image(record.image)), []
        room = self.side + 2 * self.config.jitter_px
        for item in wanted:
            x1, y1, x2, y2 = item.box
            whole = (x1, y1, x2, y2) == (0, 0, *record.size)
            if whole:
                region = mirrored(squeezed(pixels, self.side), -self.config.jitter_px, -self.config.jitter_px, room)
            elif max(x2 - x1, y2 - y1) > self.config.largest * self.side:
                self.too_large += 1
                continue
            else:
                region = mirrored(pixels, round((x1 + x2 - room) / 2), round((y1 + y2 - room) / 2), room)
            found.append((classes.index(item.label), region))
        return found

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index_and_draw: tuple[int, int]) -> dict[str, torch.Tensor]:
        index, draw = index_and_draw
        numbers = rng(self.seed, draw)
        if self.config.balance:
            rows = self.by_class[int(numbers.integers(len(self.by_class)))]
            index = rows[int(numbers.integers(len(rows)))]
        jitter = self.config.jitter_px
        return self.patch(index, tuple(numbers.integers(0, 2 * jitter + 1, 2)),
                          int(numbers.integers(8)) if self.config.turns else 0)

    def held_out(self, count: int) -> list[dict[str, torch.Tensor]]:
        """Up to `count` patches, the classes in turn, in their middle and not turned: the same every time."""
        longest = max(map(len, self.by_class))
        rows = [rows[place] for place in range(longest) for rows in self.by_class if place < len(rows)]
        return [self.patch(row, (self.config.jitter_px,) * 2, 0) for row in rows[:count]]

    def patch(self, index: int, corner: tuple[int, int], turn: int) -> dict[str, torch.Tensor]:
        x, y = corner
        square = self.store[index].numpy()[y:y + self.side, x:x + self.side]
        return {"image": as_planes(turned(square, turn)), "label": torch.tensor(self.patches[index].label)}


def mirrored(pixels: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """The square from (left, top), `side` px long; beyond its border the image is mirrored."""
    rows, columns = (mirror_indices(length, first, side) for first, length in zip((top, left), pixels.shape[:2]))
    return pixels[rows[:, None], columns]


@functools.lru_cache(maxsize=4096)
def mirror_indices(length: int, first: int, count: int) -> np.ndarray:
    """first .. first + count - 1, folded back into 0 .. length - 1 as between two mirrors."""
    places = np.arange(first, first + count) % (2 * length)
    return np.where(places < length, places, 2 * length - 1 - places)


def squeezed(pixels: np.ndarray, side: int) -> np.ndarray:
    if pixels.shape[:2] == (side, side):
        return pixels
    smaller = max(pixels.shape[:2]) > side
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def turned(square: np.ndarray, turn: int) -> np.ndarray:
    """[S, S, 3] turned by `turn` % 4 quarters, and mirrored from 4 on."""
    return np.rot90(square[:, ::-1] if turn >= 4 else square, turn % 4)


def as_planes(square: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))


def eight_bit(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else (pixels / 257).round().astype(np.uint8)
