"""Windows cut from an image at its native resolution, and defects put back into it."""
import cv2
import numpy as np

from ..data import images
from .generator import Box, Generated

FADE_PX = 3         # how far a change may reach beyond the labelled pixels


def window_round(box: Box, size: tuple[int, int], window_px: int) -> Box:
    """The window x1, y1, x2, y2 round a box in an image of `size` (w, h): square where it fits, inside the image.

    Its side is `window_px`, or the box's longer side and half of it again on either side where that is more.
    """
    side = max(window_px, 2 * max(box[2] - box[0], box[3] - box[1]))
    spans = []
    for low, high, length in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        start = min(max((low + high - side) // 2, 0), max(length - side, 0))
        spans.append((start, min(start + side, length)))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def cut(pixels: np.ndarray, window: Box) -> np.ndarray:
    """The window's pixels [h, w, 3], a view."""
    return pixels[window[1]:window[3], window[0]:window[2]]


def blend(clean: np.ndarray, generated: Generated) -> np.ndarray:
    """Pixels [h, w, 3] of the window with the defect, in the type of `clean`; equal to it wherever alpha is 0."""
    alpha = generated.alpha.numpy().astype(np.float32)[..., None]
    wanted = images.to_pixels(generated.image, clean.dtype)
    if images.is_grey(clean):
        wanted = wanted.mean(axis=2, keepdims=True).repeat(3, axis=2)
    mixed = np.rint(clean * (1 - alpha) + wanted * alpha)
    return np.where(alpha > 0, mixed, clean).astype(clean.dtype)


def confine(clean: np.ndarray, made: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`made` with everything farther than FADE_PX from the labelled pixels put back: no change goes unlabelled."""
    side = 2 * FADE_PX + 1
    near = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.where(near[..., None] > 0, made, clean)


def bounds(mask: np.ndarray) -> Box | None:
    """Tight x1, y1, x2, y2 of the true pixels, x2 and y2 exclusive; None where there is none."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def limited(size: tuple[int, int], limits_px: tuple[int, int] | None) -> tuple[int, int]:
    """A width and height, enlarged or reduced until the longer one is within the limits; the proportions stay."""
    if limits_px is None:
        return size
    factor = min(max(max(size), limits_px[0]), limits_px[1]) / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def shifted(box: Box, dx: int, dy: int) -> Box:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy
