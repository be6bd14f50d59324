"""The quality gate: is a made defect labelled, visible, inside its bounds, joined as its class is, and no copy?"""
from dataclasses import dataclass, field

import cv2
import numpy as np

from . import surroundings
from .bank import Crop, DefectBank
from .contacts import joins, usual_contacts
from .generator import Box
from .likeness import Originals, likeness
from .settings import GateSettings

VISIBILITY_LIMITS = (1.2, 3.0)
SEEN_PX = 100               # a smaller defect needs more contrast to be seen, by the fourth root of its area
HIDDEN = 0.4                # a label less wide and high than these parts of its box is what little shows of a defect
SIMPLE_PX = 400             # a smaller defect has little detail to be told by
SIMPLE_SHARE = 0.5          # of what lies between the limit of likeness and a perfect copy, added for the smallest
CALIBRATION_CROPS = 100     # training defects, evenly chosen, that the limit of visibility is learned from
QUARTILE = 0.319            # lower quartile of the absolute value of a normal variable, in standard deviations


@dataclass(frozen=True)
class Verdict:
    """figures: what was measured; reason: "empty label", "not visible", "too large", "scattered label",
    "fits badly", "joined wrongly", "near copy" or None."""
    kept: bool
    reason: str | None
    figures: dict[str, float] = field(default_factory=dict)


class Gate:
    """Judges made defects against a bank. Plain data; `near_copy_off` where copying is the method."""

    def __init__(self, bank: DefectBank, settings: GateSettings | None = None, *, near_copy_off: bool = False):
        self.settings = settings or GateSettings()
        self.visibility = self.settings.visibility or _usual_visibility(bank.crops)
        self.usual_contacts = usual_contacts(bank.crops) if self.settings.contacts else {}
        self.near_copy_off = near_copy_off
        self.originals = None if near_copy_off else Originals.of(bank.crops)

    def judge(self, clean: np.ndarray, made: np.ndarray, mask: np.ndarray, label: str, box: Box, *,
              misfit: float | None = None, place_given: bool = False) -> Verdict:
        """Judge one defect: uint8 or uint16 windows [H, W, 3], its label bool [H, W], the wanted box in their px.

        misfit       how badly it suits its surroundings, where the generator knows
        place_given  the user chose the place: how the defect suits and joins what is there is not judged
        """
        if not mask.any():
            return Verdict(False, "empty label")
        bounds = _bounds(mask)
        figures = visibility(clean, made, mask)
        grown = ((bounds[axis + 2] - bounds[axis]) / (box[axis + 2] - box[axis]) for axis in (0, 1))
        figures["growth"] = max(grown)
        figures["cover"] = float(mask.mean())
        limits = self.settings
        faint = figures["visibility"] < self.visibility and figures["contrast"] < limits.plain
        if faint or figures["contrast"] < limits.contrast * max(1, SEEN_PX / mask.sum()) ** 0.25:
            return Verdict(False, "not visible", figures)
        if figures["growth"] < HIDDEN and not place_given:
            return Verdict(False, "not visible", figures)
        if figures["growth"] > limits.outgrown or figures["cover"] > limits.cover:
            return Verdict(False, "too large", figures)
        figures["scatter"] = scatter(mask)
        if figures["scatter"] > limits.scatter:
            return Verdict(False, "scattered label", figures)
        if misfit is not None:
            figures["misfit"] = misfit
            if misfit > limits.misfit and not place_given:
                return Verdict(False, "fits badly", figures)
        usual = self.usual_contacts.get(label)
        if usual is not None and not place_given and not joins(clean, made, mask, usual):
            return Verdict(False, "joined wrongly", figures)
        if not self.near_copy_off:
            figures["likeness"] = likeness(made, (bounds, box), self.originals, label)
            if figures["likeness"] > self.copy_limit(int(mask.sum())):
                return Verdict(False, "near copy", figures)
        return Verdict(True, None, figures)

    def copy_limit(self, area_px: int) -> float:
        """The likeness from which a defect is a near copy: more for small ones, which are alike by chance."""
        simple = max(0.0, 1 - area_px / SIMPLE_PX)
        return self.settings.near_copy + SIMPLE_SHARE * simple * (1 - self.settings.near_copy)


def visibility(clean: np.ndarray, made: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How well the change is seen, as {"contrast", "visibility"}.

    contrast    mean over the label of the largest change of a channel, of full scale
    visibility  that change after smoothing at the defect's own scale, over the grain of the clean material round it at
                the same scale: its standard deviation by the lower quartile, which edges leave alone, or one of 255
    """
    x1, y1, x2, y2 = _bounds(mask)
    reach = max(8, (x2 - x1 + y2 - y1) // 4)
    box = (x1 - reach, y1 - reach, x2 + reach, y2 + reach)
    depth = np.iinfo(clean.dtype).max
    before, after = (surroundings.cut(image, box).astype(np.float32) / depth for image in (clean, made))
    inside = surroundings.cut(mask, box)
    contrast = float(np.abs(after - before).max(axis=2)[inside].mean())
    sigma = float(np.clip(np.sqrt(inside.sum()) / 6, 0.6, 4))
    change = np.abs(cv2.GaussianBlur(after - before, (0, 0), sigma)).max(axis=2)
    grain = np.abs(cv2.GaussianBlur(before, (0, 0), sigma) - cv2.GaussianBlur(before, (0, 0), 2.5 * sigma))
    noise = max(float(np.percentile(grain, 25)) / QUARTILE, 1 / 255)
    return {"contrast": contrast, "visibility": float(np.percentile(change[inside], 80)) / noise}


def scatter(mask: np.ndarray) -> float:
    """Share of a label outside its largest part, 0 where it has no more than three: a handful of specks is no label."""
    x1, y1, x2, y2 = _bounds(mask)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask[y1:y2, x1:x2].astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return 1 - float(areas.max() / areas.sum()) if count > 4 else 0.0


def _usual_visibility(crops: tuple[Crop, ...]) -> float:
    chosen = crops[::len(crops) // CALIBRATION_CROPS + 1]
    seen = [visibility(crop.clean, crop.pixels, crop.mask)["visibility"] for crop in chosen]
    return float(np.clip(np.percentile(seen, 5), *VISIBILITY_LIMITS))


def _bounds(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
