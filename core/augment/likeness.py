"""How like a made defect is to the most similar training defect: the measure behind the near-copy rule."""
from dataclasses import dataclass

import cv2
import numpy as np

from . import surroundings
from .bank import Crop
from .generator import Box

DEFECT_PX = 16              # coarse scale, 1 / 2 ** level: a defect is at most this large there
CANVAS_PX = 20              # side of the coarse picture: the defect and a rim
SHIFT_PX = 4                # how far the label's middle may lie from the original's, both ways, in coarse px
PIECE_PX = 32               # of a larger defect this much is compared at native scale
CANDIDATES = 14             # originals, in a turn each, that are compared at native scale
SMALL_CANDIDATES = 42       # where the label is no larger than PIECE_PX: many small ones are alike at a coarse scale
PEAKS_PX = 2000             # px compared once more, without what lies round the original, at the best 4 shifts or more
SIZE_WEIGHT = 0.2           # of the coarse correlation a factor of e in size costs
DETAIL_SIGMA_PX = 3.0       # what varies more slowly than this is light, not detail
FLAT = (0.5 / 255) ** 2     # variance of a picture in which there is nothing to be seen
SLACK_PX = 3                # what a px more or less does to the side of a small defect counts for little
SIZES = (0.7, 2.5)          # sides of an original by sides of the label: a label may show only a part of a copy


@dataclass(frozen=True)
class Piece:
    """The part of a defect with most detail, PIECE_PX at most: grey levels and weight [h, w], its corner in px from
    that of the coarse picture."""
    grey: np.ndarray
    weight: np.ndarray
    corner: tuple[int, int]


@dataclass(frozen=True)
class Originals:
    """Training defects, one row each; templates are weighted, of mean 0 and length 1 within the defect and its rim."""
    pieces: tuple["Piece", ...]
    templates: np.ndarray   # float32 [N, CANVAS_PX ** 2]
    weights: np.ndarray     # float32 [N, CANVAS_PX ** 2], 1 on the defect and its rim
    sizes_px: np.ndarray    # float64 [N, 2], short and long side
    levels: np.ndarray      # int [N]
    labels: np.ndarray      # str [N]

    @classmethod
    def of(cls, crops: tuple[Crop, ...]) -> "Originals":
        rows = [_template(crop) for crop in crops]
        sizes = np.array([sorted(crop.size_px) for crop in crops], float)
        return cls(tuple(_piece(crop) for crop in crops), np.stack([row[0] for row in rows]),
                   np.stack([row[1] for row in rows]), sizes, np.array([_level(crop.size_px) for crop in crops]),
                   np.array([crop.label for crop in crops]))


def likeness(made: np.ndarray, boxes: tuple[Box, ...], known: Originals, label: str,
             left_out: np.ndarray | None = None) -> float:
    """Highest correlation, -1..1, of the detail of any training defect of a class with that at `boxes` in a window.

    Over eight turns and small shifts, light aside, the original's own pixels and a rim alone: what it lies on does not
    count. A coarse comparison finds the candidates, a fine one decides: two stains have the same shape before they
    have the same grain. boxes: the label's and the wanted one, as a label may show a part alone. left_out: bool [N],
    originals not to be compared with. -1 where none has a fitting size.
    """
    grey = _grey(made)
    compared = known.labels == label if left_out is None else (known.labels == label) & ~left_out
    found = [match for box in _distinct(boxes) for match in _matches(grey, box, known, compared)]
    found.sort(key=lambda match: -match[0])
    best = found[:_candidates(boxes[0])]
    return max((_fine(grey, box, known.pieces[row], int(known.levels[row]), place)
                for _, row, view, box in best for place in {view, _central(view)}), default=-1.0)


def _candidates(box: Box) -> int:
    return SMALL_CANDIDATES if max(box[2] - box[0], box[3] - box[1]) <= PIECE_PX else CANDIDATES


def _central(view: int) -> int:
    """The view in the same turn, middle on middle: along a scratch one shift looks much like another."""
    shifts = 2 * SHIFT_PX + 1
    return view // shifts ** 2 * shifts ** 2 + SHIFT_PX * shifts + SHIFT_PX


def _distinct(boxes: tuple[Box, ...]) -> list[Box]:
    """The boxes without those that say nothing new."""
    kept: list[Box] = []
    for box in boxes:
        near = max(2, min(box[2] - box[0], box[3] - box[1]) / 5)
        if all(max(abs(a - b) for a, b in zip(box, other)) > near for other in kept):
            kept.append(box)
    return kept


def _matches(grey, box: Box, known: Originals, compared: np.ndarray) -> list[tuple[float, int, int, Box]]:
    """(rank, row, view, box) of the originals most alike: by coarse correlation, less for another size."""
    size = np.array(sorted((box[2] - box[0], box[3] - box[1])), float)
    ratio = (known.sizes_px + SLACK_PX) / (size + SLACK_PX)
    fitting = compared & ((ratio > SIZES[0]) & (ratio < SIZES[1])).all(axis=1)
    found = []
    for level in np.unique(known.levels[fitting]):
        rows = np.flatnonzero(fitting & (known.levels == level))
        values, views = _coarse(_views(grey, box, int(level)), known.templates[rows], known.weights[rows])
        values -= SIZE_WEIGHT * np.abs(np.log(ratio[rows])).max(axis=1)[:, None]
        best = np.argsort(-values, axis=None, kind="stable")[:_candidates(box)]
        found += [(float(values.flat[i]), int(rows[i // 8]), int(views.flat[i]), box) for i in best.tolist()]
    return found


def _coarse(views: np.ndarray, templates: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest weighted correlation of templates [N, P] with views [V, P], for each turn: values and views, [N, 8]."""
    total = weights.sum(axis=1)[:, None]
    views = views - views.mean()                            # less rounding in the squares
    variance = weights @ (views * views).T - (weights @ views.T) ** 2 / total
    correlation = templates @ views.T / np.sqrt(np.maximum(variance, FLAT * total))
    by_turn = correlation.reshape(len(templates), 8, -1)
    return by_turn.max(axis=2), by_turn.argmax(axis=2) + np.arange(8) * by_turn.shape[2]


def _fine(grey: np.ndarray, box: Box, piece: Piece, level: int, view: int) -> float:
    """Correlation of the detail of one original's piece with the place, near a view's turn and shift."""
    scale, shifts = 2 ** level, 2 * SHIFT_PX + 1
    k, (row, column) = view // shifts ** 2, divmod(view % shifts ** 2, shifts)
    picture, weight = piece.grey, piece.weight
    left, top = column * scale + piece.corner[0], row * scale + piece.corner[1]
    reach = scale + 1
    region = surroundings.turn(surroundings.cut(grey, _square(box, (CANVAS_PX + 2 * SHIFT_PX) * scale)), k)
    height, width = picture.shape
    left, top = max(0, left - reach), max(0, top - reach)
    place = np.ascontiguousarray(region[top:top + height + 2 * reach, left:left + width + 2 * reach])
    if place.shape[0] < height or place.shape[1] < width:
        return -1.0
    correlation = cv2.matchTemplate(_detail(place), _detail(picture), cv2.TM_CCOEFF_NORMED, mask=weight)
    best = np.argsort(-np.where(np.isfinite(correlation), correlation, -1), axis=None, kind="stable")
    best = best[:max(4, PEAKS_PX // picture.size)]
    return max(_correlation(place[y:y + height, x:x + width], picture, weight)
               for y, x in zip(*np.unravel_index(best, correlation.shape)))


def _piece(crop: Crop) -> Piece:
    x1, y1, x2, y2 = crop.inner_box
    height, width = crop.mask.shape
    x1, y1, x2, y2 = max(0, x1 - 1), max(0, y1 - 1), min(width, x2 + 1), min(height, y2 + 1)
    weight = cv2.dilate(crop.mask.astype(np.float32), np.ones((3, 3), np.float32))[y1:y2, x1:x2]
    grey = _grey(crop.pixels[y1:y2, x1:x2])
    side_x, side_y = min(PIECE_PX, x2 - x1), min(PIECE_PX, y2 - y1)
    energy = cv2.boxFilter((_detail(grey) * weight) ** 2, -1, (side_x, side_y), anchor=(0, 0), normalize=False)
    energy = energy[:grey.shape[0] - side_y + 1, :grey.shape[1] - side_x + 1]
    top, left = np.unravel_index(energy.argmax(), energy.shape)
    part = (slice(top, top + side_y), slice(left, left + side_x))
    canvas = _square(crop.inner_box, CANVAS_PX * 2 ** _level(crop.size_px))
    return Piece(np.ascontiguousarray(grey[part]), np.ascontiguousarray(weight[part]),
                 (x1 + int(left) - canvas[0], y1 + int(top) - canvas[1]))


def _correlation(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> float:
    """Weighted correlation of the detail of two pictures, of which nothing outside the weight counts."""
    share = np.maximum(cv2.GaussianBlur(weight, (0, 0), DETAIL_SIGMA_PX), 1e-6)
    a, b = (weight * (values - cv2.GaussianBlur(values * weight, (0, 0), DETAIL_SIGMA_PX) / share) for values in (a, b))
    power = np.sqrt(max(float((a * a).sum()), FLAT * weight.sum()) * max(float((b * b).sum()), FLAT * weight.sum()))
    return float((a * b).sum()) / power


def _detail(picture: np.ndarray) -> np.ndarray:
    return picture - cv2.GaussianBlur(picture, (0, 0), DETAIL_SIGMA_PX)


def _rimmed(crop: Crop, level: int, side: int) -> np.ndarray:
    """float32 [side, side] at a level, 1 where the defect and the px round it make up a fair part."""
    near = cv2.dilate(crop.mask.astype(np.float32), np.ones((3, 3), np.float32))
    share = _region(near, crop.inner_box, side, level)
    return (share > 0.4 * share.max()).astype(np.float32)


def _views(grey: np.ndarray, box: Box, level: int) -> np.ndarray:
    """float32 [V, CANVAS_PX ** 2]: the place in eight turns and at all shifts."""
    region = _region(grey, box, CANVAS_PX + 2 * SHIFT_PX, level)
    turned = [surroundings.turn(region, k) for k in range(8)]
    windows = [np.lib.stride_tricks.sliding_window_view(view, (CANVAS_PX, CANVAS_PX)) for view in turned]
    return np.concatenate([window.reshape(-1, CANVAS_PX ** 2) for window in windows])


def _template(crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    level = _level(crop.size_px)
    weight = _rimmed(crop, level, CANVAS_PX).ravel()
    picture = _region(_grey(crop.pixels), crop.inner_box, CANVAS_PX, level).ravel()
    picture = (picture - (weight * picture).sum() / weight.sum()) * weight
    return picture / max(float(np.linalg.norm(picture)), np.sqrt(FLAT * weight.sum())), weight


def _region(image: np.ndarray, box: Box, side: int, level: int) -> np.ndarray:
    """float32 [side, side] round the middle of a box, 2 ** level px to one."""
    scale = 2 ** level
    patch = surroundings.cut(image, _square(box, side * scale))
    if level:
        patch = cv2.GaussianBlur(patch, (0, 0), 0.4 * scale)
    return cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)


def _square(box: Box, side_px: int) -> Box:
    """The square of that side round the middle of a box."""
    x, y = ((box[axis] + box[axis + 2] - side_px) // 2 for axis in (0, 1))
    return x, y, x + side_px, y + side_px


def _level(size_px: tuple[int, int]) -> int:
    return max(0, int(np.ceil(np.log2(max(size_px) / DEFECT_PX))))


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.iinfo(image.dtype).max
