"""What anomaly detection learns from and is measured on: good images by part, and crops with synthetic defects."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.data import formats, splits
from core.data.images import read_image, to_tensor
from core.data.records import Dataset as LabelledSet
from core.data.records import Record
from core.errors import DataError
from core.seeding import rng
from core.tiling import mirror

from .anomaly_settings import AnomalyDataConfig, TrainConfig
from .foreground import foreground
from .pasted import pasted
from .varied import varied

LEAST_DEVIATION = 1e-3      # of an image in 0..1: what is flatter is not scaled up
SAMPLED_PX = 100_000        # of an image, from which its middle and spread are taken


def open_data(config: AnomalyDataConfig, kept: Path | None = None) -> tuple[LabelledSet, splits.Splits]:
    """Read a set and fill in the splits: "train" and "val" hold good images alone, "test" all others.

    A part with a defect lies in test with all of its images. Where the set itself has training images but no
    validation ones, some of its training parts become those. kept: splits of an earlier start.
    """
    dataset = formats.read(config.root, config.format, unlabelled=config.unlabelled)
    bad = {splits.group_of(record) for record in dataset.records if record.instances}
    given = {record.split for record in dataset.good if splits.group_of(record) not in bad} - {None}
    carve, ratios = "train" in given and "val" not in given, config.ratios
    if carve:
        ratios = (ratios[0] / sum(ratios[:2]), ratios[1] / sum(ratios[:2]), 0.0)

    def placed(record: Record) -> Record:
        if splits.group_of(record) in bad or not record.is_good:
            return replace(record, split="test")
        return replace(record, split=None) if carve and record.split == "train" else record
    dataset = replace(dataset, records=tuple(map(placed, dataset.records)))
    path = config.splits or kept
    previous = splits.load(path) if path and path.is_file() else None
    ratios, seed = (previous.ratios, previous.seed) if previous else (ratios, config.split_seed)
    found = splits.split(dataset, ratios=ratios, seed=seed, previous=previous)
    dataset = splits.apply(dataset, found)
    if not dataset.of_split("train"):
        raise DataError(f"{config.root}: no good image to learn from, got {len(dataset)} images, {len(bad)} parts of "
                        "which have defects. Add images of parts without any")
    return dataset, found


def good_of(dataset: LabelledSet, split: str) -> tuple[Record, ...]:
    return tuple(record for record in dataset.of_split(split) if record.is_good)


def prepared(pixels: np.ndarray, config: AnomalyDataConfig, light: str) -> Tensor:
    """Pixels [H, W, 3] -> float32 [3, h, w], at the config's size and as features of that `light` want it."""
    height, width = pixels.shape[:2]
    size = config.resize_px or (max(1, round(width * config.scale)), max(1, round(height * config.scale)))
    if size != (width, height):
        smaller = size[0] * size[1] < width * height
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    image = to_tensor(pixels)
    if light == "plain":
        return image
    step = max(1, round((image[0].numel() / SAMPLED_PX) ** 0.5))
    low, middle, high = torch.quantile(image[:, ::step, ::step].flatten(), torch.tensor([0.16, 0.5, 0.84]))
    return (image - middle) / ((high - low) / 2).clamp(min=LEAST_DEVIATION)


def part_mask(pixels: np.ndarray, config: AnomalyDataConfig, size: Sequence[int]) -> Tensor | None:
    """Where the part is, bool [h, w] at the prepared image's size; None: everywhere."""
    if config.foreground.method == "none":
        return None
    mask = foreground(pixels, config.foreground).mask.astype(np.uint8)
    return torch.from_numpy(cv2.resize(mask, tuple(size[::-1]), interpolation=cv2.INTER_NEAREST) > 0)


class Images:
    """Prepared images of records, one after the other, to be gone through more than once."""

    def __init__(self, records: Sequence[Record], config: AnomalyDataConfig, light: str, device: torch.device):
        self.records, self.config, self.light, self.device = records, config, light, device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None, np.ndarray]]:
        """Image [3, h, w], the part's mask [h, w] or None, and the pixels as they are."""
        for record in self.records:
            pixels = read_image(record.image)
            image = prepared(pixels, self.config, self.light)
            mask = part_mask(pixels, self.config, image.shape[1:])
            yield image.to(self.device), None if mask is None else mask.to(self.device), pixels

    def tiles(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Batches of one, images larger than a tile in pieces."""
        side = self.config.tile_px
        for image, mask, _ in self:
            for top in range(0, image.shape[1], side):
                for left in range(0, image.shape[2], side):
                    place = slice(top, top + side), slice(left, left + side)
                    yield image[:, place[0], place[1]][None], None if mask is None else mask[place][None]


class Crops(Dataset):
    """Training crops of good images with synthetic defects; crop (index, draw) depends on the seed and draw alone.

    Returns float32 [3, S, S], prepared as for a light, and float32 [1, S, S], 1 on the defects.
    """

    def __init__(self, records: Sequence[Record], config: AnomalyDataConfig, train: TrainConfig, light: str, seed: int,
                 defects: bool):
        self.records, self.config, self.train, self.light, self.seed = records, config, train, light, seed
        self.defects, self.held = defects, {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index_and_draw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, draw = index_and_draw
        random = rng(self.seed, draw)
        crop = self._crop(index, random)
        mask = np.zeros(crop.shape[:2], bool)
        if self.defects:
            if self.light == "standard":
                crop, mask = self._with_defects(crop, random)
            else:
                middle, unit = crop.mean(), max(crop.std(), np.float32(LEAST_DEVIATION))
                crop, mask = self._with_defects(crop, random, middle, unit)
                crop = (crop * unit + middle).clip(0, 1)
        for axis in (0, 1):
            if random.random() < 0.5:
                crop, mask = np.flip(crop, axis), np.flip(mask, axis)
        pixels = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32))
        return pixels.expand(3, -1, -1), torch.from_numpy(mask[None].astype(np.float32))

    def _with_defects(self, crop: np.ndarray, random: np.random.Generator, middle: float = 0.0,
                      unit: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """A crop in units from a middle, changed as good ones differ and with none, one or more defects; their mask."""
        def other() -> np.ndarray:
            return (self._crop(int(random.integers(len(self.records))), random) - middle) / unit
        crop, mask, chances = (crop - middle) / unit, np.zeros(crop.shape[:2], bool), np.array(self.train.defects)
        if self.train.varied:
            crop = varied(crop, other(), random)
        for _ in range(random.choice(len(chances), p=chances / chances.sum())):
            crop, more = pasted(crop, other(), random)
            mask |= more
        return crop * np.float32(random.uniform(0.8, 1.25)) + np.float32(random.normal(0, 0.15)), mask

    def _crop(self, index: int, random: np.random.Generator) -> np.ndarray:
        """A crop of an image, float32 [S, S, C], often at its border, where parts end; a smaller image is mirrored.

        Cut a little smaller or larger, and scaled, where images may be stretched.
        """
        image, side, spans = self._image(index), self.train.crop_px, []
        for length, stretch in zip(image.shape[:2], np.exp(random.uniform(-1, 1, 2) * self.train.stretch)):
            cut = round(side * stretch)
            room = max(length - cut, 0)
            first = min(max(int(random.integers(-cut // 4, room + cut // 4 + 1)), 0), room)
            spans.append(np.arange(first, first + cut) if length >= cut else mirror(length, cut).numpy())
        crop = image[spans[0]][:, spans[1]]
        if crop.shape[:2] == (side, side):
            return crop
        smaller = crop.shape[0] > side and crop.shape[1] > side
        scaled = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return scaled.reshape(side, side, -1)

    def _image(self, index: int) -> np.ndarray:
        """A prepared image [H, W, 3], or a grey one [H, W, 1], kept where there is room."""
        if index in self.held:
            return self.held[index]
        image = prepared(read_image(self.records[index].image), self.config, self.light)
        grey = image[:1] if torch.equal(image[0], image[1]) and torch.equal(image[0], image[2]) else image
        made = np.ascontiguousarray(grey.numpy().transpose(1, 2, 0))
        if made.nbytes * (len(self.held) + 1) <= self.train.cache_mib * 2 ** 20:
            self.held[index] = made
        return made

    def __getstate__(self) -> dict:
        return {**self.__dict__, "held": {}}
