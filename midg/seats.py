"""Where the shapes of a class sit on what is there: learned from the real ones, against the same shapes misplaced.

A hole that was not drilled lies on its pad's middle and is as large as the hole would be; an open lies across a trace.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.augment import compose
from core.augment.bank import Crop
from core.seeding import rng

BANDS = (-0.5, -0.2, 0.0, 0.2, 0.5, 1.0)        # limits of rings about the outline, in radii, from the middle outwards
OUTLINES = (-0.3, 0.0, 0.3)                     # where edges along and across the outline are looked for
FAINT = 0.05                                    # contrast that even a plain surface is taken to have
MOST_CROPS, FEWEST_CROPS = 30, 5
AT_PLACE, MISPLACED = 4, 24                     # of each real shape
FARTHEST, LARGEST = 0.8, 0.9                    # shift in radii, logarithm of the scale of the misplaced
SHIFTS = FARTHEST, 2.5, 0.1                     # of the misplaced in turn, in radii: nearby, elsewhere, another size
NEAR, NEAR_PX, NEAR_SIZE = 0.2, 1.2, 0.15       # closer than this is no misplaced one
RIDGE = 0.3
FARTHEST_OFF = 4.0          # a figure that is off by more spreads than this is no worse than that
TOLD_APART = 0.9            # a real shape has to beat this share of its misplaced ones, judged by the others
SLACK_PERCENT = 20          # of the real shapes sit worse than a made one may
TRIES = 30, 16, 16          # places tried anywhere near, then nearer and nearer to the best
REACH = 1.0, 0.3, 0.1       # of each round, in FARTHEST and RESIZED
RESIZED = 0.5               # logarithm of the most by which a shape is made larger or smaller
SMALLEST_PX = 6
LARGE_PX = 16.0             # radius from which on shapes are looked at made smaller


@dataclass(frozen=True)
class Seat:
    """A class's rule: a shape sits the better, the higher its score; `least` is what nearly all real ones reach."""
    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    least: float = -np.inf

    @classmethod
    def learn(cls, good: np.ndarray, bad: np.ndarray) -> "Seat":
        """From figures [N, F] of shapes at their place and of misplaced ones: how far each figure, and its square, are
        from those at their place, weighted so that the two are told apart best (Fisher's discriminant)."""
        rule = cls(good.mean(0), (good.std(0) + np.concatenate([good, bad]).std(0)) / 2 + 1e-3, np.zeros(0))
        good, bad = rule.terms(good), rule.terms(bad)
        within = (np.cov(good.T) + np.cov(bad.T)) / 2 + RIDGE * np.eye(good.shape[1])
        return replace(rule, weights=np.linalg.solve(within, good.mean(0) - bad.mean(0)))

    def terms(self, found: np.ndarray) -> np.ndarray:
        off = np.clip((found - self.mean) / self.spread, -FARTHEST_OFF, FARTHEST_OFF)
        return np.concatenate([off, off * off], axis=-1)

    def scores(self, found: np.ndarray) -> np.ndarray:
        return self.terms(found) @ self.weights

    def score(self, clean: np.ndarray, mask: np.ndarray) -> float:
        """Of a shape bool [H, W] on a picture without it, float32 [H, W, 3] in 0..1."""
        return float(self.scores(figures(clean, mask)))

    def fits(self, clean: np.ndarray, mask: np.ndarray) -> bool:
        return self.score(clean, mask) >= self.least


def usual_seats(crops: Sequence[Crop]) -> dict[str, Seat]:
    """By class, where its shapes sit; classes whose real ones are hardly told from misplaced ones are left out."""
    by_label: dict[str, list[Crop]] = {}
    for crop in crops:
        if crop.mask_from != "box" and crop.mask.sum() >= SMALLEST_PX:
            by_label.setdefault(crop.label, []).append(crop)
    seats = {label: _seat(own[::-(-len(own) // MOST_CROPS)]) for label, own in by_label.items()
             if len(own) >= FEWEST_CROPS}
    return {label: seat for label, seat in seats.items() if seat is not None}


def _seat(crops: Sequence[Crop]) -> Seat | None:
    good, bad = zip(*(_examples(crop, rng(number)) for number, crop in enumerate(crops)))
    beaten = []
    for left in range(len(crops)):
        others = Seat.learn(*(np.concatenate([*part[:left], *part[left + 1:]]) for part in (good, bad)))
        beaten.append(float((others.scores(good[left][0]) > others.scores(bad[left])).mean()))
    if np.mean(beaten) < TOLD_APART:
        return None
    learnt = Seat.learn(np.concatenate(good), np.concatenate(bad))
    own = [learnt.scores(found[0]) for found in good]
    return replace(learnt, least=float(np.percentile(own, SLACK_PERCENT)))


def _examples(crop: Crop, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Figures of the real shape, as it lies and hardly moved, and of the same one misplaced."""
    clean, size = crop.clean.astype(np.float32) / np.iinfo(crop.clean.dtype).max, _radius(crop.mask)
    good = [crop.mask, *(_placed(crop.mask, draw.normal(0, NEAR / 4 * size, 2), draw.normal(0, NEAR_SIZE / 4))
                         for _ in range(AT_PLACE - 1))]
    bad = []
    for number in range(4 * MISPLACED):
        farthest = SHIFTS[number % len(SHIFTS)]
        shift, growth = draw.uniform(-farthest, farthest, 2) * size, draw.uniform(-LARGEST, LARGEST)
        if np.hypot(*shift) < max(NEAR * size, NEAR_PX) and abs(growth) < NEAR_SIZE:
            continue
        placed = _placed(crop.mask, shift, growth)
        if placed is not crop.mask and len(bad) < MISPLACED:
            bad.append(placed)
    bad = bad or [~crop.mask]
    return tuple(np.stack([figures(clean, mask) for mask in masks]) for masks in (good, bad))


def seated(clean: np.ndarray, mask: np.ndarray, seat: Seat, draw: np.random.Generator) -> np.ndarray:
    """bool [H, W]: the shape moved, and made larger or smaller, to where it sits best nearby."""
    best, size = (seat.score(clean, mask), np.zeros(2), 0.0), _radius(mask)
    for tries, reach in zip(TRIES, REACH):
        about = best
        for _ in range(tries):
            shift = about[1] + draw.uniform(-reach, reach, 2) * FARTHEST * size
            growth = float(np.clip(about[2] + draw.uniform(-reach, reach) * RESIZED, -RESIZED, RESIZED))
            score = seat.score(clean, _placed(mask, shift, growth))
            best = max(best, (score, shift, growth), key=lambda found: found[0])
    return _placed(mask, *best[1:])


def figures(clean: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float64 [F]: how the material in rings within and about a shape differs from that in its middle, and the edges
    along and across its outline; the same however the picture is turned, and for a shape of any size."""
    size = _radius(mask)
    x1, y1, x2, y2 = compose.bounds(mask)
    reach = int(1.2 * size) + 3
    part = slice(max(y1 - reach, 0), y2 + reach), slice(max(x1 - reach, 0), x2 + reach)
    clean, mask, size = _small(np.ascontiguousarray(clean[part]), mask[part], size)
    distance = _signed_distance(mask)
    clean = cv2.GaussianBlur(clean, (0, 0), 0.7)
    core = distance <= max(-0.3 * size, float(distance.min()))
    apart = np.linalg.norm(clean - np.median(clean[core], axis=0), axis=2)
    contrast = float(apart[distance < size].std()) + FAINT
    found, inner = [], -np.inf
    for limit in BANDS:
        values = _values(apart / contrast, (distance > inner * size) & (distance <= limit * size))
        found += [values.mean(), values.std()]
        inner = limit
    across, along = _edges(cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY) / contrast, distance)
    for where in OUTLINES:
        line = np.abs(distance - where * size) < 1.2
        values = size ** 0.5 * _values(across, line)
        found += [values.mean(), np.percentile(values, 20), size ** 0.5 * _values(along, line).mean()]
    return np.array(found + _tones(clean, distance, size, contrast), np.float64)


def _small(clean: np.ndarray, mask: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The same at a scale where the shape is no larger than it needs to be."""
    if size <= LARGE_PX:
        return clean, mask, size
    scale = LARGE_PX / size
    shape = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    made = cv2.resize(mask.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 0.5
    if not made.any():
        return clean, mask, size
    return cv2.resize(clean, shape, interpolation=cv2.INTER_AREA), made, LARGE_PX


def _tones(clean: np.ndarray, distance: np.ndarray, size: float, contrast: float) -> list[float]:
    """How bright the inner part is against the rim, and the rim against what is round it; how colourful they are."""
    grey, colourful = clean.mean(axis=2), np.ptp(clean, axis=2) / (clean.max(axis=2) + FAINT)
    rings = [distance <= -0.3 * size, (distance > -0.3 * size) & (distance <= 0),
             (distance > 0) & (distance <= 0.4 * size), (distance > 0.4 * size) & (distance <= size)]
    inner, edge, rim, around = (_values(grey, ring).mean() / contrast for ring in rings)
    return [abs(inner - rim), edge - rim, around - rim, contrast, *(_values(colourful, ring).mean() for ring in rings)]


def _values(plane: np.ndarray, where: np.ndarray) -> np.ndarray:
    return plane[where] if where.any() else np.zeros(1)


def _edges(grey: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How steeply grey rises or falls away from the shape, and along its outline."""
    x, y = (cv2.Sobel(grey, cv2.CV_32F, *axis) / 8 for axis in ((1, 0), (0, 1)))
    smooth = cv2.GaussianBlur(distance, (0, 0), 1)
    out_x, out_y = (cv2.Sobel(smooth, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    length = np.hypot(out_x, out_y) + 1e-6
    return np.abs(x * out_x + y * out_y) / length, np.abs(x * out_y - y * out_x) / length


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """float32 [H, W]: px to the outline, less than 0 inside; the picture's border is no outline."""
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    outside, inside = (cv2.distanceTransform(plane, cv2.DIST_L2, 5)[1:-1, 1:-1] for plane in (1 - padded, padded))
    return np.where(mask, 0.5 - inside, outside - 0.5).astype(np.float32)


def _radius(mask: np.ndarray) -> float:
    return max(float(np.sqrt(mask.sum() / np.pi)), 2.0)


def _placed(mask: np.ndarray, shift: np.ndarray, growth: float) -> np.ndarray:
    """The shape moved by px (x, y), its size multiplied by e to the power of `growth`; as it is, where that would take
    it out of the window."""
    x1, y1, x2, y2 = compose.bounds(mask)
    scale = float(np.exp(growth))
    middle = np.array([(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2])
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    matrix[:, 2] = middle * (1 - scale) + shift
    made = cv2.warpAffine(mask.astype(np.float32), matrix, mask.shape[::-1], flags=cv2.INTER_LINEAR) > 0.5
    whole = made.sum() >= 0.8 * scale ** 2 * mask.sum()
    return made if whole and made.sum() >= SMALLEST_PX else mask
