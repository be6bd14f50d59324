"""The shape of one COCO annotation, read and written: polygons, run-length codes, boxes."""
import math

import numpy as np

from ...errors import DataError
from ..records import Instance, Record
from ..shapes import compressed, crop_to_rle, instance_crop, mask_polygons, rle_box
from .reading import Reading

MOST_CORNERS = 1000                     # a shape of more is written as run-length code, which is shorter then


def read_defect(annotation: dict, labels: dict, size: tuple[int, int], where: str, reading: Reading,
                ) -> Instance | None:
    """The annotation as an Instance; None where it is wrong, which `reading` is told."""
    if annotation.get("category_id") not in labels:
        reading.problem(where, f"no such category, got {annotation.get('category_id')}. "
                               f"One of {', '.join(map(str, labels))}")
        return None
    label = labels[annotation["category_id"]]
    if not reading.known(label, where):
        return None
    shape = annotation.get("segmentation")
    ignore = bool(annotation.get("iscrowd", 0)) or bool(annotation.get("ignore", 0))
    if isinstance(shape, dict):
        return _rle_instance(shape, label, ignore, size, where, reading)
    if shape:
        rings = _rings(shape)
        if rings is None:
            reading.problem(where, f"not a polygon, got {str(shape)[:60]}. Lists of at least three x, y pairs")
            return None
        points = np.concatenate(rings)
        box = reading.box(*points.min(0), *points.max(0), size, where)
        return box and Instance(label=label, box=box, polygons=rings, ignore=ignore)
    numbers = annotation.get("bbox")
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(isinstance(n, (int, float)) for n in numbers):
        reading.problem(where, f"no shape and no box, got {str(numbers)[:60]}. bbox: [x, y, width, height]")
        return None
    x, y, width, height = numbers
    box = reading.box(x, y, x + width, y + height, size, where)
    return box and Instance(label=label, box=box, ignore=ignore)


def shape_of(instance: Instance, record: Record) -> dict:
    """`segmentation`, `area` in px and `bbox` of one defect."""
    if not instance.has_shape:
        x1, y1, x2, y2 = instance.box
        return {"segmentation": [], "area": _tidy((x2 - x1) * (y2 - y1)), "bbox": [
            _tidy(number) for number in (x1, y1, x2 - x1, y2 - y1)]}
    crop, x, y = instance_crop(instance, record.size)
    if not crop.size:
        raise DataError(f"{record.name}: an empty mask, got a '{instance.label}' without a pixel. Take it out")
    rings = instance.polygons if instance.rle is None else mask_polygons(crop)
    if rings is None or sum(map(len, rings)) > MOST_CORNERS:
        shape: object = crop_to_rle(crop, x, y, record.size)
    else:
        offset = (0, 0) if instance.rle is None else (x, y)
        shape = [[_tidy(number) for number in (ring + offset).ravel().tolist()] for ring in rings]
    return {"segmentation": shape, "area": int(crop.sum()), "bbox": [x, y, crop.shape[1], crop.shape[0]]}


def _rle_instance(shape: dict, label: str, ignore: bool, size: tuple[int, int], where: str, reading: Reading,
                  ) -> Instance | None:
    told = shape.get("size")
    if told != [size[1], size[0]]:
        got = f"{told[1]}x{told[0]}" if isinstance(told, list) and len(told) == 2 else told
        reading.problem(where, f"mask of another size than its image, got {got} for {size[0]}x{size[1]}. "
                               f"Export the mask at the image's size")
        return None
    try:
        rle = compressed(shape)
        box = rle_box(rle)
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        reading.problem(where, f"not a run-length code, got '{error}'. Export it anew")
        return None
    if box[0] == box[2]:
        reading.problem(where, "an empty mask, got no pixel. Mark the defect, or take the annotation out")
        return None
    return Instance(label=label, box=box, rle=rle, ignore=ignore)


def _rings(shape: object) -> tuple[np.ndarray, ...] | None:
    """COCO's flat lists of x, y -> rings; one flat list alone is taken too. None: no polygons."""
    if isinstance(shape, list) and isinstance(shape[0], (int, float)):
        shape = [shape]
    rings = []
    for flat in shape:
        if not isinstance(flat, list) or len(flat) < 6 or len(flat) % 2 or not all(
                isinstance(number, (int, float)) and math.isfinite(number) for number in flat):
            return None
        rings.append(np.array(flat, np.float64).reshape(-1, 2))
    return tuple(rings)


def _tidy(number: float) -> int | float:
    """Two decimals, and none where none are needed."""
    number = round(float(number), 2)
    return int(number) if number == int(number) else number
