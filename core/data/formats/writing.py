"""What every writer shares: where the images go, and the index.csv that keeps groups and splits."""
import csv
import io
import shutil
from pathlib import Path

from ...errors import OutputError
from .. import images as image_files
from ..records import Dataset, Record
from .groups import frame_of, split_of


def place_images(dataset: Dataset, root: Path, images: str) -> dict[str, str]:
    """Record name -> its file's path within `root`/images. "copy" copies it there; "keep" expects it to lie there."""
    places, stems = {}, {}
    for record in dataset.records:
        place = _kept(record, root) if images == "keep" else f"{record.name}{record.image.suffix}"
        key = Path(place).with_suffix("").as_posix()
        if key in stems:
            raise OutputError(f"{record.image}: two images of one stem, got {stems[key]} as well. Rename one of them")
        places[record.name], stems[key] = place, record.image
        if images == "copy":
            copy(record.image, root / "images" / place)
    return places


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes, making folders on the way; a file onto itself is left alone."""
    if target.exists() and target.samefile(source):
        return
    with writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def write_text(path: Path, text: str) -> None:
    """Write one of many small label files, making folders on the way; the same command again mends a half set."""
    write_data(path, text.encode("utf-8"))


def write_data(path: Path, data: bytes) -> None:
    """`write_text` for bytes."""
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_whole(path: Path, text: str) -> None:
    """Write the one file that holds a set's labels: whole or not at all."""
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    image_files.write_bytes(path, text.encode("utf-8"))


def write_class_list(dataset: Dataset, root: Path) -> None:
    """Write classes.txt, one name a line, in the order of the classes' numbers."""
    write_text(root / "classes.txt", "".join(f"{name}\n" for name in dataset.classes))


def write_index(records: list[Record], root: Path, places: dict[str, str]) -> None:
    """Write index.csv (image, group, split; paths from `root`), where file names alone do not say the same."""
    if all(record.group == frame_of(places[record.name].rsplit(".", 1)[0].removeprefix("images/"))
           and record.split == split_of(places[record.name]) for record in records):
        return
    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(("image", "group", "split"))
    lines.writerows((places[record.name], record.group, record.split or "") for record in records)
    write_whole(root / "index.csv", table.getvalue())


class writable:
    """Turns the system's refusal to write into an OutputError that names the place."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{self.path}: cannot be written, got '{error.strerror or error}'. "
                              f"Free space or choose another place") from error


def _kept(record: Record, root: Path) -> str:
    folder = (root / "images").resolve()
    if not record.image.resolve().is_relative_to(folder):
        raise OutputError(f"{record.image}: not in {folder}, where the images are to be kept. Write with images='copy'")
    return record.image.resolve().relative_to(folder).as_posix()
