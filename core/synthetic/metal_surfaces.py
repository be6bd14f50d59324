"""Defect-free metal surfaces in the light of an inspection camera: one function a style."""
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from core.synthetic.quilting import quilt
from core.synthetic.texture import noise, smooth_step, streaks


@dataclass(frozen=True)
class Surface:
    """A surface before the camera.

    light    float32 [H, W], 0..1 nominal (glare may pass 1)
    azimuth  direction the light comes from, radians, y down
    grain    direction of rolling or grinding, radians
    tint     RGB factors of the metal's colour, float32 [3] or [H, W, 3]; mean about 1
    part     bool [H, W]: pixels on the metal itself, where defects may lie
    rubbed   whether bright stripes along the grain occur on it, as rolls and guides leave them
    """
    light: np.ndarray
    azimuth: float
    grain: float
    tint: np.ndarray
    part: np.ndarray
    rubbed: bool = False


STEEL = np.array([[1.0, 1.0, 1.0], [1.03, 1.0, 0.95], [0.97, 1.0, 1.03], [1.08, 1.0, 0.86]], np.float32)
PAINT = np.array([[0.92, 1.0, 1.07], [0.95, 1.0, 1.05], [1.06, 1.01, 0.90], [1.10, 0.98, 0.92], [1.0, 1.0, 1.0],
                  [0.86, 0.97, 1.22]], np.float32)


def ground(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Surface-ground steel: short, fine, nearly parallel grinding lines, some coarser ones across the others."""
    grain = rng.uniform(0, np.pi)
    strength = rng.uniform(0.035, 0.075)
    lines = sum(streaks(rng, size, grain + rng.normal(0, 0.05), rng.uniform(12, 40), width) * weight
                for width, weight in ((0.45, 0.75), (0.7, 0.5), (1.6, 0.3)))
    lines = lines + 0.35 * np.expm1(np.clip(streaks(rng, size, grain + rng.normal(0, 0.08), 25, 0.5), 0, 2.5))
    light = _shading(rng, size, rng.uniform(0.4, 0.68)) * (1 + strength * lines + 0.02 * noise(rng, size, 0.5))
    light = _glare(rng, light, lines, grain, chance=0.35)
    return _whole(rng, light, grain)


def brushed(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Brushed sheet: long even lines in one direction, a broad sheen across them."""
    grain = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]) + rng.normal(0, 0.02)
    strength = rng.uniform(0.03, 0.075)
    lines = sum(streaks(rng, size, grain, length, width) * weight
                for length, width, weight in ((120, 0.4, 0.6), (60, 0.7, 0.55), (200, 2.5, 0.4), (15, 0.45, 0.45)))
    light = _shading(rng, size, rng.uniform(0.35, 0.75)) * (1 + strength * lines)
    light = light * (1 + rng.uniform(0.02, 0.07) * streaks(rng, size, grain, 400, rng.uniform(15, 40)))
    light = light * (1 + 0.018 * noise(rng, size, 0.4))
    light = _glare(rng, light, lines, grain, chance=0.3)
    return _whole(rng, light, grain)


def plain(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """The even surface of the first lessons in segmenting: broad clouds of shading, faint brushed lines, grain."""
    grain = rng.uniform(0, np.pi)
    clouds = rng.uniform(0.0125, 0.03) * noise(rng, size, rng.uniform(24, 48))      # 0.05 to 0.12 from dark to bright
    lines = rng.uniform(0.002, 0.008) * streaks(rng, size, grain, rng.uniform(40, 120), rng.uniform(0.5, 1.0))
    light = rng.uniform(0.35, 0.75) + clouds + lines + 0.006 * noise(rng, size, 0.6)
    return _whole(rng, light, grain)


def rolled(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Hot-rolled strip under a line of lamps: vertical bands of brightness and one of three grains."""
    kind = rng.choice(["rough", "smooth", "fibrous"])
    base = {"rough": rng.uniform(0.4, 0.68), "smooth": rng.uniform(0.2, 0.6), "fibrous": rng.uniform(0.42, 0.62)}[kind]
    bands = noise(rng, size, (rng.uniform(8, 30), 4000.0)) + 0.6 * noise(rng, size, (3.0, 300.0))
    light = _shading(rng, size, base) * (1 + rng.uniform(0.02, 0.07) * bands)
    if kind == "rough":
        grain = noise(rng, size, 0.55) + 0.5 * streaks(rng, size, rng.uniform(0.9, 2.2), 2.5, 0.5) \
            + 0.25 * noise(rng, size, (6, 12)) + 0.4 * noise(rng, size, (0.5, 2.5))
        light = light * (1 + rng.uniform(0.13, 0.22) * grain / 1.3)
        light = light * (1 - 0.35 * smooth_step(noise(rng, size, 1.6) + 0.5 * noise(rng, size, 12), 2.1, 3.2))
    elif kind == "smooth":
        mottle = 0.6 * noise(rng, size, 9) + 0.5 * noise(rng, size, (4, 12)) + 0.5 * noise(rng, size, (0.7, 60))
        light = light * (1 + 0.022 * mottle + rng.uniform(0.02, 0.045) * noise(rng, size, (0.9, 0.6)))
    else:
        fibres = streaks(rng, size, rng.normal(0.08, 0.05), 2.6, 0.6) + 0.7 * noise(rng, size, 0.6) \
            + 0.25 * noise(rng, size, (12, 5))
        light = light * (1 + rng.uniform(0.045, 0.08) * fibres)
    return _whole(rng, light, np.pi / 2, rubbed=True)


def tile(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Ground magnetic tile: dense broken vertical lines, a few glaring ones, light that falls off round its curve."""
    width, height = size
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    fine = noise(rng, size, (0.45, rng.uniform(15, 50)))
    pitch = np.sin(np.cumsum(rng.uniform(1.3, 2.1) + 0.25 * rng.standard_normal(width)).astype(np.float32))[None]
    lines = fine + 0.4 * pitch + 0.25 * noise(rng, size, (1.4, 120)) + 0.25 * noise(rng, size, (8, 600))
    rare = np.where(rng.random(width) < 0.05, rng.gamma(1.5, 1.0, width), 0).astype(np.float32)
    broken = smooth_step(noise(rng, size, (0.8, 12)) + 0.8 * noise(rng, size, (20, 60)), -0.6, 1.2)
    rare = cv2.GaussianBlur(rare[None] * broken, (3, 1), 0.55, sigmaY=0.1)
    speckle = 0.8 * noise(rng, size, (0.4, 0.7)) + 0.5 * np.expm1(np.clip(noise(rng, size, 0.5), 0, 3)) - 0.3
    light = _shading(rng, size, rng.uniform(0.25, 0.58))
    light = light * np.clip(1 - rng.uniform(0, 0.45) * (x - rng.uniform(-0.5, 0.5)) ** 2, 0.2, 1)
    light = light * (1 + rng.uniform(0.06, 0.12) * lines + rng.uniform(0.06, 0.11) * speckle)
    light = light + rng.uniform(0.1, 0.22) * rare * (light / 0.4)
    light = _glare(rng, light, lines + 2 * rare, np.pi / 2, chance=0.4)
    light = _handled(rng, light)
    part = np.ones((height, width), bool)
    if rng.random() < 0.35:
        light, part = _tile_edge(rng, light)
    return Surface(light, rng.choice([0, np.pi]) + rng.normal(0, 0.5), np.pi / 2, STEEL[0], part)


def aluminium(rng: np.random.Generator, size: tuple[int, int]) -> Surface:
    """Coated aluminium profile: orange-peel sparkle, long ridges and grooves, each face with its own sheen, colour."""
    width, height = size
    angle = rng.choice([0, np.pi / 2, rng.uniform(-0.35, 0.35)]) + rng.normal(0, 0.015)
    azimuth = angle + np.pi / 2 + np.pi * rng.integers(2) + rng.normal(0, 0.3)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across = (y - height / 2) * np.cos(angle) - (x - width / 2) * np.sin(angle)
    bumps = noise(rng, size, rng.uniform(0.65, 1.2))
    peel = cv2.filter2D(bumps, -1, _slope_kernel(azimuth)) + 0.4 * noise(rng, size, 0.6)
    light = _shading(rng, size, rng.uniform(0.42, 0.7)) * (1 + rng.uniform(0.03, 0.09) * peel / peel.std())
    light = light * (1 + rng.uniform(0.02, 0.075) * noise(rng, size, 0.5))
    sparkle = np.maximum(noise(rng, size, 0.55) - 2.1, 0)
    for edge in np.cumsum(rng.uniform(24, 130, 8)) - rng.uniform(150, 330):
        light = _ridge(rng, light, across - edge)
    light = light * (1 + 0.6 * sparkle * rng.uniform(0, 1))
    band = np.exp(-((across - rng.uniform(-0.5, 0.5) * height) / rng.uniform(12, 60)) ** 2)
    light = light * (1 + rng.uniform(0, 0.5) * band * (1 + 0.35 * peel / peel.std()))
    tint = PAINT[rng.integers(len(PAINT))]
    return Surface(light.astype(np.float32), azimuth, angle, tint, np.ones((height, width), bool))


def quilted(rng: np.random.Generator, size: tuple[int, int], textures: Path) -> Surface:
    """The material of real pictures in another light; see quilting."""
    pixels = quilt(rng, size, textures)
    light = pixels.mean(axis=2)
    tint = pixels / np.maximum(light, 0.02)[..., None]
    slopes = [cv2.Sobel(cv2.GaussianBlur(light, (0, 0), 1), cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]
    across = 0.5 * np.arctan2(2 * (slopes[0] * slopes[1]).mean(), (slopes[0] ** 2 - slopes[1] ** 2).mean())
    shaded = light * _shading(rng, size, 1.0) * rng.uniform(0.8, 1.2)
    return replace(_whole(rng, shaded, float(across) + np.pi / 2), tint=tint.clip(0, 3).astype(np.float32))


MIXED = {"ground": ground, "brushed": brushed, "rolled": rolled, "tile": tile, "aluminium": aluminium}
STYLES = {**MIXED, "plain": plain}      # plain where it is asked for alone


def _whole(rng: np.random.Generator, light: np.ndarray, grain: float, rubbed: bool = False) -> Surface:
    azimuth = grain + np.pi / 2 + np.pi * rng.integers(2) + rng.normal(0, 0.4)
    tint = STEEL[rng.integers(len(STEEL))]
    return Surface(light.astype(np.float32), azimuth, grain, tint, np.ones(light.shape, bool), rubbed)


def _shading(rng: np.random.Generator, size: tuple[int, int], base: float) -> np.ndarray:
    """Uneven light: a slope, broad clouds and falling-off corners."""
    y, x = np.mgrid[-1:1:complex(0, size[1]), -1:1:complex(0, size[0])].astype(np.float32)
    direction, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.22)
    clouds = noise(rng, size, rng.uniform(24, 48))
    light = 1 + slope * (x * np.cos(direction) + y * np.sin(direction)) + rng.uniform(0.03, 0.09) * clouds
    return (base * light * (1 - rng.uniform(0, 0.16) * (x * x + y * y))).astype(np.float32)


def _glare(rng: np.random.Generator, light: np.ndarray, lines: np.ndarray, grain: float, chance: float) -> np.ndarray:
    """A reflex of the lamp: an elongated bright patch in which the lines flare up."""
    if rng.random() > chance:
        return light
    height, width = light.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - rng.uniform(0, width), y - rng.uniform(0, height)
    along, across = x * np.cos(grain) + y * np.sin(grain), y * np.cos(grain) - x * np.sin(grain)
    long, broad = rng.uniform(60, 220), rng.uniform(20, 80)
    reflex = np.exp(-(along / long) ** 2 - (across / broad) ** 2)
    return light + rng.uniform(0.08, 0.35) * reflex * np.clip(1 + 0.5 * lines, 0, None)


def _handled(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """What grinding fluid and fingers leave on a good tile: faint smudges, dried edges, sometimes a change of pass."""
    size = light.shape[::-1]
    cloud = noise(rng, size, 11) + 0.5 * noise(rng, size, 3)
    light = light * (1 - rng.uniform(0.02, 0.1) * smooth_step(cloud, 0.7, 2.0))
    dried = np.exp(-((noise(rng, size, 22) - 0.9) / 0.035) ** 2) * smooth_step(noise(rng, size, 14), -0.2, 1.2)
    light = light * (1 - rng.uniform(0.0, 0.16) * dried)
    if rng.random() < 0.15:
        y = np.arange(size[1], dtype=np.float32)[:, None] + rng.normal(0, 0.03) * np.arange(size[0])[None]
        light = light * (1 + rng.uniform(-0.16, 0.2) * smooth_step(y - rng.uniform(0.2, 0.8) * size[1], -0.7, 0.7))
    return light.astype(np.float32)


def _tile_edge(rng: np.random.Generator, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Let the tile end near the left or right border: a chamfer, one bright rim, dark behind it."""
    height, width = light.shape
    x = np.arange(width, dtype=np.float32)[None] + np.linspace(0, rng.normal(0, 4), height, dtype=np.float32)[:, None]
    inside = x - rng.uniform(4, 0.14 * width)
    if rng.random() < 0.5:
        inside = inside[:, ::-1]
    wobble = noise(rng, (width, height), (2, 5))
    chamfer = np.exp(-((inside - 6) / 2.2) ** 2) * rng.uniform(0.1, 0.6) * (1 + 0.6 * wobble)
    face = smooth_step(inside + 0.5 * wobble, -1.0, 1.0)
    light = light * (1 + chamfer) * (1 - 0.4 * np.exp(-((inside - 11) / 3) ** 2))
    return (face * light + (1 - face) * rng.uniform(0.04, 0.09)).astype(np.float32), inside > 16


def _ridge(rng: np.random.Generator, light: np.ndarray, distance_px: np.ndarray) -> np.ndarray:
    """One long feature of a profile: a change of face with a bright edge, a groove, or a thin scored line."""
    kind = rng.choice(["face", "groove", "line"], p=[0.45, 0.3, 0.25])
    bright, dark = rng.uniform(0.12, 0.55), rng.uniform(0.25, 0.7)
    if kind == "face":
        light = light * (1 + rng.uniform(-0.16, 0.16) * smooth_step(distance_px, -1, 1))
        return light * (1 + bright * np.exp(-(distance_px / rng.uniform(0.9, 1.8)) ** 2))
    if kind == "groove":
        half = rng.uniform(1.5, 4.5)
        light = light * (1 - dark * (1 - smooth_step(np.abs(distance_px), half - 1, half + 1)))
        return light * (1 + bright * np.exp(-((distance_px - half - 1.5) / 1.3) ** 2))
    return light * (1 + rng.choice([-0.5, 0.6]) * bright * np.exp(-(distance_px / 0.8) ** 2))


def _slope_kernel(azimuth: float) -> np.ndarray:
    kernel = np.zeros((3, 3), np.float32)
    kernel[1] += np.float32([1, 0, -1]) * np.cos(azimuth)
    kernel[:, 1] += np.float32([1, 0, -1]) * np.sin(azimuth)
    return kernel
