"""labelme: one JSON an image, beside it or in a tree of its own.

    x.jpg, x.json                               beside each other
    images/F/x.jpg, labels/F/x.json             or data and label

The image on disk counts, never the copy that `imageData` holds. A JSON without shapes says that the image is good.
"""
import base64
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import DataError
from .. import images as image_files
from ..records import Dataset, Instance, Record
from ..shapes import instance_crop, mask_polygons
from .labelme_shapes import Pens, instances_of
from .reading import Reading, class_list, files_under, stem, subfolder, with_suffix
from .writing import place_images, write_class_list, write_index, write_text

LAYOUT = "images/X.jpg and labels/X.json (or data and label, or side by side), one labelme JSON an image"
HOLDS = ("shapes", "good", "ignore", "unlabelled")
IMAGE_FOLDERS, LABEL_FOLDERS = ("images", "data", "imgs", "img"), ("labels", "label", "annotations", "json", "jsons")
HEAD_BYTES = 65536
SAME_SCALE = 0.005      # by which the factors of an image's two sides may differ and still be one
FOREIGN = {"COCO": ("images", "annotations"), "VIA": ("_via_img_metadata",), "VIA (regions)": ("regions",),
           "LabelMe's old XML as JSON": ("annotation",)}


def fits(root: Path) -> bool:
    """Whether one of the first JSON files holds labelme's `shapes`."""
    files = [path for folder in {_folders(root)[1], root} for path in files_under(folder, with_suffix(".json"))[:5]]
    return any(_has_shapes(path) for path in files)


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None,
         line_width_px: float = 3.0, point_radius_px: float = 2.0, folders: Iterable[str] | None = None,
         faulty: str = "error") -> Dataset:
    """Read labelme files. A lone rectangle is a box without a shape; shapes of one group_id are one defect.

    line_width_px and point_radius_px draw lines and points, which have no width of their own in the file.
    folders     those below the images (and labels) that are read, such as one product's; None: all
    faulty      "error", or "skip": what is wrong is noted, and its images are left out
    """
    pictures_folder, labels_folder = _folders(root)
    reading = Reading(root, "labelme", unlabelled=unlabelled, classes=classes, order=class_list(root), faulty=faulty)
    chosen = None if folders is None else tuple(folders)
    files = dict.fromkeys(_below(pictures_folder, chosen, with_suffix(".json")), pictures_folder)
    files |= dict.fromkeys(_below(labels_folder, chosen, with_suffix(".json")), labels_folder)
    pictures = reading.by_stem(_below(pictures_folder, chosen, image_files.is_image), pictures_folder)
    shown = {key.casefold(): image for key, image in pictures.items()}
    parsed = {path: found for path, base in files.items()
              if (found := _parsed(path, reading, shown.get(stem(path, base).casefold()))) is not None}
    labels: dict[str, Path] = {}
    for path in sorted(parsed):
        key = _key(path, files[path], parsed[path], pictures)
        if key in labels:                                       # where it is no error the newest counts
            older, newer = sorted((labels[key], path), key=lambda file: file.stat().st_mtime_ns)
            reading.problem(path, f"two JSON files for one image, got {labels[key]} as well. Keep the right one",
                            "two-labels", [older])
            labels[key] = newer
        labels.setdefault(key, path)
    pens = Pens(line_width_px=line_width_px, point_radius_px=point_radius_px)
    unreadable = {stem(path, base).casefold() for path, base in files.items() if path not in parsed}
    usable = {key: image for key, image in pictures.items() if key in labels or key.casefold() not in unreadable}
    for key, image, path in reading.paired(usable, labels, "labelme JSON"):
        before = len(reading.problems)
        if path is not None:
            _add(key, image, path, parsed[path], reading, pens)
        elif size := reading.size(image):
            reading.add(image, key, size, labelled=False)
        reading.problems[before:] = [replace(one, paths=(str(image),)) for one in reading.problems[before:]]
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy") -> None:
    """Write `root`/labels/X.json: boxes as rectangles, simple shapes as polygons, others as masks; no `imageData`.

    An unverified image gets no JSON, a good one a JSON without shapes.
    """
    places = place_images(dataset, root, images)
    for record in dataset.records:
        if not record.verified:
            continue
        place = PurePosixPath(places[record.name])
        above = "../" * len(place.parts)
        document = {"version": "5.5.0", "flags": {},
                    "shapes": [shape for number, instance in enumerate(record.instances, 1)
                               for shape in _shapes(instance, record, number)],
                    "imagePath": f"{above}images/{place}", "imageData": None,
                    "imageHeight": record.size[1], "imageWidth": record.size[0]}
        text = json.dumps(document, ensure_ascii=False)
        write_text(root / "labels" / place.with_suffix(".json"), f"{text}\n")
    write_class_list(dataset, root)
    write_index(list(dataset.records), root, {name: f"images/{place}" for name, place in places.items()})


def _add(key: str, image: Path, path: Path, document: dict, reading: Reading, pens: Pens) -> None:
    size = reading.size(image)
    if size is None:
        return
    told = document.get("imageWidth") or size[0], document.get("imageHeight") or size[1]
    flags = document.get("flags") or {}
    if not isinstance(flags, dict) or not all(isinstance(side, (int, float)) for side in told):
        reading.problem(path, "imageWidth and imageHeight must be numbers, flags names with true or false, got "
                              f"{told[0]!r}, {told[1]!r} and {str(flags)[:40]}. Save it with labelme again", "json")
        return
    scale = _scale(told, size) if reading.faulty == "skip" else 1.0
    if scale != 1:
        reading.counts["label files were made on a larger or smaller copy of their image, and were scaled"] += 1
    elif not reading.told_size(told, size, path, image):
        return
    put_aside = next((name for name in ("ignore", "rework") if flags.get(name)), None)
    if put_aside:
        reading.counts[f"images are flagged '{put_aside}' and neither defective nor good"] += 1
        reading.add(image, key, size, labelled=False, aside=True)
        return
    before = len(reading.problems)
    instances = instances_of(document["shapes"], size, path, reading, pens, scale)
    if flags.get("good") and instances:
        reading.problem(path, f"flagged as good, got {len(instances)} shapes. Take out the flag or the shapes",
                        "marked-good")
    if len(reading.problems) == before:             # an image with half of its defects would teach the others as good
        reading.add(image, key, size, instances)


def _scale(told: tuple[float, float], size: tuple[int, int]) -> float:
    """What takes the points to the image where both its sides differ by one factor from those told; else 1."""
    across, down = (own / other if other > 0 else float("nan") for own, other in zip(size, told))
    return across if abs(across - down) <= SAME_SCALE * down else 1.0


def _parsed(path: Path, reading: Reading, image: Path | None) -> dict | None:
    """A labelme file as a dict with a list `shapes`; None, and a problem or a note, for anything else.

    image   the one of its name, which then goes without its label
    """
    data = path.read_bytes()
    try:
        document = json.loads(_decoded(data, reading))
    except ValueError as error:
        reason = "an empty file" if not data.strip() else str(error)
        reading.problem(path, f"not readable as JSON, got '{reason}'. Was it cut short? Save it with labelme again",
                        "json", [image or path])
        return None
    if isinstance(document, dict) and isinstance(document.get("shapes"), list):
        return document
    foreign = _foreign(document)
    if foreign:
        advice = "Read it with --format coco" if foreign == "COCO" else "Export it as COCO or labelme"
        reading.problem(path, f"not a labelme file, got {foreign}. {advice}", "format", [image or path])
    elif image is not None:
        reading.problem(path, f"not a labelme file, got no list of 'shapes' but {str(document)[:40]}. Save the label "
                              "with labelme again, or take the file out", "format", [image])
    else:
        reading.counts["JSON files are not labelme's and were passed over"] += 1
    return None


def _decoded(data: bytes, reading: Reading) -> str:
    """The text: UTF-8, else the code page of an old Windows.

    Chinese ones have two bytes a character, so their runs of high bytes are even; Western ones mostly one.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        even = all(len(run) % 2 == 0 for run in re.findall(rb"[\x80-\xff]+", data))
    for encoding in ("gb18030", "cp1252") if even else ("cp1252", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        reading.counts[f"JSON files are not UTF-8 and were read as {encoding}"] += 1
        return text
    raise ValueError("text in no known encoding (tried UTF-8, gb18030, cp1252)")


def _foreign(document: object) -> str | None:
    if isinstance(document, list):
        return "Label Studio" if document and isinstance(document[0], dict) and "data" in document[0] else None
    values = list(document.values()) if isinstance(document, dict) else []
    if values and all(isinstance(value, dict) and "regions" in value for value in values):
        return "VIA (regions)"
    return next((name for name, keys in FOREIGN.items() if isinstance(document, dict)
                 and all(key in document for key in keys)), None)


def _key(path: Path, base: Path, document: dict, pictures: dict[str, Path]) -> str:
    """The stem that pairs a JSON with its image: its own, else that of `imagePath` in the same folder."""
    key = stem(path, base)
    if key in pictures or any(key.casefold() == other.casefold() for other in pictures):
        return key
    named = str(document.get("imagePath") or "").replace("\\", "/").rpartition("/")[2]
    meant = f"{key.rpartition('/')[0]}/{named.rpartition('.')[0]}".lstrip("/")
    return meant if named and meant in pictures else key


def _below(folder: Path, chosen: tuple[str, ...] | None, wanted: Callable[[Path], bool]) -> list[Path]:
    """The wanted files below a folder, or below those of its folders that are chosen."""
    places = [folder] if chosen is None else [folder / name for name in chosen]
    return [path for place in places for path in files_under(place, wanted)]


def _folders(root: Path) -> tuple[Path, Path]:
    """The folders of images and of labels; the root twice where they lie side by side."""
    pictures, labels = subfolder(root, *IMAGE_FOLDERS), subfolder(root, *LABEL_FOLDERS)
    if pictures and labels and next(iter(labels.rglob("*.json")), None):
        return pictures, labels
    return root, root


def _has_shapes(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(path.stat().st_size - HEAD_BYTES, 0))
        return b'"shapes"' in head or b'"shapes"' in file.read()


def _shapes(instance: Instance, record: Record, number: int) -> list[dict]:
    """The shapes of one defect; parts of one share its number as group_id."""
    flags = {"ignore": True} if instance.ignore else {}
    common = {"label": instance.label, "group_id": None, "description": "", "flags": flags, "mask": None}
    if not instance.has_shape:
        return [{**common, "shape_type": "rectangle", "points": np.reshape(instance.box, (2, 2)).tolist()}]
    rings = instance.polygons
    if instance.rle is not None:
        crop, x, y = instance_crop(instance, record.size)
        rings = mask_polygons(crop)
        if rings is None:
            corners = [[x, y], [x + crop.shape[1] - 1, y + crop.shape[0] - 1]]
            png = base64.b64encode(image_files.encode_png(crop.astype(np.uint8) * 255)).decode("ascii")
            return [{**common, "shape_type": "mask", "points": corners, "mask": png}]
        rings = tuple(ring + (x, y) for ring in rings)
    if not rings:
        raise DataError(f"{record.name}: an empty mask, got a '{instance.label}' without a pixel. Take it out")
    group = number if len(rings) > 1 else None
    return [{**common, "group_id": group, "shape_type": "polygon", "points": ring.tolist()} for ring in rings]
