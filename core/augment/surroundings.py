"""The material under and around a box as a short vector, and the eight ways to turn a picture."""
import cv2
import numpy as np

from .generator import Box

CELLS = 8                       # the surroundings are seen as CELLS x CELLS patches of material
FINE = 3                        # each patch is sampled FINE x FINE times, for its roughness
CONTEXT = 0.5                   # how far beyond the box we look, in box sides, on each side
SMALLEST_CONTEXT_PX = 6
LENGTH = CELLS * CELLS * 4      # per patch: three means, one roughness
TINT = 1.5                      # a difference in tint counts more than one in brightness: it means another material
GAIN_LIMITS = (0.6, 1.6)        # differences of exposure that count for nothing

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def context_box(box: Box) -> Box:
    """The box with what we look at around it, in px; may reach over the border of the image."""
    x1, y1, x2, y2 = box
    dx = max(SMALLEST_CONTEXT_PX, round(CONTEXT * (x2 - x1)))
    dy = max(SMALLEST_CONTEXT_PX, round(CONTEXT * (y2 - y1)))
    return x1 - dx, y1 - dy, x2 + dx, y2 + dy


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """The pixels of a box, the border's pixels repeated where the box reaches over it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:
        return image[y1:y2, x1:x2]
    columns = np.clip(np.arange(x1, x2), 0, width - 1)
    rows = np.clip(np.arange(y1, y2), 0, height - 1)
    return image[rows[:, None], columns]


def describe(image: np.ndarray, box: Box) -> np.ndarray:
    """float32 [LENGTH]: colours and roughness of the patches in and around `box`; image uint8, uint16 or 0..1 float."""
    return describe_patches([cut(image, context_box(box))])[0]


def describe_patches(patches: list[np.ndarray]) -> np.ndarray:
    """float32 [N, LENGTH]: the same from the pixels of N context boxes, each [h, w, 3], all of one type."""
    side = CELLS * FINE
    small = np.stack([cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA) for patch in patches])
    depth = 1 if small.dtype == np.float32 else np.iinfo(small.dtype).max
    small = small.astype(np.float32) / np.float32(depth)
    cells = small.reshape(-1, CELLS, FINE, CELLS, FINE, 3).transpose(0, 1, 3, 2, 4, 5)
    cells = np.ascontiguousarray(cells).reshape(-1, CELLS, CELLS, FINE * FINE, 3)
    means = cells.mean(axis=3)
    rough = (cells @ _GREY).std(axis=3)
    luma = means @ _GREY
    parts = np.stack([luma, TINT * (means[..., 0] - luma), TINT * (means[..., 2] - luma), rough], axis=-1)
    return (parts * _WEIGHTS[..., None]).reshape(len(patches), LENGTH)


def turned_descriptions(description: np.ndarray, turns: tuple[int, ...]) -> np.ndarray:
    """[len(turns), LENGTH]: what `describe` would return for the turned picture."""
    grid = description.reshape(CELLS, CELLS, 4)
    return np.stack([turn(grid, k).ravel() for k in turns])


def distances(descriptions: np.ndarray, references: np.ndarray) -> np.ndarray:
    """[N, K] root mean square differences, after the gain within GAIN_LIMITS that makes a pair most alike."""
    products = descriptions @ references.T
    own = (descriptions ** 2).sum(1)[:, None]
    other = (references ** 2).sum(1)[None]
    gain = np.clip(products / np.maximum(other, 1e-6), *GAIN_LIMITS)
    return np.sqrt(np.maximum(own - 2 * gain * products + gain * gain * other, 0))


def turn(image: np.ndarray, k: int) -> np.ndarray:
    """One of eight: k % 4 quarter turns (anticlockwise), mirrored left to right before them where k >= 4."""
    return np.rot90(image[:, ::-1] if k >= 4 else image, k % 4)


def turned_sides(sides: tuple[bool, bool, bool, bool], k: int) -> tuple[bool, bool, bool, bool]:
    """What (left, top, right, bottom) become when the picture is turned."""
    left, top, right, bottom = sides
    if k >= 4:
        left, right = right, left
    for _ in range(k % 4):
        left, top, right, bottom = top, right, bottom, left
    return left, top, right, bottom


def direction(image: np.ndarray) -> np.ndarray:
    """float64 [2]: the picture's main direction as (cos, sin) of twice its angle, longer where pronounced."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    step = max(1, max(grey.shape) // 512)
    grey = cv2.GaussianBlur(grey[::step, ::step].astype(np.float32), (0, 0), 1)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    energy = float((gx * gx + gy * gy).sum())
    if energy == 0:
        return np.zeros(2)
    return np.array([float((gx * gx - gy * gy).sum()), float(2 * (gx * gy).sum())]) / energy


def turns_that_keep(direction_mean: np.ndarray, lit: np.ndarray) -> tuple[int, ...]:
    """The turns after which pictures of a set still look like pictures of the set.

    direction_mean  mean of `direction` over the set; lit float [N, 2]: where each defect's bright side is (x, y)
    """
    spread = lit.std(axis=0) / np.sqrt(max(len(lit), 1)) if len(lit) else np.zeros(2)
    light = np.where(np.abs(lit.mean(axis=0)) > 3 * spread, lit.mean(axis=0), 0) if len(lit) >= 8 else np.zeros(2)
    return tuple(k for k in range(8) if np.abs(_turned_direction(direction_mean, k) - direction_mean).max() < 0.3
                 and np.abs(_turned_vector(light, k) - light).max() < 0.3)


def bright_side(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float64 [2]: correlation of the grey levels inside a mask with x and with y; zeros where there is no shading."""
    rows, columns = np.nonzero(mask)
    values = pixels[mask].mean(axis=1)
    if len(rows) < 20 or not (values.std() and rows.std() and columns.std()):
        return np.zeros(2)
    return np.array([np.corrcoef(columns, values)[0, 1], np.corrcoef(rows, values)[0, 1]])


def _turned_direction(vector: np.ndarray, k: int) -> np.ndarray:
    return np.array([vector[0], -vector[1] if k >= 4 else vector[1]]) * (-1) ** (k % 2)


def _turned_vector(vector: np.ndarray, k: int) -> np.ndarray:
    x, y = -vector[0] if k >= 4 else vector[0], vector[1]
    for _ in range(k % 4):
        x, y = y, -x
    return np.array([x, y])


def _cell_weights() -> np.ndarray:
    """Half of the weight lies on the box itself, half on its surroundings; the squares sum to one."""
    weights = np.ones((CELLS, CELLS))
    inner = slice(CELLS // 4, CELLS - CELLS // 4)
    weights[inner, inner] = 3
    return np.sqrt(weights / weights.sum()).astype(np.float32)


_WEIGHTS = _cell_weights()
