"""What a good surface may look like as well: light, contrast, an end of the part. None of it is a defect."""
import cv2
import numpy as np

from core.synthetic.texture import noise

Draw = np.random.Generator


def varied(image: np.ndarray, other: np.ndarray, random: Draw) -> np.ndarray:
    """A good image float32 [H, W, C] of deviation about 1, changed as others of its kind differ; `other` is one."""
    size = image.shape[:2]
    if random.random() < 0.4:                               # a surface between the two
        image = image + random.uniform(0.15, 0.5) * (other - image)
    if random.random() < 0.5:                               # finer structure, stronger or weaker
        low = cv2.GaussianBlur(image, (0, 0), random.uniform(2, 8)).reshape(image.shape)
        image = low + (image - low) * np.exp(random.normal(0, 0.35))
    if random.random() < 0.5:                               # light from elsewhere
        image = image * np.exp(random.uniform(0, 0.3) * _slow(size, random)) + random.uniform(0, 0.7) * _slow(size,
                                                                                                               random)
    if random.random() < 0.3:                               # light along a bent surface
        bent = noise(random, (size[1], size[1]), size[1] / 6)[0] * random.uniform(0, 1.2)
        image = image + bent[None, :, None]
    if random.random() < 0.25:
        image = _ending(image, random)
    return image.astype(np.float32)


def _ending(image: np.ndarray, random: Draw) -> np.ndarray:
    """The part ends before the image does."""
    height, width = size = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    share, tilt = random.uniform(0, 0.12), random.normal(0, 0.03)
    outside = (height * share - y + tilt * x, y - height * (1 - share) + tilt * x,
               width * share - x + tilt * y, x - width * (1 - share) + tilt * y)[random.integers(4)]
    if random.random() < 0.5:
        outside = outside + random.uniform(0, 1.5) * noise(random, size[::-1], random.uniform(3, 15))
    cover = np.clip(outside / (2 * random.uniform(0.4, 2)) + 0.5, 0, 1)[..., None]
    background = random.uniform(-4, -2) + 0.1 * noise(random, size[::-1], 1.0)[..., None]
    return image + cover * (background - image)


def _slow(size: tuple[int, int], random: Draw) -> np.ndarray:
    return noise(random, size[::-1], max(size) / 3)[..., None]
