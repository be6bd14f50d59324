"""DeepPCB: board groups of test images, each with its defect-free template, and one text file of boxes an image.

    PCBData/group00041/00041/ID_test.jpg, ID_temp.jpg       image, template
    PCBData/group00041/00041_not/ID.txt                     `x1 y1 x2 y2 type` a line, blanks or commas, type 1 to 6
    PCBData/trainval.txt, test.txt                          `image annotation` a line

Other classes than the six are named, one a line, in PCBData/classes.txt (ours; the original has no such file).
"""
import math
import re
from collections.abc import Iterable
from pathlib import Path

from ..records import Dataset, Instance, Record
from .groups import split_in
from .reading import Reading, class_list, files_under, subfolder, with_suffix
from .writing import copy, write_class_list, write_index, write_text

LAYOUT = "PCBData/GROUP/NAME/ID_test.jpg with ID_temp.jpg beside it, boxes in GROUP/NAME_not/ID.txt"
HOLDS = ("clean", "good")
CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
LISTS = {"trainval.txt": "train", "train.txt": "train", "val.txt": "val", "test.txt": "test"}


def fits(root: Path) -> bool:
    """Whether there is a folder NAME_not, of annotations, beside a folder NAME."""
    return any(path.with_name(path.name[:-4]).is_dir() for path in root.rglob("*_not"))


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None) -> Dataset:
    """`classes` limits the labels; it does not rename them."""
    base = subfolder(root, "PCBData") or root
    names = class_list(base) or CLASSES
    reading = Reading(root, "deeppcb", unlabelled=unlabelled, classes=classes, order=names)
    pictures = files_under(base)
    tests = reading.by_stem((path for path in pictures if path.stem.endswith("_test")), base, lambda name: name[:-5])
    temps = reading.by_stem((path for path in pictures if path.stem.endswith("_temp")), base, lambda name: name[:-5])
    texts = [path for path in files_under(base, with_suffix(".txt")) if path.parent.name.endswith("_not")]
    labels = reading.by_stem(texts, base, _without_not)
    splits = _splits(base)
    for key, image, text in reading.paired(tests, labels, "annotation"):
        size = reading.size(image)
        if size is None:
            continue
        clean = temps.pop(key, None)
        if clean is not None and not reading.same_size(clean, size, image, "template"):
            continue
        reading.counts["images have no template"] += clean is None
        group = next((part for part in image.parts[:-1][::-1] if part.startswith("group")), "")
        reading.add(image, _name(key), size, _boxes(text, size, names, reading) if text else (), clean=clean,
                    labelled=text is not None, group=group, split=split_in(reading.index.row(image)) or splits.get(key))
    reading.counts["templates have no image and were passed over"] += len(temps)
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy") -> None:
    """Images are copied to PCBData with "keep" too: a template has its place beside its image, by name.

    Boxes become whole pixels, outward; shapes, `ignore` and unverified images have no place.
    """
    base = root / "PCBData"
    names = CLASSES if set(dataset.classes) <= set(CLASSES) else dataset.classes
    if names != CLASSES:
        write_class_list(dataset, base)
    lists: dict[str, list[str]] = {}
    places = {}
    for record in (record for record in dataset.records if record.verified):
        folder, ident = _folder(record)
        place = f"{folder}/{ident}_test{record.image.suffix}"
        places[record.name] = f"PCBData/{place}"
        copy(record.image, base / place)
        if record.clean is not None:
            copy(record.clean, base / f"{folder}/{ident}_temp{record.clean.suffix}")
        write_text(base / f"{folder}_not/{ident}.txt", _lines(record, names))
        if record.split:
            name = "trainval.txt" if record.split == "train" else f"{record.split}.txt"
            lists.setdefault(name, []).append(f"{folder}/{ident}{record.image.suffix} {folder}_not/{ident}.txt\n")
    for name, lines in lists.items():
        write_text(base / name, "".join(lines))
    write_index([record for record in dataset.records if record.verified], root, places)


def _boxes(text: Path, size: tuple[int, int], names: tuple[str, ...], reading: Reading) -> list[Instance]:
    found = []
    for number, line in enumerate(text.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{text}:{number}"
        fields = re.split(r"[\s,]+", line.strip())
        if len(fields) != 5 or not all(re.fullmatch(r"-?\d+(\.\d+)?", field) for field in fields):
            reading.problem(where, f"not a box, got '{line.strip()[:60]}'. Five numbers: x1 y1 x2 y2 type")
            continue
        kind = float(fields[4])
        if kind not in range(1, len(names) + 1):
            reading.problem(where, f"no such type, got {fields[4]}. 1 to {len(names)}: {', '.join(names)}")
            continue
        label = names[int(kind) - 1]
        box = reading.box(*map(float, fields[:4]), size, where)
        if box and reading.known(label, where):
            found.append(Instance(label=label, box=box))
    return found


def _splits(base: Path) -> dict[str, str]:
    """Key of an image -> split, from the lists; a path in them may hold blanks."""
    splits = {}
    for name, split in LISTS.items():
        if (base / name).is_file():
            for line in (base / name).read_text(encoding="utf-8-sig", errors="replace").splitlines():
                if found := re.search(r"\.\w+[ ,]+(.+)\.txt$", line.strip()):
                    splits[_without_not(found[1])] = split
    return splits


def _without_not(key: str) -> str:
    *folders, ident = key.split("/")
    return "/".join([*folders[:-1], *(folder.removesuffix("_not") for folder in folders[-1:]), ident])


def _name(key: str) -> str:
    """`group00041/00041/00041000` -> `group00041/00041000`: the folder between says nothing new."""
    *folders, ident = key.split("/")
    if len(folders) > 1 and folders[-1] == folders[-2].removeprefix("group"):
        folders.pop()
    return "/".join([*folders, ident])


def _folder(record: Record) -> tuple[str, str]:
    """The folder of a record's image within PCBData, and its ID; the inverse of `_name`."""
    folder, _, ident = record.name.rpartition("/")
    folder = folder or "boards"
    return f"{folder}/{folder.rpartition('/')[2].removeprefix('group') or 'board'}", ident


def _lines(record: Record, names: tuple[str, ...]) -> str:
    lines = []
    for instance in record.instances:
        if not instance.ignore:
            x1, y1, x2, y2 = instance.box
            corners = (math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))
            lines.append(f"{' '.join(map(str, corners))} {names.index(instance.label) + 1}\n")
    return "".join(lines)
