"""Fills holes with material from elsewhere in the picture, without any learned weights."""
from dataclasses import dataclass

import cv2
import numpy as np

from core.augment.removal import spread

MARGIN_PX = 12                  # of material round a hole that its stand-in has to resemble,
NEAR_PX = 4.0                   # the less the farther from the hole: by a factor of e in this distance
REACH_PX = 224                  # how far away a stand-in is looked for
SEARCH_SIDE_PX = 96             # a larger hole's stand-ins are looked for at a smaller scale
CANDIDATES, APART_PX = 16, 3
MISFIT_FACTOR, MISFIT_LEVELS = 1.35, 4      # a candidate may fit this much worse than the best one
MIRRORED_MISFIT = 1.15          # a mirrored stand-in has to fit better by this factor: grain and light have a direction
COARSE_PX = 2.0                 # below this size of detail candidates may differ as they like: that is grain
LARGEST_OFFSET = 15             # grey levels by which a stand-in's colours are moved to fit those round the hole
OTHER_MATERIAL = 150            # pixels that differ by more levels say nothing about the colours
TELEA_RADIUS_PX = 3


@dataclass(frozen=True)
class Place:
    misfit: float               # grey levels, of the known surroundings
    pixels: np.ndarray          # uint8 [h, w, 3]
    hole: np.ndarray            # bool [h, w]: what is itself a hole there


def fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] without its holes (bool [H, W]); what lies outside is as it was.

    Each connected hole gets the pixels of one other place, perhaps mirrored, so that grain and lines stay what they
    are. Of the places whose surroundings fit nearly as well as the best, it is the one nearest to their median: a
    scratch or an unmarked defect in one of them differs from all others. Where no place is free of holes, colours run
    in from the border (Telea).
    """
    result = image.copy()
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    height, width = hole.shape
    for number in range(1, count):
        x, y, w, h = boxes[number, :4]
        window = (slice(max(0, y - MARGIN_PX), min(height, y + h + MARGIN_PX)),
                  slice(max(0, x - MARGIN_PX), min(width, x + w + MARGIN_PX)))
        part = parts[window] == number
        places = _places(image, hole, window, part)
        if places:
            filling = _most_ordinary(places, image[window].astype(np.float32), ~hole[window], part)
        else:
            filling = cv2.inpaint(image, hole.astype(np.uint8), TELEA_RADIUS_PX, cv2.INPAINT_TELEA)[window]
        result[window][part] = filling[part]
    return result


def _most_ordinary(places: list[Place], pixels: np.ndarray, known: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The place that fits well and looks like the others within the hole, in the colours of here: uint8 [h, w, 3]."""
    fillings = [_recoloured(place, pixels, known) for place in places]
    coarse = np.stack([cv2.GaussianBlur(filling, (0, 0), COARSE_PX)[part] for filling in fillings])
    oddness = np.sqrt(((coarse - np.median(coarse, axis=0)) ** 2).mean(axis=(1, 2)))
    chosen = np.argmin(oddness + [place.misfit for place in places])
    return fillings[chosen].round().clip(0, 255).astype(np.uint8)


def _recoloured(place: Place, pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The place's pixels with their colours moved smoothly towards those that are known here."""
    there = place.pixels.astype(np.float32)
    same = known & ~place.hole & (np.abs(pixels - there).max(axis=2) < OTHER_MATERIAL)
    if not same.any():
        return there
    return there + np.clip(spread(pixels - there, same), -LARGEST_OFFSET, LARGEST_OFFSET)


def _places(image: np.ndarray, hole: np.ndarray, window: tuple[slice, slice], part: np.ndarray) -> list[Place]:
    """The best places round the window for the hole's `part` of it: up to CANDIDATES, not much worse than the best."""
    known = ~hole[window]
    if known.sum() < 8:
        return []
    distance = cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, 3)
    weight = known * np.exp(-distance / NEAR_PX, dtype=np.float32)
    rows, columns = window
    reach = max(REACH_PX, 2 * max(part.shape))
    area = (slice(max(0, rows.start - reach), rows.stop + reach),
            slice(max(0, columns.start - reach), columns.stop + reach))
    found = []
    for turn in (slice(None), slice(None, None, -1)):
        for side in (slice(None), slice(None, None, -1)):
            mirrored = turn.step or side.step
            pixels, holes = (np.ascontiguousarray(values[area][turn, side]) for values in (image, hole))
            found += _places_in(pixels, holes, image[window], weight, part, MIRRORED_MISFIT if mirrored else 1.0)
    found.sort(key=lambda place: place.misfit)
    return [place for place in found if place.misfit <= MISFIT_FACTOR * found[0].misfit + MISFIT_LEVELS][:CANDIDATES]


def _places_in(area: np.ndarray, holes: np.ndarray, template: np.ndarray, weight: np.ndarray, part: np.ndarray,
               factor: float) -> list[Place]:
    """Up to CANDIDATES places of an area, best first. Large templates are searched small, then refined."""
    height, width = part.shape
    scale = min(1.0, SEARCH_SIDE_PX / max(height, width))
    cost = _misfits(area, holes, template, weight, part, scale)
    found = []
    for top, left in _lowest(cost):
        misfit = cost[top, left]
        if scale < 1:
            y, x = (min(round(place / scale), limit - length)
                    for place, limit, length in zip((top, left), area.shape, part.shape))
            near = int(np.ceil(1 / scale))
            y0, x0 = max(0, y - near), max(0, x - near)
            around = (slice(y0, y + height + near), slice(x0, x + width + near))
            close = _misfits(area[around], holes[around], template, weight, part, 1.0)
            (dy, dx), misfit = np.unravel_index(close.argmin(), close.shape), close.min()
            top, left = y0 + dy, x0 + dx
        place = slice(top, top + height), slice(left, left + width)
        if np.isfinite(misfit):
            found.append(Place(factor * float(misfit), area[place], holes[place]))
    return found


def _misfits(area, holes, template, weight, part, scale: float) -> np.ndarray:
    """Root mean square difference of the weighted pixels at each place; infinite where the hole would meet a hole."""
    needed, holes = part.astype(np.float32), holes.astype(np.float32)
    if scale < 1:
        size, whole = ([max(2, round(length * scale)) for length in values.shape[1::-1]] for values in (part, area))
        template, weight, needed = (cv2.resize(values, size, interpolation=cv2.INTER_AREA)
                                    for values in (template, weight, needed))
        area, holes = (cv2.resize(values, whole, interpolation=cv2.INTER_AREA) for values in (area, holes))
    mask = np.repeat(np.sqrt(weight)[..., None], 3, axis=2)
    squares = cv2.matchTemplate(area.astype(np.float32), template.astype(np.float32), cv2.TM_SQDIFF, mask=mask)
    cost = np.sqrt(np.maximum(squares, 0) / (3 * weight.sum()))
    cost[cv2.matchTemplate(holes, needed, cv2.TM_CCORR) > 0.5] = np.inf
    return cost


def _lowest(cost: np.ndarray) -> list[tuple[int, int]]:
    """Up to CANDIDATES places (row, column) of least cost, a little apart from each other."""
    left, found = cost.copy(), []
    while len(found) < CANDIDATES:
        row, column = np.unravel_index(left.argmin(), left.shape)
        if np.isinf(left[row, column]):
            break
        found.append((int(row), int(column)))
        left[max(0, row - APART_PX):row + APART_PX + 1, max(0, column - APART_PX):column + APART_PX + 1] = np.inf
    return found
