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


@dataclass(frozen=True)
class _Part:
    """A defect and its pixels: `crop` bool [h, w] with its corner at (x, y); None where only the box is known."""
    instance: Instance
    box: tuple[float, float, float, float]
    area_px: float
    crop: np.ndarray | None = None
    x: int = 0
    y: int = 0


def examine(record: Record, *, decode: bool = True) -> Examined:
    """Check and measure one record, its files too where `decode`."""
    problems, parts = [], []
    if min(record.size) < TINY_IMAGE_PX:
        problems.append(problem("tiny-image", record.image, f"a tiny image, got {by(record.size)} px",
                                "Check that it is not a thumbnail"))
    for instance in record.instances:
        found = list(_box_problems(record, instance))
        if not any(one.level == ERROR for one in found):
            try:
                parts.append(_part(instance, record.size))
            except DataError as error:
                found.append(Problem(code="size", message=f"{record.image}: {error}"))
            else:
                found += _area_problems(record, parts[-1])
        problems += found
    problems += _thin_and_tiny(record, [part for part in parts if part.area_px])
    seen = Examined(record=record, problems=(), defects=tuple(
        _measured(part, record.size) for part in parts if part.area_px))
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


def _part(instance: Instance, size: tuple[int, int]) -> _Part:
    x1, y1, x2, y2 = box = tuple(np.clip(instance.box, 0, size * 2).tolist())
    if not instance.has_shape:
        return _Part(instance, box, (x2 - x1) * (y2 - y1))
    crop, x, y = instance_crop(instance, size)
    return _Part(instance, box, int(crop.sum()), crop, x, y)


def _area_problems(record: Record, part: _Part) -> Iterator[Problem]:
    label, anew = part.instance.label, "Draw it anew or take it out"
    share = part.area_px / (record.size[0] * record.size[1])
    if part.crop is None and share >= FULL:
        yield problem("box-full", record.image, f"a box as large as the image, got '{label}'", "Its place says nothing")
    elif not part.area_px:
        yield problem("mask-empty", record.image, f"a mask without a pixel, got '{label}'", anew)
    elif part.crop is not None and share >= NEARLY_FULL:
        much = "the whole image" if share >= FULL else f"{share:.1%} of the image"
        yield problem("mask-full" if share >= FULL else "mask-nearly-full", record.image,
                      f"a mask that covers {much}, got '{label}'", "Check that it is not inverted")


def _thin_and_tiny(record: Record, parts: list[_Part]) -> Iterator[Problem]:
    """Tiny defects; and thin parts of one class along a far larger defect of another, as interpolation leaves them."""
    rims = Counter()
    for part in parts:
        host = next((other for other in parts if _is_rim(part, other)), None)
        if host:
            rims[part.instance.label, host.instance.label] += part.area_px
        elif part.area_px < TINY_DEFECT_PX:
            yield problem("tiny-defect", record.image,
                          f"a tiny defect, got '{part.instance.label}' of {part.area_px:g} px at "
                          f"{part.box[0]:g}, {part.box[1]:g}",
                          "Check that it is not a slip of the pen")
    for (label, host), area in sorted(rims.items()):
        yield problem("ring", record.image, f"lines one or two px wide of '{label}' along '{host}', got {area} px",
                      f"The label image was resized by interpolation: give them '{host}' "
                      f"(scripts/convert.py --clean-rings)")


def _is_rim(part: _Part, other: _Part) -> bool:
    if part.crop is None or other.crop is None or part.instance.label == other.instance.label:
        return False
    if other.area_px <= 4 * part.area_px or _thick(part.crop):
        return False
    grown = cv2.dilate(np.pad(part.crop, 1).astype(np.uint8), np.ones((3, 3), np.uint8))
    return _overlap((grown, part.x - 1, part.y - 1), (other.crop, other.x, other.y))


def _measured(part: _Part, size: tuple[int, int]) -> Measured:
    (x1, y1, x2, y2), (width, height) = part.box, size
    return Measured(label=part.instance.label, area_px=part.area_px, width_px=x2 - x1, height_px=y2 - y1,
                    centre=((x1 + x2) / 2 / width, (y1 + y2) / 2 / height), ignore=part.instance.ignore,
                    at_border=min(x1, y1) < 1 or x2 > width - 1 or y2 > height - 1)


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
