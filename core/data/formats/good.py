"""A folder of images that all show good parts, with any folders inside; no labels."""
import re
from collections.abc import Iterable
from pathlib import Path

from ...errors import DataError
from .. import images as image_files
from ..records import Dataset
from .reading import Reading, files_under, stem
from .writing import copy

LAYOUT = "images of good parts and nothing else, in any folders"
HOLDS = ("good",)
LABELS = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml")
SPOKEN = re.compile(r"(readme|license|licence|manifest|index|classes|notes?)\b", re.IGNORECASE)
LABEL_FOLDERS = re.compile(r"(masks?\d*|labels?|annotations?|ground_?truth|inpaint\d*|defects?|bad|.*_not)$", re.I)


def fits(root: Path) -> bool:
    """Whether there are images and nothing that looks like a label: unknown labels must not pass for good parts."""
    found = files_under(root, lambda path: image_files.is_image(path) or path.suffix.lower() in LABELS)
    folders = {part for path in found for part in path.relative_to(root).parts[:-1]}
    labels = [path for path in found if path.suffix.lower() in LABELS and not SPOKEN.match(path.name)]
    return len(found) > 0 and any(map(image_files.is_image, found)) and not labels and not any(
        map(LABEL_FOLDERS.match, folders))


def read(root: Path, *, unlabelled: str = "skip", classes: Iterable[str] | None = None) -> Dataset:
    """Every image below the root, as defect-free. `unlabelled` has no meaning here: the format says what they are."""
    reading = Reading(root, "good", classes=classes)
    for path in files_under(root):
        size = reading.size(path)
        if size:
            reading.add(path, stem(path, root), size)
    return reading.dataset()


def write(dataset: Dataset, root: Path, *, images: str = "copy") -> None:
    """Copy the good images to `root`/NAME; the defective and unverified ones have no place. "keep" writes nothing."""
    if not dataset.good:
        raise DataError(f"{dataset.root}: no defect-free image, got {len(dataset)} others. Choose another format")
    for record in dataset.good if images == "copy" else ():
        copy(record.image, root / f"{record.name}{record.image.suffix}")
