"""A small labelled set for the segmenter's tests: grey textured images with bright squares and dark discs."""
from pathlib import Path

import numpy as np

from core.data.images import encode_png, write_bytes, write_image
from core.seeding import rng

CLASSES = ("square", "disc")


def make_set(root: Path, count: int = 12, size: tuple[int, int] = (96, 80), good: int = 4) -> Path:
    """images/NN.png and masks/NN.png (index); the last `good` images hold no defect."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        pixels, mask = picture(number, size, clean=number >= count - good)
        write_image(root / "images" / f"{number:02d}.png", pixels)
        write_bytes(root / "masks" / f"{number:02d}.png", encode_png(mask))
    (root / "classes.json").write_text('["square", "disc"]')
    return root


def picture(number: int, size: tuple[int, int], clean: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [H, W, 3] and index mask uint8 [H, W]."""
    random, (width, height) = rng(5, number), size
    grey = random.normal(120, 12, (height, width))
    mask = np.zeros((height, width), np.uint8)
    if not clean:
        y, x = random.integers(4, height - 24), random.integers(4, width - 24)
        if number % 2:
            mask[y:y + 14, x:x + 14] = 1
        else:
            rows, columns = np.ogrid[:height, :width]
            mask[(rows - y - 10) ** 2 + (columns - x - 10) ** 2 < 64] = 2
    grey = grey + 70 * (mask == 1) - 70 * (mask == 2)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), mask
