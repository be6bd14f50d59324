"""The pixels that a made defect really changed, as a tight label."""
import cv2
import numpy as np

SMOOTHING_SIGMAS_PX = 0.5, 1.2  # usual; where grain differs all over the support (an inpainted twin, a whole box)
OTSU_SHARE = 0.55               # of Otsu's threshold: a defect's soft rim belongs to it
LOWEST_THRESHOLDS = 5 / 255, 12 / 255   # on smooth material, and on coarse
GRAINS = 4                      # a threshold is at least so many standard deviations of the grain, within these
SMALLEST_AREA_PX = 9
LEAST_ALPHA = 0.74              # of the largest alpha: what is mostly the normal image is not the defect
OFF_SHARE, NOISY = 0.15, 0.1    # so much of the support lies off the defect, and yet changed so much of the threshold
CLOSING_PART = 12               # gaps up to about a twelfth of the extent are closed, LARGEST_CLOSING_PX at most
LARGEST_CLOSING_PX = 10
WHOLE = 0.75                    # share of a known shape that a clean label covers
RAGGED = 1.4                    # and by how much its outline is longer at most
TINY_PX = 100                   # of a shape this small, a px of soft rim is a fair part
LEAST_CHANGE = 5 / 255          # what a known shape changes at least, at the upper quartile
CHANGED_SHARE = 0.35            # of that: where less changed, nothing of the shape is to be seen


def tight_mask(clean: np.ndarray, made: np.ndarray, alpha: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
    """bool [H, W]: the visible defect, from its difference to the clean image. All false: nothing to be seen.

    clean  uint8 or uint16 [H, W, 3], made the same with the defect, alpha float [H, W] in 0..1 (where it may lie).
    shape  bool [H, W], the defect as the generator knows it. A faint or uneven region cannot be told from the grain
           pixel by pixel: where the difference comes in patches, the label is the shape, as far as it changed anything
    """
    result = np.zeros(alpha.shape, bool)
    rows, columns = _extent(alpha > 0)
    if rows is None:
        return result
    change, alpha = signed_difference(clean[rows, columns], made[rows, columns]), alpha[rows, columns]
    found = _visible(change, alpha, _lowest(made[rows, columns]))
    if shape is not None:
        found = _completed(found, change, shape[rows, columns] & (alpha > 0.5 * alpha.max()))
    result[rows, columns] = found
    return result


def signed_difference(clean: np.ndarray, made: np.ndarray) -> np.ndarray:
    """float32 [H, W, 3] in -1..1: made minus clean."""
    return (made.astype(np.float32) - clean.astype(np.float32)) / np.iinfo(clean.dtype).max


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """Otsu's threshold of values in 0..1."""
    counts, edges = np.histogram(values, bins=bins, range=(0, max(float(values.max()), 1e-6)))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(np.float64)
    sums = np.cumsum(counts * centres)
    above = below[-1] - below
    valid = (below > 0) & (above > 0)
    if not valid.any():
        return float(centres[0])
    mean_below = sums / np.maximum(below, 1)
    mean_above = (sums[-1] - sums) / np.maximum(above, 1)
    between = np.where(valid, below * above * (mean_below - mean_above) ** 2, -1)
    return float(edges[int(between.argmax()) + 1])


def _lowest(made: np.ndarray) -> float:
    """The least threshold for a picture of this grain."""
    grey = cv2.cvtColor(made, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.iinfo(made.dtype).max
    grain = float(np.median(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5)))) / 0.6745
    return float(np.clip(GRAINS * grain, *LOWEST_THRESHOLDS))


def _visible(change: np.ndarray, alpha: np.ndarray, lowest: float) -> np.ndarray:
    """Threshold, tidy and fill. Smoothed before the magnitude is taken: grain that differs averages out."""
    support = alpha >= LEAST_ALPHA * alpha.max()
    fine, coarse = (np.abs(cv2.GaussianBlur(change, (0, 0), sigma)).max(axis=2) for sigma in SMOOTHING_SIGMAS_PX)
    threshold = otsu(fine[alpha > 0])
    found = coarse > max(otsu(coarse[alpha > 0]), lowest)
    off = fine[support & ~(cv2.dilate(found.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0)]
    if len(off) < OFF_SHARE * support.sum() or np.median(off) < NOISY * threshold:
        found = fine > max(OTSU_SHARE * threshold, lowest)
    return _tidied(found, support)


def _completed(found: np.ndarray, change: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """What was found, where that is most of the shape and not ragged; else the shape as far as it is changed."""
    area = int(shape.sum())
    if area < SMALLEST_AREA_PX:
        return found
    clean = (found & shape).sum() >= WHOLE * area and _outline_px(found) <= RAGGED * _outline_px(shape)
    if clean and area > TINY_PX:
        return found
    sigma = float(np.clip(area ** 0.5 / 16, 0.5, 8))
    strength = cv2.GaussianBlur(np.abs(change).max(axis=2), (0, 0), sigma)
    typical = float(np.percentile(strength[shape], 75))
    return found if typical < LEAST_CHANGE else _tidied(shape & (strength > CHANGED_SHARE * typical), shape)


def _outline_px(mask: np.ndarray) -> float:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(sum(len(outline) for outline in outlines))


def _tidied(found: np.ndarray, support: np.ndarray) -> np.ndarray:
    """What was found in the support, its gaps closed, without specks."""
    found = found & support
    found = _closed(found, float(found.sum())) & support
    count, components, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= SMALLEST_AREA_PX
    kept[0] = False
    return kept[components]


def _closed(mask: np.ndarray, area_px: float) -> np.ndarray:
    """The mask with its small gaps closed and its holes filled."""
    radius = min(LARGEST_CLOSING_PX, round(area_px ** 0.5 / CLOSING_PART))
    if radius:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        padded = np.pad(mask.astype(np.uint8), radius + 1)
        padded = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
        mask = padded[radius + 1:-radius - 1, radius + 1:-radius - 1].astype(bool)
    return _filled(mask)


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask with its holes filled."""
    padded = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(padded, None, (0, 0), 2)
    return padded[1:-1, 1:-1] != 2


def _extent(mask: np.ndarray) -> tuple[slice, slice] | tuple[None, None]:
    """Rows and columns that hold the mask, with two px around them."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None, None
    return slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3)
