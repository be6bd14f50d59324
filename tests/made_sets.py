"""Tiny labelled sets in memory and on disk, and how two data sets are compared."""
from pathlib import Path

import numpy as np
from PIL import Image

from core.data import images, shapes
from core.data.records import Dataset, Instance, Record

SIZE = (48, 40)
CLASSES = ("pit", "crack", "stain")


def grain(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(number).integers(60, 200, (size[1], size[0], 3), dtype=np.uint8)


def blob(x: int, y: int, *, hole: bool = False, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A round mask, bool [H, W]; with a hole where asked for."""
    rows, columns = np.mgrid[:size[1], :size[0]] + 0.5
    distance = np.hypot(rows - y, columns - x)
    return (distance < 6) & ~(hole & (distance < 2.5))


def picture(path: Path, number: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_image(path, grain(number, size))
    return path


def made_set(folder: Path) -> Dataset:
    """Five images: shapes (one with a hole), boxes, one to ignore, a good one; groups, splits, twins; odd names."""
    rings = (np.array([[5.25, 4.5], [17.75, 6.0], [11.0, 15.5]]),)
    told = {
        "a 1": [shapes.mask_instance(blob(12, 12), "pit"), shapes.mask_instance(blob(33, 25, hole=True), "crack")],
        "größe/b": [Instance(label="stain", box=(3, 4, 20, 31)), Instance(label="pit", box=(25, 2, 40, 12))],
        "größe/c": [Instance(label="crack", box=(5.25, 4.5, 17.75, 15.5), polygons=rings)],
        "d": [shapes.mask_instance(blob(20, 20), "stain"), shapes.mask_instance(blob(38, 8), "pit", ignore=True)],
        "good": [],
    }
    records = []
    for number, (name, instances) in enumerate(sorted(told.items())):
        path = picture(folder / "pictures" / f"{name}.png", number)
        clean = picture(folder / "twins" / f"{name}.png", number + 50) if name in ("a 1", "d") else None
        records.append(Record(image=path, name=name, size=SIZE, instances=tuple(instances), clean=clean,
                              group=f"part {number // 2}", split=("train", "val", "test")[number // 2]))
    return Dataset(root=folder, format="made", classes=CLASSES, records=tuple(records))


def save_mask(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def box_error_px(one: Dataset, other: Dataset) -> float:
    """Largest difference of a box side over all defects, which must agree in number, order and class."""
    worst = 0.0
    for a, b in zip(one.records, other.records, strict=True):
        assert [item.label for item in a.instances] == [item.label for item in b.instances], a.name
        for first, second in zip(a.instances, b.instances):
            worst = max(worst, float(np.abs(np.subtract(first.box, second.box)).max()))
    return worst


def mask_iou(one: Dataset, other: Dataset) -> float:
    """Smallest IoU of a defect's pixels before and after."""
    least = 1.0
    for a, b in zip(one.records, other.records, strict=True):
        for first, second in zip(a.instances, b.instances, strict=True):
            p, q = shapes.instance_mask(first, a.size), shapes.instance_mask(second, b.size)
            least = min(least, float((p & q).sum() / (p | q).sum()))
    return least


def facts(dataset: Dataset, *fields: str) -> list[tuple]:
    return [tuple(getattr(record, field) for field in fields) for record in dataset.records]
