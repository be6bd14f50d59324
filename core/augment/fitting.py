"""Geometry of a copied defect: where in its box it continues what is round it, and its pixels laid there."""
from dataclasses import dataclass

import cv2
import numpy as np

from . import surroundings
from .bank import Crop
from .generator import Box

MATCH_PX = 48               # alignment runs at a scale where the defect with its surroundings is about this large
GRAIN_PX = 2.0              # what is finer than this, at that scale, does not count against a place
PLAIN_CONTRAST = 0.1        # contrast that even a plain surface is taken to have
LARGEST_DRIFT_PX = 12
DRIFT_COST = 0.002          # mean square misfit that moving to the corner of what is allowed has to save, twice


@dataclass
class Fit:
    """A crop laid into the window: how it is turned and scaled, where it lies, how well what is round it fits."""
    crop: Crop
    turn: int
    scale: tuple[float, float]
    centre: tuple[float, float]     # of the defect's box, in px of the window
    misfit: float = np.inf          # root mean square difference of what is round it, 0..1
    strangeness: float = np.inf     # the same in colour and without grain, as a part of the contrast


def aligned(fit: Fit, target: np.ndarray, box: Box, drift: float) -> Fit:
    """Move the crop, by `drift` box sides at most, to where its surroundings continue those of the target."""
    x1, y1, x2, y2 = surroundings.context_box(box)
    part = min(1.0, MATCH_PX / max(x2 - x1, y2 - y1))
    sides_px = (box[2] - box[0], box[3] - box[1])
    reach = [min(LARGEST_DRIFT_PX, max(2, round(drift * side))) if drift else 0 for side in sides_px]
    for axis in (0, 1):                                     # a defect that the border cuts stays at the border
        sides = surroundings.turned_sides(fit.crop.sides, fit.turn)
        reach[axis] = 0 if sides[axis] or sides[axis + 2] else reach[axis]
    area = surroundings.cut(target, (x1 - reach[0], y1 - reach[1], x2 + reach[0], y2 + reach[1]))
    steps = [round(r * part) for r in reach]
    size = (max(2, round((x2 - x1) * part)), max(2, round((y2 - y1) * part)))
    area = cv2.resize(area, (size[0] + 2 * steps[0], size[1] + 2 * steps[1]), interpolation=cv2.INTER_AREA)
    matrix = _matrix(fit, ((x2 - x1) / 2 - 0.5 + (fit.centre[0] - (x1 + x2) / 2),
                           (y2 - y1) / 2 - 0.5 + (fit.centre[1] - (y1 + y2) / 2)))
    matrix = np.diag([size[0] / (x2 - x1), size[1] / (y2 - y1)]) @ matrix
    clean, mask, known = _warped(fit.crop, matrix, size, fit.turn)
    weight = _weights(mask, known)
    grey_area, grey = _grey(area), _grey(clean)
    inner = grey_area[steps[1]:steps[1] + size[1], steps[0]:steps[0] + size[0]]
    gain = np.clip((weight * inner * grey).sum() / max((weight * grey * grey).sum(), 1e-6), *surroundings.GAIN_LIMITS)
    cost = cv2.matchTemplate(grey_area, grey * np.float32(gain), cv2.TM_SQDIFF, mask=weight)    # by the mask's square
    rows, columns = np.indices(cost.shape)
    away = ((rows - steps[1]) / (steps[1] + 1)) ** 2 + ((columns - steps[0]) / (steps[0] + 1)) ** 2
    cost = np.maximum(cost, 0) + DRIFT_COST * away          # where nothing lines up, the middle of the box it is
    row, column = np.unravel_index(cost.argmin(), cost.shape)
    fit.centre = (fit.centre[0] + (column - steps[0]) / part, fit.centre[1] + (row - steps[1]) / part)
    fit.misfit = float(np.sqrt(cost[row, column]))
    fit.strangeness = _strangeness(area[row:row + size[1], column:column + size[0]], clean * np.float32(gain), weight)
    return fit


def _strangeness(target: np.ndarray, clean: np.ndarray, weight: np.ndarray) -> float:
    """Root mean square colour difference of two blurred pictures, over PLAIN_CONTRAST and the contrast of the first."""
    depth = 1 if target.dtype == np.float32 else np.iinfo(target.dtype).max
    here, there = (cv2.GaussianBlur(image, (0, 0), GRAIN_PX) for image in (target.astype(np.float32) / depth, clean))
    share = (weight ** 2)[..., None]
    contrast = np.sqrt((share * (here - (share * here).sum(axis=(0, 1))) ** 2).sum(axis=(0, 1))).max()
    return float(np.sqrt((share * (here - there) ** 2).sum(axis=(0, 1)).max()) / (PLAIN_CONTRAST + contrast))


def _weights(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Half of the weight lies on the defect itself, half round it and falling with the distance; square roots."""
    inside = (mask > 0.5).astype(np.float32)
    if not inside.any():
        inside[mask.shape[0] // 2, mask.shape[1] // 2] = 1
    distance = cv2.distanceTransform(1 - inside.astype(np.uint8), cv2.DIST_L2, 3)
    around = np.where(inside > 0, 0, np.exp(-distance / (0.15 * max(mask.shape)))) * known
    weight = 0.5 * inside / inside.sum() + 0.5 * around / max(around.sum(), 1e-6)
    return np.sqrt(weight).astype(np.float32)


def _matrix(fit: Fit, centre: tuple[float, float]) -> np.ndarray:
    """float64 [2, 3]: from px of the crop's turned window to px where the defect's box is centred at `centre`."""
    x1, y1, x2, y2 = _turned_box(fit.crop.inner_box, fit.crop.mask.shape, fit.turn)
    sx, sy = fit.scale
    return np.array([[sx, 0, centre[0] - sx * ((x1 + x2) / 2 - 0.5)], [0, sy, centre[1] - sy * ((y1 + y2) / 2 - 0.5)]])


def _turned_box(box: Box, shape: tuple[int, int], k: int) -> Box:
    x1, y1, x2, y2 = box
    height, width = shape
    if k >= 4:
        x1, x2 = width - x2, width - x1
    for _ in range(k % 4):
        x1, y1, x2, y2 = y1, width - x2, y2, width - x1
        height, width = width, height
    return x1, y1, x2, y2


def laid(fit: Fit, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The crop in px of the window: its pixels and clean pixels, float32 [H, W, 3], and its mask, 0..1 [H, W]."""
    matrix = _matrix(fit, (fit.centre[0] - 0.5, fit.centre[1] - 0.5))
    if fit.scale == (1.0, 1.0):                             # nothing is blurred where whole px will do
        matrix[:, 2] = np.rint(matrix[:, 2])
    size = (shape[1], shape[0])
    crop = fit.crop
    return tuple(_warp(part, fit.turn, matrix, size, repeat) for part, repeat in
                 ((crop.pixels, True), (crop.clean, True), (_soft_mask(crop), False)))


def _warped(crop: Crop, matrix: np.ndarray, size: tuple[int, int], turn_k: int) -> tuple[np.ndarray, ...]:
    """Clean pixels, mask, and where the crop's window reaches."""
    everywhere = np.ones(crop.mask.shape, np.float32)
    return (_warp(crop.clean, turn_k, matrix, size, True), _warp(_soft_mask(crop), turn_k, matrix, size, False),
            _warp(everywhere, turn_k, matrix, size, False))


def _warp(part: np.ndarray, k: int, matrix: np.ndarray, size: tuple[int, int], repeat: bool) -> np.ndarray:
    """float32 in 0..1, turned and moved; averaged first where it is made much smaller."""
    values = np.ascontiguousarray(surroundings.turn(part, k))
    values = values.astype(np.float32) / (np.iinfo(part.dtype).max if part.dtype.kind == "u" else 1)
    shrink = min(abs(matrix[0, 0]), abs(matrix[1, 1]))
    if shrink < 0.75:
        values = cv2.GaussianBlur(values, (0, 0), 0.45 / shrink)
    border = cv2.BORDER_REPLICATE if repeat else cv2.BORDER_CONSTANT
    return cv2.warpAffine(values, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)


def _soft_mask(crop: Crop) -> np.ndarray:
    return crop.mask.astype(np.float32)


def _grey(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.float32:
        image = image.astype(np.float32) / np.iinfo(image.dtype).max
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
