"""Made pictures of rubber o-rings with tears, pits, flash and missing material: whole frames, or patches of them."""
from collections.abc import Sequence

import cv2
import numpy as np

from core.errors import ConfigError
from core.synthetic.checks import check_classes, check_defects, check_size
from core.synthetic.fixed_noise import Window
from core.synthetic.oring_defects import DRAW
from core.synthetic.oring_scene import Change, Ring, coordinates, draw_scene, expose, make_ring, photograph, ring_place
from core.synthetic.sample import Defect, Sample
from core.synthetic.texture import bright_enough, contrast_mask, drop_crumbs, reach

CLASSES = ("tear", "pit", "flash", "missing_material")
SIZE = (2448, 2048)
SMALLEST_PX = 256
SMALLEST_PATCH = 1 / 8      # of the frame's smaller side: less may show no contour of a thick ring
LEAST_CONTRAST = 0.03       # of full scale: the least change that counts as part of a defect
LEAST_VISIBLE = 0.075       # of full scale: a defect that stands out less is first tried elsewhere
TRIES = 60
TRIES_BESIDE = 7            # for a further defect that may as well be left out
APART_PX = 45               # side of the square round each pixel of a mask that the picture of a defect may fill
SHADOW_REACH_PX = 16        # a defect changes nothing farther from its mask than this, before the camera's blur
EDGE_PX = 28                # of a drawn window that no mask enters: half of APART_PX, and the camera's blur
MARGIN_PX = EDGE_PX + 12    # drawn round what a defect alters: for blur, slopes and the light round a gap


def draw(rng: np.random.Generator, size: tuple[int, int] = SIZE, *, defects: int | None = None,
         classes: Sequence[str] = CLASSES, patch: int | None = None, good_share: float = 0.0) -> Sample:
    """Draw one ring in a frame of `size` (w, h) px, grey (equal channels).

    defects     number of defects in the picture; None draws 1 to 3 as far as there is room, 0 gives a good part
    classes     which defects may appear
    patch       side in px: draw only a square cut at the ring; its twin is that piece of the frame's twin
    good_share  probability that a picture has no defect, where `defects` is None

    A mask holds the pixels that the defect changes by >= LEAST_CONTRAST of full scale, averaged over 3x3 px, before
    blur and noise, gaps filled, within 3 px of the altered rubber: no shadow (texture.contrast_mask). Picture and
    twin are equal farther than SHADOW_REACH_PX + 6 px from every mask. Dust, lint, oil and the mould's parting line
    are on both, unlabelled.
    """
    check_size(size, SMALLEST_PX)
    check_classes(classes, CLASSES)
    check_defects(defects)
    _check_patch(patch, size)
    ring = make_ring(rng, size)
    at = rng.uniform(0, 2 * np.pi)
    jitter = rng.uniform(-0.3, 0.3, 2)
    window: Window = (0, 0, *size)
    if patch is not None:
        corner = np.round(ring_place(ring, at, 0) - patch * (0.5 + jitter)).astype(int)
        x, y = np.clip(corner, 0, np.array(size) - patch)
        window = (int(x), int(y), patch, patch)
    wanted = defects
    if wanted is None:
        wanted = 0 if rng.random() < good_share else int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))
    clean = photograph(ring, window)
    image, drawn = clean.copy(), []
    for _ in range(wanted):
        optional = bool(drawn) and defects is None
        label, tries = str(rng.choice(list(classes))), TRIES_BESIDE if optional else TRIES
        defect = _add(rng, ring, window, image, label, drawn, tries)
        if defect is None and not optional:
            raise ConfigError(f"defects: no room for another, got {len(drawn) + 1} on {window[2]}x{window[3]} px. "
                              "Ask for fewer defects or a larger size")
        drawn += [defect] if defect else []
    return Sample(image=_grey(image), clean=_grey(clean), defects=tuple(drawn))


SHARE = {"tear": 0.0, "pit": 0.12, "flash": 0.0, "missing_material": 0.0}     # texture.contrast_mask
CRUMB = {"tear": 0.03, "pit": 0.02, "flash": 0.03, "missing_material": 0.1}   # least piece, as a share of the largest
HALF = {"tear": 1.5, "pit": 0.4, "flash": 2.2, "missing_material": 1.6}       # reach but 60 px, in sections
ACROSS = {"tear": (-0.85, 0.85), "pit": (-0.82, 0.82)}      # where on the cord; the others sit at a contour


def _add(rng: np.random.Generator, ring: Ring, window: Window, image: np.ndarray, label: str,
         others: list[Defect], tries: int) -> Defect | None:
    """Draw one defect into `image`, where it shows and touches no other; None where there is no such place."""
    taken = _near(np.any([other.mask for other in others], axis=0), APART_PX) if others else np.zeros(image.shape, bool)
    for attempt in range(tries):
        place = _pick_place(rng, ring, window, label)
        if taken[int(place[1]) - window[1], int(place[0]) - window[0]]:
            continue
        half = int(HALF[label] * ring.section) + 60
        around = (round(place[0]) - half, round(place[1]) - half, 2 * half, 2 * half)
        across, angle = coordinates(ring, around)
        change = DRAW[label](rng.spawn(1)[0], ring, around, across, angle)
        rubber = _footprint(change) & ((np.abs(across) < 1 + 1 / ring.section) | (change.film > 0.02))
        part, local = _extent(change, around, window)
        seen, inner = _overlap(local, window)
        change, rubber = change.cut(part), rubber[part]
        if (taken[seen] & rubber[inner]).any():
            continue
        before = draw_scene(ring, local)
        delta = draw_scene(ring, local, change) - before
        mask = contrast_mask(delta, LEAST_CONTRAST, SHARE[label]) & rubber
        mask[:EDGE_PX] = mask[-EDGE_PX:] = mask[:, :EDGE_PX] = mask[:, -EDGE_PX:] = False
        mask = drop_crumbs(mask, 5, CRUMB[label])
        least = 1 - 0.6 * attempt / TRIES
        if mask[inner].sum() < 8 or _contrast(ring, before[inner], delta[inner], mask[inner]) < least:
            continue
        near = _near(mask, APART_PX)[inner]
        picture = expose(ring, local, before + delta * reach(mask, SHADOW_REACH_PX))
        image[seen][near] = picture[inner][near]
        whole = np.zeros(image.shape, bool)
        whole[seen] = mask[inner]
        return Defect(label=label, mask=whole)
    return None


def _extent(change: Change, around: Window, window: Window) -> tuple[tuple[slice, slice], Window]:
    """The part of a change that has to be drawn, MARGIN_PX round what alters and is seen: as slices, and its place."""
    altered = np.abs(change.relief) > 0.002
    for cover in (change.shade, change.torn, change.gone, change.film):
        altered |= cover > 0.002
    part = []
    for axis, marked in ((1, altered.any(axis=1)), (0, altered.any(axis=0))):
        first, last = np.flatnonzero(marked)[[0, -1]] if marked.any() else (0, 0)
        low = max(0, first - MARGIN_PX, window[axis] - MARGIN_PX - around[axis])
        high = min(marked.size, last + 1 + MARGIN_PX, window[axis] + window[axis + 2] + MARGIN_PX - around[axis])
        part.append(slice(int(min(low, high - 1)), int(high)))
    rows, cols = part
    corner = around[0] + cols.start, around[1] + rows.start
    return (rows, cols), (*corner, cols.stop - cols.start, rows.stop - rows.start)


def _contrast(ring: Ring, before: np.ndarray, delta: np.ndarray, mask: np.ndarray) -> float:
    """How well the change is seen, also against the texture round it: 1 is well enough."""
    texture = cv2.GaussianBlur(before, (0, 0), 0.9) - cv2.GaussianBlur(before, (0, 0), 4)
    on_rubber = _near(mask, 21) & ~mask & (before < 0.5 * ring.background)
    grain = float(texture[on_rubber].std()) if on_rubber.any() else 0.0
    return bright_enough(delta, mask) / max(LEAST_VISIBLE, 1.6 * grain)


def _near(mask: np.ndarray, side_px: int) -> np.ndarray:
    """The mask grown by half of `side_px` on every side."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((side_px, side_px), np.uint8)).astype(bool)


def _footprint(change: Change) -> np.ndarray:
    """Pixels at or next to altered rubber, as against those that only its shadow or its raised surroundings change."""
    altered = np.maximum.reduce([change.shade > 0.02, change.torn > 0.05, change.gone > 0.05, change.film > 0.02])
    return cv2.dilate(altered.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))).astype(bool)


def _pick_place(rng: np.random.Generator, ring: Ring, window: Window, label: str) -> np.ndarray:
    """A pixel of the window at which such a defect may sit."""
    x, y, w, h = window
    for _ in range(10000):
        across = rng.uniform(*ACROSS[label]) if label in ACROSS else rng.choice([-1.0, 1.0])
        place = ring_place(ring, rng.uniform(0, 2 * np.pi), across)
        if 0.04 * w <= place[0] - x <= 0.96 * w and 0.04 * h <= place[1] - y <= 0.96 * h:
            return place
    raise ConfigError(f"patch: shows too little of the ring, got {w}x{h} px. Use a larger one")


def _overlap(local: Window, window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part that two windows share: as slices of the second, and of the first."""
    seen, inner = [], []
    for axis in (1, 0):
        low = max(local[axis], window[axis])
        high = max(low, min(local[axis] + local[axis + 2], window[axis] + window[axis + 2]))
        seen.append(slice(low - window[axis], high - window[axis]))
        inner.append(slice(low - local[axis], high - local[axis]))
    return (seen[0], seen[1]), (inner[0], inner[1])


def _grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.merge([pixels] * 3)


def _check_patch(patch: int | None, size: tuple[int, int]) -> None:
    smallest = round(SMALLEST_PATCH * min(size))
    if patch is not None and not smallest <= patch <= min(size):
        raise ConfigError(f"patch: does not fit, got {patch} px. "
                          f"Use {smallest} to {min(size)} px for frames of {size[0]}x{size[1]}")
