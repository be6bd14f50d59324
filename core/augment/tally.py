"""What a run made and rejected, counted from its manifest line by line, without a picture or a mask in memory."""
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Defect(NamedTuple):
    """A kept defect: image number, its place in that image's list, class, box px, area px, image (w, h)."""
    index: int
    number: int
    label: str
    box: tuple[float, float, float, float]
    area_px: int
    size: tuple[int, int]

    @property
    def centre(self) -> tuple[float, float]:
        """x, y in 0..1 of the image."""
        return ((self.box[0] + self.box[2]) / 2 / self.size[0], (self.box[1] + self.box[3]) / 2 / self.size[1])


@dataclass
class Tally:
    """The figures of a manifest.

    offsets   image number -> byte offset of its line
    defects   kept ones in the manifest's order
    rejected  class -> reason -> how often
    kept, refused   gate figure -> its values over kept and over rejected defects
    """
    manifest: Path
    offsets: list[int] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    rejected: dict[str, Counter] = field(default_factory=dict)
    kept: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, list[float]] = field(default_factory=dict)
    images_kept: int = 0
    carried: int = 0
    wanted: int = 0
    attempts: int = 0

    def line(self, index: int) -> dict:
        """The manifest's line of image number `index`."""
        with open(self.manifest, "rb") as file:
            file.seek(self.offsets[index])
            return json.loads(file.readline())

    def of(self, label: str) -> list[Defect]:
        return [defect for defect in self.defects if defect.label == label]

    def add(self, line: dict) -> None:
        """Count one line."""
        self.attempts += line["attempts"]
        self.wanted += line["wanted"]
        for entry in line["rejected"]:
            self.rejected.setdefault(entry["label"], Counter())[entry["reason"]] += 1
            _collect(self.refused, entry.get("figures"))
        if line["image"] is None:
            return
        self.images_kept += 1
        self.carried += len(line["carried"])
        for number, entry in enumerate(line["defects"]):
            self.defects.append(Defect(line["index"], number, entry["label"], tuple(entry["box"]), entry["area_px"],
                                       tuple(line["size"])))
            _collect(self.kept, entry.get("figures"))


def read_tally(manifest: Path) -> Tally:
    """Count a whole manifest; its lines are read one at a time."""
    tally = Tally(manifest)
    offset = 0
    with open(manifest, "rb") as file:
        for data in file:
            tally.offsets.append(offset)
            tally.add(json.loads(data))
            offset += len(data)
    return tally


def evenly(items: Sequence, count: int) -> list:
    """`count` items spread evenly over the sequence, in its order; all where there are no more."""
    if len(items) <= count:
        return list(items)
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def choose(tally: Tally, classes: Sequence[str], count: int) -> list[Defect]:
    """About `count` defects to show, each on an image of its own: classes in turn, evenly within each."""
    groups = {label: tally.of(label) for label in classes}
    groups = {label: group for label, group in groups.items() if group}
    shares = dict.fromkeys(groups, 0)
    while sum(shares.values()) < count and any(shares[label] < len(groups[label]) for label in groups):
        for label in groups:
            if shares[label] < len(groups[label]) and sum(shares.values()) < count:
                shares[label] += 1
    chosen, taken = [], set()
    for label in sorted(groups, key=lambda label: len(groups[label])):      # the rarest class chooses first
        fresh = [defect for defect in _one_an_image(groups[label]) if defect.index not in taken]
        picked = evenly(fresh, shares[label])
        chosen += picked
        taken.update(defect.index for defect in picked)
    order = {label: position for position, label in enumerate(groups)}
    return sorted(chosen, key=lambda defect: (order[defect.label], defect.index))


def class_names(tally: Tally, named: Sequence[str], real: Sequence[str]) -> list[str]:
    """The classes in the run's order, then any others that the bank or the manifest hold, by name."""
    found = {*real, *tally.rejected, *(defect.label for defect in tally.defects)}
    return [*named, *sorted(found - set(named))]


def sizes_px(areas: Sequence[float]) -> np.ndarray:
    """Square roots of areas, px."""
    return np.sqrt(np.asarray(areas, float))


def _one_an_image(defects: list[Defect]) -> list[Defect]:
    return list({defect.index: defect for defect in reversed(defects)}.values())[::-1]


def _collect(figures: dict[str, list[float]], found: dict | None) -> None:
    for name, value in (found or {}).items():
        if isinstance(value, (int, float)) and value == value and abs(value) != float("inf"):
            figures.setdefault(name, []).append(float(value))
