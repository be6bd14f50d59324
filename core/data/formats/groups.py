"""Which photographed object an image shows, and in which part of a split it lies: index.csv, else the file's name."""
import csv
import re
from pathlib import Path

from ...errors import DataError

GROUP_COLUMNS = ("tile_group", "board_group", "board", "location_or_part", "group", "part_id")
IMAGE_COLUMNS = ("image", "test_image", "file")
SPLITS = {
    "train": "train", "training": "train", "trainval": "train", "train2017": "train",
    "val": "val", "valid": "val", "validation": "val", "val2017": "val",
    "test": "test", "testing": "test", "test2017": "test",
}

# What a tiling tool appends to a frame's name.
_TILE = re.compile(r"""(?: _r\d+_c\d+ | _x\d+_y\d+ | _y\d+_x\d+ | _\d{2,5}_\d{2,5} | [_-](?:patch|tile|crop)[_-]?\d+
                         | _p\d+ | (?<=\d)-\d{1,2} )$""", re.VERBOSE | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}$")


def frame_of(name: str) -> str:
    """The name of the frame a tile was cut from: `train/a/part7_r03_c02` -> `a/part7`, without folders of splits."""
    *folders, stem = name.split("/")
    while (shorter := stem if _DATE.search(stem) else _TILE.sub("", stem)) not in ("", stem):
        stem = shorter
    return "/".join([*(folder for folder in folders if folder.lower() not in SPLITS), stem])


def split_of(name: str) -> str | None:
    """The split that a folder in the name stands for, such as `val` in `images/valid/a`; None without one."""
    return next((SPLITS[part.lower()] for part in name.split("/")[:-1] if part.lower() in SPLITS), None)


class Index:
    """The index.csv of a set, kept beside it or one or two folders above; empty without one."""

    def __init__(self, root: Path):
        self.rows: dict[Path, dict[str, str]] = {}
        self.resolved: dict[Path, Path] = {}                # folder -> itself without links
        for folder in (root, *root.resolve().parents[:2]):
            if (folder / "index.csv").is_file():
                self.folder = folder.resolve()
                self._read(folder / "index.csv")
                break

    def row(self, image: Path) -> dict[str, str]:
        """What the index says of an image: column -> value; {} where it says nothing."""
        if not self.rows:
            return {}
        if image.parent not in self.resolved:
            self.resolved[image.parent] = image.parent.resolve()
        return self.rows.get(self.resolved[image.parent] / image.name, {})

    def _read(self, path: Path) -> None:
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: not a readable table, got '{error}'. Save it as UTF-8 with commas") from error
        column = next((name for name in IMAGE_COLUMNS if rows and name in rows[0]), None)
        for row in rows if column else ():
            if row[column]:
                self.rows[self.folder / row[column]] = {key: value or "" for key, value in row.items() if key}


def group_in(row: dict[str, str]) -> str:
    """The photographed object in an index's row; "" where it names none."""
    return next((row[column] for column in GROUP_COLUMNS if row.get(column)), "")


def split_in(row: dict[str, str]) -> str | None:
    """The split in an index's row. A set's published split is not taken where it parts what belongs together."""
    return SPLITS.get(row.get("split", "").lower())
