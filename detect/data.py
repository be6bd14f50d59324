"""What the detector learns from: windows of images with the masks of their defects, good ones among them."""
import math
import zlib
from collections.abc import Sequence
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
from core.data.shapes import Crop, instance_crop, instance_mask, tight
from core.errors import DataError
from core.seeding import rng
from core.visualise import grid, overlay

from .settings import AugmentConfig, DataConfig

KEPT_BYTES = 256 * 2 ** 20      # of decoded images, in each process that loads data
LEAST_PX = 4            # of a defect that is left in a window, or it does not count
STRIDES = 4, 8, 16, 32, 64      # of the pyramid's levels
GROUPINGS = 20          # rounds of k-means
FEATHER_PX = 2.0        # over which a pasted defect fades in

Target = dict[str, Tensor]


def open_data(config: DataConfig, kept: Path | None = None, *, shapes: bool = True,
              ) -> tuple[LabelledSet, splits.Splits]:
    """Read a set, check that its defects have shapes where these are needed, and fill in the splits.

    kept    the splits of an earlier start
    """
    dataset = formats.read(config.root, config.format, unlabelled=config.unlabelled, classes=config.classes)
    for record in dataset.records if shapes else ():
        if any(not instance.has_shape and not instance.ignore for instance in record.instances):
            raise DataError(f"{record.image}: boxes alone, got a defect without a shape. Label masks or polygons, or "
                            "have scripts/preprocess_to_coco.py make shapes of rectangles")
    if not dataset.classes:
        raise DataError(f"{config.root}: no defect at all, got {len(dataset)} images. Label some")
    path = config.splits or kept
    previous = splits.load(path) if path and path.is_file() else None
    ratios, seed = (previous.ratios, previous.seed) if previous else (config.ratios, config.split_seed)
    found = splits.split(dataset, ratios=ratios, seed=seed, previous=previous)
    return splits.apply(dataset, found), found


class Windows(Dataset):
    """Training samples; sample (index, draw) depends on the seed and the draw alone.

    Returns float32 [3, H, W] in 0..1, and boxes float32 [N, 4] (x1 y1 x2 y2 px, exclusive), labels int64 [N] from 1,
    masks uint8 [N, H, W]. Of a good image N is 0. Defects to be ignored are left out.
    """

    def __init__(self, records: tuple[Record, ...], classes: tuple[str, ...], config: DataConfig,
                 augment: AugmentConfig, seed: int):
        self.classes, self.config, self.augment, self.seed = classes, config, augment, seed
        self.defective = [record for record in records if any(not item.ignore for item in record.instances)]
        self.good = [record for record in records if record.is_good]
        self.decoded: dict[Path, np.ndarray] = {}
        if not self.defective:
            raise DataError(f"{config.root}: no defect to learn from, got none in {len(records)} training images. "
                            "Check the classes and the split")

    def __len__(self) -> int:
        """Each defective image once, and the good ones that go with them."""
        share = self.config.good_share if self.good else 0.0
        return max(1, round(len(self.defective) / (1 - share)))

    def __getitem__(self, index_and_draw: tuple[int, int]) -> tuple[Tensor, Target]:
        index, draw = index_and_draw
        random = rng(self.seed, draw)
        bad = index < len(self.defective)
        record = self.defective[index] if bad else self.good[random.integers(len(self.good))]
        pixels, crops = self._window(record, random)
        if random.random() < self.augment.copy_paste:
            pixels, crops = self._pasted(pixels, crops, random)
        pixels, masks = _turned(pixels, [(_whole(crop, pixels.shape), label) for crop, label in crops], self.augment,
                                random)
        return torch.from_numpy(_lit(pixels, self.augment, random)), target_of(masks, pixels.shape)

    @staticmethod
    def collate(samples: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
        return [image for image, _ in samples], [target for _, target in samples]

    def _window(self, record: Record, random: np.random.Generator) -> tuple[np.ndarray, list[tuple[Crop, int]]]:
        """A window of an image, round one of its defects if it has some, and the defects in it."""
        pixels = self._decoded(record)
        items = [item for item in record.instances if not item.ignore]
        box = items[random.integers(len(items))].box if items else None
        spans = []
        for axis, length in enumerate(record.size):
            side = min(self.config.crop_px, length)
            if box:
                low = box[axis] + random.uniform() * (box[axis + 2] - box[axis]) - side * random.uniform(0.2, 0.8)
            else:
                low = random.uniform(0, length - side + 1)
            first = int(np.clip(low, 0, length - side))
            spans.append((first, first + side))
        (left, right), (top, bottom) = spans
        inside = []
        for item in items:
            crop, x, y = instance_crop(item, record.size)
            u1, v1, u2, v2 = max(x, left), max(y, top), min(x + crop.shape[1], right), min(y + crop.shape[0], bottom)
            if u1 < u2 and v1 < v2:
                piece = tight(crop[v1 - y:v2 - y, u1 - x:u2 - x], u1 - left, v1 - top)
                if np.count_nonzero(piece[0]) >= min(LEAST_PX, np.count_nonzero(crop)):
                    inside.append((piece, 1 + self.classes.index(item.label)))
        return np.ascontiguousarray(pixels[top:bottom, left:right]), inside

    def _decoded(self, record: Record) -> np.ndarray:
        """An image's pixels, kept for the next time as far as there is room."""
        if record.image in self.decoded:
            return self.decoded[record.image]
        pixels = read_image(record.image)
        if pixels.shape[1::-1] != tuple(record.size):
            raise DataError(f"{record.image}: not the size it had when the set was read, got {pixels.shape[1]}x"
                            f"{pixels.shape[0]} for {record.size[0]}x{record.size[1]}. Read the set anew")
        if sum(kept.nbytes for kept in self.decoded.values()) + pixels.nbytes <= KEPT_BYTES:
            self.decoded[record.image] = pixels
        return pixels

    def _pasted(self, pixels: np.ndarray, crops: list, random: np.random.Generator) -> tuple[np.ndarray, list]:
        """A defect of another image at a place where none is, its brightness moved to that of the place."""
        donor, found = self._window(self.defective[random.integers(len(self.defective))], random)
        if not found or donor.dtype != pixels.dtype:
            return pixels, crops
        (crop, x, y), label = found[random.integers(len(found))]
        margin = int(3 * FEATHER_PX)
        room = np.subtract(pixels.shape[:2], np.add(crop.shape, 2 * margin))
        if room.min() <= 0:
            return pixels, crops
        top, left = (int(random.integers(0, space)) + margin for space in room)
        height, width = crop.shape
        if any(left < u + one.shape[1] and u < left + width and top < v + one.shape[0] and v < top + height
               for (one, u, v), _ in crops):
            return pixels, crops
        alpha = cv2.GaussianBlur(np.pad(crop, margin).astype(np.float32), (0, 0), FEATHER_PX)
        alpha = np.maximum(alpha, np.pad(crop, margin))[..., None]
        rows, columns = (np.clip(np.arange(-margin, length + margin) + at, 0, limit - 1) for length, at, limit in
                         zip(crop.shape, (y, x), donor.shape))
        source = donor[rows][:, columns].astype(np.float32)
        place = slice(top - margin, top + height + margin), slice(left - margin, left + width + margin)
        under = pixels[place].astype(np.float32)
        around = alpha[..., 0] < 0.05
        shift = (under[around] - source[around]).mean() if around.any() else 0.0
        pixels = pixels.copy()
        pixels[place] = np.clip(under + alpha * (source + shift - under), 0, np.iinfo(pixels.dtype).max)
        return pixels, [*crops, ((crop, left, top), label)]


def defect_mask(record: Record) -> np.ndarray:
    """All defects of an image that count, bool [H, W]."""
    mask = np.zeros(record.size[::-1], bool)
    for item in record.instances:
        if not item.ignore:
            mask |= instance_mask(item, record.size)
    return mask


def anchor_sides(records: Sequence[Record], crop_px: int, side_px: int) -> tuple[int, ...]:
    """Sides of the anchors at strides 4 to 64: the means of five groups of defect sizes, in px of the scaled samples.

    The groups are those of k-means on log(sqrt(width * height)). An anchor is never less than two strides long, or a
    defect between two of them would overlap with neither.
    """
    logs = np.sort([math.log(max(math.sqrt((x2 - x1) * (y2 - y1)) * side_px / min(crop_px, *record.size), 1.0))
                    for record in records for x1, y1, x2, y2 in (item.box for item in record.instances
                                                                if not item.ignore)])
    means = np.linspace(*np.quantile(logs, (0.05, 0.95)), len(STRIDES))
    for _ in range(GROUPINGS):
        group = np.abs(logs[:, None] - means).argmin(axis=1)
        means = np.array([logs[group == one].mean() if (group == one).any() else mean
                          for one, mean in enumerate(means)])
    return tuple(max(round(math.exp(mean)), 2 * stride) for mean, stride in zip(np.sort(means), STRIDES))


def examples(records: Sequence[Record], count: int) -> list[Record]:
    """The same few of them at every look, half of them good: those whose names' checksums are least."""
    ranked = sorted(records, key=lambda record: zlib.crc32(record.name.encode()))
    good = [record for record in ranked if record.is_good]
    bad = [record for record in ranked if not record.is_good]
    half = max(count // 2, count - len(bad))
    return [*bad[:count - min(half, len(good))], *good[:half]]


def training_picture(samples: "Windows", columns: int = 4, rows: int = 2) -> np.ndarray:
    """The first augmented samples with their masks: broken labels show here before a training does."""
    cells = []
    for draw in range(rows * columns):
        image, target = samples[draw * len(samples) // (rows * columns), draw]
        pixels = np.rint(image.numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        cells.append(overlay(pixels, list(target["masks"].numpy() > 0), kinds=(target["labels"] - 1).tolist()))
    return grid([cells[row * columns:(row + 1) * columns] for row in range(rows)])


def target_of(masks: list[tuple[np.ndarray, int]], shape: tuple[int, ...]) -> Target:
    """Boxes, labels and masks of the defects that have a pixel."""
    kept = [(mask, label) for mask, label in masks if mask.any()]
    stacked = np.stack([mask for mask, _ in kept]) if kept else np.zeros((0, *shape[:2]), bool)
    boxes = [(x, y, x + crop.shape[1], y + crop.shape[0]) for crop, x, y in (tight(mask, 0, 0) for mask in stacked)]
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([label for _, label in kept], dtype=torch.int64),
            "masks": torch.from_numpy(stacked.astype(np.uint8))}


def _whole(crop: Crop, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape[:2], bool)
    piece, x, y = crop
    mask[y:y + piece.shape[0], x:x + piece.shape[1]] = piece
    return mask


def _turned(pixels: np.ndarray, masks: list, config: AugmentConfig, random: np.random.Generator):
    """The same mirrorings and quarter turns of image and masks."""
    flips = random.random(2) < 0.5 * config.flip
    quarters = int(random.integers(4)) * config.turn

    def turn(array: np.ndarray) -> np.ndarray:
        array = array[:, ::-1] if flips[0] else array
        array = array[::-1] if flips[1] else array
        return np.ascontiguousarray(np.rot90(array, quarters))
    return turn(pixels), [(turn(mask), label) for mask, label in masks]


def _lit(pixels: np.ndarray, config: AugmentConfig, random: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and noise: float32 [3, H, W] in 0..1."""
    image = to_tensor(pixels).numpy()
    factor = 1 + random.uniform(-config.contrast, config.contrast)
    image = (image - 0.5) * np.float32(factor) + np.float32(0.5 + random.uniform(-config.brightness, config.brightness))
    if random.random() < 1 / 3:
        deviation = np.float32(random.uniform(0, config.noise))
        image = image + deviation * random.standard_normal(image.shape[1:], dtype=np.float32)[None]
    return np.ascontiguousarray(image.clip(0, 1), dtype=np.float32)
