"""The quality gate: is a made defect labelled, visible, no copy of a training defect, and inside its bounds?"""
from dataclasses import dataclass, field

import cv2
import numpy as np

from . import surroundings
from .bank import Crop, DefectBank
from .generator import Box

THUMB_PX = 24               # side of the picture in which defects are compared for likeness
RIM = 0.15                  # part of the box's side that the picture shows round it
SAME_SIZE = 1.25            # a copy differs from its original by less than this factor in width and height


@dataclass(frozen=True)
class GateSettings:
    """The rules' thresholds.

    visibility  least contrast of the defect, in units of the noise that an eye sees at its size (see `visibility`)
    contrast    least mean change inside the label, of full scale
    near_copy   highest likeness (normalised correlation, -1..1) to a training defect
    outgrown    largest factor by which the label may be wider or taller than the wanted box
    cover       largest share of the window that a label may cover
    """
    visibility: float = 3.0
    contrast: float = 0.02
    near_copy: float = 0.97
    outgrown: float = 2.0
    cover: float = 0.8


@dataclass(frozen=True)
class Verdict:
    """reason: "empty label", "not visible", "near copy", "too large" or None; figures: what was measured."""
    kept: bool
    reason: str | None
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Originals:
    """Training defects as pictures to compare with: one row each."""
    thumbs: np.ndarray          # float32 [N, THUMB_PX ** 2], mean 0, length 1
    sizes_px: np.ndarray        # float64 [N, 2]


class Gate:
    """Judges made defects against a bank. Plain data; `near_copy_off` where copying is the method."""

    def __init__(self, bank: DefectBank, settings: object | None = None, *, near_copy_off: bool = False):
        given = {name: getattr(settings, name, None) for name in GateSettings.__dataclass_fields__}
        self.settings = GateSettings(**{name: value for name, value in given.items() if value is not None})
        self.near_copy_off = near_copy_off
        self._originals = None if near_copy_off else originals(bank.crops)

    def judge(self, clean: np.ndarray, made: np.ndarray, mask: np.ndarray, label: str, box: Box) -> Verdict:
        """Judge one defect: uint8 or uint16 windows [H, W, 3], its label bool [H, W], the wanted box in their px."""
        if not mask.any():
            return Verdict(False, "empty label")
        bounds = _bounds(mask)
        figures = visibility(clean, made, mask)
        grown = ((bounds[axis + 2] - bounds[axis]) / (box[axis + 2] - box[axis]) for axis in (0, 1))
        figures["growth"] = max(grown)
        figures["cover"] = float(mask.mean())
        limits = self.settings
        if figures["visibility"] < limits.visibility or figures["contrast"] < limits.contrast:
            return Verdict(False, "not visible", figures)
        if figures["growth"] > limits.outgrown or figures["cover"] > limits.cover:
            return Verdict(False, "too large", figures)
        if not self.near_copy_off:
            figures["likeness"] = likeness(made, mask, self._originals)
            if figures["likeness"] > limits.near_copy:
                return Verdict(False, "near copy", figures)
        return Verdict(True, None, figures)


def visibility(clean: np.ndarray, made: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How well the change is seen, as {"contrast", "visibility"}.

    contrast    mean over the label of the largest change of a channel, of full scale
    visibility  that change after smoothing at the defect's own scale, over the noise of the clean material smoothed
                the same (1.48 x median deviation from its median filtered self, or one grey level of 8 bits)
    """
    x1, y1, x2, y2 = _bounds(mask)
    reach = max(8, (x2 - x1 + y2 - y1) // 4)
    box = (x1 - reach, y1 - reach, x2 + reach, y2 + reach)
    depth = np.iinfo(clean.dtype).max
    before, after = (surroundings.cut(image, box).astype(np.float32) / depth for image in (clean, made))
    inside = surroundings.cut(mask, box)
    change = np.abs(after - before).max(axis=2)
    contrast = float(change[inside].mean())
    sigma = float(np.clip(np.sqrt(inside.sum()) / 6, 0.6, 4))
    smooth_change = np.abs(cv2.GaussianBlur(after - before, (0, 0), sigma)).max(axis=2)
    fine = cv2.GaussianBlur(before, (0, 0), sigma)
    rest = fine - cv2.GaussianBlur(before, (0, 0), 2.5 * sigma)
    noise = max(1.48 * float(np.median(np.abs(rest - np.median(rest)))), 1 / 255)
    return {"contrast": contrast, "visibility": float(np.percentile(smooth_change[inside], 80)) / noise}


def originals(crops: tuple[Crop, ...]) -> _Originals:
    """The defects of a bank as pictures to compare with."""
    thumbs = [_thumb(_signal(crop.pixels, crop.mask), crop.inner_box) for crop in crops]
    return _Originals(np.stack([_normalised(thumb) for thumb in thumbs]),
                      np.array([crop.size_px for crop in crops], float))


def likeness(made: np.ndarray, mask: np.ndarray, known: _Originals) -> float:
    """Highest correlation of a defect with any known one of its size, over eight turns and small shifts."""
    box = _bounds(mask)
    signal = _signal(made, mask)
    size = np.array([box[2] - box[0], box[3] - box[1]], float)
    best = -1.0
    views = [_thumb(signal, (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy))
             for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for flipped in (False, True):
        own = size[::-1] if flipped else size
        near = (np.abs(np.log(known.sizes_px / own)) < np.log(SAME_SIZE)).all(axis=1)
        if near.any():
            turned = [_normalised(surroundings.turn(view, k)) for view in views
                      for k in range(8) if (k % 2 == 1) == flipped]
            best = max(best, float((known.thumbs[near] @ np.stack(turned).T).max()))
    return best


def _signal(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float32 [H, W]: the defect's grey levels less those of the ring round it; nothing outside it."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.iinfo(pixels.dtype).max
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    ring = (cv2.dilate(wide, np.ones((5, 5), np.uint8)) > 0) & (wide == 0)
    level = float(np.median(grey[ring])) if ring.any() else 0.5
    return (grey - level) * wide


def _thumb(signal: np.ndarray, box: Box) -> np.ndarray:
    """float32 [THUMB_PX, THUMB_PX]: the box with a rim."""
    dx, dy = (max(1, round(RIM * side)) for side in (box[2] - box[0], box[3] - box[1]))
    patch = surroundings.cut(signal, (box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy))
    return cv2.resize(patch, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)


def _normalised(thumb: np.ndarray) -> np.ndarray:
    values = thumb.ravel() - thumb.mean()
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _bounds(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
