"""One record looked at closely: its labels against its size, its files decoded, measured and fingerprinted."""
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from . import images
from .hashing import Fingerprint, fingerprint
from .problems import ERROR, FULL, NEARLY_FULL, TINY_DEFECT_PX, TINY_IMAGE_PX, Problem, problem
from .records import Instance, Record
from .shapes import instance_crop


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One defect: label, mask (or box) area in px, sides of its box in px, centre in 0..1 of the image."""
    label: str
    area_px: float
    width_px: float
    height_px: float
    centre: tuple[float, float]
    at_border: bool
    ignore: bool


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was seen of one record. `sums` are per channel in 0..1: sum, sum of squares; `pixels` their number."""
    record: Record
    problems: tuple[Problem, ...]
    defects: tuple[Measured, ...]
    kinds: tuple[str, ...] = ()
    prints: Mapping[Path, Fingerprint] = field(default_factory=dict)
    sums: np.ndarray | None = None
    pixels: int = 0


def examine(record: Record, *, decode: bool = True) -> Examined:
    """Check and measure one record, its files too where `decode`."""
    problems, defects = [], []
    crops = []
    if min(record.size) < TINY_IMAGE_PX:
        problems.append(problem("tiny-image", record.image, f"a tiny image, got {by(record.size)} px",
                                "Check that it is not a thumbnail"))
    for instance in record.instances:
        found = list(_box_problems(record, instance))
        if not any(one.level == ERROR for one in found):
            found += _measure(record, instance, defects, crops)
        problems += found
    problems += _rings(record, crops)
    seen = Examined(record=record, problems=(), defects=tuple(defects))
    if decode:
        seen = _decoded(seen, problems)
    return replace(seen, problems=tuple(problems))


def _box_problems(record: Record, instance: Instance) -> Iterator[Problem]:
    (x1, y1, x2, y2), (width, height) = instance.box, record.size
    shown = f"{instance.label} at {x1:g}, {y1:g} .. {x2:g}, {y2:g}"
    if not np.isfinite(instance.box).all() or x2 <= x1 or y2 <= y1:
        if not instance.has_shape:                          # a shape without a pixel is told of as an empty mask
            yield problem("box", record.image, f"a box of no area, got {shown}", "Draw it anew or take it out")
    elif x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        yield problem("box", record.image, f"a box outside the image of {by(record.size)} px, got {shown}",
                      "Check the image's size in the label file")
    elif min(x1, y1, width - x2, height - y2) < -1:
        yield problem("box-border", record.image, f"a box over the border of {by(record.size)} px, got {shown}",
                      "The part outside is not used")


def _measure(record: Record, instance: Instance, defects: list, crops: list) -> Iterator[Problem]:
    """Measure one defect into `defects` and keep its pixels in `crops`; yield what is wrong with its mask."""
    width, height = record.size
    x1, y1, x2, y2 = np.clip(instance.box, 0, (width, height) * 2).tolist()
    area = (x2 - x1) * (y2 - y1)
    if instance.has_shape:
        try:
            crop, x, y = instance_crop(instance, record.size)
        except DataError as error:
            yield Problem(code="size", message=f"{record.image}: {error}")
            return
        area = int(crop.sum())
        crops.append((instance.label, crop, x, y, area))
        if not area:
            yield problem("mask-empty", record.image, f"a mask without a pixel, got '{instance.label}'",
                           "Draw it anew or take it out")
            return
        share = area / (width * height)
        if share >= FULL:
            yield problem("mask-full", record.image, f"a mask that covers the whole image, got '{instance.label}'",
                           "Check that it is not inverted")
        elif share >= NEARLY_FULL:
            yield problem("mask-nearly-full", record.image, f"a mask that covers nearly all, got '{instance.label}' on "
                           f"{share:.1%}", "Check that it is not inverted")
    elif area >= width * height:
        yield problem("box-full", record.image, f"a box as large as the image, got '{instance.label}'",
                      "Its place says nothing")
    if area < TINY_DEFECT_PX:
        yield problem("tiny-defect", record.image, f"a tiny defect, got '{instance.label}' of {area:g} px at "
                      f"{x1:g}, {y1:g}", "Check that it is not a slip of the pen")
    defects.append(Measured(
        label=instance.label, area_px=area, width_px=x2 - x1, height_px=y2 - y1, ignore=instance.ignore,
        centre=((x1 + x2) / 2 / width, (y1 + y2) / 2 / height),
        at_border=min(x1, y1) < 1 or x2 > width - 1 or y2 > height - 1))


def _rings(record: Record, crops: list) -> Iterator[Problem]:
    """Thin parts of one class that touch a far larger defect of another: what an interpolated label image leaves."""
    rims = Counter()
    thin = [found for found in crops if found[4] and not _thick(found[1])]
    for label, crop, x, y, area in thin:
        grown = cv2.dilate(np.pad(crop, 1).astype(np.uint8), np.ones((3, 3), np.uint8))
        for other, *place, other_area in crops:
            if other != label and other_area > 4 * area and _overlap((grown, x - 1, y - 1), tuple(place)):
                rims[label, other] += area
                break
    for (label, other), area in sorted(rims.items()):
        yield problem("ring", record.image, f"lines one or two px wide of '{label}' along '{other}', got {area} px",
                      f"Give them the class '{other}': the label image was resized with interpolation")


def _thick(crop: np.ndarray) -> bool:
    return cv2.erode(np.pad(crop, 1).astype(np.uint8), np.ones((3, 3), np.uint8)).any()


def _overlap(first: tuple, second: tuple) -> bool:
    (a, ax, ay), (b, bx, by_) = first, second
    x1, y1 = max(ax, bx), max(ay, by_)
    x2, y2 = min(ax + a.shape[1], bx + b.shape[1]), min(ay + a.shape[0], by_ + b.shape[0])
    if x1 >= x2 or y1 >= y2:
        return False
    return bool((a[y1 - ay:y2 - ay, x1 - ax:x2 - ax] & b[y1 - by_:y2 - by_, x1 - bx:x2 - bx]).any())


def _decoded(seen: Examined, problems: list[Problem]) -> Examined:
    """Read the record's files, adding to `problems`, and return `seen` with what they hold."""
    record, prints, sums, count = seen.record, {}, None, 0
    for path in dict.fromkeys(filter(None, (record.image, record.clean))):
        try:
            pixels = images.read_image(path)
        except DataError as error:
            problems.append(Problem(code="image", message=str(error)))
            continue
        if pixels.shape[1::-1] != tuple(record.size):
            what = "the image" if path == record.image else "the defect-free twin"
            problems.append(problem("size", path, f"{what} has another size than its labels, got "
                                     f"{by(pixels.shape[1::-1])} for {by(record.size)} px", "Export both at one size"))
        prints[path] = fingerprint(path, pixels)
        if path == record.image:
            sums, count = _sums(pixels), pixels.shape[0] * pixels.shape[1]
            if pixels.min() == pixels.max():
                problems.append(problem("blank", path, f"an image of one colour, got level {pixels.min()} everywhere",
                                        "Check the camera's file"))
    kinds = images.read_kind(record.image) if record.image in prints else ()
    twins = [prints[path].sha256 for path in (record.image, record.clean) if path in prints]
    if record.instances and record.clean != record.image and len(twins) == 2 and twins[0] == twins[1]:
        problems.append(problem("clean-same", record.clean, "a defect-free twin with its defective image's bytes, got "
                                f"those of {record.image}", "Make it anew"))
    return replace(seen, kinds=kinds, prints=prints, sums=sums, pixels=count)


def _sums(pixels: np.ndarray) -> np.ndarray:
    """Sum and sum of squares of each channel in 0..1: float64 [2, 3]."""
    mean, deviation = (values[:, 0] / np.iinfo(pixels.dtype).max for values in cv2.meanStdDev(pixels))
    return np.stack([mean, mean ** 2 + deviation ** 2]) * (pixels.shape[0] * pixels.shape[1])


def by(size: tuple[int, int]) -> str:
    """Width and height for reading, such as 640x480."""
    return f"{size[0]}x{size[1]}"
