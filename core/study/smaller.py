"""Images and their labels made smaller, so that a study fits into the hours that a machine without a GPU has."""
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..data.images import encode_png, is_grey, read_image, write_bytes
from ..data.records import Instance, Record
from ..data.shapes import instance_mask, mask_instance
from ..files import writing

LEAST_SHARE = 0.4       # of a new pixel that the old mask covers, for it to be the defect's


def reduced(record: Record, by: int, folder: Path) -> Record:
    """The record with image and twin averaged over `by` x `by` px, written below `folder` as PNG; labels likewise.

    A defect that vanishes is left out.
    """
    size = record.size[0] // by, record.size[1] // by
    items = [_reduced(item, record.size, size, by) for item in record.instances]
    return replace(record, image=_written(record.image, size, folder / f"{record.name}.png"), size=size,
                   clean=record.clean and _written(record.clean, size, folder / f"{record.name}#clean.png"),
                   instances=tuple(item for item in items if item is not None))


def _written(path: Path, size: tuple[int, int], target: Path) -> Path:
    pixels = read_image(path)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, encode_png(small[..., 0] if is_grey(pixels) else small))
    return target


def _reduced(item: Instance, old: tuple[int, int], size: tuple[int, int], by: int) -> Instance | None:
    if not item.has_shape:
        x1, y1, x2, y2 = (value / by for value in item.box)
        box = x1, y1, min(x2, size[0]), min(y2, size[1])
        return replace(item, box=box) if box[2] > box[0] and box[3] > box[1] else None
    mask = cv2.resize(instance_mask(item, old).astype(np.float32), size, interpolation=cv2.INTER_AREA) > LEAST_SHARE
    return mask_instance(mask, item.label, ignore=item.ignore) if mask.any() else None
