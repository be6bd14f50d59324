"""The outline of a ring-shaped part against two fitted curves: roundness, section, flash and missing material.

Rubber is never quite round, so each outline is followed by a circle with a few waves round it; what departs from that
within a short angle is a fault.

Nothing is learned: what the outline shows is reported even where a network finds nothing.
"""
from dataclasses import dataclass

import cv2
import numpy as np

from core.data.shapes import Crop, component_crops
from core.seeding import rng

INLIERS = 0.02          # of the radius: how near to a circle a ring's outline stays
WAVES = 4               # most waves round the circle that still count as its shape
ROUNDS = 6              # of the fit of those, each without what departs
TRIES = 200             # of the robust fit of a circle: three points each
ANGLES = 720            # of the section's profile
LEAST_INLIERS = 0.5     # of the outline, or it is no ring
LEAST_HOLE = 0.02       # of the disc, or it is no ring's hole


@dataclass(frozen=True)
class Circle:
    """x, y, mean radius in px; roundness_px: largest minus smallest distance of the outline from the middle, of 99 % of
    its points; waves: cosine and sine of 1 to WAVES waves, px."""
    x: float
    y: float
    radius: float
    roundness_px: float
    waves: tuple[float, ...]

    def beyond(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How far points lie outside the curve, px; negative inside."""
        table = np.arange(5 * ANGLES) * 2 * np.pi / (5 * ANGLES)
        radii = (self.radius + _waves(table) @ self.waves).astype(np.float32)
        x, y = columns - self.x, rows - self.y
        return np.hypot(x, y) - radii[(np.arctan2(y, x) * (len(table) / (2 * np.pi))).astype(np.int32)]


@dataclass(frozen=True)
class Ring:
    """The two circles; section_px: width of the ring at each of ANGLES angles, clockwise from the right."""
    outer: Circle
    inner: Circle
    section_px: np.ndarray

    @property
    def concentricity_px(self) -> float:
        return float(np.hypot(self.outer.x - self.inner.x, self.outer.y - self.inner.y))


def fit_ring(part: np.ndarray) -> Ring | None:
    """The ring that a mask, bool [H, W], shows; None where it is none: no hole, or no round outline."""
    outlines, levels = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    areas = [cv2.contourArea(line) for line in outlines]
    holes = [k for k in range(len(outlines)) if levels[0][k][3] >= 0]
    solids = [k for k in range(len(outlines)) if levels[0][k][3] < 0]
    widest = max(solids, key=areas.__getitem__)
    holes = [k for k in holes if levels[0][k][3] == widest and areas[k] >= LEAST_HOLE * areas[widest]]
    if not holes:
        return None
    outer = _circle(outlines[widest], 0.5)
    inner = _circle(outlines[max(holes, key=areas.__getitem__)], -0.5)
    if outer is None or inner is None or inner.radius >= outer.radius:
        return None
    return Ring(outer, inner, _sections(part, outer))


def outline_faults(part: np.ndarray, ring: Ring, tolerance_px: float, minimum_px: int) -> dict[str, list[Crop]]:
    """Pieces of the part beyond its curves ("flash") and of the ring without part ("missing_material"), as crops.

    What is enclosed by the part is no fault here: a glint on rubber and a hole through it have the same brightness.
    """
    columns, rows = (np.arange(length, dtype=np.float32) + 0.5 for length in part.shape[::-1])
    from_outer = ring.outer.beyond(columns[None], rows[:, None])
    from_inner = ring.inner.beyond(columns[None], rows[:, None])
    near = from_outer < 0.5 * ring.outer.radius             # another thing on the frame is no flash
    beyond = part & near & ((from_outer > tolerance_px) | (from_inner < -tolerance_px))
    gap = _open(part) & (from_outer < -tolerance_px) & (from_inner > tolerance_px)
    return {"flash": component_crops(beyond, minimum_px), "missing_material": component_crops(gap, minimum_px)}


def _open(part: np.ndarray) -> np.ndarray:
    """The background, without what the part encloses but its largest hole."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((~part).astype(np.uint8), connectivity=4)
    border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    inner = [k for k in range(1, len(stats)) if k not in border]
    kept = np.isin(np.arange(len(stats)), [*border, *sorted(inner, key=lambda k: stats[k, cv2.CC_STAT_AREA])[-1:]])
    kept[0] = False
    return kept[pieces]


def _circle(outline: np.ndarray, outward: float) -> Circle | None:
    """Robust circle through the outline's pixels, then circle and waves in least squares without what departs.

    outward  px from the pixels' middles to their outer edge, seen from the circle's middle
    """
    points = outline[:, 0].astype(np.float64) + 0.5
    if len(points) < 12:
        return None
    random, best = rng(0, len(points)), np.zeros(len(points), bool)
    for _ in range(TRIES):
        found = _solved(points[random.choice(len(points), 3, replace=False)])
        near = np.abs(np.hypot(*(points - found[:2]).T) - found[2]) <= INLIERS * found[2] + 1
        if near.sum() > best.sum():
            best = near
    if best.mean() < LEAST_INLIERS:
        return None
    x, y, _ = _solved(points[best])
    distance = np.hypot(*(points - (x, y)).T)
    terms = np.column_stack([np.ones(len(points)), _waves(np.arctan2(*(points - (x, y)).T[::-1]))])
    for _ in range(ROUNDS):
        found, *_ = np.linalg.lstsq(terms[best], distance[best], rcond=None)
        off = np.abs(distance - terms @ found)
        best = off <= max(3 * 1.4826 * np.median(off), 1.0)
    low, high = np.percentile(distance, (0.5, 99.5))
    return Circle(x, y, float(found[0]) + outward, float(high - low), tuple(found[1:].tolist()))


def _waves(angles: np.ndarray) -> np.ndarray:
    """Cosine and sine of 1 to WAVES waves at each angle, [N, 2 WAVES]."""
    turns = angles[:, None] * np.arange(1, WAVES + 1)
    return np.concatenate([np.cos(turns), np.sin(turns)], 1)


def _solved(points: np.ndarray) -> tuple[float, float, float]:
    """x^2 + y^2 = 2 a x + 2 b y + c, in least squares, about the points' middle."""
    middle = points.mean(0)
    moved = points - middle
    terms = np.column_stack([2 * moved, np.ones(len(moved))])
    (a, b, c), *_ = np.linalg.lstsq(terms, (moved ** 2).sum(1), rcond=None)
    return float(a + middle[0]), float(b + middle[1]), float(np.sqrt(max(c + a * a + b * b, 0.0)))


def _sections(part: np.ndarray, outer: Circle) -> np.ndarray:
    """Pixels of the part along rays from the middle, float [ANGLES]."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    steps = np.arange(0, outer.radius * 1.1, 0.5)
    columns = np.floor(outer.x + np.outer(np.cos(angles), steps)).astype(int)
    rows = np.floor(outer.y + np.outer(np.sin(angles), steps)).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < part.shape[1]) & (rows < part.shape[0])
    hit = part[rows.clip(0, part.shape[0] - 1), columns.clip(0, part.shape[1] - 1)] & inside
    return hit.sum(1) * 0.5
