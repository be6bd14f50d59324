"""How a copied defect is put into other material: light and colour matched, without a seam."""
import cv2
import numpy as np
from scipy import ndimage

from .removal import spread

TWO_LEVEL_SHARE = 0.96      # share of black and white pixels in a picture that is binary
SEE_THROUGH = 0.5           # correlation of the grain with and without the defect above which the grain shows through
GAINS = (0.25, 4.0)         # limits of the match of light
USUAL_BRIGHTNESS = 0.8      # what is taken for `DefectBank.brightness` where nothing is known
SHADE = 0.4                 # from this brightness power on, a dark defect is dark on anything
TINT = 0.3                  # how much of a difference in tint is taken for light; the rest is another material
DARKEST = 0.02              # added to grey levels before their ratio is taken
SAME_PATTERN = 0.85         # correlation of the clean surroundings above which they are the same pattern
OWN_COLOUR = 0.05           # change by which a pixel is the defect's own, not the material's
GRAIN_PX, LEAST_GRAIN = 1.5, 1.5 / 255  # what is finer than this is grain; and less of it than this is none
WIDE_FEATHER_PX = 2.0       # a rim wider than this is not let out of the mask
RIM_WIDTHS_PX = (2, 4, 8, 16)
SECTORS = 8
FAINT_STEP = 0.03           # a step of less than this, of full scale, is no rim that could be seen
CONTACT_PX = 1              # how far a binary defect may reach out to touch what it belongs to


def blended(target: np.ndarray, pixels: np.ndarray, clean: np.ndarray, mask: np.ndarray, *, twin: bool,
            black_and_white: bool = False, brightness: float = USUAL_BRIGHTNESS, feather_px: float = 1.2,
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (image float32 [H, W, 3], alpha float32 [H, W], the defect's pixels bool [H, W]), in the target's frame.

    twin             `clean` is a picture of the very place of `pixels`, not a guess
    black_and_white  the defect comes from a picture of two levels, whatever scaling made of it
    brightness       DefectBank.brightness; feather_px: width of the soft rim, the donor's own where that is wide
    """
    if black_and_white and two_level(target):
        return _binary(target, pixels, mask)
    alpha = _soft(mask, feather_px)
    if twin and _shows_through(pixels, clean, mask):
        return _stained(target, pixels, clean, mask), alpha, mask > 0.5
    return _matched(target, pixels, clean, mask, alpha, brightness), alpha, mask > 0.5


def rim_px(pixels: np.ndarray, mask: np.ndarray) -> float:
    """How wide the soft rim of a defect is: 0, or the standard deviation in px that stands for its width.

    pixels uint8 or uint16 [H, W, 3], mask bool [H, W]. The step from the px round the mask to those inside it, seen
    in SECTORS directions, is as high close to the outline as farther away where the rim is sharp.
    """
    reach = 0.2 * np.sqrt(float(mask.sum()))
    widths = [width for width in RIM_WIDTHS_PX if width <= reach]
    if len(widths) < 2:
        return 0.0
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.iinfo(pixels.dtype).max
    inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (mask, ~mask))
    rows, columns = np.indices(mask.shape)
    y, x = rows[mask].mean(), columns[mask].mean()
    sector = ((np.arctan2(rows - y, columns - x) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    steps = [_step(grey, sector, (inside > 0) & (inside <= width), (outside > 0) & (outside <= width))
             for width in widths]
    if max(steps) < FAINT_STEP:
        return widths[-1] / 2
    return next(width for width, step in zip(widths, steps) if step > 0.5 * max(steps)) / 2 if steps[0] < 0.5 * max(
        steps) else 0.0


def _step(grey: np.ndarray, sector: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> float:
    """Root mean square difference of the mean grey levels of two rings, sector by sector."""
    means = []
    for ring in (inner, outer):
        count = np.bincount(sector[ring], minlength=SECTORS)
        means.append(np.bincount(sector[ring], grey[ring], SECTORS) / np.where(count, count, np.nan))
    return float(np.sqrt(np.nanmean((means[0] - means[1]) ** 2))) if np.isfinite(means[0] - means[1]).any() else 0.0


def extended(pixels: np.ndarray, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Pixels whose defect, where `mask` is above one half, is mirrored outwards until it fills `wanted` (bool)."""
    inside = mask > 0.5
    if not inside.any() or not (wanted & ~inside).any():
        return pixels
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    here = np.indices(inside.shape)
    limit = np.array(inside.shape)[:, None, None] - 1
    mirrored = np.clip(2 * nearest - here, 0, limit)
    source = np.where(inside[mirrored[0], mirrored[1]], mirrored, nearest)
    return np.where((wanted & ~inside)[..., None], pixels[source[0], source[1]], pixels)


def _binary(target: np.ndarray, pixels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Black stays black, white stays white. The defect reaches out to the material that it is made of."""
    white = pixels.mean(axis=2) > 0.5
    pasted = mask > 0.5
    light = white[pasted].mean() > 0.5 if pasted.any() else False
    side = 2 * CONTACT_PX + 1
    near = cv2.dilate(pasted.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)
    pasted |= near & (white == light)
    image = np.where(pasted[..., None], white[..., None].astype(np.float32), target)
    changed = pasted & (white != (target.mean(axis=2) > 0.5))
    return image.astype(np.float32), pasted.astype(np.float32), changed


def _stained(target: np.ndarray, pixels: np.ndarray, clean: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The target in the tones that the defect gave its own material."""
    inside = mask > 0.5
    gain = (target[inside].mean() + DARKEST) / (clean[inside].mean() + DARKEST)
    return _limited(target * np.clip((pixels + 0.05) / (clean + 0.05), 0.1, 5), target, pixels[inside], gain)


def _limited(made: np.ndarray, target: np.ndarray, defect: np.ndarray, gain: float) -> np.ndarray:
    """No lighter and no darker than the defect is anywhere, in this light, or than the target is there."""
    lowest, highest = np.percentile(defect, (2, 98), axis=0) * np.clip(gain, *GAINS)
    return np.clip(np.clip(made, np.minimum(target, lowest), np.maximum(target, highest)), 0, 1)


def _soft(mask: np.ndarray, feather_px: float) -> np.ndarray:
    """The mask, one px wider and with a soft rim; a wide rim lies inside it."""
    if feather_px > WIDE_FEATHER_PX:
        depth = cv2.distanceTransform(np.pad((mask > 0.5).astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)
        ramp = np.clip(depth[1:-1, 1:-1] / (2 * feather_px), 0, 1)
        return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    wide = cv2.dilate((mask > 0.5).astype(np.float32), np.ones((3, 3)))
    alpha = cv2.GaussianBlur(wide, (0, 0), feather_px)
    return np.where(alpha < 0.03, 0, alpha).astype(np.float32)


def _matched(target, pixels, clean, mask, alpha, brightness: float) -> np.ndarray:
    """The defect's pixels in the target's light: ratios of the surroundings, carried in smoothly from the rim.

    Background inside the mask follows them wholly, so no seam shows; the defect's own pixels follow brightness by the
    power that the class follows it, and tint a little.
    """
    distance = cv2.distanceTransform((mask < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    reach = max(4.0, 0.25 * np.sqrt(float((mask > 0.5).sum())))
    ring = (distance > 1.5) & (distance < 1.5 + reach)
    if ring.sum() < 8:
        return pixels
    pixels, clean = _repainted(target, pixels, clean, ring | (mask > 0.5))
    rim = (alpha < 0.5) & (distance > 0) & (distance < 3 + reach)
    here, there = (np.maximum(spread(image * rim[..., None], rim), 0) + DARKEST for image in (target, pixels))
    ratio = np.clip(np.log(here / there), *np.log(GAINS))
    light = ratio.mean(axis=2, keepdims=True)
    own = mask * cv2.GaussianBlur(np.abs(pixels - clean).max(axis=2) * mask, (0, 0), 1)
    background = np.exp(-own / OWN_COLOUR)[..., None]
    power = brightness + (1 - brightness) * background
    tint = TINT + (1 - TINT) * background
    lit = (pixels + DARKEST) * np.exp(power * light + tint * (ratio - light)) - DARKEST
    lit = _same_sign(lit, target, pixels, clean, min(1.0, brightness / SHADE))
    inside = mask > 0.5
    if inside.any():
        lit = _limited(lit, target, pixels[inside], float(np.exp(brightness * np.median(light[inside]))))
    return np.clip(_grained(lit, target, pixels, inside, ring), 0, 1)


def _grained(lit, target, pixels, inside: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """`lit` with the grain of the target, as far as the defect bears the grain of its own material and has less."""
    fine, own = (image - cv2.GaussianBlur(image, (0, 0), GRAIN_PX) for image in (target, pixels))
    here, there = (_typical(grain[ring]) for grain in (fine, own))
    bears = min(1.0, _typical(own[inside]) / max(there, LEAST_GRAIN)) if inside.sum() >= 30 else 1.0
    if here < LEAST_GRAIN or there >= here:
        return lit
    return lit + fine * (bears * float(np.sqrt(1 - (there / here) ** 2)))


def _typical(grain: np.ndarray) -> float:
    """A robust standard deviation, which edges leave alone."""
    return float(np.median(np.abs(grain))) / 0.6745 if grain.size else 0.0


def _same_sign(lit, target, pixels, clean, strength: float) -> np.ndarray:
    """`lit`, no lighter than the target where the defect is darker than what it covered, and the other way round.

    At strength 1, that of a shade; a paint (0) is as light as it is, whatever it lies on.
    """
    made, here, defect, covered = (cv2.GaussianBlur(image.mean(axis=2), (0, 0), 2) + DARKEST
                                   for image in (np.clip(lit, 0, 1), target, pixels, clean))
    factor, sign = here / made, np.clip((defect - covered) / OWN_COLOUR, -1, 1)
    factor = 1 + np.where(sign < 0, np.minimum(factor, 1) - 1, np.maximum(factor, 1) - 1) * np.abs(sign)
    return (lit + DARKEST) * factor[..., None] ** strength - DARKEST


def _repainted(target, pixels, clean, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and clean pixels in the paint of the target, where both materials are there to be compared.

    Where the clean surroundings of crop and target are the same pattern, a line per channel maps one to the other.
    """
    here, there = target[known], clean[known]
    centred_here, centred_there = here - here.mean(0), there - there.mean(0)
    power = (centred_there ** 2).sum(0)
    slope = (centred_here * centred_there).sum(0) / np.maximum(power, 1e-6)
    explained = (centred_here * centred_there).sum() / np.sqrt((centred_here ** 2).sum() * power.sum() + 1e-12)
    if explained < SAME_PATTERN or there.std(0).max() < 0.05 or (slope <= 0).any():
        return pixels, clean
    slope = np.clip(slope, *GAINS)
    shift = here.mean(0) - slope * there.mean(0)
    return np.clip(pixels * slope + shift, 0, 1), np.clip(clean * slope + shift, 0, 1)


def two_level(image: np.ndarray) -> bool:
    """Whether a picture 0..1 is black and white."""
    return bool(((image < 0.15) | (image > 0.85)).mean() > TWO_LEVEL_SHARE)


def in_black_and_white(image: np.ndarray) -> np.ndarray:
    """bool [H, W, 3]: white where the mean of the channels, 0..1, is above a half."""
    return np.repeat(image.mean(axis=2, keepdims=True) > 0.5, image.shape[2], axis=2)


def _shows_through(pixels, clean, mask) -> bool:
    """Whether the grain of the clean material is still there inside the defect."""
    inside = mask > 0.5
    if inside.sum() < 30:
        return False
    a, b = (_high_pass(image)[inside] for image in (pixels, clean))
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return bool(norm > 1e-6 and (a * b).sum() / norm > SEE_THROUGH)


def _high_pass(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return grey - cv2.GaussianBlur(grey, (0, 0), 2)
