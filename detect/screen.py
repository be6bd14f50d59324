"""A fitted model of good images with its thresholds: score, verdict and findings of any image."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from core import checkpoint
from core import config as configs
from core.errors import CheckpointError
from core.visualise import shown, white_point

from .anomaly import FromGood, conformal_threshold
from .anomaly_data import part_mask, prepared
from .anomaly_settings import AnomalyConfig, ThresholdConfig
from .defect_network import DefectNetwork
from .efficientad import EfficientAD
from .fastflow import FastFlow
from .feature_sources import build
from .padim import Padim
from .patchcore import PatchCore

KINDS: dict[str, type[FromGood]] = {"patchcore": PatchCore, "padim": Padim, "fastflow": FastFlow,
                                    "efficientad": EfficientAD}
MEMORY = "memory.pt"


@dataclass(frozen=True)
class Limits:
    """Where good ends, from held-out good images.

    image   a score above it is an anomaly
    pixel   so is what lies above it on a map
    middle  median of good maps: what is shown as nothing
    scores  of the held-out good images, in order
    """
    image: float
    pixel: float
    middle: float
    scores: tuple[float, ...]

    @classmethod
    def of(cls, scores: Sequence[float], maps: Sequence[np.ndarray], config: ThresholdConfig) -> "Limits":
        """DataError: too few of them for so few false alarms."""
        return cls(conformal_threshold(scores, config.false_alarms),
                   conformal_threshold([float(one.max()) for one in maps], config.false_alarms),
                   float(np.median([np.median(one) for one in maps])), tuple(sorted(scores)))

    def p_value(self, score: float) -> float:
        """Chance that a good image scores as high, at most (conformal p-value)."""
        return (1 + sum(other >= score for other in self.scores)) / (len(self.scores) + 1)


@dataclass(frozen=True)
class Finding:
    """A part of a map above the pixel threshold: box x1, y1, x2, y2 exclusive, in px of the image."""
    box: tuple[int, int, int, int]
    area_px: int
    highest: float


@dataclass(frozen=True)
class Screened:
    """One image's score, its map float32 [H, W] at the image's size, and whether it is rejected."""
    score: float
    map: np.ndarray
    rejected: bool
    p_value: float


@dataclass(frozen=True)
class Screen:
    model: FromGood
    config: AnomalyConfig
    limits: Limits
    device: torch.device

    def __call__(self, pixels: np.ndarray) -> Screened:
        """Judge an image, uint8 or uint16 [H, W, 3]."""
        score, found = scored(self.model, self.config, pixels, self.device)
        return Screened(score, found, score > self.limits.image, self.limits.p_value(score))

    def findings(self, found: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
        """What of a map is above the pixel threshold, bool [H, W], and its parts, the highest first."""
        return above(found, self.limits.pixel, self.config.threshold.minimum_px)


def scored(model: FromGood, config: AnomalyConfig, pixels: np.ndarray,
           device: torch.device) -> tuple[float, np.ndarray]:
    """Score and map float32 [H, W] of an image."""
    image = prepared(pixels, config.data, model.features.light).to(device)
    mask = part_mask(pixels, config.data, image.shape[1:])
    score, found = model.whole(image, None if mask is None else mask.to(device), config.data.tile_px)
    return score, at_size(found, pixels.shape[1::-1])


def at_size(found: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A map at an image's size (width, height)."""
    made = found.float().cpu().numpy()
    return made if made.shape[::-1] == tuple(size) else cv2.resize(made, size, interpolation=cv2.INTER_LINEAR)


def above(found: np.ndarray, limit: float, minimum_px: int) -> tuple[np.ndarray, list[Finding]]:
    count, parts, stats, _ = cv2.connectedComponentsWithStats((found > limit).astype(np.uint8), connectivity=8)
    kept = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= minimum_px]
    findings = []
    for number in kept:
        x, y, width, height, area = stats[number].tolist()
        here = parts[y:y + height, x:x + width] == number
        findings.append(Finding((x, y, x + width, y + height), area,
                                float(found[y:y + height, x:x + width][here].max())))
    return np.isin(parts, kept), sorted(findings, key=lambda one: (-one.highest, one.box))


def load(run: Path, overrides: Sequence[str], device: torch.device) -> Screen:
    """The model of a finished run. CheckpointError: there is none, or its weights are not those it was fitted with."""
    config = configs.load(AnomalyConfig, run / "config.yaml", overrides)
    if not (run / MEMORY).is_file():
        raise CheckpointError(f"{run}: holds no {MEMORY}, which says what is good. Run the training's command again")
    own = None
    if config.learns == "features":
        own = DefectNetwork(config.train.widths)
        checkpoint.load_part(_newest(run), "module/features", own)
    features = build(config.features, device, own, config.loop.seed)
    model, beside = KINDS[config.model.name].load(run / MEMORY, features)
    limits = Limits(**{**beside, "scores": tuple(beside["scores"])})
    if any(override.split("=")[0].startswith("threshold.") for override in overrides):
        limits = Limits(conformal_threshold(limits.scores, config.threshold.false_alarms), limits.pixel, limits.middle,
                        limits.scores)
    return Screen(model.to(device).eval(), config, limits, device)


def _newest(run: Path) -> Path:
    paths = checkpoint.found(run)
    if not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    return paths[-1]


def picture(pixels: np.ndarray, found: np.ndarray, limits: Limits) -> np.ndarray:
    """The image with its map in colour over it, uint8 [H, W, 3]; the scale is that of the good images, for all alike:
    nothing at their median, full at twice the pixel threshold."""
    seen = shown(pixels, white_point([pixels])).astype(np.float32)
    strength = ((found - limits.middle) / max(2 * limits.pixel - limits.middle, 1e-9)).clip(0, 1)
    colours = cv2.applyColorMap(np.rint(255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (1.5 * strength).clip(0, 0.75)[..., None]
    return np.rint(seen * (1 - share) + colours * share).astype(np.uint8)


def outlined(pixels: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A copy with the mask's outline, 1 px in small images and more in large ones."""
    made = np.ascontiguousarray(shown(pixels, white_point([pixels]))).copy()
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(made, rings, -1, colour, max(1, max(mask.shape) // 600))
    return made
