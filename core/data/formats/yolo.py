"""YOLO: one text file an image, a box a line in shares of the image's size.

    images/F/x.jpg, labels/F/x.txt              `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` (polygon)
    train/images/x.jpg, train/labels/x.txt      the same, one pair of folders a split
    data.yaml (names, train, val, test), or classes.txt

An empty text file says that the image is good.
"""
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from ...errors import DataError
from ..records import Dataset, Instance, Record
from .reading import Reading, class_list, files_under, subfolder, with_suffix
from .writing import place_images, write_class_list, write_index, write_text, write_whole

LAYOUT = "images/X.jpg and labels/X.txt with `class cx cy w h` a line; data.yaml or classes.txt with the names"
HOLDS = ("good", "unlabelled")
SLACK = 0.01                            # how far, in shares of the image, a number may lie outside it


def fits(root: Path) -> bool:
    """Whether a folder `labels` holds text files that begin with a line of at least five numbers."""
    for _, labels in _folder_pairs(root):
        texts = files_under(labels, with_suffix(".txt"))
        lines = [line for path in texts[:50] for line in path.read_text("utf-8", "replace").splitlines()[:1]]
        if lines and _numbers(lines[0]) is not None and len(lines[0].split()) >= 5:
            return True
        if texts and not lines and (_yaml_file(root) or class_list(root)):
            return True
    return False


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None) -> Dataset:
    """Names come from data.yaml, else classes.txt, else `classes`, else they are the numbers.

    A `labels` folder without images beside it is read where an index.csv above has a column `yolo_label`.
    """
    given = tuple(classes) if classes else None
    config = _config(root)
    names = _names(config, root) or class_list(root) or given
    reading = Reading(root, "yolo", unlabelled=unlabelled, classes=given, order=names or ())
    split_of = _Splits(config, root)
    for pictures, labels in _folder_pairs(root):
        texts = reading.by_stem(files_under(labels, with_suffix(".txt")), labels)
        texts.pop("classes", None)
        if pictures is None:
            found = _indexed(texts, reading)
        else:
            found = reading.paired(reading.by_stem(files_under(pictures), pictures), texts, "label file")
        prefix = "" if labels.parent == root else f"{labels.parent.relative_to(root).as_posix()}/"
        for key, image, text in found:
            size = reading.size(image)
            if size:
                twin = reading.index.row(image).get("template_image")
                reading.add(image, prefix + key, size, _instances(text, size, names, reading) if text else (),
                            labelled=text is not None, clean=reading.index.folder / twin if twin else None,
                            split=split_of(image))
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy") -> None:
    """Write labels/X.txt, classes.txt and data.yaml, and a list of images a split.

    Boxes alone are written, as detectors want them; shapes and defects to ignore have no place. An unverified image
    gets no text file.
    """
    places = place_images(dataset, root, images)
    for record in dataset.records:
        if record.verified:
            text = (root / "labels" / places[record.name]).with_suffix(".txt")
            kept = [item for item in record.instances if not item.ignore]
            write_text(text, "".join(_line(item, record, dataset.classes) for item in kept))
    lists = {}
    for split in ("train", "val", "test"):
        lines = [f"./images/{places[record.name]}\n" for record in dataset.records if record.split == split]
        if lines:
            lists[split] = f"{split}.txt"
            write_text(root / f"{split}.txt", "".join(lines))
    where = {"train": lists.get("train", "images"), "val": lists.get("val", lists.get("test", "images")), **lists}
    write_class_list(dataset, root)
    write_whole(root / "data.yaml", yaml.safe_dump({"path": ".", **where, "names": dict(enumerate(dataset.classes))},
                                                   sort_keys=False, allow_unicode=True))
    write_index(list(dataset.records), root, {name: f"images/{place}" for name, place in places.items()})


def _instances(text: Path, size: tuple[int, int], names: tuple[str, ...] | None, reading: Reading) -> list[Instance]:
    found = []
    for number, line in enumerate(text.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        where, values = f"{text}:{number}", _numbers(line)
        if not line.strip():
            continue
        if values is None or len(values) < 5 or (len(values) > 5 and (len(values) < 7 or len(values) % 2 == 0)):
            reading.problem(where, f"not a box, got '{line.strip()[:60]}'. Five numbers: class cx cy w h "
                                   f"(or a class and three or more x y pairs)")
        elif min(values[1:]) < -SLACK or max(values[1:]) > 1 + SLACK:
            reading.problem(where, f"numbers that are no shares of the image, got '{line.strip()[:60]}'. "
                                   f"Divide x and w by the width, y and h by the height")
        elif values[0] != int(values[0]) or not 0 <= values[0] < (len(names) if names else math.inf):
            reading.problem(where, f"no such class number, got {values[0]:g}. 0 to {len(names or ()) - 1}: "
                                   f"{', '.join(names or ())}")
        else:
            label = names[int(values[0])] if names else str(int(values[0]))
            instance = reading.known(label, where) and _instance(values[1:], label, size, where, reading)
            found += [instance] if instance else []
    return found


def _instance(values: list[float], label: str, size: tuple[int, int], where: str, reading: Reading) -> Instance | None:
    width, height = size
    if len(values) > 4:
        ring = np.reshape(values, (-1, 2)) * (width, height)
        box = reading.box(*ring.min(0).tolist(), *ring.max(0).tolist(), size, where)
        return box and Instance(label=label, box=box, polygons=(ring,))
    x, y, w, h = (value * side for value, side in zip(values, (width, height, width, height)))
    box = reading.box(x - w / 2, y - h / 2, x + w / 2, y + h / 2, size, where)
    return box and Instance(label=label, box=tuple(round(number, 4) for number in box))


def _line(instance: Instance, record: Record, classes: tuple[str, ...]) -> str:
    (x1, y1, x2, y2), (width, height) = instance.box, record.size
    shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{classes.index(instance.label)} {' '.join(f'{share:.8f}' for share in shares)}\n"


def _folder_pairs(root: Path) -> list[tuple[Path | None, Path]]:
    """(images, labels) in the root, else in each of its folders, such as one a split; images is None where absent."""
    bases = [root] if subfolder(root, "labels") else sorted(path for path in root.iterdir() if path.is_dir())
    pairs = [(subfolder(base, "images"), subfolder(base, "labels")) for base in bases]
    return [(images, labels) for images, labels in pairs if labels and (images or labels.parent == root)]


def _indexed(texts: dict[str, Path], reading: Reading) -> list[tuple[str, Path, Path]]:
    """Images that an index.csv above names for the label files."""
    images = {(reading.index.folder / row["yolo_label"]).resolve(): image
              for image, row in reading.index.rows.items() if row.get("yolo_label")}
    found = [(key, images.get(text.resolve()), text) for key, text in sorted(texts.items())]
    lost = [text for _, image, text in found if image is None]
    if lost:
        reading.problem(reading.root, f"{len(lost)} label files without an image, got {lost[0]}. Put the images in "
                                      f"{reading.root / 'images'}")
    return [entry for entry in found if entry[1] is not None]


class _Splits:
    """Which split an image is in, by what data.yaml says of train, val and test: folders, or lists of images."""

    def __init__(self, config: dict, root: Path):
        self.folders: list[tuple[Path, str]] = []
        self.images: dict[Path, str] = {}
        base = root / str(config.get("path", "."))
        base = base if base.is_dir() else root
        named = [(split, part) for split in ("test", "val", "train") for part in np.atleast_1d(config.get(split) or [])]
        for split, part in named if len({part for _, part in named}) == len(named) else ():
            place = next((folder / str(part) for folder in (base, root) if (folder / str(part)).exists()), None)
            if place is not None and place.suffix == ".txt":
                lines = place.read_text(encoding="utf-8-sig").splitlines()
                self.images.update({(place.parent / line.strip()).resolve(): split for line in lines if line.strip()})
            elif place is not None:
                self.folders.append((place.resolve(), split))

    def __call__(self, image: Path) -> str | None:
        path = image.resolve() if self.images or self.folders else image
        return self.images.get(path) or next(
            (split for folder, split in self.folders if path.is_relative_to(folder)), None)


def _yaml_file(root: Path) -> Path | None:
    return next((path for path in sorted([*root.glob("data.y*ml"), *root.glob("dataset.y*ml")])), None)


def _config(root: Path) -> dict:
    path = _yaml_file(root)
    if path is None:
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as YAML, got '{' '.join(str(error).split())}'. Mend the file") from error
    return config if isinstance(config, dict) else {}


def _names(config: dict, root: Path) -> tuple[str, ...] | None:
    names = config.get("names")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f"{_yaml_file(root)}: names have gaps, got {sorted(names, key=str)}. Number them from 0 on")
        names = [names[number] for number in range(len(names))]
    return tuple(map(str, names)) if names else None


def _numbers(line: str) -> list[float] | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
