"""Positions and shapes given by the user: boxes and points from a CSV file, shapes from a folder of masks."""
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data import images, shapes
from ..errors import DataError, did_you_mean
from .compose import bounds
from .generator import Box

BOX_COLUMNS, POINT_COLUMNS = ("x1", "y1", "x2", "y2"), ("x", "y")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One defect asked for. Exactly one of box and point; a mask bool [H, W] of the whole image comes with its box."""
    label: str | None
    box: Box | None = None
    point: tuple[int, int] | None = None
    mask_file: Path | None = None
    mask_part: int = 0

    def mask(self) -> np.ndarray | None:
        return None if self.mask_file is None else _parts(self.mask_file)[self.mask_part]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is wanted on one normal image; `source` is its name, None: on any."""
    source: str | None
    wanted: tuple[Wanted, ...]


def read_positions(path: Path, classes: tuple[str, ...], sizes: dict[str, tuple[int, int]]) -> list[Plan]:
    """Read given positions; one Plan an image, in the file's order.

    A CSV file has the columns `image, label` and either `x1, y1, x2, y2` or `x, y`, in px; an empty image means any
    normal image, an empty label any class. A folder holds masks (white on black): the file's stem is the image's name,
    its folder's name the class where there is one of that name; every connected white part is one defect.
    `sizes` maps the normal images' names to (width, height). DataError lists every problem with its line.
    """
    if path.is_dir():
        return _read_masks(path, classes, sizes)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder of positions. Give a CSV file or a folder of masks")
    try:
        return _read_csv(path, classes, sizes)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8, got '{error}'. Save it as UTF-8 text") from error


def _read_csv(path: Path, classes: tuple[str, ...], sizes: dict[str, tuple[int, int]]) -> list[Plan]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = tuple(reader.fieldnames or ())
        kind = next((kind for kind in (BOX_COLUMNS, POINT_COLUMNS) if set(kind) <= set(columns)), None)
        if kind is None or not {"image", "label"} <= set(columns):
            raise DataError(f"{path}:1: the columns must be image, label and x1, y1, x2, y2 (boxes) or x, y (points), "
                            f"got {', '.join(columns) or 'nothing'}. Add a header line")
        plans: dict[str | None, list[Wanted]] = {}
        problems = []
        for row in reader:
            try:
                source, wanted = _wanted(row, kind, classes, sizes)
                plans.setdefault(source, []).append(wanted)
            except ValueError as error:
                problems.append(f"{path}:{reader.line_num}: {error}")
    if problems:
        raise DataError("\n".join(problems))
    if not plans:
        raise DataError(f"{path}: no position in it, got a header alone. Add a line for each defect")
    return [Plan(source=source, wanted=tuple(wanted)) for source, wanted in plans.items()]


def _wanted(row: dict, kind: tuple[str, ...], classes, sizes) -> tuple[str | None, Wanted]:
    source, label = (row["image"] or "").strip() or None, (row["label"] or "").strip() or None
    if label is not None and label not in classes:
        raise ValueError(f"no such class, got '{label}'. {did_you_mean(label, classes)}One of {', '.join(classes)}")
    if source is not None:
        source = match_name(source, sizes)
    try:
        numbers = tuple(round(float(row[column])) for column in kind)
    except (TypeError, ValueError):
        raise ValueError(f"{', '.join(kind)} must be numbers, got {[row[column] for column in kind]}. "
                         f"Give px of the image") from None
    width, height = sizes[source] if source else (min(size[side] for size in sizes.values()) for side in (0, 1))
    if kind == POINT_COLUMNS:
        if not (0 <= numbers[0] < width and 0 <= numbers[1] < height):
            raise ValueError(f"the point lies outside the image of {width} x {height} px, got {numbers}. Move it")
        return source, Wanted(label=label, point=numbers)
    x1, y1, x2, y2 = numbers
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise ValueError(f"the box must lie inside the image of {width} x {height} px with x1 < x2 and y1 < y2, "
                         f"got {numbers}. Correct it")
    return source, Wanted(label=label, box=numbers)


def _read_masks(folder: Path, classes: tuple[str, ...], sizes: dict[str, tuple[int, int]]) -> list[Plan]:
    files = sorted(path for path in folder.rglob("*") if images.is_image(path))
    if not files:
        raise DataError(f"{folder}: no mask in it, got no image file. Put a white-on-black image there for each shape")
    plans = []
    for file in files:
        try:
            source = match_name(file.stem, sizes)
        except ValueError as error:
            raise DataError(f"{file}: {error}") from None
        label = file.parent.name if file.parent.name in classes else None
        parts = _parts(file)
        if not parts:
            raise DataError(f"{file}: the mask is empty, got no pixel above 127. Draw a shape or take it out")
        if parts[0].shape != sizes[source][::-1]:
            (height, width), (wanted_w, wanted_h) = parts[0].shape, sizes[source]
            raise DataError(f"{file}: a mask must have its image's size, got {width} x {height} px for "
                            f"{wanted_w} x {wanted_h} px. Save it at the image's size")
        wanted = tuple(Wanted(label=label, box=bounds(part), mask_file=file, mask_part=number)
                       for number, part in enumerate(parts))
        plans.append(Plan(source=source, wanted=wanted))
    return plans


def match_name(given: str, names: dict[str, tuple[int, int]]) -> str:
    """The one normal image meant by a name, a path or a file name's stem. ValueError: none or several."""
    stem = Path(given).with_suffix("").as_posix() if images.is_image(Path(given)) else given
    fits = [name for name in names if stem in (name, name.rsplit("/", 1)[-1])]
    fits = fits or [name for name in names if stem in (clean := name.removesuffix("#clean"), clean.rsplit("/", 1)[-1])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise ValueError(f"several normal images have that name, got '{given}'. Say which: {', '.join(fits[:5])}")
    raise ValueError(f"no normal image of that name, got '{given}'. {did_you_mean(stem, names)}".rstrip())


def _parts(file: Path) -> list[np.ndarray]:
    return shapes.components(images.read_light(file) > 127, 1)
