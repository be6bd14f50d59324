"""Shapes drawn by the user: read from pictures, and laid into the boxes where a defect of that shape is wanted."""
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from ..data import images
from ..errors import DataError
from .compose import bounds
from .generator import Box

MOST_WHITE, MOST_WHITE_BORDER = 0.8, 0.5    # of a picture; more is an inverted drawing. A shape cut out may touch all
LINE_WIDTH_PX = 6       # a closed line this thin is a contour: its inside belongs to the shape


def read_drawings(path: Path) -> tuple[np.ndarray, ...]:
    """The shapes in a picture or a folder of pictures, bool [h, w] each, cut to their bounds, in the files' order.

    One picture is one shape, white on black (above 127), of any size. Closed thin lines are contours and are filled.
    DataError: no picture there, nothing drawn in one, or it is inverted.
    """
    files = sorted(file for file in path.rglob("*") if images.is_image(file)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: no drawn shape in it, got no image file. Put a picture there, white on black")
    return tuple(_read(file) for file in files)


def laid_in(shape: np.ndarray, box: Box, size: tuple[int, int]) -> tuple[Box, np.ndarray]:
    """The shape as large as fits into the box, in its middle: its own box, and its pixels bool [H, W] in an image of
    `size` (H, W)."""
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(width / shape.shape[1], height / shape.shape[0])
    w, h = max(1, min(round(shape.shape[1] * scale), width)), max(1, min(round(shape.shape[0] * scale), height))
    x, y = box[0] + (width - w) // 2, box[1] + (height - h) // 2
    share = cv2.resize(shape.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA if scale < 1 else
                       cv2.INTER_LINEAR)
    mask = np.zeros(size, bool)
    mask[y:y + h, x:x + w] = share >= min(0.5, float(share.max()))      # a line that shrinks away keeps its middle
    return bounds(mask), mask


def _read(file: Path) -> np.ndarray:
    drawn = images.read_light(file) > 127
    box = bounds(drawn)
    if box is None:
        raise DataError(f"{file}: nothing is drawn in it, got no pixel above 127. Draw the shape white on black")
    white, border = drawn.mean(), np.concatenate([drawn[[0, -1]].ravel(), drawn[:, [0, -1]].ravel()]).mean()
    if white > MOST_WHITE or border > MOST_WHITE_BORDER:
        raise DataError(f"{file}: white on its border or nearly everywhere, got {border:.0%} of the border and "
                        f"{white:.0%} of it white. Is it inverted? Draw the shape white on black, with black round it")
    return _filled(drawn[box[1]:box[3], box[0]:box[2]])


def _filled(drawn: np.ndarray) -> np.ndarray:
    """The shape with what its thin closed lines enclose."""
    count, parts = cv2.connectedComponents(drawn.astype(np.uint8), connectivity=8)
    result = drawn.copy()
    for number in range(1, count):
        part = np.pad(parts == number, 1)
        if cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5).max() <= LINE_WIDTH_PX / 2:
            result |= ndimage.binary_fill_holes(part)[1:-1, 1:-1]
    return result
