"""A patch classifier at work on images of any size: a chance of a defect, and where it comes from."""
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.data.images import to_tensor
from core.metrics.calibration import chance

from .classify_networks import PatchClassifier
from .classify_settings import ClassifyConfig
from .foreground import foreground
from .fullimage import FrameConfig, tile_of, windows_on
from .merging import Window

HEAT = np.array((230, 30, 30), np.float32)         # colour of a sure defect on a picture
STRENGTH = 0.6                                      # of that colour


@dataclass(frozen=True)
class Judged:
    """What is said of an image.

    logits  of the patches at `windows`, not calibrated; chance: of the worst one, calibrated, 0..1
    heat    float32 [H, W], 0..1: the chance of each place on its own, 0 where no patch was looked at
    """
    logits: np.ndarray
    windows: tuple[Window, ...]
    chance: float
    heat: np.ndarray
    seconds: float


@dataclass(frozen=True)
class PatchJudge:
    """Judges images uint8 or uint16 [H, W, 3]."""
    network: PatchClassifier
    config: ClassifyConfig
    temperature: float
    device: torch.device

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray) -> Judged:
        began, tiles = time.perf_counter(), self.config.tiles
        frame = FrameConfig(tile_px=self.config.data.crop_px, overlap_px=tiles.overlap_px, foreground=tiles.foreground)
        part = foreground(pixels, tiles.foreground)
        windows = windows_on(part, pixels.shape[1::-1], frame)
        heat, logits = np.zeros(pixels.shape[:2], np.float32), []
        for start in range(0, len(windows), tiles.batch):
            now = windows[start:start + tiles.batch]
            batch = scaled([to_tensor(tile_of(pixels, window)) for window in now], self.config.network.side_px)
            found, places = self.network.eval()(batch.to(self.device))
            logits += found.float().cpu().tolist()
            for (x, y, width, height), spread in zip(now, places.float().cpu().numpy()):
                local = cv2.resize(chance(spread / self.temperature), (width, height), interpolation=cv2.INTER_LINEAR)
                there = heat[y:y + height, x:x + width]
                np.maximum(there, local[:there.shape[0], :there.shape[1]], out=there)
        worst = max(logits, default=-np.inf)
        return Judged(np.array(logits), tuple(windows), float(chance(np.float64(worst) / self.temperature)), heat,
                      round(time.perf_counter() - began, 4))


def scaled(patches: Sequence[Tensor], side_px: int) -> Tensor:
    """Patches [3, P, P] of one size -> float [N, 3, side, side], averaged where they shrink."""
    batch = torch.stack([torch.as_tensor(patch) for patch in patches])
    if batch.shape[-1] == side_px:
        return batch
    return functional.interpolate(batch, (side_px, side_px), mode="bilinear", antialias=True)


def heated(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] tinted by a heat map 0..1, always on the same scale."""
    alpha = STRENGTH * heat[..., None]
    return np.rint(pixels * (1 - alpha) + HEAT * alpha).astype(np.uint8)
