"""Where defects are wanted: at the points of text files beside the images, or where a labelled set's defects lie."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.augment.bank import DefectBank
from core.augment.placement import Placement
from core.data import formats, images
from core.errors import ConfigError, DataError, did_you_mean
from core.progress import Progress
from core.seeding import rng

from .settings import PlacesConfig

SHOWN = 20
ORDER, PLACE = 2**40 + 21, 2**40 + 22       # streams of numbers


@dataclass(frozen=True, kw_only=True)
class Point:
    """A defect wanted on an image: of a class (number), at x, y in 0..1 of the image's sides.

    extent  width and height in 0..1 of the image's sides, where they are given
    place   "FILE.txt:LINE", for errors; `number` counts the lines of one file from 0, or all points chosen here
    """
    image: Path
    size: tuple[int, int]
    label: int
    x: float
    y: float
    number: int
    place: str
    extent: tuple[float, float] | None = None


def read_points(folder: Path, classes: Sequence[str], least_px: int = 1) -> tuple[list[Point], list[str]]:
    """All points of a folder, by image and line, and a note for every image without a text file.

    least_px    an image with a shorter side is an error

    DataError names every line that cannot be used; nothing is passed over.
    """
    paths, problems = usable_images(folder, least_px)
    points, notes = [], []
    for path, size in paths.items():
        told = path.with_suffix(".txt")
        if not told.is_file():
            notes.append(f"{path}: has no {told.name} beside it, so nothing is painted on it")
            continue
        for number, line in enumerate(told.read_text(encoding="utf-8").splitlines()):
            if not line.strip():
                continue
            place = f"{told}:{number + 1}"
            try:
                label, x, y, *extent = parse(line, classes)
            except ValueError as error:
                problems.append(f"{place}: {error}")
                continue
            points.append(Point(image=path, size=size, label=label, x=x, y=y, number=number, place=place,
                                extent=tuple(extent) or None))
    complain(problems)
    if not points:
        raise DataError(f"{folder}: no points, got {len(paths)} images and no line in a text file beside them. Write "
                        "`class x y` lines")
    return points, notes


def usable_images(folder: Path, least_px: int) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """The images of a folder with their sizes, and what is wrong with others. DataError: there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images. Check `images`")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and images.is_image(path))
    if not paths:
        raise DataError(f"{folder}: no images, got {len(list(folder.iterdir()))} other files. Put defect-free images "
                        "there, each with a text file of the same name, or without where `places` chooses the points")
    problems = [f"{other}: has the name of another image but for its suffix, got {one.name} as well. Rename one of them"
                for one, other in zip(paths, paths[1:]) if one.stem == other.stem]
    sizes = {path: images.read_size(path) for path in paths}
    problems += [f"{path}: smaller than the defect model's patch, got {size[0]}x{size[1]} px for {least_px}. Take a "
                 "larger image" for path, size in sizes.items() if min(size) < least_px]
    return sizes, problems


def complain(problems: Sequence[str]) -> None:
    """DataError with the first of them, if there is one."""
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError("\n".join([*problems[:SHOWN], *more]))


def parse(line: str, classes: Sequence[str]) -> tuple[int | float, ...]:
    """Number of the class (given so, or by name), x and y, then width and height if given. ValueError: what is wrong.
    """
    fields = line.split()
    if len(fields) not in (3, 5):
        raise ValueError(f"must be `class x y` or a YOLO row of five, got '{line.strip()}'. Correct the line")
    name, numbers = fields[0], fields[1:]
    if name in classes:
        label = classes.index(name)
    elif name.isdecimal() and int(name) < len(classes):
        label = int(name)
    else:
        raise ValueError(f"no such class, got '{name}'. {did_you_mean(name, classes)}The model knows "
                         + ", ".join(f"{number} {known}" for number, known in enumerate(classes)))
    try:
        x, y, *extent = map(float, numbers)
    except ValueError:
        raise ValueError(f"x and y, width and height must be numbers, got '{' '.join(numbers)}'. Correct the line"
                         ) from None
    if not (0 <= x < 1 and 0 <= y < 1):
        raise ValueError(f"the point lies outside the image, got x {x:g}, y {y:g}. Both must lie in 0..1, without 1")
    if not all(0 < side <= 1 for side in extent):
        raise ValueError(f"width and height must lie in 0..1, got {' '.join(numbers[2:])}. Correct the line")
    return label, x, y, *extent


def choose_points(folder: Path, config: PlacesConfig, classes: Sequence[str], least_px: int,
                  seed: int) -> tuple[list[Point], list[str]]:
    """`config.count` points on the images of a folder, where a labelled set's defects lie, and notes.

    Images come in an order drawn anew for each lap, classes in turns. Point i depends on
    the seed, i and the sets alone.
    DataError: an image that cannot be used, or no defect to learn from. ConfigError: a class that nobody knows.
    """
    sizes, problems = usable_images(folder, least_px)
    complain(problems)
    dataset = formats.read(config.data, config.format)
    bank = DefectBank.build(dataset)
    wanted = wanted_classes(config, classes, bank.labels)
    placement, paths, points, notes = Placement.learn(bank), list(sizes), [], []
    with Progress(config.count, "points chosen") as progress:
        for number in range(config.count):
            lap, turn = divmod(number, len(paths))
            path = paths[int(rng(seed, ORDER, lap).permutation(len(paths))[turn])]
            name = wanted[(number + lap) % len(wanted)]         # other classes on the next lap
            box = placement.draw(images.read_image(path), name, [], rng(seed, PLACE, number))
            if box is None:
                notes.append(f"{path}: no place for '{name}' on it, so point {number} is left out")
            else:
                width, height = sizes[path]
                points.append(Point(image=path, size=sizes[path], label=classes.index(name), number=number,
                                    x=(box[0] + box[2]) / 2 / width, y=(box[1] + box[3]) / 2 / height,
                                    place=f"point {number}, chosen",
                                    extent=((box[2] - box[0]) / width, (box[3] - box[1]) / height)))
            progress.step()
    if not points:
        raise DataError(f"{folder}: no place for a defect on its {len(paths)} images. Take larger images")
    return points, notes


def wanted_classes(config: PlacesConfig, learnt: Sequence[str], placed: Sequence[str]) -> list[str]:
    """The classes to be painted: known to the defect model, and with defects in the set that shows where they lie."""
    for name in config.classes or ():
        for known, who in ((learnt, "the defect model"), (placed, str(config.data))):
            if name not in known:
                raise ConfigError(f"places.classes: {who} does not know it, got '{name}'. "
                                  f"{did_you_mean(name, known)}It knows {', '.join(known)}")
    found = [name for name in config.classes or learnt if name in placed]
    if not found:
        raise ConfigError(f"places.data: {config.data} shows no defect of the defect model's classes, got "
                          f"{', '.join(placed)} for {', '.join(learnt)}. Give the set that it was trained on")
    return found
