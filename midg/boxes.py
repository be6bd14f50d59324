"""A mask that is a rectangle says where a defect is to be, not what shape it has: a rounded one is laid into it."""
import cv2
import numpy as np

from core.augment import compose

from .data import grown
from .outlines import deformed
from .settings import DataConfig

BEND = 0.1              # of the ellipse, as outlines.deformed has it
FILLED = 0.87           # of the box by the ellipse, so that what is bent stays within
LEAST_PX = 8            # of the shorter side of what the margins leave


def in_box(mask: np.ndarray, data: DataConfig, draw: np.random.Generator) -> np.ndarray:
    """bool [H, W]: where to paint in a rectangle, for networks that have learnt shapes; any other mask as it is.

    Networks that learnt from rectangles (masks: box, or the earlier code's lists) draw the outline in it themselves.
    """
    if data.masks == "box" or data.fit == "whole":
        return mask
    x1, y1, x2, y2 = compose.bounds(mask)
    margin = round(sum(data.margin_px) / 2)
    width, height = x2 - x1 - 2 * margin, y2 - y1 - 2 * margin
    if mask.sum() != (x2 - x1) * (y2 - y1) or min(width, height) < LEAST_PX:
        return mask
    shape = np.zeros(mask.shape, np.uint8)
    cv2.ellipse(shape, (((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), (FILLED * width, FILLED * height), 0.0), 1, -1)
    return grown(deformed(shape > 0, draw, bend=BEND), margin) & mask
