"""The one in-memory form of a labelled data set: records of images and the defects on them."""
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One labelled defect.

    label     class name
    box       x1, y1, x2, y2 in px, x2 and y2 exclusive; tight round the shape where a shape is given
    polygons  rings, each float64 [N, 2] of x, y in px (even-odd rule, pixel centres at .5); None where unknown
    rle       COCO run-length code {"size": [H, W], "counts": str}; None where unknown. Wins over `polygons`.
    ignore    true for what neither trains nor counts as an error (COCO iscrowd, VOC difficult)
    """
    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[np.ndarray, ...] | None = None
    rle: dict | None = None
    ignore: bool = False

    @property
    def has_shape(self) -> bool:
        """Whether the defect's pixels are known, not its box alone."""
        return self.polygons is not None or self.rle is not None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image and what is known of it.

    image      path of the image file
    name       unique within the data set: the path relative to its root, without suffix, '/' between parts
    size       width, height in px, after EXIF orientation
    instances  the labelled defects; empty for a defect-free image
    clean      path of the same image without its defects (template, inpainted twin), of the same size, or None
    group      the photographed object (board, part, tile): records of one group never part in a split
    split      "train", "val", "test", or None where the data set does not say
    verified   false where nobody said whether the image holds defects (an unlabelled image among labelled ones)
    """
    image: Path
    name: str
    size: tuple[int, int]
    instances: tuple[Instance, ...] = ()
    clean: Path | None = None
    group: str = ""
    split: str | None = None
    verified: bool = True

    @property
    def is_good(self) -> bool:
        """Whether the image is known to be free of defects."""
        return self.verified and not self.instances


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Records in the order of their names, and the class names in the order of their numbers (0 is the first class).

    notes       what a reader passed over and why, for the user
    problems    core.data.problems.Problem, each: what was left out, where a reader was told to; also among the notes
    unlabelled  images without a label file
    """
    root: Path
    format: str
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = field(default=())
    problems: tuple = field(default=())
    unlabelled: tuple[Path, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.records)

    def of_split(self, split: str) -> tuple[Record, ...]:
        """The records of one split whose labels are known."""
        return tuple(record for record in self.records if record.split == split and record.verified)

    @property
    def good(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.is_good)

    @property
    def defective(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.instances)
