"""Fills holes with material from elsewhere in the picture, without any learned weights."""
import cv2
import numpy as np

from core.augment.removal import spread

MARGIN_PX = 12                  # of material round a hole that its stand-in has to resemble
REACH_PX = 224                  # how far away a stand-in is looked for
SEARCH_SIDE_PX = 96             # a larger hole's stand-ins are looked for at a smaller scale
CANDIDATES, APART_PX = 16, 3
MISFIT_FACTOR, MISFIT_LEVELS = 1.35, 4      # a candidate may fit this much worse than the best one
COARSE_PX = 2.0                 # below this size of detail candidates may differ as they like: that is grain
LARGEST_OFFSET = 15             # grey levels by which a stand-in's colours are moved to fit those round the hole
TELEA_RADIUS_PX = 3


def fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] without its holes (bool [H, W]); what lies outside is as it was.

    Each connected hole gets one place of the same shape, whole, so that grain and lines stay what they are. Of the
    places whose surroundings fit nearly as well as the best, it is the one nearest to their median: a scratch or an
    unmarked defect in one of them differs from all others. Where no place is free of holes, colours run in from the
    border (Telea).
    """
    result = image.copy()
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    height, width = hole.shape
    for number in range(1, count):
        x, y, w, h = boxes[number, :4]
        window = (slice(max(0, y - MARGIN_PX), min(height, y + h + MARGIN_PX)),
                  slice(max(0, x - MARGIN_PX), min(width, x + w + MARGIN_PX)))
        part = parts[window] == number
        filling = _stand_in(image, hole, window, part)
        if filling is None:
            filling = cv2.inpaint(image, hole.astype(np.uint8), TELEA_RADIUS_PX, cv2.INPAINT_TELEA)[window]
        result[window][part] = filling[part]
    return result


def _stand_in(image: np.ndarray, hole: np.ndarray, window: tuple[slice, slice], part: np.ndarray) -> np.ndarray | None:
    """The window's pixels [h, w, 3] with the stand-in's in the hole's `part`; None where no place is free of holes."""
    pixels, known = image[window].astype(np.float32), ~hole[window]
    places = _places(image, hole, window, part)
    if not places or known.sum() < 8:
        return None
    fillings = np.stack([_fitted(pixels, known, image[place], hole[place]) for _, place in places])
    coarse = np.stack([cv2.GaussianBlur(filling, (0, 0), COARSE_PX)[part] for filling in fillings])
    oddness = np.sqrt(((coarse - np.median(coarse, axis=0)) ** 2).mean(axis=(1, 2)))
    misfit = np.array([cost for cost, _ in places])
    return fillings[np.argmin(misfit + oddness)].round().clip(0, 255).astype(np.uint8)


def _fitted(pixels: np.ndarray, known: np.ndarray, stand_in: np.ndarray, its_hole: np.ndarray) -> np.ndarray:
    """The stand-in with its colours moved smoothly towards those that are known here."""
    stand_in, both = stand_in.astype(np.float32), known & ~its_hole
    if not both.any():
        return stand_in
    return stand_in + np.clip(spread(pixels - stand_in, both), -LARGEST_OFFSET, LARGEST_OFFSET)


def _places(image: np.ndarray, hole: np.ndarray, window: tuple[slice, slice], part: np.ndarray) -> list[tuple]:
    """(misfit of the known surroundings in grey levels, place like `window`) of the best ones, best first."""
    rows, columns = window
    height, width = part.shape
    reach = max(REACH_PX, 2 * height, 2 * width)
    area = (slice(max(0, rows.start - reach), rows.stop + reach),
            slice(max(0, columns.start - reach), columns.stop + reach))
    scale = min(1.0, SEARCH_SIDE_PX / max(height, width))
    cost = _misfits(image[area], hole[area], image[window], ~hole[window], part, scale)
    found = []
    for top, left in _lowest(cost):
        misfit = float(cost[top, left])
        y, x = round(top / scale) + area[0].start, round(left / scale) + area[1].start
        y, x = min(y, image.shape[0] - height), min(x, image.shape[1] - width)
        place = slice(y, y + height), slice(x, x + width)
        if scale < 1:
            place = _refined(image, hole, window, part, place, int(np.ceil(1 / scale)))
        if not (hole[place] & part).any():
            found.append((misfit, place))
    return found


def _misfits(area, holes, template, known, part, scale: float) -> np.ndarray:
    """Root mean square difference of the known pixels at each place; infinite where the hole would meet a hole."""
    weight, needed, holes = (values.astype(np.float32) for values in (known, part, holes))
    if scale < 1:
        size = [max(2, round(length * scale)) for length in part.shape[::-1]]
        whole = [max(2, round(length * scale)) for length in holes.shape[::-1]]
        template, weight, needed = (cv2.resize(a, size, interpolation=cv2.INTER_AREA)
                                    for a in (template, weight, needed))
        area, holes = (cv2.resize(a, whole, interpolation=cv2.INTER_AREA) for a in (area, holes))
    mask = np.repeat(weight[..., None], 3, axis=2)
    squares = cv2.matchTemplate(area.astype(np.float32), template.astype(np.float32), cv2.TM_SQDIFF, mask=mask)
    cost = np.sqrt(np.maximum(squares, 0) / max(3 * float((weight ** 2).sum()), 1e-6))
    cost[cv2.matchTemplate(holes, needed, cv2.TM_CCORR) > 0.5 * min(1, scale)] = np.inf
    return cost


def _lowest(cost: np.ndarray) -> list[tuple[int, int]]:
    """Up to CANDIDATES places (row, column), a little apart from each other, not much worse than the best."""
    left, found = cost.copy(), []
    while len(found) < CANDIDATES:
        row, column = np.unravel_index(left.argmin(), left.shape)
        if not left[row, column] <= MISFIT_FACTOR * cost.min() + MISFIT_LEVELS or np.isinf(left[row, column]):
            break
        found.append((int(row), int(column)))
        left[max(0, row - APART_PX):row + APART_PX + 1, max(0, column - APART_PX):column + APART_PX + 1] = np.inf
    return found


def _refined(image, hole, window, part, place, reach_px: int) -> tuple[slice, slice]:
    """The best place within `reach_px` of one found at a smaller scale."""
    rows, columns = place
    area = (slice(max(0, rows.start - reach_px), rows.stop + reach_px),
            slice(max(0, columns.start - reach_px), columns.stop + reach_px))
    cost = _misfits(image[area], hole[area], image[window], ~hole[window], part, 1.0)
    top, left = np.unravel_index(cost.argmin(), cost.shape)
    if np.isinf(cost[top, left]):
        return place
    y, x = area[0].start + int(top), area[1].start + int(left)
    return slice(y, y + part.shape[0]), slice(x, x + part.shape[1])
