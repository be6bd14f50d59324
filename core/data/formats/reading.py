"""One reading of a labelled set: pairing, sizes and names, every problem in one message, and the Dataset at the end."""
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import cv2

from ...errors import ConfigError, DataError, did_you_mean
from .. import images
from ..problems import Problem
from ..records import Dataset, Instance, Record
from .groups import Index, frame_of, group_in, split_in, split_of

SHOWN_PROBLEMS, SHOWN_NAMES = 20, 5
FAULTY = ("error", "skip")
IGNORED_FOLDERS = ("__MACOSX", ".git", ".ipynb_checkpoints")


def files_under(folder: Path, wanted: Callable[[Path], bool] = images.is_image) -> list[Path]:
    """The files below a folder that are `wanted`, sorted by path; hidden and system files are passed over."""
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in IGNORED_FOLDERS and not name.startswith("."))
        found += [path for path in (Path(here, name) for name in names) if wanted(path)]
    return sorted(path for path in found if not path.name.startswith("."))


def with_suffix(*suffixes: str) -> Callable[[Path], bool]:
    """A test for `files_under`: names that end in one of these, in any case."""
    return lambda path: path.suffix.lower() in suffixes


def subfolder(root: Path, *names: str) -> Path | None:
    """The first folder in `root` with one of these names, in any case; None without one."""
    there = sorted(root.iterdir(), reverse=True) if root.is_dir() else ()
    lying = {path.name.lower(): path for path in there if path.is_dir()}
    return next((lying[name.lower()] for name in names if name.lower() in lying), None)


def stem(path: Path, folder: Path) -> str:
    """The path relative to a folder, without suffix, '/' between parts, umlauts in one normal form."""
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


@contextmanager
def opencv_alone():
    """Keeps OpenCV to one thread: on thousands of small masks its others cost five times what they bring."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def class_list(root: Path) -> tuple[str, ...]:
    """The names in classes.txt, one a line; () without one."""
    path = root / "classes.txt"
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
    return tuple(line.strip() for line in lines if line.strip())


class Reading:
    """What one reading has found. Problems are collected and raised together by `dataset()`."""

    def __init__(self, root: Path, format: str, *, unlabelled: str = "skip", classes: Iterable[str] | None = None,
                 order: Iterable[str] = (), faulty: str = "error"):
        """`classes`: the only labels allowed, in order. `order`: the format's own order, where labels are free.
        `faulty`: "error", or "skip", where problems become notes and the reader adds no record of what is wrong."""
        if faulty not in FAULTY:
            raise ConfigError(f"faulty: no such choice, got '{faulty}'. One of {', '.join(FAULTY)}")
        self.root, self.format, self.unlabelled, self.faulty = root, format, unlabelled, faulty
        self.allowed = tuple(classes) if classes else None
        self.order = tuple(order)
        self.index = Index(root)
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.records: list[Record] = []
        self.counts: Counter[str] = Counter()               # things worth a note each, such as "circles"
        self.passed_over: list[Path] = []

    def problem(self, where: object, what: str, code: str = "reading", paths: Iterable[Path] = ()) -> None:
        """Add one problem: `what` says what is wrong, what was found, and what to do."""
        self.problems.append(Problem(code=code, message=f"{where}: {what}", paths=tuple(map(str, paths))))

    @contextmanager
    def collecting(self):
        """DataErrors inside become problems of this reading."""
        try:
            yield
        except DataError as error:
            self.problems.append(Problem(code="image", message=str(error)))

    def size(self, image: Path) -> tuple[int, int] | None:
        """Width and height in px; None, and a problem, where the image cannot be read."""
        with self.collecting():
            return images.read_size(image)
        return None

    def box(self, x1: float, y1: float, x2: float, y2: float, size: tuple[int, int], where: object,
            ) -> tuple[float, float, float, float] | None:
        """A box cut at the image's border (noted beyond 1 px); None, and a problem, where nothing of it is left."""
        width, height = size
        left, top, right, bottom = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if not (left < right and top < bottom):             # NaN too
            self.problem(where, f"no box on the image, got {x1:g} {y1:g} {x2:g} {y2:g} on {width}x{height} px. "
                                f"x1 < x2 and y1 < y2 in px of the image; mend or delete the line")
            return None
        if max(left - x1, top - y1, x2 - right, y2 - bottom) > 1:
            self.counts["boxes reach over the image's border and were cut there"] += 1
        return float(left), float(top), float(right), float(bottom)

    def same_size(self, path: Path, size: tuple[int, int], image: Path, kind: str) -> bool:
        """Whether an image that belongs to another has its size; a problem with both sizes where not."""
        own = self.size(path)
        if own is not None and own != size:
            self.problem(path, f"{kind} of another size than its image, got {own[0]}x{own[1]} for {image.name} of "
                               f"{size[0]}x{size[1]}. Export it at the image's size")
        return own == size

    def told_size(self, told: tuple[int, int], size: tuple[int, int], where: object, image: Path) -> bool:
        """Whether the size that a label file tells is the image's; a problem with both where not."""
        if told != size:
            turned = "is the image turned by its EXIF orientation? " if told == size[::-1] else ""
            self.problem(where, f"another size than the image, got {told[0]}x{told[1]} for {image.name} of "
                                f"{size[0]}x{size[1]}: {turned}Label the image as it is",
                         "turned" if turned else "size")
        return told == size

    def known(self, label: str, where: object) -> bool:
        """Whether a label may be used; a problem that names the nearest class where not."""
        if self.allowed is None or label in self.allowed:
            return True
        self.problem(where, f"no such class, got '{label}'. {did_you_mean(label, self.allowed)}"
                            f"The classes are {', '.join(self.allowed)}", "label")
        return False

    def by_stem(self, paths: Iterable[Path], folder: Path, name: Callable[[str], str] = str) -> dict[str, Path]:
        """Stem -> path; a problem where two files share one. `name` cuts the stem to what both sides have in common."""
        found: dict[str, Path] = {}
        for path in paths:
            key = name(stem(path, folder))
            if key in found:
                self.problem(path, f"two files of one name, got {found[key].name} as well. Rename one of them",
                             "name", [path])
            found.setdefault(key, path)
        return found

    def paired(self, pictures: dict[str, Path], labels: dict[str, Path], kind: str, *, required: bool = False,
               ) -> list[tuple[str, Path, Path | None]]:
        """Pair by stem, and by stem in any case where that is unique: (stem, image, label file or None), sorted.

        Label files without image are a problem. Images without label file are one where `required` (unless unlabelled
        images are good) or where `unlabelled` is "error"; else they are noted and come with None.
        """
        labels = self._matched(pictures, labels)
        orphans = [labels[key] for key in sorted(set(labels) - set(pictures))]
        self._leftovers(orphans, f"{kind} without an image", "Add the image or take the file out", "no-image")
        bare = [pictures[key] for key in sorted(set(pictures) - set(labels))]
        if self.unlabelled == "error" or (required and self.unlabelled != "good"):
            self._leftovers(bare, f"image without {kind}", "Add it, or say --unlabelled good (train.py, test.py: "
                            "--set data.unlabelled=good) where it shows no defect", "no-label")
        else:
            self.passed_over += bare
        return [(key, pictures[key], labels.get(key)) for key in sorted(pictures)]

    def group_of(self, image: Path) -> str:
        """The photographed object that index.csv names for an image; "" where it names none."""
        return group_in(self.index.row(image))

    def add(self, image: Path, name: str, size: tuple[int, int], instances: Iterable[Instance] = (), *,
            labelled: bool = True, aside: bool = False, clean: Path | None = None, group: str = "",
            split: str | None = None) -> None:
        """Add a record. Not `labelled`: good where the user has said so, else unverified, as with `aside` always."""
        row = self.index.row(image)
        self.records.append(Record(
            image=image, name=name, size=size, instances=tuple(instances), clean=clean,
            group=group or group_in(row) or frame_of(name), split=split or split_in(row) or split_of(name),
            verified=not aside and (labelled or self.unlabelled == "good")))

    def dataset(self) -> Dataset:
        """The Dataset, or one DataError with every problem (at most 20 lines, then their number)."""
        lines = [one.message for one in self.problems]
        if self.faulty == "skip":
            self.notes += lines
        elif lines:
            hidden = len(lines) - SHOWN_PROBLEMS
            more = [f"... and {hidden} more problems"] if hidden > 0 else []
            raise DataError("\n".join(lines[:SHOWN_PROBLEMS] + more))
        if not self.records:
            raise DataError(f"{self.root}: no images, got an empty set of format '{self.format}'. Check the folder")
        if self.passed_over:
            meaning = {"good": "taken as good"}.get(self.unlabelled, "kept as unlabelled: neither defective nor good")
            shown = (path.relative_to(self.root) for path in self.passed_over)
            self.notes.append(f"{len(self.passed_over)} images without a label ({meaning}): {first(shown)}")
        self.notes += [f"{count} {what}" for what, count in sorted(self.counts.items()) if count]
        return Dataset(root=self.root, format=self.format, classes=self._classes(), notes=tuple(self.notes),
                       problems=tuple(self.problems), unlabelled=tuple(self.passed_over),
                       records=tuple(sorted(self._renamed(), key=lambda record: record.name)))

    def _classes(self) -> tuple[str, ...]:
        found = {instance.label for record in self.records for instance in record.instances}
        return self.allowed or (*self.order, *sorted(found - set(self.order)))

    def _renamed(self) -> Iterable[Record]:
        """Names made unique: two images of one stem get their suffixes, as in `a_bmp`."""
        counts = Counter(record.name for record in self.records)
        for record in self.records:
            if counts[record.name] > 1:
                suffix = record.image.suffix.lstrip(".").lower()
                record = Record(**{**vars(record), "name": f"{record.name}_{suffix}"})
            yield record

    def _matched(self, pictures: dict[str, Path], labels: dict[str, Path]) -> dict[str, Path]:
        if labels.keys() <= pictures.keys():
            return labels
        loose = defaultdict(list)
        for key in pictures:
            loose[key.casefold()].append(key)
        matched = {key: path for key, path in labels.items() if key in pictures}
        for key, path in labels.items():
            candidates = loose.get(key.casefold(), ())
            alone = key not in pictures and len(candidates) == 1 and candidates[0] not in matched
            matched[candidates[0] if alone else key] = path
        return matched

    def _leftovers(self, paths: list[Path], what: str, advice: str, code: str) -> None:
        if paths:
            self.problem(self.root, f"{len(paths)} {what}, got {first(paths)}. {advice}", code, paths)


def first(names: Iterable[object]) -> str:
    """The first five, and that there are more."""
    names = [str(name) for name in names]
    hidden = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {hidden} more" if hidden > 0 else "")
