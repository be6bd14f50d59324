"""What the material would look like without the defect, where no defect-free picture of the part exists."""
import cv2
import numpy as np

from .generator import Box

SEARCH_PX = 192                 # how far around the window a stand-in is looked for
TEMPLATE_PX = 40                # the search runs at a scale where the window is about this large
FEATHER_PX = 2.0
SAME_LEVELS = 5.0               # root mean square difference, of 255, below which two pictures show the same place


def without_defect(image: np.ndarray, window: Box, hole: np.ndarray, defects: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the window's pixels [h, w, 3] without the defect, and how: "exemplar" or "smooth".

    image    uint8 or uint16 [H, W, 3]; window a box inside it; hole bool [h, w], the pixels to be replaced;
    defects  bool [H, W], all defects of the image: nothing is taken from there.
    The stand-in is the place nearby whose surroundings fit best (the next conductor, the next strip of metal); where
    nothing fits, colours are carried in smoothly from the edge of the hole.
    """
    x1, y1, x2, y2 = window
    pixels = image[y1:y2, x1:x2].astype(np.float32)
    known = ~hole & ~defects[y1:y2, x1:x2]
    if known.sum() < 8:
        return image[y1:y2, x1:x2].copy(), "smooth"
    place = _best_place(image, window, hole, known, defects)
    smooth = spread(pixels, known)
    filling, how = smooth, "smooth"
    if place is not None:
        stand_in = image[place[1]:place[1] + y2 - y1, place[0]:place[0] + x2 - x1].astype(np.float32)
        shifted = stand_in + spread(pixels - stand_in, known)
        if _misfit(pixels, shifted, known) <= 1.1 * _misfit(pixels, spread(pixels, known), known) + _grain(image):
            filling, how = shifted, "exemplar"
    weight = cv2.GaussianBlur(cv2.dilate(hole.astype(np.float32), np.ones((3, 3))), (0, 0), FEATHER_PX / 2)[..., None]
    weight = np.where(hole[..., None], 1, weight)
    result = pixels * (1 - weight) + filling * weight
    return result.round().clip(0, np.iinfo(image.dtype).max).astype(image.dtype), how


def same_scene(image: np.ndarray, window: Box, hole: np.ndarray, defects: np.ndarray,
               scenes: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray | None:
    """The window's pixels from another picture of the same scene, where there is one; None: there is none.

    scenes: other pictures of the size of `image`, each with its defects bool [H, W]. A fixed camera, or one board
    photographed once and retouched, shows the same pixels round the hole; SAME_LEVELS of 255 are let pass.
    """
    x1, y1, x2, y2 = window
    known = ~hole & ~defects[y1:y2, x1:x2]
    best, limit = None, SAME_LEVELS / 255 * np.iinfo(image.dtype).max
    for other, marked in scenes:
        pixels = other[y1:y2, x1:x2]
        if other.dtype == image.dtype and known.sum() > 8 and not (marked[y1:y2, x1:x2] & hole).any():
            misfit = _misfit(image[y1:y2, x1:x2].astype(np.float32), pixels.astype(np.float32), known)
            if misfit < limit:
                best, limit = pixels, misfit
    return None if best is None else best.copy()


def spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """float32 [h, w, C]: `values` where known carried smoothly over everything, near ones counting most."""
    height, width = known.shape
    scale = min(1.0, 64 / max(height, width))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    field = cv2.resize(values * known[..., None], size, interpolation=cv2.INTER_AREA)
    total, share = np.zeros_like(field), np.zeros_like(weight)
    sigma = max(size) / 2
    trust = 1e-4
    while sigma >= 1:
        blurred = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        total += trust * cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        share += trust * blurred
        sigma, trust = sigma / 2, trust * 10
    spread_field = total / np.maximum(share, 1e-12)[..., None]
    return cv2.resize(spread_field, (width, height), interpolation=cv2.INTER_LINEAR)


def _best_place(image, window: Box, hole, known, defects) -> tuple[int, int] | None:
    """Top left corner of the window-sized place whose known pixels fit best and whose filling holds no defect."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = window
    reach = max(SEARCH_PX, 2 * max(x2 - x1, y2 - y1))
    ax, ay = max(0, x1 - reach), max(0, y1 - reach)
    area = image[ay:min(height, y2 + reach), ax:min(width, x2 + reach)]
    bad = defects[ay:min(height, y2 + reach), ax:min(width, x2 + reach)]
    scale = min(1.0, TEMPLATE_PX / max(x2 - x1, y2 - y1))
    small = _resized(area, scale)
    template = _resized(image[y1:y2, x1:x2], scale)
    weight = cv2.resize(known.astype(np.float32), template.shape[1::-1], interpolation=cv2.INTER_AREA)
    filled = cv2.resize(hole.astype(np.float32), template.shape[1::-1], interpolation=cv2.INTER_AREA)
    blocked = cv2.matchTemplate(cv2.resize(bad.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA),
                                filled, cv2.TM_CCORR) > 0.02 * filled.sum()
    if blocked.all():
        return None
    cost = cv2.matchTemplate(small, template, cv2.TM_SQDIFF, mask=np.repeat(weight[..., None], 3, axis=2))
    cost[blocked] = np.inf
    row, column = np.unravel_index(cost.argmin(), cost.shape)
    guess = (ax + round(column / scale), ay + round(row / scale))
    return _refined(image, window, known, guess, reach_px=0 if scale == 1 else int(np.ceil(1 / scale)))


def _refined(image, window: Box, known, guess: tuple[int, int], reach_px: int) -> tuple[int, int]:
    """The best of the places within `reach_px` of a guess, at full resolution."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = window
    w, h = x2 - x1, y2 - y1
    ax, ay = max(0, guess[0] - reach_px), max(0, guess[1] - reach_px)
    area = image[ay:min(height, guess[1] + h + reach_px), ax:min(width, guess[0] + w + reach_px)].astype(np.float32)
    if reach_px == 0 or area.shape[0] < h or area.shape[1] < w:
        return min(guess[0], width - w), min(guess[1], height - h)
    weight = np.repeat(known.astype(np.float32)[..., None], 3, axis=2)
    cost = cv2.matchTemplate(area, image[y1:y2, x1:x2].astype(np.float32), cv2.TM_SQDIFF, mask=weight)
    row, column = np.unravel_index(cost.argmin(), cost.shape)
    return ax + int(column), ay + int(row)


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _misfit(pixels: np.ndarray, other: np.ndarray, known: np.ndarray) -> float:
    return float(np.sqrt(((pixels - other)[known] ** 2).mean()))


def _grain(image: np.ndarray) -> float:
    return 8 / 255 * np.iinfo(image.dtype).max
