"""Pascal VOC: one XML an image with boxes in px (PKU-Market-PCB, NEU-DET, what labelImg writes).

    Annotations/F/x.xml (or ANNOTATIONS), images/F/x.jpg (or IMAGES, JPEGImages); or side by side
    ImageSets/Main/train.txt, val.txt, test.txt         names, one a line

Coordinates are taken as the edges of the box in px from 0, as labelImg and most other tools write them, and written
so. The VOC challenge's own files count pixels from 1, both ends included; `one_based=True` reads these.
"""
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from ..records import Dataset, Instance, Record
from .groups import SPLITS
from .reading import Reading, class_list, files_under, stem, subfolder, with_suffix
from .writing import place_images, write_class_list, write_index, write_text

CORNERS = ("xmin", "ymin", "xmax", "ymax")
LAYOUT = "Annotations/X.xml with boxes, images/X.jpg (or JPEGImages, IMAGES), or side by side"
HOLDS = ("good", "ignore", "unlabelled")
EDGES = ("box coordinates are taken as edges in px from 0, as most tools write them; the VOC challenge's own files "
         "count pixels from 1 (one_based)")
IMAGE_FOLDERS, LABEL_FOLDERS = ("JPEGImages", "images", "imgs", "img", "data"), ("Annotations", "xmls", "xml", "labels")


def fits(root: Path) -> bool:
    """Whether one of the first XML files is an annotation."""
    files = files_under(_folders(root)[1], with_suffix(".xml"))[:5]
    return any(b"<annotation" in path.read_bytes()[:4096] for path in files)


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None,
         one_based: bool = False) -> Dataset:
    """`difficult` becomes `ignore`; an XML without objects says that the image is good. The file's name pairs, not the
    XML's <filename>, which often lacks its suffix; that helps only where no image has the file's name."""
    pictures_folder, labels_folder = _folders(root)
    reading = Reading(root, "voc", unlabelled=unlabelled, classes=classes, order=class_list(root))
    pictures = reading.by_stem(files_under(pictures_folder), pictures_folder)
    parsed, labels, unreadable = {}, {}, set()
    for path in files_under(labels_folder, with_suffix(".xml")):
        try:
            parsed[path] = ElementTree.fromstring(path.read_bytes())
        except ElementTree.ParseError as error:
            reading.problem(path, f"not readable as XML, got '{error}'. Was it cut short? Export it anew")
            unreadable.add(stem(path, labels_folder))
            continue
        key = _key(path, labels_folder, parsed[path], pictures)
        if key in labels:
            reading.problem(path, f"two XML files for one image, got {labels[key]} as well. Keep the right one")
        labels.setdefault(key, path)
    splits = _splits(root)
    kept = {key: image for key, image in pictures.items() if key in labels or key not in unreadable}
    for key, image, path in reading.paired(kept, labels, "XML"):
        size = reading.size(image)
        if size and (path is None or _size_agrees(parsed[path], size, path, image, reading)):
            instances = [] if path is None else _instances(parsed[path], size, path, one_based, reading)
            reading.add(image, key, size, instances, labelled=path is not None, split=splits.get(key))
    if not one_based and parsed:
        reading.notes.append(EDGES)
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy") -> None:
    """Write Annotations/X.xml, ImageSets/Main and classes.txt. Boxes alone: shapes have no place.

    An unverified image gets no XML, a good one an XML without objects.
    """
    places = place_images(dataset, root, images)
    for record in dataset.records:
        if record.verified:
            path = (root / "Annotations" / places[record.name]).with_suffix(".xml")
            write_text(path, _document(record, PurePosixPath(places[record.name]).name))
    for split in ("train", "val", "test"):
        names = [places[record.name].rpartition(".")[0] for record in dataset.records if record.split == split]
        if names:
            write_text(root / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name}\n" for name in names))
    write_class_list(dataset, root)
    write_index(list(dataset.records), root, {name: f"images/{place}" for name, place in places.items()})


def _instances(document: ElementTree.Element, size: tuple[int, int], path: Path, one_based: bool, reading: Reading,
               ) -> list[Instance]:
    found = []
    for number, entry in enumerate(document.iter("object"), 1):
        where = f"{path}: object {number}"
        label = (entry.findtext("name") or "").strip()
        corners = [entry.findtext(f"bndbox/{name}", "") for name in CORNERS]
        if not label:
            reading.problem(where, "an object without a name, got none. Name its class")
        elif not all(re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) for text in corners):
            reading.problem(where, f"not a box, got {corners}. xmin, ymin, xmax, ymax as numbers in px")
        elif reading.known(label, where):
            x1, y1, x2, y2 = map(float, corners)
            box = reading.box(x1 - one_based, y1 - one_based, x2, y2, size, where)
            difficult = (entry.findtext("difficult") or "0").strip() == "1"
            found += [Instance(label=label, box=box, ignore=difficult)] if box else []
    return found


def _size_agrees(document: ElementTree.Element, size: tuple[int, int], path: Path, image: Path, reading: Reading,
                 ) -> bool:
    told = tuple(document.findtext(f"size/{name}", "").strip() for name in ("width", "height"))
    known = all(text.isdigit() and int(text) for text in told)
    return not known or reading.told_size(tuple(map(int, told)), size, path, image)


def _key(path: Path, base: Path, document: ElementTree.Element, pictures: dict[str, Path]) -> str:
    """The stem that pairs an XML with its image: its own, else that of its <filename> in the same folder."""
    key = stem(path, base)
    if key in pictures or any(key.casefold() == other.casefold() for other in pictures):
        return key
    named = (document.findtext("filename") or "").replace("\\", "/").rpartition("/")[2].strip()
    meant = f"{key.rpartition('/')[0]}/{named.rpartition('.')[0] or named}".lstrip("/")
    return meant if named and meant in pictures else key


def _splits(root: Path) -> dict[str, str]:
    """Name -> split, from ImageSets/Main; the files of one class (`crack_train.txt`) are passed over."""
    splits: dict[str, str] = {}
    for name in ("trainval", "train", "val", "test"):
        path = root / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            for line in path.read_text(encoding="utf-8-sig").splitlines():
                splits[line.strip()] = SPLITS[name]
    return splits


def _folders(root: Path) -> tuple[Path, Path]:
    """The folders of images and of annotations; the root twice where they lie side by side."""
    pictures, labels = subfolder(root, *IMAGE_FOLDERS), subfolder(root, *LABEL_FOLDERS)
    if pictures and labels and next(iter(labels.rglob("*.[xX][mM][lL]")), None):
        return pictures, labels
    return root, root


def _document(record: Record, file_name: str) -> str:
    objects = "".join(_object(instance) for instance in record.instances)
    return (f"<annotation>\n  <filename>{escape(file_name)}</filename>\n  <size>\n    <width>{record.size[0]}</width>\n"
            f"    <height>{record.size[1]}</height>\n    <depth>3</depth>\n  </size>\n{objects}</annotation>\n")


def _object(instance: Instance) -> str:
    corners = [f"{number:.2f}".removesuffix(".00") for number in instance.box]
    box = "".join(f"      <{name}>{text}</{name}>\n" for name, text in zip(CORNERS, corners))
    return (f"  <object>\n    <name>{escape(instance.label)}</name>\n    <pose>Unspecified</pose>\n"
            f"    <truncated>0</truncated>\n    <difficult>{int(instance.ignore)}</difficult>\n"
            f"    <bndbox>\n{box}    </bndbox>\n  </object>\n")
