"""Where a defect of a class belongs on a normal image: like the places where the real ones lie."""
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from . import surroundings
from .bank import Crop, DefectBank
from .generator import Box

CANDIDATES = 240                # places looked at for one defect, up to four times as many in an image larger than
CANDIDATES_PX = 640 * 640       # this
REFINED = 12                    # the best of them are moved to where they fit best
REFERENCES = 800                # real defects a candidate is compared with, all turns counted
SCALE = (0.85, 1.2)             # real sizes are multiplied by a factor between these
WORKING_PX = 64                 # large surroundings are looked at in a picture scaled to about this
ATTEMPTS = 4                    # sizes tried until one finds a fitting place
GOOD_ENOUGH = 0.7               # excess distance (see _drawn) at which the first size is taken
BORDER_PX = 2                   # free rim of the image, for defects that the border does not cut
SHARPNESS = 8.0                 # how steeply the chance of a place falls with its distance to the real ones

Sides = tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class _Learned:
    """One class: real defects in all turns that the set bears, and how alike their surroundings are."""
    descriptions: np.ndarray    # float32 [N, LENGTH]
    sizes_px: np.ndarray        # float64 [N, 2], width and height
    sides: np.ndarray           # bool [N, 4], which borders of the image cut the defect
    spread: float               # median distance of a real defect's surroundings to the nearest other's


@dataclass(frozen=True)
class Placement:
    """What was learned, by class. Plain data."""
    learned: dict[str, _Learned]

    @classmethod
    def learn(cls, bank: DefectBank) -> "Placement":
        """Learn from a bank's crops."""
        return cls({label: _learn(bank.of(label), bank.turns[label]) for label in bank.labels})

    def draw_size(self, label: str, rng: np.random.Generator, *, scale: tuple[float, float] = SCALE,
                  limits_px: tuple[int, int] | None = None) -> tuple[int, int]:
        """Width and height of a real defect times a factor within `scale`; `limits_px`: smallest and largest side."""
        learned = self.learned[label]
        return _scaled(learned.sizes_px[int(rng.integers(len(learned.sizes_px)))], scale, limits_px, rng)

    def draw(self, image: np.ndarray, label: str, occupied: Sequence[Box], rng: np.random.Generator, *,
             size_px: tuple[int, int] | None = None, within: np.ndarray | None = None,
             scale: tuple[float, float] = SCALE, limits_px: tuple[int, int] | None = None,
             learned: bool = True) -> Box | None:
        """Return a box for a defect of the class on a normal image, or None where nothing fits.

        image     uint8 or uint16 [H, W, 3]; occupied: boxes it must keep clear of
        size_px   width, height; None draws sizes as `draw_size` does, a few, until one finds a fitting place
        within    bool [H, W], where the box's centre must lie, and nearly all of the box
        learned   false: anywhere that is free
        """
        known = self.learned[label]
        found = None
        for _ in range(ATTEMPTS if size_px is None else 1):
            pick = int(rng.integers(len(known.sizes_px)))
            size = size_px or _scaled(known.sizes_px[pick], scale, limits_px, rng)
            sides = _sides_of(known, size, rng) if size_px else tuple(known.sides[pick].tolist())
            size = _fitted(size, image.shape, sides)
            places = _candidates(image.shape, size, sides, occupied, within, rng)
            if not len(places):
                continue
            if not learned:
                return (*places[0].tolist(), *(places[0] + size).tolist())
            excess, box = _drawn(image, known, places, size, sides, occupied, within, rng)
            if found is None or excess < found[0]:
                found = excess, box
            if excess < GOOD_ENOUGH:
                break
        return found[1] if found else None


def _drawn(image, learned: _Learned, places, size, sides, occupied, within, rng) -> tuple[float, Box]:
    """Score the places, move the best ones to where they fit best, draw one of those: (how far off it is, box)."""
    view = _View(image, size)
    near = _alike(learned, size)
    distance = surroundings.distances(view.describe(places), near).min(axis=1)
    best = np.argsort(distance, kind="stable")[:REFINED]
    chosen, distance = _moved(view, places[best], distance[best], near, size, sides, occupied, within)
    # A place no farther from the real ones than they are from each other is as good as any.
    excess = np.maximum(distance / max(learned.spread, 0.02) - 0.8, 0)
    chance = np.exp(-SHARPNESS * (excess - excess.min()))
    pick = int(rng.choice(len(chosen), p=chance / chance.sum()))
    x, y = chosen[pick].tolist()
    return float(excess[pick]), (x, y, x + size[0], y + size[1])


class _View:
    """A normal image at a scale where surroundings are cheap to look at."""

    def __init__(self, image: np.ndarray, size: tuple[int, int]):
        self.size = size
        self.full_shape = image.shape
        scale = min(1.0, WORKING_PX / max(size) / (1 + 2 * surroundings.CONTEXT))
        self.scale = scale if scale < 0.7 else 1.0
        self.image = image
        if self.scale < 1:
            shape = (max(1, round(image.shape[1] * self.scale)), max(1, round(image.shape[0] * self.scale)))
            self.image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)

    def describe(self, places: np.ndarray) -> np.ndarray:
        """[N, LENGTH] of the boxes whose top left corners are `places` [N, 2]."""
        x1, y1, x2, y2 = surroundings.context_box((0, 0, *self.size))
        shift = np.array([x1, y1, x2, y2])
        boxes = np.rint((np.concatenate([places, places], axis=1) + shift) * self.scale).astype(int)
        return surroundings.describe_patches([surroundings.cut(self.image, tuple(box)) for box in boxes.tolist()])


def _learn(crops: Sequence[Crop], turns: tuple[int, ...]) -> _Learned:
    each = max(1, REFERENCES // len(turns))
    if len(crops) > each:
        crops = [crops[i * len(crops) // each] for i in range(each)]
    descriptions = np.stack([surroundings.turned_descriptions(crop.description, turns) for crop in crops])
    sizes = np.array([[crop.size_px if k % 2 == 0 else crop.size_px[::-1] for k in turns] for crop in crops], float)
    sides = np.array([[surroundings.turned_sides(crop.sides, k) for k in turns] for crop in crops])
    first = descriptions[:, 0]
    apart = surroundings.distances(first, descriptions.reshape(-1, surroundings.LENGTH))
    apart = apart.reshape(len(crops), len(crops), len(turns)).min(axis=2)
    np.fill_diagonal(apart, np.inf)
    spread = float(np.median(apart.min(axis=1))) if len(crops) > 1 else 0.1
    return _Learned(descriptions.reshape(-1, surroundings.LENGTH), sizes.reshape(-1, 2), sides.reshape(-1, 4), spread)


def _scaled(size_px: np.ndarray, scale: tuple[float, float], limits_px, rng) -> tuple[int, int]:
    """A size near a real one, its proportions changed a little."""
    factor = np.exp(rng.uniform(*np.log(scale)) + rng.normal(0, 0.03, 2))
    size = np.clip(np.rint(size_px * factor), *(limits_px or (3, np.inf)))
    return int(size[0]), int(size[1])


def _sides_of(known: _Learned, size: tuple[int, int], rng) -> Sides:
    """Which borders cut a defect of this size: as they cut one of the real ones of about this size."""
    mismatch = np.abs(np.log(known.sizes_px / np.array(size))).max(axis=1)
    nearest = np.argsort(mismatch, kind="stable")[:5]
    return tuple(known.sides[nearest[int(rng.integers(len(nearest)))]].tolist())


def _fitted(size: tuple[int, int], shape: tuple[int, ...], sides: Sides) -> tuple[int, int]:
    """The size, small enough for the image. A defect from border to border stays so."""
    limits = (shape[1], shape[0])
    return tuple(limits[axis] if sides[axis] and sides[axis + 2] else min(size[axis], max(3, int(0.9 * limits[axis])))
                 for axis in (0, 1))


def _alike(learned: _Learned, size: tuple[int, int]) -> np.ndarray:
    """The references of about this size and proportion: surroundings are seen in units of the box."""
    ratio = np.log(learned.sizes_px / np.array(size))
    mismatch = np.abs(ratio).max(axis=1)
    near = mismatch <= max(0.5, np.sort(mismatch)[min(7, len(mismatch) - 1)])
    return learned.descriptions[near]


def _candidates(shape, size, sides: Sides, occupied, within, rng) -> np.ndarray:
    """int [N, 2]: top left corners of boxes inside the image, clear of the occupied ones."""
    lowest, highest = _corner_limits(shape, size, sides)
    if (highest < lowest).any():
        return np.zeros((0, 2), int)
    count = round(CANDIDATES * min(max(shape[0] * shape[1] / CANDIDATES_PX, 1), 4))
    if within is None:
        places = rng.integers(lowest, highest + 1, size=(count, 2))
    else:
        inside = np.flatnonzero(within)
        if not len(inside):
            return np.zeros((0, 2), int)
        rows, columns = np.unravel_index(inside[rng.integers(len(inside), size=4 * count)], within.shape)
        places = np.stack([columns, rows], axis=1) - np.array(size) // 2
        places = places[((places >= lowest) & (places <= highest)).all(axis=1)]
    return places[_free(places, size, occupied, within)][:count]


def _corner_limits(shape, size, sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest top left corner; a defect that a border cuts stays at that border."""
    lowest, highest = np.zeros(2, int), np.zeros(2, int)
    for axis, length in enumerate((shape[1], shape[0])):
        near, far = sides[axis], sides[axis + 2]
        rim = min(BORDER_PX, max(0, (length - size[axis]) // 2))
        lowest[axis] = length - size[axis] if far and not near else (0 if near else rim)
        highest[axis] = 0 if near else (length - size[axis] if far else length - size[axis] - rim)
    return lowest, highest


def _free(places: np.ndarray, size, occupied: Sequence[Box], within) -> np.ndarray:
    """Which boxes keep clear of the occupied ones, by a quarter of their own size, and lie in `within`."""
    free = np.ones(len(places), bool)
    width, height = size
    margin = max(4, max(size) // 4)
    for x1, y1, x2, y2 in occupied:
        free &= ((places[:, 0] >= x2 + margin) | (places[:, 0] + width <= x1 - margin)
                 | (places[:, 1] >= y2 + margin) | (places[:, 1] + height <= y1 - margin))
    if within is not None:
        for i in np.flatnonzero(free):
            x, y = places[i]
            free[i] = within[y:y + height, x:x + width].mean() >= 0.95
    return free


def _moved(view: _View, places, distance, near, size, sides, occupied, within) -> tuple[np.ndarray, np.ndarray]:
    """Let every place climb to where it fits best: steps of an eighth, then a sixteenth of the box."""
    lowest, highest = _corner_limits(view.full_shape, size, sides)
    for part in (8, 16):
        step = np.maximum(1, np.array(size) // part)
        shifts = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]) * step
        tried = (places[:, None] + shifts).reshape(-1, 2)
        allowed = ((tried >= lowest) & (tried <= highest)).all(axis=1)
        allowed[allowed] = _free(tried[allowed], size, occupied, within)
        found = np.full(len(tried), np.inf)
        if allowed.any():
            found[allowed] = surroundings.distances(view.describe(tried[allowed]), near).min(axis=1)
        found = found.reshape(len(places), -1)
        best = found.argmin(axis=1)
        better = found.min(axis=1) < distance
        places = np.where(better[:, None], places + shifts[best], places)
        distance = np.minimum(distance, found.min(axis=1))
    return places, distance
