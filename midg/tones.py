"""The colour of a painted defect: that of a material near by, where the class's real ones have theirs from there.

Copper that is missing shows the ground beside it, and copper that is too much looks like the traces round it.
"""
from collections.abc import Sequence

import cv2
import numpy as np

from core.augment.bank import Crop

from .rims import filled

GRAIN_PX = 1.2                  # what is finer is grain
APART_PX, AROUND_PX = 2, 40     # materials are looked for so far from the defect
NEAREST_PX = 80                 # pixels of the material, the nearest ones, that the colour is taken from
FEWEST_PX = 12
LIKE, LIKEST = 0.9, 0.02        # cosine of a material's and the paint's change of colour; how far below the best ones
FAR, OTHER = 0.002, 0.15        # of it, what a px of distance costs, and being of another colour than the paint
LEAST_CHANGE, MOST_CHANGE = 0.7, 5.0        # the material's over the paint's: faint paint is short of it
RIM = 0.06                      # steepness, in parts of the change: more is the rim between two materials
CLEAR = 0.12                    # least change that is one of material
RIM_PX = 0.6                    # sigma of a rim's blur
SLIVER_PX = 4                   # between a defect and what it joins: narrower ones are painted over
STEEPER = 1.6                   # the rim of a defect is sharper than its paint's
CLOSE = 0.35                    # of the contrast: how close half of a real defect comes to the material
USUAL, FEWEST_CROPS = 0.8, 5    # share of a class's real defects near a material that must


def usual_tones(crops: Sequence[Crop]) -> frozenset[str]:
    """The classes nearly all of whose real defects are of one colour, and that of a material near by."""
    found: dict[str, list[bool]] = {}
    for crop in crops:
        follows = _follows(crop)
        if follows is not None:
            found.setdefault(crop.label, []).append(follows)
    return frozenset(label for label, follow in found.items()
                     if len(follow) >= FEWEST_CROPS and np.mean(follow) >= USUAL)


def _follows(crop: Crop) -> bool | None:
    """Whether a real defect has a near material's colour; None: there is none on the way, to say so by."""
    clean, pixels = (part.astype(np.float32) / np.iinfo(part.dtype).max for part in (crop.clean, crop.pixels))
    material = material_of(clean, pixels, crop.mask)
    if material is None:
        return None
    core = _core(crop.mask)
    contrast = float(np.linalg.norm(material - np.median(clean[core], axis=0)))
    off = np.linalg.norm(cv2.GaussianBlur(pixels, (0, 0), GRAIN_PX)[core] - material, axis=1)
    return bool(np.median(off) < CLOSE * contrast)


def material_of(clean: np.ndarray, painted: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """float32 [3]: the colour, found near the defect, that its paint comes closest to or is on the way to.

    clean, painted  float32 [H, W, 3] in 0..1; mask bool [H, W]. None: there is none.
    """
    core = _core(mask)
    before = np.median(clean[core], axis=0)
    change = np.median(painted[core], axis=0) - before
    length = float(np.linalg.norm(change))
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    near = (distance > APART_PX) & (distance <= AROUND_PX)
    smooth = cv2.GaussianBlur(clean, (0, 0), GRAIN_PX)
    ways, far = smooth[near] - before, distance[near]
    lengths = np.linalg.norm(ways, axis=1)
    cosine = ways @ change / np.maximum(lengths * length, 1e-6)
    alike = ((cosine >= LIKE) & (lengths >= max(LEAST_CHANGE * length, CLEAR)) & (lengths <= MOST_CHANGE * length))
    flat = alike & (_steepness(smooth)[near] < RIM * lengths)       # what lies between two materials is neither
    chosen = flat if flat.sum() >= FEWEST_PX else alike
    if chosen.sum() < FEWEST_PX:
        return None
    apart = np.linalg.norm(ways - change, axis=1) / np.maximum(lengths, length)
    unlike = 1 - cosine + FAR * far + OTHER * apart
    chosen &= unlike <= np.percentile(unlike[chosen], 20) + LIKEST
    nearest = np.argsort(far[chosen], kind="stable")[:NEAREST_PX]
    return (before + np.median(ways[chosen][nearest], axis=0)).astype(np.float32)


def toned(clean: np.ndarray, painted: np.ndarray, mask: np.ndarray, *, solid: bool = False, joined: bool = False,
          ) -> np.ndarray | None:
    """float32 [H, W, 3]: the paint in the material's colour, as opaque as it is on the way there, with the picture's
    own grain; None: it is on the way to no material near by.

    mask    bool [H, W], the shape that is painted
    solid   nothing of it shines through, wherever the paint is thin
    joined  no sliver is left between it and more of the material
    """
    material = material_of(clean, painted, mask)
    if material is None:
        return None
    smooth = cv2.GaussianBlur(clean, (0, 0), GRAIN_PX)
    way = material - smooth
    length = np.maximum((way * way).sum(axis=2), CLEAR ** 2)
    opacity = np.clip(((cv2.GaussianBlur(painted, (0, 0), 0.5) - smooth) * way).sum(axis=2) / length, 0, 1)
    typical = float(np.percentile(opacity[mask], 75))
    opacity = np.clip(STEEPER * (opacity / max(typical, 0.1) - 0.5) + 0.5, 0, 1)
    body = filled(opacity > 0.5) | mask if solid else filled(opacity > 0.5)
    if joined:
        before = np.median(clean[_core(mask)], axis=0)
        own = np.linalg.norm(smooth - material, axis=2) < np.linalg.norm(smooth - before, axis=2)
        opacity[_slivers(body, own)] = 1
        body = filled(opacity > 0.5) | body
    inside = cv2.erode(body.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    opacity = cv2.GaussianBlur(np.maximum(opacity, inside), (0, 0), RIM_PX)[..., None]
    grain = clean - smooth
    limit = 3 * float(np.median(np.abs(grain))) + 1 / 255
    return (smooth + grain.clip(-limit, limit) + opacity * way).clip(0, 1).astype(np.float32)


def _slivers(body: np.ndarray, own: np.ndarray) -> np.ndarray:
    """bool [H, W]: what lies between a body and more of its own material, up to SLIVER_PX wide."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SLIVER_PX + 1 | 1,) * 2)
    both = body | own
    padded = np.pad(both.astype(np.uint8), SLIVER_PX, mode="edge")
    closed = cv2.medianBlur(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc), 5)     # without spikes
    closed = closed[SLIVER_PX:-SLIVER_PX, SLIVER_PX:-SLIVER_PX] > 0
    near = cv2.dilate(body.astype(np.uint8), np.ones((2 * SLIVER_PX + 1,) * 2, np.uint8)) > 0
    return closed & near & ~both


def _steepness(picture: np.ndarray) -> np.ndarray:
    """float32 [H, W]: the largest change of a colour a px."""
    x, y = (cv2.Sobel(picture, cv2.CV_32F, *axis) / 8 for axis in ((1, 0), (0, 1)))
    return np.sqrt(x * x + y * y).max(axis=2)


def _core(mask: np.ndarray) -> np.ndarray:
    """The mask without its rim, or all of one that is hardly more than that."""
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    return core if core.sum() >= FEWEST_PX else mask
