"""Pictures brought to one size for a feature extractor, in ways that are named because figures depend on them."""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import ConfigError, did_you_mean
from .image import Picture, to_unit

# Parmar et al. 2022 ("On aliased resizing"): figures made with different ones cannot be compared.
RESIZES = {
    "clean": "bicubic with antialiasing on floats, as Pillow's filter: the one to use",
    "legacy_pytorch": "bilinear without antialiasing, half-pixel centres: pytorch-fid",
    "legacy_tensorflow": "bilinear without antialiasing, TensorFlow 1's corners: the first FID code, torch-fidelity",
}


def resized(pictures: Sequence[Picture], side: int, mode: str = "clean") -> torch.Tensor:
    """Pictures of any sizes (as in core/metrics/image.py) -> float32 [N, 3, side, side] in 0..1."""
    if mode not in RESIZES:
        raise ConfigError(f"resize: no such mode, got '{mode}'. {did_you_mean(mode, RESIZES)}One of "
                          f"{', '.join(RESIZES)}")
    if not len(pictures):
        return torch.zeros(0, 3, side, side)
    return torch.cat([_one(to_unit(picture, f"picture {i}"), side, mode) for i, picture in enumerate(pictures)])


def _one(picture: np.ndarray, side: int, mode: str) -> torch.Tensor:
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(0, 3, 1, 2), np.float32)).expand(-1, 3, -1, -1)
    if planes.shape[-2:] == (side, side):
        return planes.clone()
    if mode == "legacy_tensorflow":
        return _tensorflow(planes, side)
    if mode == "legacy_pytorch":
        return F.interpolate(planes, (side, side), mode="bilinear", align_corners=False)
    return F.interpolate(planes, (side, side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def _tensorflow(planes: torch.Tensor, side: int) -> torch.Tensor:
    """Row i of the result is taken at i * (rows / side): the first row stays in its place, the last does not."""
    for axis in (-2, -1):
        length = planes.shape[axis]
        place = torch.arange(side, dtype=torch.float32) * (length / side)
        low = place.long().clamp(max=length - 1)
        share = (place - low).reshape((-1, 1) if axis == -2 else (-1,))
        first, second = planes.index_select(axis, low), planes.index_select(axis, (low + 1).clamp(max=length - 1))
        planes = first + (second - first) * share
    return planes
