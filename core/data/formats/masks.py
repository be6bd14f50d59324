"""One label image an image: index PNG, colour map, black and white, or masks beside their images in class folders.

    images/x.jpg, masks/x.png                   also one pair of folders a split; `mask` and `imgs` as well
    MT_Crack/Imgs/x.jpg, MT_Crack/Imgs/x.png    the folder is the class; white (> 127) is the defect
    classes.json, colours.json                  {"1": "crack"} names index values, {"crack": [255, 0, 0]} colours

A defect is a connected part (8 neighbours) of one class. An index of 255 beside others means "ignore".
"""
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import DataError
from .. import images as image_files
from ..problems import Problem
from ..records import Dataset, Instance, Record
from ..shapes import component_crops, crop_instance, instance_crop, rle_area_px
from .groups import SPLITS
from .label_image import IGNORED, PURE, ColourMap, is_jpeg, parse_classes, pure_colours, without_rings
from .reading import Reading, files_under, opencv_alone, subfolder
from .writing import place_images, write_data, write_index, write_whole

LAYOUT = "images/X.jpg and masks/X.png (index, colours or black and white), or CLASS/Imgs/X.jpg with X.png beside it"
HOLDS = ("shapes", "good", "ignore")
IMAGE_FOLDERS, MASK_FOLDERS = ("images", "imgs", "img"), ("masks", "mask")
WHITE_ABOVE = 127                       # of the masks beside their images, which are not quite black and white
MOST_LEVELS = 64                        # more grey levels than that are no index image
SPECK_PX = 10
SPECKS = (f"parts are smaller than {SPECK_PX} px: specks, or rims that interpolation left (scripts/convert.py "
          f"--clean-rings, --minimum-px)")


def fits(root: Path) -> bool:
    """Whether folders of images and of masks lie side by side, or masks beside images in class folders."""
    return bool(_folder_pairs(root) or _class_folders(root))


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None,
         colours: Mapping[str, tuple[int, int, int]] | None = None, unknown_colours: str = "error",
         threshold: int | None = None, clean_rings: bool = False, minimum_px: int = 1, full_masks: str = "error",
         ) -> Dataset:
    """Read label images.

    classes          names of the index values 1, 2, ...; without them classes.json, else the values themselves
    colours          class name -> RGB; without it colours.json. A pixel up to 40 levels a channel away counts as it
    unknown_colours  "error", or "ignore": pixels of no colour become a defect to ignore
    threshold        grey levels above it are the defect (one class); for masks with a grey fringe
    clean_rings      give every connected blob its most frequent class: rids it of 1-px rims of other classes
    minimum_px       smaller parts are dropped
    full_masks       "error" on a mask that covers its whole image, which is mostly an inverted one; or "keep"
    """
    given = tuple(classes) if classes else None
    pairs, class_folders = _folder_pairs(root), _class_folders(root)
    if pairs or colours:
        names, stored = parse_classes(root)
        colour_map = ColourMap(colours or stored, unknown_colours) if colours or stored else None
        names = given or names or (tuple(colour_map.names) if colour_map else None)
    else:
        threshold, names, colour_map = WHITE_ABOVE if threshold is None else threshold, None, None
    reading = Reading(root, "masks", unlabelled=unlabelled, classes=given, order=names or ())
    tasks = _paired_tasks(root, pairs, reading) if pairs else _class_tasks(class_folders, reading)
    decoder = _Decoder(colour_map=colour_map, threshold=threshold, clean_rings=clean_rings, minimum_px=minimum_px,
                       full_masks=full_masks)
    with opencv_alone():
        found = [decoder.decode(task) for task in tasks]
    holders = {code: task.mask for task, each in zip(reversed(tasks), reversed(found)) for code in each.codes}
    naming = _naming(holders, names, reading)
    defective = {task.label for task, each in zip(tasks, found) if each.instances} - {None}
    for task, each in zip(tasks, found):
        reading.problems += [Problem(code="image", message=message) for message in each.problems]
        if each.size is not None and not reading.problems:
            _add(reading, task, each, naming, blank=task.label in defective and not each.instances)
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy") -> None:
    """Index PNGs with a palette in root/masks, and classes.json. Unverified images have no mask and are left out.

    Touching defects of one class become one, boxes without a shape are filled; later defects lie on top.
    """
    if len(dataset.classes) >= IGNORED:
        raise DataError(f"{root}: too many classes for an index PNG, got {len(dataset.classes)}. At most {IGNORED - 1}")
    records = tuple(record for record in dataset.records if record.verified)
    places = place_images(replace(dataset, records=records), root, images)
    palette = _palette(len(dataset.classes))
    for record in records:
        mask = index_mask(record, dataset.classes)
        target = (root / "masks" / places[record.name]).with_suffix(".png")
        write_data(target, image_files.encode_png(mask, palette=palette))
    numbers = {str(number): name for number, name in enumerate(dataset.classes, 1)}
    write_whole(root / "classes.json", json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    write_index(list(records), root, {name: f"images/{place}" for name, place in places.items()})


def index_mask(record: Record, classes: tuple[str, ...]) -> np.ndarray:
    """uint8 [H, W]: 0, or 1 + the position of the defect's class in `classes`; 255 where it is to be ignored."""
    mask = np.zeros(record.size[::-1], np.uint8)
    for instance in record.instances:
        crop, x, y = instance_crop(instance, record.size)
        value = IGNORED if instance.ignore else 1 + classes.index(instance.label)
        mask[y:y + crop.shape[0], x:x + crop.shape[1]][crop] = value
    return mask


@dataclass(frozen=True)
class _Task:
    name: str
    image: Path
    mask: Path | None
    label: str | None = None            # the class, where a folder says it


@dataclass(frozen=True)
class _Found:
    size: tuple[int, int] | None = None
    codes: frozenset[int] = frozenset()
    instances: tuple[Instance, ...] = ()            # labelled with their code, until the codes have names
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Decoder:
    colour_map: ColourMap | None
    threshold: int | None
    clean_rings: bool
    minimum_px: int
    full_masks: str

    def decode(self, task: _Task) -> _Found:
        """Size and parts of one mask; what is wrong with it is told later, with the other problems."""
        try:
            size = image_files.read_size(task.image)
            if task.mask is None:
                return _Found(size=size)
            codes = self.codes(task.mask, size, task.image)
            return self.parts(codes, size, task.mask)
        except DataError as error:
            return _Found(problems=(str(error),))

    def codes(self, path: Path, size: tuple[int, int], image: Path) -> np.ndarray:
        values = image_files.read_mask(path)
        if values.shape[1::-1] != size:
            raise DataError(f"{path}: mask of another size than its image, got {values.shape[1]}x{values.shape[0]} for "
                            f"{image.name} of {size[0]}x{size[1]}. Export the mask at the image's size")
        if self.threshold is not None:
            return (values.reshape(*size[::-1], -1).max(-1) > self.threshold).astype(np.uint8) * IGNORED
        if self.colour_map is not None:
            return self.colour_map.codes(values, path)
        if is_jpeg(path) and not np.isin(values, (0, 255)).all():
            raise DataError(f"{path}: a mask saved as JPEG, which changes its numbers, got {len(np.unique(values))} of "
                            "them. Store masks as PNG; scripts/convert.py --threshold 127 takes what is bright, "
                            "--colours what has a class's colour")
        return values if values.ndim == 2 else pure_colours(values, path)

    def parts(self, codes: np.ndarray, size: tuple[int, int], path: Path) -> _Found:
        counts = np.bincount(codes.ravel(), minlength=256)
        if np.count_nonzero(counts) > MOST_LEVELS:
            raise DataError(f"{path}: not an index image, got {np.count_nonzero(counts)} grey levels. "
                            f"scripts/convert.py --threshold 127 takes what is brighter for the defect")
        if self.full_masks == "error" and counts[1:].max() == codes.size:
            raise DataError(f"{path}: a mask that covers the whole image, got {codes.size} px of one class. "
                            f"Mend it (is it inverted?) or take it out; scripts/convert.py --full-masks keep reads it")
        if self.clean_rings:
            codes = without_rings(codes)
        counts = np.bincount(codes.ravel(), minlength=256)
        instances = [crop_instance(*crop, size, str(code)) for code in np.flatnonzero(counts[1:]) + 1
                     for crop in component_crops(codes == code, self.minimum_px)]
        return _Found(size=size, codes=frozenset(int(item.label) for item in instances), instances=tuple(instances))


def _naming(codes: Mapping[int, Path], names: tuple[str, ...] | None, reading: Reading) -> dict[int, str | None]:
    """Code -> class name; None is "ignore". White alone is one class, else 255 is what to ignore.

    codes   those that occur, each with the first mask that holds it
    """
    white_alone = codes.keys() <= {IGNORED}
    if names is None:
        if any(code in PURE for code in codes):
            return {**PURE, IGNORED: "#ffffff"}
        return {**{code: str(code) for code in codes}, IGNORED: "defect" if white_alone else None}
    if white_alone and (len(names) == 1 or not codes):
        return {IGNORED: names[0]}
    beyond = sorted(code for code in codes if len(names) < code < IGNORED) or ([IGNORED] if white_alone else [])
    if beyond:
        reading.problem(codes[beyond[0]], f"more mask values than classes, got {beyond[0]} for {len(names)} classes "
                                          f"({', '.join(names)}). Correct the mask, or name every value in "
                                          "classes.json")
    return {**dict(enumerate(names, 1)), IGNORED: None}


def _add(reading: Reading, task: _Task, found: _Found, naming: dict[int, str | None], *, blank: bool) -> None:
    """Add a record. `blank`: an all-black mask in a folder of defects, which says nothing rather than "good"."""
    labels = [task.label or naming.get(int(item.label)) for item in found.instances]
    first = next((name for name in naming.values() if name), "defect")
    instances = [replace(item, label=label or first, ignore=label is None)
                 for item, label in zip(found.instances, labels)]
    instances = [item for item in instances if item.ignore or reading.known(item.label, task.mask)]
    if blank and reading.unlabelled == "error":
        reading.problem(task.mask, f"an empty mask in a folder of defects, got '{task.label}'. Mark the defect, or "
                                   f"say --unlabelled good")
    elif blank:
        reading.passed_over.append(task.image)
    reading.counts[SPECKS] += sum(rle_area_px(item.rle) < SPECK_PX for item in instances)
    reading.add(task.image, task.name, found.size, instances, labelled=task.mask is not None and not blank)


def _paired_tasks(root: Path, pairs: list[tuple[Path, Path]], reading: Reading) -> list[_Task]:
    tasks = []
    for pictures, masks in pairs:
        prefix = "" if pictures.parent == root else f"{pictures.parent.relative_to(root).as_posix()}/"
        found = reading.paired(reading.by_stem(files_under(pictures), pictures),
                               reading.by_stem(files_under(masks), masks, _without_ending), "mask", required=True)
        tasks += [_Task(prefix + key, image, mask) for key, image, mask in found]
    return tasks


def _class_tasks(folders: list[Path], reading: Reading) -> list[_Task]:
    tasks = []
    for folder in folders:
        pictures, masks = _beside(folder)
        found = reading.paired(reading.by_stem(pictures, folder), reading.by_stem(masks, folder), "mask", required=True)
        label = folder.parent.name
        tasks += [_Task(f"{label}/{key}", image, mask, label) for key, image, mask in found]
    return tasks


def _folder_pairs(root: Path) -> list[tuple[Path, Path]]:
    """(images, masks): in the root, else in each of its folders, such as one a split."""
    def pair(base: Path) -> tuple[Path, Path] | None:
        pictures, masks = subfolder(base, *IMAGE_FOLDERS), subfolder(base, *MASK_FOLDERS)
        single = masks is not None and masks.name.lower() == "mask"
        if pictures and masks and not (single and any(sub.name.lower() in SPLITS for sub in masks.iterdir())):
            return pictures, masks              # mask/train is a layout of its own (midg)
        return None
    here = pair(root)
    bases = [] if here else sorted(path for path in root.iterdir() if path.is_dir())
    return [here] if here else [found for base in bases if (found := pair(base))]


def _class_folders(root: Path) -> list[Path]:
    """The folders `Imgs` of CLASS/Imgs that hold masks beside images."""
    folders = [sub for base in sorted(root.iterdir()) if base.is_dir() for sub in base.iterdir()
               if sub.name.lower() in IMAGE_FOLDERS and sub.is_dir()]
    return [folder for folder in folders
            if set.intersection(*({path.stem for path in side} for side in _beside(folder)))]


def _beside(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images (JPEG, BMP) and the masks (PNG) in one folder."""
    lying = files_under(folder)
    return [path for path in lying if path.suffix.lower() != ".png"], [
        path for path in lying if path.suffix.lower() == ".png"]


def _without_ending(key: str) -> str:
    return re.sub(r"_(mask|label|gt)$", "", key)


def _palette(count: int) -> np.ndarray:
    """Black, one clearly different colour a class, and grey for what to ignore: uint8 [256, 3]."""
    base = [(230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (70, 240, 240), (240, 50, 230), (245, 130, 48),
            (170, 110, 40), (170, 255, 195), (220, 190, 255)]
    palette = np.zeros((256, 3), np.uint8)
    for number in range(1, count + 1):
        palette[number] = np.array(base[(number - 1) % len(base)]) // (1 + (number - 1) // len(base))
    palette[IGNORED] = 128
    return palette
