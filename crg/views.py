"""What the context model sees of an image, a window or all of it squeezed, and how its picture gets back."""
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.data import images

from .data import eight_bit, mirrored

VISIBLE = 0.3                   # the mask above it is where the defect is
MARGIN = 0.1                    # of a box's sides, by which a defect may exceed it on each
MARGIN_PX, FEATHER_PX = 6, 4    # round that, the context model's picture is taken over, then fades

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class View:
    """uint8 [S, S, 3] of an image, uint8 [H, W, 3].

    origin      x, y in px of the image at the view's corner, perhaps beyond the border; None: all of it, squeezed
    corner      x, y of the patch in the view; `side` is the patch's
    """
    image: np.ndarray
    pixels: np.ndarray
    origin: tuple[int, int] | None
    corner: tuple[int, int]
    side: int

    @property
    def signed(self) -> Tensor:
        """float32 [3, S, S] in -1..1."""
        return torch.from_numpy(np.ascontiguousarray(self.pixels.transpose(2, 0, 1))).float() / 127.5 - 1

    def put_back(self, made: np.ndarray) -> np.ndarray:
        """The image with the view's pixels in their place; the view itself where it is all of the image."""
        if self.origin is None:
            return made
        whole = self.image.copy()
        inside, there = self.overlap(whole.shape[:2])
        whole[inside] = made[there]
        return whole

    def put_back_mask(self, mask: np.ndarray) -> np.ndarray:
        if self.origin is None:
            return mask
        whole = np.zeros(self.image.shape[:2], bool)
        inside, there = self.overlap(whole.shape)
        whole[inside] = mask[there]
        return whole

    def place_of(self, x: float, y: float, width: float, height: float) -> Box:
        """A box given by its middle and sides, in 0..1 of the image's, in px of the patch, perhaps beyond it."""
        rows, columns = self.image.shape[:2]
        first = (0, 0) if self.origin is None else self.origin
        middle = [share * length - start - corner for share, length, start, corner in
                  zip((x, y), (columns, rows), first, self.corner)]
        half = max(width * columns, 1) / 2, max(height * rows, 1) / 2
        return tuple(round(place + sign * side) for sign in (-1, 1) for place, side in zip(middle, half))

    def overlap(self, shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of the image that is in the view, in px of the image and of the view."""
        inside, there = [], []
        for first, length, side in zip(self.origin[::-1], shape, self.pixels.shape[:2]):
            low, high = max(first, 0), min(first + side, length)
            inside.append(slice(low, high))
            there.append(slice(low - first, high - first))
        return tuple(inside), tuple(there)


def view_of(path: Path, x: float, y: float, size_px: int, patch_px: int, fit: Literal["window", "whole"]) -> View:
    """window: see window_of. whole: the patch is moved inside where its point is near the border."""
    image = eight_bit(images.read_image(path))
    if fit == "window":
        height, width = image.shape[:2]
        return window_of(image, int(x * width), int(y * height), size_px, patch_px)
    if image.shape[:2] != (size_px, size_px):
        image = np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC))
    corner = tuple(min(max(int(share * size_px) - patch_px // 2, 0), size_px - patch_px) for share in (x, y))
    return View(image=image, pixels=image, origin=None, corner=corner, side=patch_px)


def window_of(image: np.ndarray, x: int, y: int, size_px: int, patch_px: int) -> View:
    """The window with the pixel x, y in its middle; beyond its border the image is mirrored."""
    origin = x - size_px // 2, y - size_px // 2
    return View(image=image, pixels=mirrored(image, *origin, size_px), origin=origin,
                corner=((size_px - patch_px) // 2,) * 2, side=patch_px)


def support(mask: np.ndarray | None, view: View, paste: bool) -> np.ndarray:
    """float32 [S, S] of the view in 0..1: where the defect may be, and how much of the painted picture is taken over.

    Round the visible mask with a feathered margin where the image is put back; else, and without a mask, the patch.
    """
    alpha = np.zeros(view.pixels.shape[:2], np.float32)
    x, y = view.corner
    inside = alpha[y:y + view.side, x:x + view.side]
    if mask is None or not paste:
        inside[...] = 1
        return alpha if not paste else faded(alpha > 0)
    inside[...] = mask > VISIBLE
    reach = 2 * (MARGIN_PX + FEATHER_PX) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return faded(cv2.dilate(alpha, disc) > 0)


def allowed_in(box: Box, size: tuple[int, int]) -> np.ndarray:
    """float32 [H, W]: 1 in the box, falling to 0 a margin outside of it."""
    width, height = box[2] - box[0], box[3] - box[1]
    mask = np.zeros(size, bool)
    x, y = (max(round(MARGIN * side), 2) for side in (width, height))
    mask[max(box[1] - y, 0):box[3] + y, max(box[0] - x, 0):box[2] + x] = True
    return faded(mask)


def faded(mask: np.ndarray) -> np.ndarray:
    """1 deep in the mask, falling to 0 over its last FEATHER_PX."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.clip(distance / FEATHER_PX, 0, 1).astype(np.float32)


def difference_outside(clean: np.ndarray, made: np.ndarray, alpha: np.ndarray) -> float:
    """Mean absolute difference in grey levels where alpha is 0."""
    away = alpha == 0
    return float(np.abs(made[away].astype(np.int16) - clean[away]).mean()) if away.any() else 0.0
