"""Defects of other training crops laid onto a crop: in its light, with a soft rim, image and labels alike."""
import cv2
import numpy as np

from .losses import IGNORE

TRIES = 8                   # places looked at for one on which nothing is labelled
APART_PX = 3                # from what is labelled there
RIM_PX, FEATHER_PX = 1, 1.0
RING_PX = 6                 # width of the surroundings whose light is compared
LARGEST_SHARE = 0.35        # of the crop; a larger defect is left alone


def pasted(random: np.random.Generator, crop: np.ndarray, labels: np.ndarray, donor: np.ndarray,
           donor_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The crop with the defect in the middle of the donor crop, and its labels; unchanged where it fits nowhere.

    Crops uint8 or uint16 [S, S, 3], labels uint8 [S, S]. The defect is a connected part, of one class or several; it
    falls where no defect and no ignored pixel is.
    """
    part = middle_part(donor_labels)
    if part is None:
        return crop, labels
    spot = place(random, part, labels)
    if spot is None:
        return crop, labels
    pixels, mask, kinds, around = (shifted(values, spot) for values in (scaled(donor), part, donor_labels, np.where(
        donor_labels == 0, 1, 0).astype(np.uint8)))
    here = scaled(crop)
    ring = grown(mask, RIM_PX + RING_PX) & ~grown(mask, RIM_PX) & (around > 0) & (labels == 0)
    lit = pixels + difference(here - pixels, ring)
    alpha = cv2.GaussianBlur(grown(mask, RIM_PX).astype(np.float32), (0, 0), FEATHER_PX)[..., None]
    full = np.iinfo(crop.dtype).max
    made = np.rint((here + alpha * (lit - here)).clip(0, 1) * full).astype(crop.dtype)
    return np.where(alpha > 1 / 512, made, crop), np.where(mask, kinds, labels).astype(np.uint8)


def middle_part(labels: np.ndarray) -> np.ndarray | None:
    """bool [S, S]: the connected part of defects (8 neighbours) nearest to the middle; None: none, cut off, large."""
    found = ((labels > 0) & (labels != IGNORE)).astype(np.uint8)
    rows, columns = found.nonzero()
    if not len(rows):
        return None
    middle = (labels.shape[0] - 1) / 2
    nearest = np.argmin((rows - middle) ** 2 + (columns - middle) ** 2)
    _, parts = cv2.connectedComponents(found, connectivity=8)
    part = parts == parts[rows[nearest], columns[nearest]]
    cut = part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any()
    cut = cut or bool((grown(part, 1) & (labels == IGNORE)).any())
    return None if cut or part.mean() > LARGEST_SHARE else part


def place(random: np.random.Generator, part: np.ndarray, labels: np.ndarray) -> tuple[int, int] | None:
    """By how many rows and columns to move the part so that it falls on free ground; None: not found."""
    rows, columns = (np.flatnonzero(part.any(axis)) for axis in (1, 0))
    taken = grown(labels > 0, APART_PX)
    for _ in range(TRIES):
        down = int(random.integers(-rows[0], len(part) - rows[-1]))
        right = int(random.integers(-columns[0], len(part) - columns[-1]))
        y, x = part.nonzero()
        if not taken[y + down, x + right].any():
            return down, right
    return None


def shifted(values: np.ndarray, spot: tuple[int, int]) -> np.ndarray:
    """Moved down and right, the border repeated."""
    rows, columns = ((np.arange(side) - by).clip(0, side - 1) for side, by in zip(values.shape, spot))
    return values[rows][:, columns]


def difference(apart: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """How much lighter the ground is here than there: float32 [S, S, 3], known in the ring and carried on smoothly."""
    if not ring.any():
        return np.zeros((1, 1, 3), np.float32)
    known, sigma = ring.astype(np.float32), 2.0 * RING_PX
    mass = cv2.GaussianBlur(known, (0, 0), sigma)[..., None] + 1e-3
    typical = np.median(apart[ring], axis=0)
    return cv2.GaussianBlur((apart - typical) * known[..., None], (0, 0), sigma) / mass + typical


def scaled(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def grown(mask: np.ndarray, px: int) -> np.ndarray:
    side = 2 * px + 1
    return cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0
