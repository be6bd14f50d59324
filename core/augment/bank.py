"""The training set's defects, cut out with their surroundings, their pixels and what was there without them."""
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial

import cv2
import numpy as np

from ..data.images import read_image
from ..data.records import Dataset, Instance, Record
from ..data.shapes import instance_crop
from ..errors import DataError
from . import surroundings
from .blending import USUAL_BRIGHTNESS, rim_px, two_level
from .generator import Box
from .labels import SMALLEST_AREA_PX, tight_mask
from .removal import same_scene, without_defect

CROPS_PER_CLASS = 200
PIXELS_PER_CLASS = 30_000_000   # windows of one class together; both limits choose evenly over the sorted records
LARGEST_MARGIN_PX = 96
SCENES = 4                      # other pictures of the group that are looked at for the same place without the defect
PRIOR = 0.3                     # weight of USUAL_BRIGHTNESS, in squared logarithms
SPECK_SHARE = 0.01              # of the median area of a class: what is smaller is dirt in the masks
BOX_LIKE = 0.97                 # a "mask" that fills its box by this much says no more than the box


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One real defect in its window.

    label, record, group    class name, the record's name and its group
    box         the defect's tight box, in px of the image
    origin      x, y of the window in the image; image_size: width, height of the image in px
    pixels      uint8 or uint16 [h, w, 3], the window
    mask        bool [h, w], the defect's pixels; mask_from: "label", "twin" (difference to such a clean picture),
                "estimate" (difference to a guess of the clean image) or "box" (nothing better than the box was found)
    clean       the window without the defect, like pixels; clean_from: "twin", "scene" (another picture of the group
                shows the very same place), "exemplar" (the best fitting place of the same image stands in) or "smooth"
                (colours carried in from the edge)
    """
    label: str
    record: str
    group: str
    box: Box
    origin: tuple[int, int]
    image_size: tuple[int, int]
    pixels: np.ndarray
    mask: np.ndarray
    clean: np.ndarray
    mask_from: str
    clean_from: str

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the defect."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    @property
    def inner_box(self) -> Box:
        """The defect's box in px of the window."""
        x, y = self.origin
        return self.box[0] - x, self.box[1] - y, self.box[2] - x, self.box[3] - y

    @property
    def sides(self) -> tuple[bool, bool, bool, bool]:
        """Whether the defect is cut by the image's left, top, right and bottom border."""
        x1, y1, x2, y2 = self.box
        return x1 <= 1, y1 <= 1, x2 >= self.image_size[0] - 1, y2 >= self.image_size[1] - 1

    @cached_property
    def description(self) -> np.ndarray:
        """The clean material under and around the defect (surroundings.describe)."""
        return surroundings.describe(self.clean, self.inner_box)

    @cached_property
    def black_and_white(self) -> bool:
        """Whether its picture has two levels only."""
        return two_level(self.pixels.astype(np.float32) / np.iinfo(self.pixels.dtype).max)

    @cached_property
    def rim_px(self) -> float:
        """How wide the defect's rim is: 0 where it is sharp or the defect small (blending.rim_px)."""
        return rim_px(self.pixels, self.mask)


@dataclass(frozen=True)
class DefectBank:
    """The crops in the order of their records; for each class that has one, the turns (surroundings.turn) that keep
    the direction of the material and the side that the light comes from."""
    crops: tuple[Crop, ...]
    turns: dict[str, tuple[int, ...]]
    _of: dict[str, tuple[Crop, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_label = {label: tuple(crop for crop in self.crops if crop.label == label) for label in self.labels}
        object.__setattr__(self, "_of", by_label)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that have a sample, in the data set's order."""
        return tuple(self.turns)

    def of(self, label: str) -> tuple[Crop, ...]:
        """The crops of one class; empty where the class has none."""
        return self._of.get(label, ())

    @cached_property
    def brightness(self) -> dict[str, float]:
        """By class, the power 0..1 with which a defect follows the brightness round it: 1 a shade, 0 a paint."""
        return {label: _brightness(self.of(label)) for label in self.labels}

    @classmethod
    def build(cls, dataset: Dataset, *, margin_px: int = 16, workers: int = 1) -> "DefectBank":
        """Cut the defects out of a data set, `ignore`d ones left out. DataError: no usable defect in it.

        margin_px  least margin of a window round its defect; a large defect has more
        workers    threads that read; the result does not depend on them
        """
        jobs = _chosen(dataset, margin_px)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            done = list(pool.map(partial(_read, margin_px=margin_px), *zip(*jobs))) if jobs else []
        crops = _without_specks([crop for crops, _ in done for crop in crops])
        if not crops:
            raise DataError(f"{dataset.root}: no defect to learn from, got {len(dataset)} records without one. "
                            "Label at least one defect")
        direction = np.mean([direction for _, direction in done], axis=0)
        turns = {label: _turns(direction, [crop for crop in crops if crop.label == label]) for label in dataset.classes
                 if any(crop.label == label for crop in crops)}
        return cls(crops, turns)


def _without_specks(crops: list[Crop]) -> tuple[Crop, ...]:
    """The crops less the dirt of masks: parts too small for any label, or far smaller than the class's defects are."""
    areas: dict[str, list[int]] = {}
    for crop in crops:
        areas.setdefault(crop.label, []).append(int(crop.mask.sum()))
    least = {label: min(max(SMALLEST_AREA_PX, SPECK_SHARE * np.median(found)), max(found))
             for label, found in areas.items()}
    return tuple(crop for crop in crops if crop.mask.sum() >= least[crop.label])


def _chosen(dataset: Dataset, margin_px: int) -> list[tuple[Record, tuple[Instance, ...], tuple[Record, ...]]]:
    """The records to be read, each with the instances to be cut out of it and others of its group."""
    by_label: dict[str, list[tuple[int, Instance]]] = {label: [] for label in dataset.classes}
    for number, record in enumerate(dataset.records):
        for instance in record.instances:
            if not instance.ignore:
                by_label[instance.label].append((number, instance))
    taken: dict[int, list[Instance]] = {}
    for found in by_label.values():
        for number, instance in _evenly(found, margin_px):
            taken.setdefault(number, []).append(instance)
    groups: dict[tuple, list[Record]] = {}
    for record in dataset.records:
        if record.group:
            groups.setdefault((record.group, record.size), []).append(record)
    return [(record, tuple(taken[number]), _others(record, groups.get((record.group, record.size), [])))
            for number, record in ((number, dataset.records[number]) for number in sorted(taken))]


def _others(record: Record, group: list[Record]) -> tuple[Record, ...]:
    """The next few pictures of the same size and group: they may show the same place without the defect."""
    if record.clean is not None or len(group) < 2:
        return ()
    here = group.index(record)
    return tuple(group[(here + step) % len(group)] for step in range(1, min(SCENES + 1, len(group))))


def _evenly(found: Sequence, margin_px: int) -> list:
    """As many as the limits allow, evenly spaced."""
    if not found:
        return []
    areas = [_window_area(instance, margin_px) for _, instance in found]
    count = min(len(found), CROPS_PER_CLASS, max(1, int(PIXELS_PER_CLASS / (sum(areas) / len(areas)))))
    return [found[i * len(found) // count] for i in range(count)]


def _turns(direction: np.ndarray, crops: list[Crop]) -> tuple[int, ...]:
    lit = np.array([surroundings.bright_side(crop.pixels, crop.mask) for crop in crops])
    return surroundings.turns_that_keep(direction, lit)


def _brightness(crops: Sequence[Crop]) -> float:
    """Slope of log grey level of the defects over that of what was there before, drawn towards USUAL_BRIGHTNESS."""
    levels = np.array([[image[crop.mask].mean() / np.iinfo(image.dtype).max for image in (crop.clean, crop.pixels)]
                       for crop in crops])
    before, after = np.log(levels + 0.02).T
    before, after = before - before.mean(), after - after.mean()
    slope = (before @ after + PRIOR * USUAL_BRIGHTNESS) / (before @ before + PRIOR)
    return float(np.clip(slope, 0, 1))


def _window_area(instance: Instance, margin_px: int) -> float:
    x1, y1, x2, y2 = instance.box
    margin = _margin((x2 - x1, y2 - y1), margin_px)
    return (x2 - x1 + 2 * margin) * (y2 - y1 + 2 * margin)


def _margin(size_px: tuple[float, float], margin_px: int) -> int:
    """Margin of a window in px: what the description looks at, within limits."""
    return max(margin_px, min(LARGEST_MARGIN_PX, round(0.6 * max(size_px))))


def _read(record: Record, instances: tuple[Instance, ...], others: tuple[Record, ...], *,
          margin_px: int) -> tuple[list[Crop], np.ndarray]:
    """The crops of one record, and the direction of its picture."""
    image = read_image(record.image)
    twin = read_image(record.clean) if record.clean else None
    if twin is not None and (twin.shape != image.shape or twin.dtype != image.dtype):
        raise DataError(f"{record.clean}: not the twin of {record.image}, got {twin.shape[1]}x{twin.shape[0]} "
                        f"{twin.dtype} for {image.shape[1]}x{image.shape[0]} {image.dtype}. Make their sizes equal")
    defects = _labelled(record)
    scenes = [(read_image(other.image), _labelled(other)) for other in others]
    crops = [_cut_out(record, instance, image, twin, defects, scenes, margin_px) for instance in instances]
    return [crop for crop in crops if crop is not None], surroundings.direction(image if twin is None else twin)


def _labelled(record: Record) -> np.ndarray:
    """bool [H, W]: all labelled pixels of a record."""
    defects = np.zeros(record.size[::-1], bool)
    for instance in record.instances:
        crop, x, y = instance_crop(instance, record.size)
        defects[y:y + crop.shape[0], x:x + crop.shape[1]] |= crop
    return defects


def _cut_out(record: Record, instance: Instance, image, twin, defects, scenes, margin_px: int) -> Crop | None:
    shape, x, y = instance_crop(instance, record.size)
    if not shape.size:
        return None
    margin = _margin(shape.shape, margin_px)
    x1, y1 = max(0, x - margin), max(0, y - margin)
    x2, y2 = min(record.size[0], x + shape.shape[1] + margin), min(record.size[1], y + shape.shape[0] + margin)
    labelled = np.zeros((y2 - y1, x2 - x1), bool)
    labelled[y - y1:y - y1 + shape.shape[0], x - x1:x - x1 + shape.shape[1]] = shape
    pixels = image[y1:y2, x1:x2].copy()
    clean, clean_from = _cleaned(image, twin, (x1, y1, x2, y2), labelled, defects, scenes)
    mask, mask_from = labelled, "label"
    seen = clean_from in ("twin", "scene")
    if not instance.has_shape or (seen and shape.mean() > BOX_LIKE):
        mask, mask_from = _pixels_in_box(clean, pixels, labelled, "twin" if seen else "estimate")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(x1 + columns[0]), int(y1 + rows[0]), int(x1 + columns[-1] + 1), int(y1 + rows[-1] + 1))
    return Crop(label=instance.label, record=record.name, group=record.group, box=box, origin=(x1, y1),
                image_size=record.size, pixels=pixels, mask=mask, clean=clean, mask_from=mask_from,
                clean_from=clean_from)


def _cleaned(image, twin, window: Box, labelled: np.ndarray, defects, scenes) -> tuple[np.ndarray, str]:
    """The window without its defect, and where that comes from."""
    x1, y1, x2, y2 = window
    if twin is not None:
        return twin[y1:y2, x1:x2].copy(), "twin"
    hole = cv2.dilate(labelled.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    found = same_scene(image, window, hole, defects, scenes)
    return (found, "scene") if found is not None else without_defect(image, window, hole, defects)


def _pixels_in_box(clean, pixels, labelled: np.ndarray, source: str) -> tuple[np.ndarray, str]:
    """The defect's pixels where only its box is known, and where they come from."""
    mask = tight_mask(clean, pixels, labelled.astype(np.float32))
    mask = _without_slivers(mask, labelled)
    share = mask.sum() / labelled.sum()
    if share == 0 or (source == "estimate" and not 0.02 < share < 0.95):
        return labelled, "box"
    return mask, source


def _without_slivers(mask: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Less what is no defect: lines along edges that do not quite register, parts cut by the box, far specks."""
    thick = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    shape = thick if thick.any() else mask.astype(np.uint8)
    count, parts, stats, centres = cv2.connectedComponentsWithStats(shape)
    if count == 1:
        return mask
    inside = cv2.erode(labelled.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1).astype(bool)
    rows, columns = np.nonzero(labelled)
    middle, half = np.array([columns.mean(), rows.mean()]), np.array([np.ptp(columns), np.ptp(rows)]) / 2 + 1
    depth = cv2.distanceTransform(shape, cv2.DIST_L2, 3)
    worth = np.array([0] + [(depth[parts == i].max() ** 2) * stats[i, cv2.CC_STAT_AREA] for i in range(1, count)])
    worth *= 1.2 - np.minimum(np.abs((centres - middle) / half).max(axis=1), 1)
    worth[np.isin(np.arange(count), parts[~inside])] *= 0.3
    return np.isin(parts, np.flatnonzero(worth >= 0.1 * worth[1:].max()))
