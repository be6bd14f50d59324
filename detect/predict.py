"""A Mask R-CNN at work on tiles: what it finds on each, as pieces with their masks cut out."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.data.images import to_tensor
from core.data.shapes import crop_instance, tight
from core.metrics.detection import Scored

from .merging import Piece
from .networks import Detector


@dataclass(frozen=True)
class TileDetector:
    """Tiles uint8 or uint16 [H, W, 3] -> the pieces on each, best first; see detect.fullimage.Detector."""
    network: Detector
    classes: tuple[str, ...]
    device: torch.device

    @torch.inference_mode()
    def __call__(self, tiles: Sequence[np.ndarray]) -> list[list[Piece]]:
        self.network.eval()
        found = self.network([to_tensor(tile).to(self.device) for tile in tiles])
        return [self._pieces(one, tile.shape[:2]) for one, tile in zip(found, tiles)]

    def _pieces(self, found: dict[str, Tensor], size: tuple[int, int]) -> list[Piece]:
        pieces = []
        values = (found[name].float().cpu() for name in ("boxes", "labels", "scores", "masks"))
        for box, label, score, mask in zip(*values):
            crop, x, y = mask_crop(mask[0], box.tolist(), size)
            if crop.any():
                pieces.append(Piece(self.classes[int(label) - 1], float(score), *tight(crop, x, y)))
        return pieces


def mask_crop(mask: Tensor, box: Sequence[float], size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """A mask's chances [M, M] within a box -> its pixels on an image of (height, width), as torchvision pastes them.

    A ring of zeros is put round the mask, and the box grown by as much, so that the mask may end at its box.
    """
    side = mask.shape[-1]
    grow = (side + 2) / side
    x1, y1, x2, y2 = box
    half, middle = ((x2 - x1) * grow / 2, (y2 - y1) * grow / 2), ((x1 + x2) / 2, (y1 + y2) / 2)
    left, top = (int(middle[axis] - half[axis]) for axis in (0, 1))
    right, bottom = (int(middle[axis] + half[axis]) for axis in (0, 1))
    width, height = max(right - left + 1, 1), max(bottom - top + 1, 1)
    padded = functional.pad(mask, (1, 1, 1, 1))[None, None]
    full = functional.interpolate(padded, size=(height, width), mode="bilinear", align_corners=False)[0, 0] > 0.5
    u1, v1, u2, v2 = max(left, 0), max(top, 0), min(left + width, size[1]), min(top + height, size[0])
    cut = full[v1 - top:max(v2 - top, v1 - top), u1 - left:max(u2 - left, u1 - left)]
    return cut.numpy(), u1, v1


def scored(pieces: Sequence[Piece], size: tuple[int, int]) -> list[Scored]:
    """Pieces on an image of (width, height) as instances with scores."""
    return [Scored(crop_instance(piece.crop, piece.x, piece.y, size, piece.label), piece.score) for piece in pieces]
