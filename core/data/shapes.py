"""Shapes of defects: run-length codes, polygon rings, boxes and pixel masks, and how one becomes the other.

One rule everywhere: pixel (column, row) belongs to a shape when the point (column + 0.5, row + 0.5) lies inside it. A
ring is filled by the even-odd rule, rings of one defect are united (holes live in run-length codes only), and a shape
with an area never vanishes: where it covers no pixel centre, the pixel of its centroid stands for it.
"""
import cv2
import numpy as np
from faster_coco_eval.core import mask as coco_mask

from ..errors import DataError
from .records import Instance

Crop = tuple[np.ndarray, int, int]      # a mask's pixels bool [h, w], and the x, y of its corner in the image


def instance_mask(instance: Instance, size: tuple[int, int]) -> np.ndarray:
    """Return the defect's pixels, bool [H, W], on an image of `size` (width, height): run-length code, rings or box."""
    return _pasted(*instance_crop(instance, size), size)


def instance_crop(instance: Instance, size: tuple[int, int]) -> Crop:
    """The same pixels as `instance_mask`, cut to their bounds: (bool [h, w], x, y). Empty: a mask of shape [0, 0]."""
    if instance.rle is None:
        return tight(*polygons_crop(instance.polygons or (box_ring(instance.box),), size))
    _check_size(instance, size)
    return rle_crop(instance.rle)


def mask_instance(mask: np.ndarray, label: str, **fields) -> Instance:
    """Return the instance of a mask, bool [H, W]: run-length code and tight box. `fields` are Instance's others."""
    crop, x, y = tight(mask, 0, 0)
    return crop_instance(crop, x, y, mask.shape[::-1], label, **fields)


def crop_instance(crop: np.ndarray, x: int, y: int, size: tuple[int, int], label: str, **fields) -> Instance:
    """The instance of a mask given by its bounds: `crop` bool [h, w] at (x, y), on an image of `size`."""
    crop, x, y = tight(crop, x, y)
    box = (float(x), float(y), float(x + crop.shape[1]), float(y + crop.shape[0]))
    return Instance(label=label, box=box, rle=crop_to_rle(crop, x, y, size), **fields)


def mask_to_rle(mask: np.ndarray) -> dict:
    """bool [H, W] -> COCO's compressed run-length code {"size": [H, W], "counts": str}."""
    return crop_to_rle(*tight(mask, 0, 0), mask.shape[::-1])


def crop_to_rle(crop: np.ndarray, x: int, y: int, size: tuple[int, int]) -> dict:
    """The run-length code of a mask given by its bounds; costs the crop's area, not the image's."""
    width, height = size
    columns = np.zeros((crop.shape[1], crop.shape[0] + 2), np.int8)
    columns[:, 1:-1] = crop.T
    steps = np.diff(columns, axis=1)
    offsets = (np.arange(crop.shape[1]) + x) * height + y
    starts, ends = (row + offsets[column] for column, row in (np.nonzero(steps == sign) for sign in (1, -1)))
    if crop.shape[0] == height and len(starts):             # a run that goes on at the top of the next column is one
        apart = starts[1:] != ends[:-1]
        starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    turns = np.concatenate([[0], np.stack([starts, ends], 1).ravel()])
    if turns[-1] != width * height:
        turns = np.append(turns, width * height)
    code = coco_mask.frPyObjects({"size": [height, width], "counts": np.diff(turns).tolist()}, height, width)
    return {"size": [height, width], "counts": _text(code["counts"])}


def rle_to_mask(rle: dict) -> np.ndarray:
    """COCO's run-length code, compressed (str or bytes) or not (list of counts) -> bool [H, W]."""
    height, width = rle["size"]
    return _pasted(*rle_crop(rle), (width, height))


def rle_crop(rle: dict) -> Crop:
    """The same pixels cut to their bounds; only the columns between the first and the last run are decoded."""
    height, _ = rle["size"]
    turns = np.cumsum(_counts(rle))
    starts, ends = turns[:-1:2], turns[1::2]
    if not len(starts):
        return np.zeros((0, 0), bool), 0, 0
    left, right = starts[0] // height, (ends[-1] - 1) // height + 1
    flips = np.zeros((right - left) * height + 1, np.uint8)
    np.bitwise_xor.at(flips, np.concatenate([starts, ends]) - left * height, 1)
    columns = np.bitwise_xor.accumulate(flips)[:-1].reshape(right - left, height)
    return tight(cv2.transpose(columns).reshape(height, right - left).view(bool), int(left), 0)


def compressed(rle: dict) -> dict:
    """Any COCO run-length code -> the compressed one with `counts` as str. ValueError: it is damaged."""
    counts, (height, width) = _counts(rle), rle["size"]
    if counts.min(initial=0) < 0 or counts.sum() != height * width:
        raise ValueError(f"runs of {counts.sum()} px for {height * width} px")
    if not isinstance(rle["counts"], (str, bytes)):
        rle = coco_mask.frPyObjects(rle, *rle["size"])
    return {"size": [int(side) for side in rle["size"]], "counts": _text(rle["counts"])}


def rle_area_px(rle: dict) -> int:
    """Number of pixels of a compressed run-length code."""
    return int(coco_mask.area(rle))


def rle_box(rle: dict) -> tuple[float, float, float, float]:
    """Tight box of a compressed run-length code: x1, y1, x2, y2, right and bottom exclusive."""
    x, y, width, height = coco_mask.toBbox(rle)
    return float(x), float(y), float(x + width), float(y + height)


def polygons_crop(rings: tuple[np.ndarray, ...], size: tuple[int, int]) -> Crop:
    """The union of rings, each [N, 2] of x, y in px, as (bool [h, w], x, y), clipped to an image of `size`."""
    points = np.concatenate(rings)
    x1, y1 = np.clip(np.floor(points.min(0)), 0, size).astype(int)
    x2, y2 = np.clip(np.ceil(points.max(0)) + 1, 0, size).astype(int)
    union = np.zeros((y2 - y1, x2 - x1), bool)
    for ring in rings:
        union |= _filled(np.asarray(ring, np.float64) - (x1, y1), union.shape)
    return union, int(x1), int(y1)


def mask_polygons(mask: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """Rings along the pixel edges that give exactly this mask back, in px of it; None where the mask has holes."""
    crop, x, y = tight(mask, 0, 0)
    rings = []
    for ring in _outlines(crop):
        if ring_area(ring) < 0:
            return None
        rings.append(ring + (x, y))
    return tuple(rings)


def components(mask: np.ndarray, minimum_px: int = 1) -> list[np.ndarray]:
    """The 8-connected parts of at least `minimum_px` pixels, each bool [H, W], from top to bottom."""
    size = mask.shape[::-1]
    return [_pasted(crop, x, y, size) for crop, x, y in component_crops(mask, minimum_px)]


def component_crops(mask: np.ndarray, minimum_px: int = 1) -> list[Crop]:
    """The same parts as `components`, each cut to its bounds: cheap for many parts on a large frame."""
    crop, left, top = tight(mask, 0, 0)
    if not crop.size:
        return []
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(crop.astype(np.uint8), connectivity=8)
    parts = []
    for number in range(1, count):
        x, y, width, height, area = stats[number].tolist()
        if area >= minimum_px:
            parts.append((numbers[y:y + height, x:x + width] == number, left + x, top + y))
    return sorted(parts, key=lambda part: (part[2], part[1]))


def tight(mask: np.ndarray, x: int, y: int) -> Crop:
    """Cut a mask whose corner lies at (x, y) to its bounds; an empty one becomes shape [0, 0] at (x, y)."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return np.zeros((0, 0), bool), x, y
    top, bottom = rows[0], rows[-1] + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    left, right = columns[0], columns[-1] + 1
    return mask[top:bottom, left:right], int(x + left), int(y + top)


def box_ring(box: tuple[float, float, float, float]) -> np.ndarray:
    """The four corners of a box, float64 [4, 2]."""
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)


def ring_area(ring: np.ndarray) -> float:
    """Signed area of a ring in px, positive where it runs clockwise as seen on the screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _filled(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Even-odd fill by parity: every edge flips all pixels to the right of where it crosses their row's centres."""
    height, width = shape
    flips = np.zeros((height, width + 1), np.uint8)
    start, end = ring, np.roll(ring, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(int)
    last = np.clip(np.ceil(lower - 0.5), 0, height).astype(int)
    spans = np.maximum(last - first, 0)                     # one entry an edge and row that it crosses
    edge = np.repeat(np.arange(len(ring)), spans)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans, spans) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    np.bitwise_xor.at(flips, (rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)), 1)
    filled = np.bitwise_xor.accumulate(flips, axis=1)[:, :width].astype(bool)
    return filled if filled.any() else _centroid_pixel(ring, shape)


def _centroid_pixel(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    area = ring_area(ring)
    if area:
        after = np.roll(ring, -1, axis=0)
        cross = ring[:, 0] * after[:, 1] - after[:, 0] * ring[:, 1]
        column, row = np.floor(((ring + after) * cross[:, None]).sum(0) / (6 * area)).astype(int)
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            mask[row, column] = True
    return mask


def _outlines(crop: np.ndarray) -> list[np.ndarray]:
    """Closed walks along the pixel edges with the mask on the right hand: clockwise round it, else round a hole."""
    onward = _edges(np.pad(crop, 1))
    rings = []
    while onward:
        point = next(iter(onward))
        heading, corners = None, []
        while point in onward:
            step = _taken(onward, point, heading)
            if step != heading:
                corners.append(point)
            heading, point = step, (point[0] + step[0], point[1] + step[1])
        rings.append(np.array(corners, np.float64))
    return rings


def _taken(onward: dict, point: tuple[int, int], heading: tuple[int, int] | None) -> tuple[int, int]:
    """Take the next edge from a corner. Where two pixels touch at it the walk turns right, staying with its pixel."""
    turns = onward[point]
    right = (-heading[1], heading[0]) if heading else turns[0]
    step = right if len(turns) > 1 else turns[0]
    turns.remove(step)
    if not turns:
        del onward[point]
    return step


def _edges(padded: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Corner (x, y) of the unpadded mask -> the directions (dx, dy) of the edges that start there."""
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    inside, above, left = padded[1:, 1:], padded[:-1, 1:], padded[1:, :-1]
    for found, (dx, dy), (x, y) in (
            (inside & ~above, (1, 0), (0, 0)), (~inside & above, (-1, 0), (1, 0)),
            (inside & ~left, (0, -1), (0, 1)), (~inside & left, (0, 1), (0, 0))):
        for row, column in np.argwhere(found).tolist():
            edges.setdefault((column + x, row + y), []).append((dx, dy))
    return edges


def _pasted(crop: np.ndarray, x: int, y: int, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    mask[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
    return mask


def _check_size(instance: Instance, size: tuple[int, int]) -> None:
    height, width = instance.rle["size"]
    if (width, height) != tuple(size):
        raise DataError(f"{instance.label}: mask of another size than its image, got {width}x{height} for an image of "
                        f"{size[0]}x{size[1]}. Export the mask at the image's size")


def _counts(rle: dict) -> np.ndarray:
    """Lengths of the runs, background first. Compressed: 5 bits a character, low ones first, bit 6 says "more to come";
    from the fourth on each number is the difference to the one two before it."""
    if not isinstance(rle["counts"], (str, bytes)):
        return np.asarray(rle["counts"], np.int64)
    characters = np.frombuffer(_text(rle["counts"]).encode("ascii"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(characters < 32)
    if not len(last) or last[-1] != len(characters) - 1 or characters.min() < 0 or characters.max() > 63:
        raise ValueError(f"not a compressed run-length code, {str(rle['counts'])[:20]!r}")
    first = np.r_[0, last[:-1] + 1]
    place = np.arange(len(characters)) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((characters & 31) << 5 * place, first)
    numbers[characters[last] & 16 > 0] -= 1 << 5 * (place[last][characters[last] & 16 > 0] + 1)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
