"""Checks of a data set before anything learns from it: every problem at once, each with what to do about it."""
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ..errors import DataError
from .examine import Examined, by, examine
from .hashing import Fingerprint, look_alikes, near_duplicates
from .problems import ERROR, KINDS, LEVELS, Problem, grouped, problem, shortened
from .records import Dataset, Record
from .splits import group_of

_STORED = {"grey": "are grey: read as three equal channels", "palette": "have a palette: resolved",
           "transparent": "are transparent: laid over black", "16-bit": "have 16 bits a channel: kept",
           "turned": "have an EXIF orientation: turned upright"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything found, worst first. `examined` is in the order of the records; `dataset` None: nothing was read."""
    dataset: Dataset | None
    problems: tuple[Problem, ...]
    examined: tuple[Examined, ...] = ()
    decoded: bool = True
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return DataError.exit_code if self.of(ERROR) else 0

    @property
    def prints(self) -> dict[Path, Fingerprint]:
        """Fingerprints of the files that were read, for `splits.split`."""
        return {path: found for examined in self.examined for path, found in examined.prints.items()}

    def of(self, level: str) -> tuple[Problem, ...]:
        """The problems of one level: "error", "warning" or "note"."""
        return tuple(one for one in self.problems if one.level == level)

    def raise_errors(self) -> None:
        """DataError with the errors, one a line, where there are any."""
        if self.of(ERROR):
            raise DataError("\n".join(line for _, lines in grouped(self.of(ERROR)) for line in shortened(lines)))


def check(dataset: Dataset, *, decode: bool = True, workers: int | None = None,
          on_record: Callable[[], object] = lambda: None) -> Report:
    """Check a data set. With `decode` every image and defect-free twin is read and compared, in threads.

    `on_record()` is called after each record, for progress.
    """
    began = time.monotonic()
    examined = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for found in pool.map(lambda record: examine(record, decode=decode), dataset.records):
            examined.append(found)
            on_record()
    problems = [one for found in examined for one in found.problems]
    problems += [*_classes(dataset), *_goods(dataset), *_groups(dataset), *_files(examined), *_kinds(examined)]
    problems += [Problem(code="reader", message=note) for note in dataset.notes]
    order = {code: (LEVELS.index(level), k) for k, (code, (level, _)) in enumerate(KINDS.items())}
    return Report(dataset=dataset, problems=tuple(sorted(problems, key=lambda one: order[one.code])),
                  examined=tuple(examined), decoded=decode, seconds=time.monotonic() - began)


def refused(error: DataError) -> Report:
    """The report of a set that the reader itself refuses: one error a line of its message."""
    found = []
    for line in str(error).splitlines():
        if line.startswith(" ") and found:                  # goes on with the line above
            found[-1] += "\n" + line
        else:
            found.append(line)
    return Report(dataset=None, problems=tuple(Problem(code="reading", message=message) for message in found))


def _classes(dataset: Dataset) -> Iterator[Problem]:
    samples, groups = Counter(), defaultdict(set)
    for record in dataset.records:
        for instance in record.instances:
            if not instance.ignore:
                samples[instance.label] += 1
                groups[instance.label].add(group_of(record))
    for label in dataset.classes:
        if not samples[label]:
            yield problem("class-unused", label, "a class without a sample, got 0", "Label some, or leave it out")
        elif samples[label] == 1:
            yield problem("class-single", label, "a class with one sample, got 1",
                          "It cannot be both learned and tested: label more")
        elif len(groups[label]) == 1:
            yield problem("class-one-group", label, f"a class on one object only, got {samples[label]} samples on "
                          f"'{next(iter(groups[label]))}'", "It cannot be both learned and tested: label it on others")


def _goods(dataset: Dataset) -> Iterator[Problem]:
    twins = sum(record.clean is not None for record in dataset.records)
    if not dataset.good:
        yield problem("no-good", dataset.root,
                      f"no defect-free image, got 0 of {len(dataset)} and {twins} defect-free twins",
                      "New defects are drawn on good images or twins, and false alarms are counted on good images")
    if not dataset.defective:
        yield problem("no-defect", dataset.root, f"no labelled defect, got 0 in {len(dataset)} images",
                      "Only what learns from good images can use it")


def _groups(dataset: Dataset) -> Iterator[Problem]:
    places = defaultdict(lambda: defaultdict(list))
    for record in dataset.records:
        if record.split:
            places[group_of(record)][record.split].append(record)
    for group, parted in sorted(places.items()):
        if len(parted) > 1:
            shown = ", ".join(f"{split} {len(records)}" for split, records in sorted(parted.items()))
            yield problem("leak", dataset.root, f"one object in several splits, got '{group}' with {shown} images",
                          "Tests on it are too good: move it to one split")


def _files(examined: Sequence[Examined]) -> Iterator[Problem]:
    """What the same or nearly the same pictures give: conflicts, duplicates, leaks."""
    owners = defaultdict(list)                              # file's bytes -> (record, path) that show it
    images = defaultdict(list)                              # the same for images alone, without clean twins
    prints = {}
    for found in examined:
        for path, fingerprint in found.prints.items():
            prints.setdefault(fingerprint.sha256, fingerprint)
            owners[fingerprint.sha256].append((found.record, path))
            if path == found.record.image:
                images[fingerprint.sha256].append(found.record)
    for records in images.values():
        if len({record.image for record in records}) > 1 or _contradict(records):
            yield _duplicate(records)
    for shown in owners.values():
        yield from _parted(shown, "one file")
    known = list(prints.values())
    for i, j in near_duplicates(known):
        yield from _near(owners[known[i].sha256], owners[known[j].sha256])
    shown = [owners[one.sha256][0] for one in known]
    count, examples = look_alikes(known, [group_of(record) for record, _ in shown], 3)
    if count:
        pairs = "; ".join(f"{shown[i][1]} and {shown[j][1]}" for i, j in examples)
        more = f" and {count - 3} more pairs" if count > 3 else ""
        yield Problem(code="look-alike", message=f"such are {pairs}{more}. Where two show one object, give them one "
                                                 "group, such as a column of index.csv")


def _contradict(records: list[Record]) -> bool:
    """Whether one picture counts as good and as defective."""
    return any(record.is_good for record in records) and any(record.instances for record in records)


def _duplicate(records: list[Record]) -> Problem:
    names = ", ".join(str(record.image) for record in records[1:4])
    more = f" and {len(records) - 4} more" if len(records) > 4 else ""
    if _contradict(records):
        return problem("conflict", records[0].image, "the same bytes as a file with other defects, one good, one "
                       f"defective, got {names}{more}", "Correct the label of one of them")
    labels = {tuple(sorted((instance.label, *map(round, instance.box)) for instance in record.instances))
              for record in records}
    differ = ", with other labels" if len(labels) > 1 else ""
    return problem("duplicate", records[0].image, f"the same bytes under another name{differ}, got {names}{more}",
                   "Splits keep them together; leave one out")


def _near(first: list[tuple[Record, Path]], second: list[tuple[Record, Path]]) -> Iterator[Problem]:
    parted = list(_parted(first + second, "nearly one picture"))
    groups = [{group_of(record) for record, _ in shown} for shown in (first, second)]
    if parted:
        yield from parted
    elif groups[0] != groups[1]:
        yield problem("near-duplicate", first[0][1], f"nearly the picture of another group, got {second[0][1]}",
                      "Splits keep the two groups together")


def _parted(shown: list[tuple[Record, Path]], what: str) -> Iterator[Problem]:
    """A leak where owners of a picture, of different groups, lie in different splits (a group's own is told once)."""
    first_of = {}                                           # (split, group) -> its first picture
    for record, path in shown:
        first_of.setdefault((record.split, group_of(record)), path)
    for ((split, group), path), ((other_split, other), place) in combinations(first_of.items(), 2):
        if split and other_split and split != other_split and group != other:
            yield problem("leak", path, f"{what} in two splits, got {split}, and {other_split} as {place}",
                          "Tests on it are too good: move it to one split")
            return


def _kinds(examined: Sequence[Examined]) -> Iterator[Problem]:
    records = [found.record for found in examined]
    ignored = [record.image for record in records for instance in record.instances if instance.ignore]
    if ignored:
        yield problem("ignored", ignored[0], f"a defect marked as difficult or as a crowd, got {len(ignored)} such",
                      "They neither train nor count")
    unlabelled = [record for record in records if not record.verified]
    if unlabelled:
        yield problem("unverified", unlabelled[0].image, f"an image that nobody labelled, got {len(unlabelled)} such",
                      "They count neither as good nor as defective")
    for kind, count in sorted(Counter(kind for found in examined for kind in found.kinds).items()):
        yield Problem(code="stored", message=f"{count} of {len(examined)} images {_STORED[kind]}")
    sizes = Counter(record.size for record in records).most_common()
    listed = ", ".join(f"{by(size)} ({count})" for size, count in sizes[:5]) + (", ..." if len(sizes) > 5 else "")
    odd = sum(width != height for width, height in (record.size for record in records))
    yield Problem(code="shape", message=f"{len(sizes)} size{'s' if len(sizes) > 1 else ''}: {listed}; {odd} of "
                                        f"{len(records)} images are not square")
