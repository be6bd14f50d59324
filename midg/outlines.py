"""The shape of a new defect where only its box is given: a real one's, laid where it fits, and a little deformed."""
import cv2
import numpy as np

from core.augment import compose

BEND = 0.07             # standard deviation of the deformation, in parts of the shape's size
WAVE = 0.35             # how far apart two points are deformed independently, in parts of the shape's size


def deformed(mask: np.ndarray, draw: np.random.Generator, *, bend: float = BEND) -> np.ndarray:
    """bool [H, W]: the shape smoothly bent at random. What the window's border cuts stays cut; it never vanishes."""
    box = compose.bounds(mask)
    size = max(box[2] - box[0], box[3] - box[1])
    sigma = max(WAVE * size, 2.0)
    moves = np.stack([cv2.GaussianBlur(draw.normal(0, 1, mask.shape).astype(np.float32), (0, 0), sigma)
                      for _ in range(2)])
    inside = moves[:, box[1]:box[3], box[0]:box[2]]
    moves = (moves - inside.mean((1, 2), keepdims=True)) / max(float(inside.std()), 1e-6) * bend * size
    rows, columns = np.mgrid[:mask.shape[0], :mask.shape[1]].astype(np.float32)
    bent = cv2.remap(mask.astype(np.float32), columns + moves[0], rows + moves[1], cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE) > 0.5
    return bent if bent.sum() >= 0.5 * mask.sum() else mask
