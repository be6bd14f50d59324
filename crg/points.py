"""Where defects are wanted: the text files beside the images, a line each with a class and a point."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data import images
from core.errors import DataError, did_you_mean

SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Point:
    """A defect wanted on an image: of a class (number), at x, y in 0..1 of the image's sides.

    place   "FILE.txt:LINE", for errors; `number` counts the lines of one file from 0
    """
    image: Path
    size: tuple[int, int]
    label: int
    x: float
    y: float
    number: int
    place: str


def read_points(folder: Path, classes: Sequence[str], least_px: int = 1) -> tuple[list[Point], list[str]]:
    """All points of a folder, by image and line, and a note for every image without a text file.

    least_px    an image with a shorter side is an error

    DataError names every line that cannot be used; nothing is passed over.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images. Check `images`")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and images.is_image(path))
    if not paths:
        raise DataError(f"{folder}: no images, got {len(list(folder.iterdir()))} other files. Put defect-free images "
                        "there, each with a text file of the same name")
    points, notes, problems = [], [], []
    for one, other in zip(paths, paths[1:]):
        if one.stem == other.stem:
            problems.append(f"{other}: has the name of another image but for its suffix, got {one.name} as well. "
                            "Rename one of them")
    for path in paths:
        told = path.with_suffix(".txt")
        if not told.is_file():
            notes.append(f"{path}: has no {told.name} beside it, so nothing is painted on it")
            continue
        size = images.read_size(path)
        if min(size) < least_px:
            problems.append(f"{path}: smaller than the defect model's patch, got {size[0]}x{size[1]} px for "
                            f"{least_px}. Take a larger image")
        for number, line in enumerate(told.read_text(encoding="utf-8").splitlines()):
            if not line.strip():
                continue
            place = f"{told}:{number + 1}"
            try:
                label, x, y = parse(line, classes)
            except ValueError as error:
                problems.append(f"{place}: {error}")
                continue
            points.append(Point(image=path, size=size, label=label, x=x, y=y, number=number, place=place))
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError("\n".join([*problems[:SHOWN], *more]))
    if not points:
        raise DataError(f"{folder}: no points, got {len(paths)} images and no line in a text file beside them. Write "
                        "`class x y` lines")
    return points, notes


def parse(line: str, classes: Sequence[str]) -> tuple[int, float, float]:
    """Number of the class (given so, or by name), x and y. ValueError says what is wrong."""
    fields = line.split()
    if len(fields) not in (3, 5):
        raise ValueError(f"must be `class x y` or a YOLO row of five, got '{line.strip()}'. Correct the line")
    name, numbers = fields[0], fields[1:3]
    if name in classes:
        label = classes.index(name)
    elif name.isdecimal() and int(name) < len(classes):
        label = int(name)
    else:
        raise ValueError(f"no such class, got '{name}'. {did_you_mean(name, classes)}The model knows "
                         + ", ".join(f"{number} {known}" for number, known in enumerate(classes)))
    try:
        x, y = map(float, numbers)
    except ValueError:
        raise ValueError(f"x and y must be numbers, got '{' '.join(numbers)}'. Correct the line") from None
    if not (0 <= x < 1 and 0 <= y < 1):
        raise ValueError(f"the point lies outside the image, got x {x:g}, y {y:g}. Both must lie in 0..1, without 1")
    return label, x, y
