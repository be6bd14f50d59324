"""The gate on trial: how many real defects it rejects, how many planted faults it finds."""
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..data import splits
from ..data.hashing import fingerprints
from ..data.images import read_image
from ..data.overlaps import overlap
from ..data.records import Dataset
from ..seeding import rng
from . import compose
from .bank import Crop, DefectBank
from .gate import Gate
from .labels import tight_mask
from .likeness import likeness

SAMPLE, EMPTY = range(2)    # purposes of random numbers


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What came of one data set; the shares 0..1 of those judged.

    judged    real defects, of `known` in the bank; `unseen` more are not judged: their box leaves too little of the
              picture to compare them with
    rejected  real defects, by the gate's reason; repeats: those among them kept once pictures that show the very same
              place count as their own
    empty     planted samples with nothing in them, found; copied: planted turned copies, found
    """
    known: int
    judged: int
    unseen: int
    rejected: dict[str, int]
    repeats: int
    empty: float
    copied: float

    @property
    def real(self) -> float:
        return sum(self.rejected.values()) / max(self.judged, 1)


def gate_rates(dataset: Dataset, bank: DefectBank, *, most: int = 200, seed: int = 0) -> Rates:
    """Put a gate on trial with the real defects of a set, at most `most` of them, drawn by the seed.

    Each real one is judged by a gate that has not seen its group: the records of its object and of nearly the same
    pictures (as splits keep them together). A near copy is looked into: crops of one photograph overlap.
    """
    drawn = rng(seed, SAMPLE).permutation(len(bank.crops))[:most]
    crops = [bank.crops[i] for i in sorted(drawn.tolist())]
    jury, strict = Jury(dataset, bank), Gate(bank)
    seen = [crop for crop in crops if not _fills_picture(crop, strict.settings.cover)]
    reasons = [jury.reason(crop) for crop in seen]
    found_empty, found_copies = [], []
    for number, crop in enumerate(crops):
        found_empty += _empty_found(strict, crop, rng(seed, EMPTY, number))
        found_copies.append(_copy_found(strict, crop, number))
    return Rates(known=len(bank.crops), judged=len(seen), unseen=len(crops) - len(seen),
                 rejected=dict(Counter(reason for reason in reasons if reason)), repeats=jury.repeats,
                 empty=float(np.mean(found_empty)), copied=float(np.mean(found_copies)))


class Jury:
    """Judges real defects, each by gates that know nothing of its own group."""

    def __init__(self, dataset: Dataset, bank: DefectBank):
        self.dataset, self.bank, self.repeats = dataset, bank, 0
        joined = splits.joined_groups(dataset, fingerprints(splits.paths(dataset)))
        self.group = {record.name: joined[splits.group_of(record)] for record in dataset.records}
        self.rules: dict[str, Gate] = {}
        self.strict = Gate(bank)

    def reason(self, crop: Crop) -> str | None:
        """Why the gate rejects a real defect; None: it does not."""
        own = self.group[crop.record]
        if own not in self.rules:
            others = tuple(other for other in self.bank.crops if self.group[other.record] != own)
            self.rules[own] = Gate(replace(self.bank, crops=others or self.bank.crops), near_copy_off=True)
        verdict = self.rules[own].judge(crop.clean, crop.pixels, crop.mask, crop.label, crop.inner_box)
        if not verdict.kept or not self._copied(crop, {own}):
            return verdict.reason
        overlapping = self._overlapping(crop.record, own)
        if overlapping and not self._copied(crop, {own, *overlapping}):
            self.repeats += 1
            return None
        return "near copy"

    def _copied(self, crop: Crop, groups: set[str]) -> bool:
        left_out = np.array([self.group[other.record] in groups for other in self.bank.crops])
        found = likeness(crop.pixels, (crop.inner_box,), self.strict.originals, crop.label, left_out)
        return found > self.strict.copy_limit(int(crop.mask.sum()))

    def _overlapping(self, name: str, own: str) -> set[str]:
        """The other groups that show a part of the record's picture."""
        here = self.pictures[name]
        return {self.group[other] for other, picture in self.pictures.items()
                if self.group[other] != own and picture.shape == here.shape and overlap(here, picture)}

    @cached_property
    def pictures(self) -> dict[str, np.ndarray]:
        return {record.name: read_image(record.image) for record in self.dataset.defective}


def _fills_picture(crop: Crop, cover: float) -> bool:
    width, height = crop.size_px
    return width * height > cover * crop.image_size[0] * crop.image_size[1]


def _empty_found(gate: Gate, crop: Crop, draw: np.random.Generator) -> list[bool]:
    """The clean picture itself, and with a grain of one grey level, given out as a defect."""
    noise = draw.normal(0, np.iinfo(crop.clean.dtype).max / 255, crop.clean.shape)
    faint = (crop.clean + noise).clip(0, np.iinfo(crop.clean.dtype).max).astype(crop.clean.dtype)
    found = []
    for made in (crop.clean, faint):
        mask = tight_mask(crop.clean, made, crop.mask.astype(np.float32), crop.mask)
        found.append(not gate.judge(crop.clean, made, mask, crop.label, crop.inner_box).kept)
    return found


def _copy_found(gate: Gate, crop: Crop, number: int) -> bool:
    """The real defect itself, turned, given out as a made one."""
    clean, pixels, mask = (np.ascontiguousarray(np.rot90(part, number % 4))
                           for part in (crop.clean, crop.pixels, crop.mask))
    return not gate.judge(clean, pixels, mask, crop.label, compose.bounds(mask), place_given=True).kept
