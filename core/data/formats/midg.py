"""MIDG: one folder a kind of defect, with images, rectangles as black and white masks, and defect-free twins.

    KIND/{images or KIND}/{train,test}/X.png        the image; KIND is the class
    KIND/mask*/{train,test}/X.png                   white (> 127) rectangles, a little larger than the defects
    KIND/inpaint*/{train,test}/X.png                the same image without its defects; optional here

The root may lie above KIND (`dataset/kinds/KIND`, at most four folders down) or be it; .flist files are passed over.
"""
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...errors import DataError
from .. import images as image_files
from ..records import Dataset, Instance, Record
from ..shapes import component_crops, crop_instance
from .groups import SPLITS, frame_of
from .reading import IGNORED_FOLDERS, Reading, files_under, opencv_alone
from .writing import copy, write_data, write_index

LAYOUT = "KIND/{images or KIND}/{train,test}/X.png, KIND/mask*/{train,test}/X.png, KIND/inpaint*/{train,test}/X.png"
HOLDS = ("clean",)
DEEPEST = 4
WHITE_ABOVE = 127


def fits(root: Path) -> bool:
    """Whether there is a kind: a folder of images and one called mask, mask2, ..., each with folders of splits."""
    return bool(_kinds(root))


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None) -> Dataset:
    """A mask of exact rectangles gives boxes; a part of another form keeps its pixels. Every image has its mask."""
    reading = Reading(root, "midg", unlabelled=unlabelled, classes=classes)
    tasks = []
    kinds = _kinds(root)
    for kind in kinds:
        if kind.name in (other.name for other in kinds if other != kind):
            reading.problem(kind, f"two kinds of one name, got '{kind.name}' twice. Read them one by one")
        elif reading.known(kind.name, kind):
            tasks += _tasks(kind, reading)
    with opencv_alone():
        for kind, key, image, mask, clean in tasks:
            size = reading.size(image)
            if size and (clean is None or reading.same_size(clean, size, image, "inpainted twin")):
                with reading.collecting():
                    instances = [] if mask is None else _instances(mask, size, image, kind, reading)
                    reading.counts["images have no inpainted twin"] += clean is None
                    reading.add(image, f"{kind}/{key}", size, instances, labelled=mask is not None, clean=clean,
                                group=reading.group_of(image) or frame_of(key))
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy", margin_px: int = 4) -> None:
    """Write `root`/kinds/KIND/{images,mask,inpaint}/SPLIT; images are copied with "keep" too.

    The mask holds each defect's box, grown by `margin_px` where the box is tight round a shape: the generator wants
    rectangles a little larger than the defect. An image with defects of two classes lies in both kinds' folders; good
    and unverified images, and defects to ignore, have no place. An image without a split goes to train.
    """
    records, places = [], {}
    for record in dataset.records:
        for kind in sorted({instance.label for instance in record.instances if not instance.ignore}):
            folder = root / "kinds" / kind
            place = _place(record, kind)
            copy(record.image, folder / "images" / f"{place}{record.image.suffix}")
            write_data(folder / "mask" / f"{place}.png", image_files.encode_png(_rectangles(record, kind, margin_px)))
            if record.clean is not None:
                copy(record.clean, folder / "inpaint" / f"{place}{record.clean.suffix}")
            name = f"{kind}/{place}"
            places[name] = f"kinds/{kind}/images/{place}{record.image.suffix}"
            records.append(Record(image=record.image, name=name, size=record.size, group=record.group))
    if not records:
        raise DataError(f"{dataset.root}: no defect to write, got {len(dataset)} images without one. "
                        f"MIDG's layout holds defective images only")
    write_index(records, root, places)


def _tasks(kind: Path, reading: Reading) -> list[tuple[str, str, Path, Path | None, Path | None]]:
    """(kind, name within it, image, mask, clean) of every image of a kind, by stem."""
    pictures, masks, inpaints = _folders(kind)
    labels = reading.by_stem(files_under(masks), masks)
    twins = reading.by_stem(files_under(inpaints), inpaints) if inpaints else {}
    paired = reading.paired(reading.by_stem(files_under(pictures), pictures), labels, "mask", required=True)
    alone = twins.keys() - {key for key, *_ in paired}
    reading.counts["inpainted twins have no image and were passed over"] += len(alone)
    return [(kind.name, key, image, mask, twins.get(key)) for key, image, mask in paired]


def _instances(mask: Path, size: tuple[int, int], image: Path, kind: str, reading: Reading) -> list[Instance]:
    white = image_files.read_light(mask) > WHITE_ABOVE
    if white.shape[::-1] != size:
        reading.problem(mask, f"mask of another size than its image, got {white.shape[1]}x{white.shape[0]} for "
                              f"{image.name} of {size[0]}x{size[1]}. Export the mask at the image's size")
    elif not white.any():
        reading.problem(mask, "an empty mask, got no white pixel. Mark the defect, or take the sample out")
    elif white.all():
        reading.problem(mask, "a mask that covers the whole image, got no black pixel. Mend it (is it inverted?)")
    else:
        return [_instance(crop, x, y, size, kind) for crop, x, y in component_crops(white)]
    return []


def _instance(crop: np.ndarray, x: int, y: int, size: tuple[int, int], kind: str) -> Instance:
    if crop.all():
        return Instance(label=kind, box=(float(x), float(y), float(x + crop.shape[1]), float(y + crop.shape[0])))
    return crop_instance(crop, x, y, size, kind)


def _kinds(root: Path) -> list[Path]:
    """The folders that hold a kind, sorted."""
    found = []
    for here, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in IGNORED_FOLDERS and not name.startswith("."))
        folder = Path(here)
        if any(re.fullmatch(r"mask\d*", name.lower()) for name in folders) and _folders(folder):
            found.append(folder)
            folders.clear()
        elif len(folder.relative_to(root).parts) >= DEEPEST:
            folders.clear()
    return found


def _folders(kind: Path) -> tuple[Path, Path, Path | None] | None:
    """A kind's folders of images, masks and twins; None where it is not one. `mask` goes before `mask2`."""
    inside = sorted((path for path in kind.iterdir() if path.is_dir()), key=lambda path: path.name.lower())

    def one(pattern: str) -> Path | None:
        return next((path for path in inside if re.fullmatch(pattern, path.name.lower())), None)
    pictures = one("images?") or next((path for path in inside if path.name == kind.resolve().name), None)
    masks, inpaints = one(r"mask\d*"), one(r"inpaint\d*")
    split = masks is not None and any(path.is_dir() and path.name.lower() in SPLITS for path in masks.iterdir())
    return (pictures, masks, inpaints) if pictures and split else None


def _place(record: Record, kind: str) -> str:
    """`train/X`: the record's name without what the layout's folders say, '/' as '__'."""
    parts = record.name.split("/")
    if len(parts) > 1 and parts[0] == kind:
        parts.pop(0)
    if len(parts) > 1 and SPLITS.get(parts[0].lower(), "") == record.split:
        parts.pop(0)
    return f"{record.split or 'train'}/{'__'.join(parts)}"


def _rectangles(record: Record, kind: str, margin_px: int) -> np.ndarray:
    mask = np.zeros(record.size[::-1], np.uint8)
    for instance in record.instances:
        if instance.label == kind and not instance.ignore:
            grown = margin_px if instance.has_shape else 0
            x1, y1 = np.maximum(np.floor(instance.box[:2]).astype(int) - grown, 0)
            x2, y2 = np.ceil(instance.box[2:]).astype(int) + grown
            mask[y1:y2, x1:x2] = 255
    return mask
