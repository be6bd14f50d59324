"""A painted defect's rim: where the paint has half of its contrast, what is fainter outside fades away; what it joins,
it touches."""
from collections.abc import Sequence

import cv2
import numpy as np

from core.augment.bank import Crop
from core.augment.contacts import share_of_rim
from core.augment.labels import otsu

SMOOTHING_PX = 0.5
UPPER_PERCENT = 75          # of the painted pixels' changes: the defect's own contrast
HALF = 0.5
OUTSIDE = 0.6, 0.25         # opacity that is left in the first and the second px outside
AT_ONCE_PX = 1                      # a rim this far out is in contact where nothing lies between
FEWEST_PERCENT, SLACK = 10, 0.9     # percentile of the real ones' share of such a rim; a little less will do


def usual_touch(crops: Sequence[Crop]) -> dict[str, float]:
    """By class, the least share of the rim that touches material of the defect's colour at once."""
    found: dict[str, list[float]] = {}
    for crop in crops:
        found.setdefault(crop.label, []).append(share_of_rim(crop.clean, crop.pixels, crop.mask, AT_ONCE_PX))
    return {label: SLACK * float(np.percentile(shares, FEWEST_PERCENT)) for label, shares in found.items()}


def touches(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, least: float) -> bool:
    return share_of_rim(clean, made, mask, AT_ONCE_PX) >= least


def trimmed(clean: np.ndarray, painted: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """float32 [H, W]: alpha where the paint changes the picture by half of its contrast or more, less outside.

    clean, painted  float32 [H, W, 3] in 0..1; alpha float32 [H, W], where the paint may lie. A network that is unsure
    where a defect ends paints a soft rim that nobody takes for the defect.
    """
    change = np.abs(cv2.GaussianBlur(painted - clean, (0, 0), SMOOTHING_PX)).max(axis=2) * alpha
    inside = alpha > 0
    if not inside.any() or change.max() == 0:
        return alpha
    threshold = otsu(change[inside])
    strong = change[inside & (change >= threshold)]
    body = inside & (change >= min(threshold, HALF * float(np.percentile(strong, UPPER_PERCENT))))
    body = filled(body)
    near = cv2.distanceTransform((~body).astype(np.uint8), cv2.DIST_L2, 3)
    left = np.select([body, near < 1.5, near < 2.5], [1.0, *OUTSIDE], 0.0)
    return (np.where(body, alpha, np.minimum(alpha, left))).astype(np.float32)


def filled(body: np.ndarray) -> np.ndarray:
    """The body with its pinholes closed and its holes filled."""
    closed = cv2.morphologyEx(body.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(closed, outlines, -1, 1, cv2.FILLED) > 0
