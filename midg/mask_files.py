"""Mask files as the places that they mark: soft borders and JPEG's speckles are cut off, other shapes are refused."""
from pathlib import Path

import cv2
import numpy as np

from core.data.images import read_image, read_size
from core.errors import DataError

WHITE_FROM = 127                # grey level from which on a pixel is marked


def read_marked(mask: Path, image: Path) -> np.ndarray:
    """bool [H, W] of the image's size: where the mask is 127 or brighter. Colour counts by its brightness.

    A mask of another size is stretched, without soft borders. DataError: it is of another shape than the image, or its
    levels are 0 and 1.
    """
    problem = misfit(mask, image)
    if problem:
        raise DataError(problem)
    pixels = read_image(mask)
    if pixels.dtype != np.uint8:
        pixels = (pixels / 257).round().astype(np.uint8)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if grey.max() == 1:
        raise DataError(f"{mask}: not a black and white mask, got levels of 0 and 1. Store what it marks as 255")
    return cv2.resize(grey, read_size(image), interpolation=cv2.INTER_NEAREST) >= WHITE_FROM


def misfit(mask: Path, image: Path) -> str | None:
    """What is wrong where a mask, stretched to its image, would lie elsewhere: sizes may differ, shapes may not."""
    (width, height), (w, h) = read_size(image), read_size(mask)
    if abs(w * height - h * width) <= max(width, height, w, h):
        return None
    return (f"{mask}: of another shape than {image}, got {w}x{h} px for {width}x{height}. Cut or scale it as the image "
            "was")
