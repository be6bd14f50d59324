"""Synthetic defects pasted into good images: what a network learns to find before it has seen a real one.

A defect is a region (line, pit, chip, strip, patch, cloud, band) and a content (darker, brighter, streakier, another
place's surface, turned, smeared); both are drawn apart, so that what is learned is "unlike its surroundings".
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from core.synthetic.texture import blob, noise, ribbon, walk

Draw = np.random.Generator
LEAST_PX = 3            # of a region; smaller ones are drawn anew
TRIES = 4


def pasted(image: np.ndarray, donor: np.ndarray, random: Draw) -> tuple[np.ndarray, np.ndarray]:
    """One synthetic defect in an image float32 [H, W, C] of deviation about 1; `donor` is another one, of that size.

    Returns the changed image, and its mask bool [H, W]; without a defect where none of some tries shows.
    """
    for _ in range(TRIES):
        kind = KINDS[random.choice(len(KINDS), p=[one.share for one in KINDS])]
        cover = kind.region(image.shape[:2], random)
        if np.count_nonzero(cover > 0.5) < LEAST_PX:
            continue
        content = kind.contents[random.integers(len(kind.contents))]
        made = image + (content(image, donor, random) - image) * cover[..., None]
        mask = cover > 0.4
        if np.abs(made - image)[mask].mean() >= kind.least:
            return made.astype(np.float32), mask
    return image, np.zeros(image.shape[:2], bool)


def line(size: tuple[int, int], random: Draw) -> np.ndarray:
    """A wandering line, as a crack is, of 1 to 2.5 px."""
    return _curve(size, random, random.uniform(0.4, 1.3), random.uniform(0.02, 0.4))


def pit(size: tuple[int, int], random: Draw) -> np.ndarray:
    """A small irregular spot."""
    return _blob(size, random, np.exp(random.uniform(np.log(1.2), np.log(6))))


def chip(size: tuple[int, int], random: Draw) -> np.ndarray:
    """A piece broken off one of the sides."""
    along, off = random.uniform(0, 1), random.normal(0, 0.04)
    place = ((off, along), (1 + off, along), (along, off), (along, 1 + off))[random.integers(4)]
    field = blob(random, random.uniform(0.05, 0.3) * min(size), random.uniform(1, 3), random.choice([0, np.pi / 2]),
                 random.uniform(0.1, 0.6))
    return _placed(_soft(field, random.uniform(0.3, 1.5)), size, (place[0] * size[0], place[1] * size[1]))


def strip(size: tuple[int, int], random: Draw) -> np.ndarray:
    """A strip or a corner along the sides, as a tool leaves it: straight, or a little wavy."""
    y, x = np.mgrid[:size[0], :size[1]].astype(np.float32)
    tilt = random.normal(0, 0.06)
    wavy = random.uniform(0, 3) * noise(random, size[::-1], random.uniform(4, 15)) if random.random() < 0.6 else 0
    down, across, soft = y + tilt * x + wavy, x - tilt * y + wavy, random.uniform(0.5, 3)
    inside = np.full(size, np.inf, np.float32)
    for side in random.choice(4, random.integers(1, 4), replace=False):
        share = random.uniform(0.1, 0.6)
        inside = np.minimum(inside, (size[0] * share - down, down - size[0] * (1 - share),
                                     size[1] * share - across, across - size[1] * (1 - share))[side])
    return _soft(inside, soft)


def patch(size: tuple[int, int], random: Draw) -> np.ndarray:
    """A large irregular patch."""
    return _blob(size, random, random.uniform(0.08, 0.4) * min(size))


def cloud(size: tuple[int, int], random: Draw) -> np.ndarray:
    """What smooth noise leaves above a level."""
    sigma = random.uniform(2, 16)
    field = noise(random, size[::-1], (sigma, sigma * np.exp(random.normal(0, 0.5))))
    near = noise(random, size[::-1], max(size) / 5)
    return _soft(field + near - random.uniform(1.2, 2.4), random.uniform(0.05, 0.3))


def band(size: tuple[int, int], random: Draw) -> np.ndarray:
    """One side of a wavy border across the image."""
    y, x = np.mgrid[:size[0], :size[1]].astype(np.float32)
    angle = random.choice([0, np.pi / 2, random.uniform(0, np.pi)]) + random.normal(0, 0.06)
    across = (x - random.uniform(0.1, 0.9) * size[1]) * np.cos(angle) + (y - random.uniform(0.1, 0.9) * size[0]) * \
        np.sin(angle)
    wavy = across + random.uniform(0, 4) * noise(random, size[::-1], random.uniform(3, 15))
    if random.random() < 0.3:
        wavy = random.uniform(4, 25) - np.abs(wavy)
    if np.count_nonzero(wavy > 0) > wavy.size / 2:          # the lesser side, or nothing told which one is the defect
        wavy = -wavy
    return _soft(wavy, random.uniform(0.5, 3))


def dark(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """Darker, the surface showing through or not."""
    return _level(image, random) - random.uniform(0.5, 3)


def uneven(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """Streakier or duller than the rest, and a little brighter or darker."""
    level = cv2.GaussianBlur(image, (0, 0), 6).reshape(image.shape)
    grain = np.exp((1 if random.random() < 0.7 else -1) * random.uniform(0.1, 0.9))
    return level + (image - level) * grain - _sign(random) * random.uniform(0.15, 1.4)


def shade(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """Darker or brighter, the surface showing through or not."""
    grain = noise(random, image.shape[1::-1], random.uniform(0.5, 3))[..., None] * random.uniform(0, 0.5)
    return _level(image, random) + grain + _sign(random) * random.uniform(0.6, 3.5)


def transplant(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """Another place's surface, turned or not, its brightness kept or matched."""
    other = np.rot90(donor, random.integers(4)) if donor.shape[0] == donor.shape[1] else donor[::-1]
    shift = random.choice([0.0, 1.0]) * (image.mean() - other.mean())
    return other * random.uniform(0.7, 1.5) + shift + random.normal(0, 0.4)


def turned(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """The image's own surface, turned by an angle."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(20, 160), 1)
    made = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return made.reshape(image.shape)


def smeared(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """Blurred, and a little darker or brighter."""
    made = cv2.GaussianBlur(image, (0, 0), random.uniform(1, 5)).reshape(image.shape)
    return made + random.normal(0, 0.5) + random.uniform(0, 0.3) * noise(random, image.shape[1::-1], 0.6)[..., None]


def contrasted(image: np.ndarray, donor: np.ndarray, random: Draw) -> np.ndarray:
    """Of stronger or weaker contrast."""
    level = cv2.blur(image, (15, 15)).reshape(image.shape)
    return level + (image - level) * random.choice([random.uniform(0, 0.4), random.uniform(2, 4)]) + \
        random.normal(0, 0.5)


@dataclass(frozen=True)
class Kind:
    """Regions and what may fill them; `share` of all defects, `least` mean change in deviations that shows."""
    region: Callable[[tuple[int, int], Draw], np.ndarray]
    contents: tuple[Callable[[np.ndarray, np.ndarray, Draw], np.ndarray], ...]
    share: float
    least: float = 0.4


ANY = (shade, shade, transplant, turned, smeared, contrasted)
KINDS = (Kind(line, (dark, shade), 0.25), Kind(pit, (dark, shade, smeared), 0.25),
         Kind(strip, (uneven,), 0.16, least=0.25), Kind(patch, ANY, 0.1), Kind(cloud, ANY, 0.06), Kind(band, ANY, 0.06),
         Kind(chip, (dark, shade, smeared, transplant), 0.12))


def _curve(size: tuple[int, int], random: Draw, half_px: float, jitter: float) -> np.ndarray:
    height, width = size
    length = random.uniform(0.1, 0.9) * max(size)
    points = walk(random, length, random.uniform(0, 2 * np.pi), random.choice([0.1, 0.6]), jitter)
    points = points + np.array([random.uniform(0, width), random.uniform(0, height)], np.float32)
    taper = np.clip(np.minimum(np.linspace(0, 5, len(points)), np.linspace(5, 0, len(points))), 0.3, 1)
    return ribbon((width, height), points, half_px * taper)


def _blob(size: tuple[int, int], random: Draw, radius_px: float) -> np.ndarray:
    field = blob(random, radius_px, random.uniform(1, 2.5), random.uniform(0, np.pi), random.uniform(0.1, 0.8))
    return _placed(_soft(field, random.uniform(0.3, 1.5)), size, [random.integers(length) for length in size])


def _placed(cover: np.ndarray, size: tuple[int, int], middle: Sequence[float]) -> np.ndarray:
    """A small cover with its middle at (y, x), cut where it leaves the image."""
    placed = np.zeros(size, np.float32)
    y, x = (int(at) - side // 2 for at, side in zip(middle, cover.shape))
    rows, columns = (slice(min(max(at, 0), length), min(max(at + side, 0), length)) for at, side, length in
                     zip((y, x), cover.shape, size))
    placed[rows, columns] = cover[rows.start - y:rows.stop - y, columns.start - x:columns.stop - x]
    return placed


def _level(image: np.ndarray, random: Draw) -> np.ndarray:
    """The image, its surroundings' level alone, or something between."""
    level = cv2.blur(image, (15, 15)).reshape(image.shape)
    return level + random.choice([0.0, random.uniform(0, 1), 1.0]) * (image - level)


def _soft(field: np.ndarray, width: float) -> np.ndarray:
    """0 to 1 across `width` at the field's zero."""
    return np.clip(field / (2 * width) + 0.5, 0, 1).astype(np.float32)


def _sign(random: Draw) -> float:
    return -1.0 if random.random() < 0.65 else 1.0
