"""The shape of a new defect where only its box is given: a real one's, laid where it fits, and a little deformed."""
from collections.abc import Sequence

import cv2
import numpy as np

from core.augment import compose
from core.augment.bank import Crop

BEND = 0.07             # standard deviation of the deformation, in parts of the shape's size
WAVE = 0.35             # how far apart two points are deformed independently, in parts of the shape's size
SPREAD, SLACK = (5, 95), 0.03       # percentiles of the real shapes' form, and how far beyond them a made one may be

Form = tuple[np.ndarray, np.ndarray]        # least and most of each figure of `form`


def usual_forms(crops: Sequence[Crop]) -> dict[str, Form]:
    """By class, how round and how jagged its real shapes are."""
    found: dict[str, list[np.ndarray]] = {}
    for crop in crops:
        found.setdefault(crop.label, []).append(form(crop.mask))
    return {label: tuple(np.percentile(own, SPREAD, axis=0) + [[-SLACK], [SLACK]]) for label, own in found.items()}


def is_usual(mask: np.ndarray, usual: Form) -> bool:
    figures = form(mask)
    return bool((figures >= usual[0]).all() and (figures <= usual[1]).all())


def form(mask: np.ndarray) -> np.ndarray:
    """float64 [2]: the shape's share of the smallest circle round it, and of its convex hull."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = np.concatenate(outlines)
    hull = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(points), 1)
    radius = max(cv2.minEnclosingCircle(points)[1], 0.5)
    return np.array([mask.sum() / (np.pi * radius ** 2), mask.sum() / hull.sum()])


def deformed(mask: np.ndarray, draw: np.random.Generator, *, bend: float = BEND) -> np.ndarray:
    """bool [H, W]: the shape smoothly bent at random. What the window's border cuts stays cut; it never vanishes."""
    box = compose.bounds(mask)
    size = max(box[2] - box[0], box[3] - box[1])
    sigma = max(WAVE * size, 2.0)
    moves = np.stack([cv2.GaussianBlur(draw.normal(0, 1, mask.shape).astype(np.float32), (0, 0), sigma)
                      for _ in range(2)])
    inside = moves[:, box[1]:box[3], box[0]:box[2]]
    moves = (moves - inside.mean((1, 2), keepdims=True)) / max(float(inside.std()), 1e-6) * bend * size
    rows, columns = np.mgrid[:mask.shape[0], :mask.shape[1]].astype(np.float32)
    bent = cv2.remap(mask.astype(np.float32), columns + moves[0], rows + moves[1], cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE) > 0.5
    return bent if bent.sum() >= 0.5 * mask.sum() else mask
