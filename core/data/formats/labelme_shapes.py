"""labelme's shapes of one image -> instances: circles, strokes, points and masks too, groups united, holes cut out."""
import base64
import binascii
import io
import math
import unicodedata
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...errors import did_you_mean
from ..records import Instance
from ..shapes import Crop, box_ring, crop_instance, instance_crop, polygons_crop, ring_area, tight
from .reading import Reading

LEAST_POINTS = {"polygon": 1, "rectangle": 2, "oriented_rectangle": 3, "rotation": 3, "circle": 2, "line": 1,
                "linestrip": 1, "point": 1, "points": 1, "mask": 2}
SAME_IOU = 0.95                         # two shapes of a class that agree to this are one, drawn twice


@dataclass(frozen=True, kw_only=True)
class Pens:
    """Widths that labelme leaves to the reader: of lines (px), and of points (radius in px)."""
    line_width_px: float = 3.0
    point_radius_px: float = 2.0


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One shape: its rings or its box where it is nothing but these, else its pixels."""
    label: str
    pixels: Crop | None = None
    rings: tuple[np.ndarray, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    group: object = None
    hole: bool = False
    ignore: bool = False

    def crop(self, size: tuple[int, int]) -> Crop:
        return self.pixels or polygons_crop(self.rings or (box_ring(self.box),), size)


def instances_of(shapes: list, size: tuple[int, int], where: object, reading: Reading, pens: Pens,
                 scale: float = 1.0) -> list[Instance]:
    """The defects of one image, in the order of their first shapes. Problems and oddities go to the reading.

    scale   of the points, where they were drawn on a copy of another size
    """
    groups: dict[object, list[_Part]] = {}
    for number, shape in enumerate(shapes, 1):
        part = _part(shape, size, f"{where}: shape {number}", reading, pens, scale)
        if part is not None:
            key = number if part.group is None else (part.label, part.group)
            groups.setdefault(key, []).append(part)
    found: list[Instance] = []
    for parts in groups.values():
        instance = _united(parts, size, where, reading)
        if instance is not None and any(_same(instance, other, size) for other in found):
            reading.counts["shapes were drawn twice and taken once"] += 1
        elif instance is not None:
            found.append(instance)
    return found


def _part(shape: object, size: tuple[int, int], where: str, reading: Reading, pens: Pens, scale: float,
          ) -> _Part | None:
    if not isinstance(shape, dict):
        reading.problem(where, f"not a shape, got {str(shape)[:40]}. Save the file with labelme again", "points")
        return None
    label = unicodedata.normalize("NFC", str(shape.get("label") or "").strip())
    if not label:
        reading.problem(where, f"a shape without a label, got {shape.get('label')!r}. Name its class", "label")
        return None
    flags, group = shape.get("flags") or {}, shape.get("group_id")
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"))
    if not isinstance(flags, dict) or not isinstance(group, (int, str, type(None))):
        reading.problem(where, "flags must be names with true or false, and group_id a number, got "
                               f"{str(flags)[:40]} and {str(group)[:40]}. Save the file with labelme again", "points")
    elif not isinstance(kind, str) or kind not in LEAST_POINTS:
        reading.problem(where, f"no such shape type, got '{kind}'. {did_you_mean(kind, LEAST_POINTS)}"
                               f"One of {', '.join(LEAST_POINTS)}", "points")
    elif points is None or len(points) < LEAST_POINTS[kind]:
        reading.problem(where, f"no usable points for a {kind}, got {str(shape.get('points'))[:60]}. "
                               f"At least {LEAST_POINTS[kind]} pairs of finite numbers", "points")
    elif reading.known(label, where):
        drawn = _drawn(kind, points * scale, shape, size, where, reading, pens)
        return drawn and _Part(label=label, group=group, hole=bool(flags.get("hole")), **drawn,
                               ignore=bool(flags.get("difficult") or flags.get("ignore") or shape.get("difficult")))
    return None


def _drawn(kind: str, points: np.ndarray, shape: dict, size: tuple[int, int], where: str, reading: Reading, pens: Pens,
           ) -> dict | None:
    """The field `pixels`, `rings` or `box` of a shape; None, and a problem or a note, where it has no pixel."""
    (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
    drawn: dict = {}
    if kind == "mask":
        crop = _png_crop(shape.get("mask"), points, size, where, reading)
        if crop is None:
            return None
    elif kind == "rectangle" and x1 < x2 and y1 < y2:
        drawn, crop = {"box": (x1, y1, x2, y2)}, polygons_crop((box_ring((x1, y1, x2, y2)),), size)
    elif kind in ("polygon", "oriented_rectangle", "rotation") and (
            ring_area(points) or polygons_crop((points,), size)[0].any()):          # an 8 has lobes that cancel out
        ring = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
        drawn = {"rings": (ring,)}
        inside = min(x1, y1) >= 0 and x2 <= size[0] and y2 <= size[1]
        crop = None if inside else polygons_crop((ring,), size)         # what has an area inside has a pixel
    elif kind == "circle":
        crop = _discs(points[:1], math.dist(points[0], points[1]), size)
    elif kind in ("point", "points"):
        crop = _discs(points, pens.point_radius_px, size)
    else:
        reading.counts["shapes have no area and were drawn as lines or points"] += kind not in ("line", "linestrip")
        crop = _stroke(points, pens.line_width_px if kind in ("line", "linestrip") else 1.0, size)
    if crop is not None and not crop[0].any():
        reading.counts["shapes lie outside their image and were dropped"] += 1
        return None
    return drawn or {"pixels": crop}


def _united(parts: list[_Part], size: tuple[int, int], where: object, reading: Reading) -> Instance | None:
    solid, holes = [part for part in parts if not part.hole], [part for part in parts if part.hole]
    label, ignore = parts[0].label, any(part.ignore for part in solid)
    if not solid:
        reading.problem(where, f"a hole without a shape round it, got '{label}'. Give both the same group_id",
                        "points")
        return None
    if len(parts) == 1 and solid[0].box is not None:
        return Instance(label=label, box=_clipped(np.reshape(solid[0].box, (2, 2)), size), ignore=ignore)
    if not holes and all(part.rings is not None for part in solid):
        rings = tuple(ring for part in solid for ring in part.rings)
        return Instance(label=label, box=_clipped(np.concatenate(rings), size), polygons=rings, ignore=ignore)
    crop = _combined([part.crop(size) for part in solid], [part.crop(size) for part in holes])
    if not crop[0].any():
        reading.problem(where, f"an empty mask, got '{label}' with holes as large as itself. Draw it anew",
                        "points")
        return None
    return crop_instance(*crop, size, label, ignore=ignore)


def _combined(solid: list[Crop], holes: list[Crop]) -> Crop:
    bounds = np.array([[x, y, x + crop.shape[1], y + crop.shape[0]] for crop, x, y in solid])
    left, top = bounds[:, :2].min(0).tolist()
    right, bottom = bounds[:, 2:].max(0).tolist()
    union = np.zeros((bottom - top, right - left), bool)
    for crop, x, y in solid:
        union[y - top:y - top + crop.shape[0], x - left:x - left + crop.shape[1]] |= crop
    for crop, x, y in holes:
        x1, y1 = max(x, left), max(y, top)
        x2, y2 = min(x + crop.shape[1], right), min(y + crop.shape[0], bottom)
        if x1 < x2 and y1 < y2:
            union[y1 - top:y2 - top, x1 - left:x2 - left] &= ~crop[y1 - y:y2 - y, x1 - x:x2 - x]
    return union, left, top


def _same(one: Instance, other: Instance, size: tuple[int, int]) -> bool:
    """Whether two defects are of one class and nearly the same pixels."""
    sides = np.subtract(one.box[2:], one.box[:2])
    if one.label != other.label or np.abs(np.subtract(one.box, other.box)).max() > 1 + 0.1 * max(sides):
        return False
    (first, x, y), (second, u, v) = instance_crop(one, size), instance_crop(other, size)
    x1, y1 = max(x, u), max(y, v)
    x2, y2 = min(x + first.shape[1], u + second.shape[1]), min(y + first.shape[0], v + second.shape[0])
    if x1 >= x2 or y1 >= y2:
        return False
    both = (first[y1 - y:y2 - y, x1 - x:x2 - x] & second[y1 - v:y2 - v, x1 - u:x2 - u]).sum()
    return bool(both > SAME_IOU * (first.sum() + second.sum() - both))


def _points(given: object) -> np.ndarray | None:
    """[N, 2] finite numbers; None for anything else (NaN, text, nested lists)."""
    if not isinstance(given, list) or not all(isinstance(point, list) and len(point) == 2 for point in given):
        return None
    try:
        points = np.array(given)
    except ValueError:                                      # lists in lists of different depth
        return None
    usable = points.ndim == 2 and points.dtype.kind in "if" and np.isfinite(points).all()
    return points.astype(np.float64) if usable else None


def _png_crop(text: object, points: np.ndarray, size: tuple[int, int], where: str, reading: Reading) -> Crop | None:
    """The mask of a shape of type `mask`: a PNG for the box from one corner to the other, both pixels included."""
    x1, y1 = np.rint(points.min(0)).astype(int).tolist()
    x2, y2 = np.rint(points.max(0)).astype(int).tolist()
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(text), validate=True))) as file:
            mask = np.asarray(file.convert("L")) > 0
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        reading.problem(where, f"the mask is no PNG in base64, got '{str(error)[:60]}'. Save it with labelme again",
                        "points")
        return None
    if mask.shape != (y2 - y1 + 1, x2 - x1 + 1):
        reading.problem(where, f"mask of another size than its box, got {mask.shape[1]}x{mask.shape[0]} for "
                               f"{x2 - x1 + 1}x{y2 - y1 + 1}. Save it with labelme again", "points")
        return None
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2 + 1, size[0]), min(y2 + 1, size[1])
    return mask[max(top - y1, 0):max(bottom - y1, 0), max(left - x1, 0):max(right - x1, 0)], left, top


def _discs(centres: np.ndarray, radius: float, size: tuple[int, int]) -> Crop:
    return _near(np.stack([centres, centres], axis=1), radius, size)


def _stroke(points: np.ndarray, width: float, size: tuple[int, int]) -> Crop:
    ends = np.stack([points[:-1], points[1:]], axis=1) if len(points) > 1 else np.stack([points, points], axis=1)
    return _near(ends, width / 2, size)


def _near(segments: np.ndarray, radius: float, size: tuple[int, int]) -> Crop:
    """Pixels whose centres are within `radius` of a segment [N, 2, 2]; at least the pixel of each segment's middle."""
    reach = math.ceil(radius) + 1
    left, top = np.clip(np.floor(segments.min((0, 1))) - reach, 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(segments.max((0, 1))) + reach, 0, size).astype(int).tolist()
    mask = np.zeros((bottom - top, right - left), bool)
    columns, rows = np.arange(left, right) + 0.5, np.arange(top, bottom)[:, None] + 0.5
    for (x0, y0), (x1, y1) in segments:
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = np.clip(((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / length, 0, 1) if length else 0.0
        near = (columns - x0 - along * (x1 - x0)) ** 2 + (rows - y0 - along * (y1 - y0)) ** 2 <= radius ** 2
        mask |= near
        column, row = math.floor((x0 + x1) / 2) - left, math.floor((y0 + y1) / 2) - top
        if not near.any() and 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
            mask[row, column] = True
    return tight(mask, left, top)


def _clipped(points: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1 = np.clip(points.min(0), 0, size).tolist()
    x2, y2 = np.clip(points.max(0), 0, size).tolist()
    return x1, y1, x2, y2
