"""Made pictures of metal surfaces with scratches, cracks, stains, pits and wrinkles."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from core.errors import ConfigError
from core.synthetic.checks import check_choice, check_classes, check_defects, check_size
from core.synthetic.metal_defects import MARKS, Setting
from core.synthetic.metal_surfaces import MIXED, STYLES, Surface, quilted
from core.synthetic.sample import Defect, Sample
from core.synthetic.texture import bright_enough, contrast_mask, reach

CLASSES = tuple(MARKS)
SIZE = (256, 256)
SMALLEST_PX = 64
LEAST_CONTRAST = 0.025      # of full scale: the least change that counts as part of a defect
TRIES = 60
OWN_CAMERA = 0.2            # blur and noise on pictures that have their own, as a share of the usual
DARKEST = {"scratch": 0.75, "crack": 0.88, "stain": 0.65, "pit": 0.92, "wrinkle": 0.6}     # share of the light lost
SMALLEST_AREA_PX = {"scratch": 25, "crack": 40, "stain": 40, "pit": 7, "wrinkle": 350}
# How strong a class is: lowest and highest contrast (of full scale), and the least as a multiple of the local texture.
CONTRAST = {"scratch": (0.1, 0.4, 2.2), "crack": (0.15, 0.42, 2.4), "stain": (0.075, 0.3, 1.4), "pit": (0.16, 0.5, 2.2),
            "wrinkle": (0.13, 0.4, 2.0)}

# The binary recipe for a small UNet: grey 256x256, scratches and stains only, a quarter of the pictures without any.
SCRATCHES_AND_STAINS = {"style": "plain", "counts": {"scratch": (0, 4), "stain": (0, 3)}, "good_share": 0.21}
# The camera's blur (sigma, px) and noise (sigma, of full scale), where nothing else is asked for.
CAMERA = {"plain": ((0.5, 1.2), (0.01, 0.04)), None: ((0.3, 0.8), (0.006, 0.022))}


def draw(rng: np.random.Generator, size: tuple[int, int] = SIZE, *, defects: int | None = None,
         style: str | None = None, textures: str | Path | None = None, classes: Sequence[str] = CLASSES,
         counts: Mapping[str, tuple[int, int]] | None = None, good_share: float = 0.0,
         colour: bool | None = None, blur_sigma_px: tuple[float, float] | None = None,
         noise_sigma: tuple[float, float] | None = None) -> Sample:
    """Draw one picture of `size` (w, h) px.

    defects       number of defects; None draws 1 to 4 (or what `counts` says) if there is room, 0 gives a good part
    style         one of metal_surfaces.STYLES; None draws one of MIXED
    textures      folder of real pictures, good or labelled, whose material is taken for the surface: style None
    classes       which defects may appear
    counts        fewest and most of each class, instead of a free mix: {"scratch": (0, 4), "stain": (0, 3)}
    good_share    probability that a picture has no defect, where `defects` is None
    colour        RGB tint of the metal; None is grey (equal channels) except where style="aluminium" or textures are
                  asked for
    blur_sigma_px, noise_sigma   ranges of the camera's blur and noise (of full scale), None: CAMERA. Picture and twin
                  get the same, the masks neither, and pictures with textures a fifth, which have their own.
                  SCRATCHES_AND_STAINS are the binary recipe's options: its mask, index_mask > 0.

    A mask holds the pixels that the defect changes by >= LEAST_CONTRAST of full scale and >= a quarter of its own
    strong contrast, averaged over 3x3 px, before texture, blur and noise (texture.contrast_mask); for a wrinkle, the
    band of its ridges. Picture and twin are equal farther than REACH_PX + 4 px from every mask.
    """
    check_size(size, SMALLEST_PX)
    check_defects(defects)
    check_classes(classes, CLASSES)
    check_classes(counts or CLASSES, CLASSES)
    if style is not None:
        check_choice("style", style, STYLES)
    if textures is None:
        surface = STYLES[style or str(rng.choice(list(MIXED)))](rng, size)
    elif style is None:
        surface = quilted(rng, size, Path(textures))
    else:
        raise ConfigError(f"textures: they are the surface, got style '{style}' as well. Leave one out")
    tinted = style == "aluminium" or textures is not None if colour is None else colour
    labels = _labels(rng, defects, classes, counts, good_share)
    camera = rng.spawn(1)[0]
    scene, drawn = surface.light.copy(), []
    for label in labels:
        defect = _add(rng, scene, surface, label, drawn)
        if defect is None and (defects is not None or not drawn):
            raise ConfigError(f"defects: no room for another, got {len(drawn) + 1} on {size[0]}x{size[1]} px. "
                              "Ask for fewer defects or a larger size")
        drawn += [defect] if defect else []
    tint = surface.tint if tinted else np.ones(3, np.float32)
    own = 1.0 if textures is None else OWN_CAMERA
    blurs, noises = CAMERA.get(style, CAMERA[None])
    blur, grain = own * camera.uniform(*blur_sigma_px or blurs), own * camera.uniform(*noise_sigma or noises)
    static = camera.standard_normal((size[1], size[0], 3 if tinted else 1), np.float32)
    clean = _photograph(surface.light, tint, blur, grain, static)
    image = clean.copy()
    if drawn:
        changed = np.any([defect.mask for defect in drawn], axis=0).astype(np.uint8)
        near = cv2.dilate(changed, np.ones((21, 21), np.uint8)).astype(bool)
        image[near] = _photograph(scene, tint, blur, grain, static)[near]
    return Sample(image=image, clean=clean, defects=tuple(drawn))


def _labels(rng: np.random.Generator, defects: int | None, classes: Sequence[str],
            counts: Mapping[str, tuple[int, int]] | None, good_share: float) -> list[str]:
    """The classes of this picture's defects, in drawing order: flat ones first, so that lines lie on stains."""
    if defects is None and rng.random() < good_share:
        return []
    if counts and defects is None:
        labels = [label for label, (low, high) in counts.items() for _ in range(rng.integers(low, high + 1))]
    else:
        number = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])) if defects is None else defects
        labels = [str(label) for label in rng.choice(list(counts or classes), number)]
    return sorted(labels, key=("stain", "wrinkle", "scratch", "crack", "pit").index)


def _add(rng: np.random.Generator, scene: np.ndarray, surface: Surface, label: str,
         others: list[Defect]) -> Defect | None:
    """Draw one defect into `scene` where it shows and hardly touches the others; None where there is no such place."""
    height, width = scene.shape
    taken = np.any([other.mask for other in others], axis=0) if others else None
    low, high, over = CONTRAST[label]
    for attempt in range(TRIES):
        x, y = rng.uniform(0.06, 0.94, 2) * (width, height)
        around = surface.light[max(0, int(y) - 24):int(y) + 24, max(0, int(x) - 24):int(x) + 24]
        base = float(np.clip(around.mean(), 0, 1))
        texture = float((around - cv2.GaussianBlur(around, (0, 0), 4)).std())
        least = (0.5 * low + (0.6 if label == "stain" else 0.75) * texture) * (1 - attempt / TRIES)
        strength = max(low * (high / low) ** rng.random(), min(over * texture, high))
        mark = MARKS[label](rng, _setting(rng, surface, label, base))
        window, inside = _place(mark, x, y, scene.shape)
        mark, before = mark[inside] * surface.part[window], scene[window]
        after, mask = _lay(before, strength * mark, label, base)
        seen = bright_enough(np.clip(after, 0, 1) - np.clip(before, 0, 1), mask)
        if seen < least:
            strength = min(1.2 * strength * least / max(seen, 0.01), 1.6 * high)
            after, mask = _lay(before, strength * mark, label, base)
            seen = bright_enough(np.clip(after, 0, 1) - np.clip(before, 0, 1), mask)
        area = mask.sum()
        crossed = 0 if taken is None else (mask & taken[window]).sum()
        if seen >= least and area >= SMALLEST_AREA_PX[label] and crossed <= 0.15 * area:
            scene[window] = after
            whole = np.zeros(scene.shape, bool)
            whole[window] = mask
            return Defect(label=label, mask=whole)
    return None


def _lay(before: np.ndarray, change: np.ndarray, label: str, base: float) -> tuple[np.ndarray, np.ndarray]:
    """The light with the defect in it, and the defect's mask. `base` is the metal's mean brightness there."""
    change = np.maximum(change, -DARKEST[label] * base)
    mask = _mask(change, label)
    return _shine_through(before, change * reach(mask), base), mask


def _setting(rng: np.random.Generator, surface: Surface, label: str, base: float) -> Setting:
    bright = {"scratch": 0.6, "stain": 0.25}.get(label, 0.5)
    sign = -1 if base > 0.72 or (base > 0.25 and rng.random() > bright) else 1
    return Setting(azimuth=surface.azimuth, grain=surface.grain, sign=sign, room_px=min(surface.light.shape),
                   rubbed=surface.rubbed)


def _place(mark: np.ndarray, x: float, y: float,
           shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where `mark`, centred on (x, y), falls in the picture, and which part of it does."""
    window, inside = [], []
    for centre, length, limit in zip((y, x), mark.shape, shape):
        start = int(centre) - length // 2
        low, high = max(0, start), min(limit, start + length)
        window.append(slice(low, high))
        inside.append(slice(low - start, high - start))
    return (window[0], window[1]), (inside[0], inside[1])


def _shine_through(light: np.ndarray, change: np.ndarray, base: float) -> np.ndarray:
    """Darkening multiplies, so that the texture shows through; brightening adds, with the texture's own relief."""
    darker = light * np.clip(1 + change / max(base, 0.08), 0.06, 1)
    relief = 0.55 + 0.45 * light / max(base, 0.08)
    return np.where(change < 0, darker, light + change * np.clip(relief, 0.3, 2)).astype(np.float32)


def _mask(change: np.ndarray, label: str) -> np.ndarray:
    if change.size == 0:
        return np.zeros(change.shape, bool)
    if label == "wrinkle":
        change = cv2.GaussianBlur(np.abs(change), (0, 0), 4)
        return contrast_mask(change, LEAST_CONTRAST / 2, share=0.3)
    return contrast_mask(change, LEAST_CONTRAST, fill_px=9 if label in ("scratch", "crack") else 10 ** 9)


def _photograph(light: np.ndarray, tint: np.ndarray, blur_sigma_px: float, noise_sigma: float,
                static: np.ndarray) -> np.ndarray:
    """Lens blur (kernel of at most 9 px), shot and read noise, 8 bits."""
    light = cv2.GaussianBlur(np.clip(light, 0, 1.15), (9, 9), blur_sigma_px)
    seen = light[..., None] * tint[..., :static.shape[2]] if static.shape[2] == 3 else light[..., None]
    seen = seen + static * noise_sigma * np.sqrt(0.4 + 1.2 * np.clip(light, 0, 1))[..., None]
    pixels = np.rint(np.clip(seen, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*light.shape, 3)))
