"""Where the part lies on a frame: Otsu's threshold, cleaned up, with a check that says when it cannot be trusted.

Holes, tears and missing material look like the background. So the mask is only used to pass over empty tiles and to
drop findings that do not even reach the part, which has a margin; and a frame that does not fall into two levels, or
is nearly all of one, is worked on as a whole.
"""
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from .products import Section

BORDER_PX = 8                           # of the frame: what it mostly shows there is background
LEAST_SEPARATION = 0.75                 # of the variance that two levels explain; one hump of noise has 0.64
SHARES = (0.005, 0.98)                  # of the frame that a part may fill


class ForegroundConfig(Section):
    """How the part is told from the background."""
    method: Literal["otsu", "none"] = Field("otsu", description="none: the whole frame is looked at")
    channel: Literal["luminance", "max", "red", "green", "blue"] = "luminance"
    keep: int | None = Field(None, ge=1, description="largest pieces kept; null: all from 1 % of the largest on")
    hole_share: float = Field(0.003, ge=0, lt=1, description="of the frame: smaller holes, such as glints, are filled")
    margin_px: int = Field(12, ge=0, description="by which the part is enlarged")
    tile_share: float = Field(0.005, ge=0, le=1, description="of a tile: with less of the part it is passed over")
    least_share: float = Field(0.0, ge=0, le=1, description="of a finding that must lie on the part; 0: any")


@dataclass(frozen=True)
class Foreground:
    """part: bool [H, W], the part itself; mask: the same with its margin; separation: 0..1, how clear the two levels
    are; threshold: grey level; warning: why the whole frame is taken, else None."""
    part: np.ndarray
    mask: np.ndarray
    separation: float
    threshold: float
    warning: str | None = None


def foreground(pixels: np.ndarray, config: ForegroundConfig) -> Foreground:
    """Find the part on a frame, uint8 or uint16 [H, W, 3]."""
    if config.method == "none":
        return _whole(pixels, 0.0, 0.0, None)
    pixels = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    grey = cv2.GaussianBlur(_grey(pixels, config.channel), (5, 5), 0)
    threshold, bright = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    separation = _separation(grey, threshold)
    bright = bright.astype(bool)
    part = bright if not _on_border(bright) else ~bright
    part = _cleaned(part, config)
    share = float(part.mean())
    if separation < LEAST_SEPARATION:
        return _whole(pixels, separation, threshold, f"the frame has no two clear levels (separation {separation:.2f})")
    if not SHARES[0] <= share <= SHARES[1]:
        return _whole(pixels, separation, threshold, f"the part would fill {share:.1%} of the frame")
    size = 2 * config.margin_px + 1
    grown = cv2.dilate(part.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return Foreground(part, grown.astype(bool), separation, float(threshold))


def reaches(part: Foreground, crop: np.ndarray, x: int, y: int, least_share: float) -> bool:
    """Whether a finding, bool [h, w] at (x, y), lies on the part or its margin."""
    there = part.mask[y:y + crop.shape[0], x:x + crop.shape[1]]
    inside = np.count_nonzero(there & crop)
    return inside > 0 and inside >= least_share * np.count_nonzero(crop)


def _grey(pixels: np.ndarray, channel: str) -> np.ndarray:
    if channel == "luminance":
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if channel == "max":
        return pixels.max(2)
    return np.ascontiguousarray(pixels[..., ("red", "green", "blue").index(channel)])


def _separation(grey: np.ndarray, threshold: float) -> float:
    """Variance between the two levels by the whole variance (Otsu 1979), 0 for a frame of one level."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64) / grey.size
    levels = np.arange(256)
    mean = counts @ levels
    spread = counts @ (levels - mean) ** 2
    low = levels <= threshold
    share = counts[low].sum()
    if spread < 1e-9 or not 0 < share < 1:
        return 0.0
    means = (counts[low] @ levels[low]) / share, (counts[~low] @ levels[~low]) / (1 - share)
    return float(share * (1 - share) * (means[1] - means[0]) ** 2 / spread)


def _on_border(mask: np.ndarray) -> bool:
    """Whether the frame's border mostly belongs to the mask."""
    inner = np.ones(mask.shape, bool)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    return bool(mask[inner].mean() > 0.5)


def _cleaned(part: np.ndarray, config: ForegroundConfig) -> np.ndarray:
    """Specks off, cracks closed, the large pieces kept, small holes filled."""
    mask = part.astype(np.uint8)
    for kind, side in ((cv2.MORPH_OPEN, 3), (cv2.MORPH_CLOSE, 7)):
        mask = cv2.morphologyEx(mask, kind, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    mask = _large(mask, config.keep, None)
    holes = _large(1 - mask, None, config.hole_share * mask.size)
    return holes == 0


def _large(mask: np.ndarray, keep: int | None, least_px: float | None) -> np.ndarray:
    """The connected pieces that are large enough, uint8."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    if keep is not None:
        kept = areas >= np.sort(areas)[-min(keep, len(areas))]
    else:
        kept = areas >= (0.01 * areas.max() if least_px is None else least_px)
    kept[0] = False
    return kept[pieces].astype(np.uint8)


def _whole(pixels: np.ndarray, separation: float, threshold: float, warning: str | None) -> Foreground:
    everything = np.ones(pixels.shape[:2], bool)
    return Foreground(everything, everything, separation, float(threshold), warning)
