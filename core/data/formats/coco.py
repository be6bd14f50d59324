"""COCO: one JSON with images, categories and annotations; shapes as polygons or run-length codes.

    annotations.json or annotations/*.json; images in images/, in a folder a split, or beside the JSON

Keys of our own on an image: `group`, `split`, `clean` (path of its defect-free twin, from the root), `source`, and
`verified` where it is false. An image without annotations is a good one.
"""
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ...errors import DataError
from ..records import Dataset, Record
from .coco_shapes import read_defect, shape_of
from .groups import SPLITS
from .reading import Reading, files_under, first, stem
from .writing import copy, place_images, write_whole

LAYOUT = "annotations.json or annotations/*.json with images, annotations and categories; images/X.jpg"
HOLDS = ("shapes", "clean", "good", "ignore", "unlabelled")
TOOL = "DefectForge"                    # what `write` says in `info`
HEAD_CHARACTERS = 65536
MOST_FILES = 50                         # a folder with more JSON files than that holds one an image


def fits(root: Path) -> bool:
    """Whether there is a JSON file that begins as COCO's do."""
    return any(True for path in _candidates(root) if _looks_like_coco(path))


def is_own(root: Path) -> bool:
    """Whether `write` made the folder's annotations.json."""
    path = root / "annotations.json"
    return path.is_file() and f'"tool": "{TOOL}"' in _head(path)


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None) -> Dataset:
    """Read one COCO file, or several with different images; a file's split is taken from its name where it says one.

    Polygons are united. Boxes are tight round the shape where there is one; `iscrowd` becomes `ignore`.
    """
    files = [path for path in _candidates(root) if _looks_like_coco(path)]
    reading = Reading(root, "coco", unlabelled=unlabelled, classes=classes)
    if not files:
        raise DataError(f"{root}: no COCO file, got {first(_candidates(root)) or 'no JSON at all'}. "
                        f"Expected annotations.json or annotations/*.json with 'images' and 'annotations'")
    listed: dict[Path, Path] = {}
    twins: set[Path] = set()
    for file in files:
        _read_file(file, reading, listed, twins)
    folders = {image.parent for image in listed}
    for image in sorted(path for folder in folders for path in files_under(folder)):
        if image not in listed and image not in twins:
            _add_unlisted(image, reading)
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy", file: str = "annotations.json") -> None:
    """Write `root`/`file`; equal data give equal bytes. With "copy" the defect-free twins go to root/clean.

    `area` and `bbox` are the mask's own (pixels, right and bottom exclusive). A shape is polygons where simple rings
    give its mask exactly, else a compressed run-length code; a defect without a shape has an empty `segmentation`.
    """
    places = place_images(dataset, root, images)
    numbers = {name: number for number, name in enumerate(dataset.classes, 1)}
    listed, found = [], []
    for number, record in enumerate(sorted(dataset.records, key=lambda record: places[record.name]), 1):
        listed.append({"id": number, "file_name": places[record.name], "width": record.size[0],
                       "height": record.size[1], **_extras(record, dataset, root, places[record.name], images)})
        for instance in record.instances:
            found.append({"id": len(found) + 1, "image_id": number, "category_id": numbers[instance.label],
                          **shape_of(instance, record), "iscrowd": int(instance.ignore)})
    document = {
        "info": {"description": "labelled defects", "version": "1.0", "tool": TOOL}, "licenses": [],
        "categories": [{"id": number, "name": name, "supercategory": "defect"} for name, number in numbers.items()]}
    head = json.dumps(document, ensure_ascii=False, indent=1)[:-2]
    write_whole(root / file,
                f'{head},\n "images": {_lines(listed)},\n "annotations": {_lines(found)}\n}}\n')


def _read_file(file: Path, reading: Reading, listed: dict[Path, Path], twins: set[Path]) -> None:
    document = _parsed(file)
    labels = {category["id"]: str(category["name"]) for category in document["categories"]}
    reading.order = tuple(dict.fromkeys([*reading.order, *(labels[number] for number in sorted(labels))]))
    found = defaultdict(list)
    known = {entry.get("id") for entry in document["images"]}
    for annotation in document["annotations"]:
        if annotation.get("image_id") in known:
            found[annotation["image_id"]].append(annotation)
        else:
            reading.problem(_place(file, annotation), f"no such image, got image_id {annotation.get('image_id')}. "
                                                      f"Add the image or take the annotation out")
    if twice := len(document["images"]) - len(known):
        reading.problem(file, f"image ids are used twice, got {twice} such. Number them anew")
    missing = []
    for entry in document["images"]:
        image = _image_path(str(entry.get("file_name", "")), file, reading.root)
        if image is None:
            missing.append(entry.get("file_name"))
        elif image in listed:
            reading.problem(file, f"an image listed twice, got {entry['file_name']}, in {listed[image].name} as well. "
                                  f"Take one out, or read one file alone")
        else:
            listed[image] = file
            _add(image, entry, found[entry.get("id")], labels, file, reading, twins)
    if missing:
        reading.problem(file, f"{len(missing)} images are missing, got {first(missing)}. Looked in images, beside the "
                              f"file and in {reading.root}")


def _add(image: Path, entry: dict, annotations: list[dict], labels: dict, file: Path, reading: Reading,
         twins: set[Path]) -> None:
    size = reading.size(image)
    if size is None:
        return
    told = entry.get("width", size[0]), entry.get("height", size[1])
    if not reading.told_size(told, size, file, image):
        return
    instances = [read_defect(annotation, labels, size, _place(file, annotation), reading) for annotation in annotations]
    clean = reading.root / entry["clean"] if entry.get("clean") else None
    if clean is not None:
        twins.add(clean)
        if not reading.same_size(clean, size, image, "defect-free twin"):
            return
    labelled = entry.get("verified", True) is not False
    if not labelled:
        reading.passed_over.append(image)
    reading.add(image, _name(image, reading.root), size, [item for item in instances if item], clean=clean,
                labelled=labelled, group=str(entry.get("group", "")),
                split=SPLITS.get(str(entry.get("split", "")).lower()) or _split_of(file))


def _add_unlisted(image: Path, reading: Reading) -> None:
    if reading.unlabelled == "error":
        reading.problem(image, "an image that no COCO file lists, got no entry. Add it, or say --unlabelled good")
        return
    size = reading.size(image)
    reading.passed_over.append(image)
    if size:
        reading.add(image, _name(image, reading.root), size, labelled=False)


def _candidates(root: Path) -> list[Path]:
    """The JSON files in the root, in its folders, and in theirs named `annotations`; folders of many are another's."""
    folders = [root, *root.glob("*/"), *root.glob("*/[Aa]nnotations/")]
    lying = [[path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".")]
             for folder in sorted(folders) if folder.is_dir()]
    return [path for found in lying if len(found) <= MOST_FILES for path in found]


def _head(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return file.read(HEAD_CHARACTERS)


def _looks_like_coco(path: Path) -> bool:
    head = _head(path)
    return head.lstrip().startswith("{") and '"shapes"' not in head and (
        re.search(r'"(images|annotations|categories)"\s*:\s*\[', head) is not None)


def _parsed(file: Path) -> dict:
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not readable as JSON, got '{error}'. Was it cut short? Export it anew") from error
    for key in ("images", "annotations", "categories"):
        entries = document.setdefault(key, []) if key == "annotations" else document.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{file}: not a COCO file, got no list '{key}'. It needs images, annotations, categories")
    odd = [entry for entry in document["categories"] if not isinstance(entry.get("id"), int) or "name" not in entry]
    if odd:
        raise DataError(f"{file}: a category without id or name, got {odd[0]}. Give it both, id a whole number")
    return document


def _image_path(name: str, file: Path, root: Path) -> Path | None:
    """Where the image lies: in images/, in the root, or beside the JSON or the folder that it is in."""
    name = name.replace("\\", "/")
    split = _split_of(file)
    above = file.parent.parent
    bases = [root / "images", root, file.parent, file.parent / "images", above / "images", above]
    if split:
        names = [folder for folder, meaning in SPLITS.items() if meaning == split]
        bases += [base / folder for base in (root / "images", root, above) for folder in names]
    return next((base / name for base in bases if name and (base / name).is_file()), None)


def _split_of(file: Path) -> str | None:
    """The split that the name of a COCO file or of its folder stands for: `instances_val2017.json`, `train/x.json`."""
    words = [*re.split(r"[^a-z0-9]+", file.stem.lower()), file.parent.name.lower()]
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _name(image: Path, root: Path) -> str:
    folder = next((base for base in (root / "images", root) if image.is_relative_to(base)), image.parent)
    return stem(image, folder)


def _place(file: Path, annotation: dict) -> str:
    return f"{file}: annotation {annotation.get('id')}"


def _extras(record: Record, dataset: Dataset, root: Path, place: str, images: str) -> dict:
    """The keys of our own, those alone that say something."""
    extras: dict[str, object] = {"group": record.group} if record.group else {}
    if record.split:
        extras["split"] = record.split
    if record.clean is not None and images == "copy":
        extras["clean"] = f"clean/{Path(place).with_suffix(record.clean.suffix).as_posix()}"
        copy(record.clean, root / str(extras["clean"]))
    elif record.clean is not None and record.clean.resolve().is_relative_to(root.resolve()):
        extras["clean"] = record.clean.resolve().relative_to(root.resolve()).as_posix()
    if images == "copy" and record.image.is_relative_to(dataset.root):
        extras["source"] = record.image.relative_to(dataset.root).as_posix()
    return extras if record.verified else {**extras, "verified": False}


def _lines(items: list[dict]) -> str:
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]" if items else "[]"
