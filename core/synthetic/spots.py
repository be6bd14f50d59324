"""Exposed copper: reddish-brown spots where the gold is missing, each with its soft halo."""
from dataclasses import dataclass

import cv2
import numpy as np

from .conductors import Circuit
from .drawing import blurred, fill, patch_outline, smooth_noise, stroke, turned

MARGIN_PX = 14                                # of a spot's window round its outline


@dataclass(kw_only=True)
class Layer:
    """Paint: colour float32 [h, w, 3] laid on with a cover float32 [h, w] 0..1."""
    colour: np.ndarray
    cover: np.ndarray


@dataclass(kw_only=True)
class Spot:
    """One spot within its window of the picture: its layers from the lowest up."""
    window: tuple[slice, slice]
    layers: list[Layer]

    def cover(self, shape: tuple[int, int]) -> np.ndarray:
        """How much of each pixel of the picture the spot covers, float32 [H, W] 0..1."""
        open_share = np.ones(self.layers[0].cover.shape, np.float32)
        for layer in self.layers:
            open_share *= 1 - layer.cover
        whole = np.zeros(shape, np.float32)
        whole[self.window] = 1 - open_share
        return whole

    def paint(self, colour: np.ndarray) -> None:
        """Lay the spot on a surface float32 [H, W, 3]."""
        place = colour[self.window]
        for layer in self.layers:
            place += layer.cover[..., None] * (layer.colour - place)


def draw_spot(rng: np.random.Generator, circuit: Circuit) -> Spot | None:
    """Draw one spot on a conductor; None where the place that was drawn is unfit."""
    height, width = circuit.cover.shape
    small = rng.random() < 0.2
    long = rng.uniform(4, 8) if small else rng.uniform(10, 22)
    radii = (long, long * rng.uniform(0.62, 1))
    at = rng.uniform(0, 1, 2) * (width, height)
    outlines = _outlines(rng, at, radii, small)
    points = np.concatenate(outlines)
    (x1, y1), (x2, y2) = np.floor(points.min(0)).astype(int) - MARGIN_PX, np.ceil(points.max(0)).astype(int) + MARGIN_PX
    if not _is_fit(circuit, points, at):
        return None
    size, corner = (int(x2 - x1), int(y2 - y1)), np.array([x1, y1])
    core = np.zeros(size[::-1], np.uint8)
    for outline in outlines:
        fill(core, outline - corner)
    layers = _specks(rng, size, core, circuit) if small else _patch(rng, size, core, circuit)
    window = (slice(max(y1, 0), min(y2, height)), slice(max(x1, 0), min(x2, width)))
    inner = (slice(window[0].start - y1, window[0].stop - y1), slice(window[1].start - x1, window[1].stop - x1))
    on_copper = circuit.cover[window]
    cut = [Layer(colour=layer.colour[inner], cover=layer.cover[inner] * on_copper) for layer in layers]
    return Spot(window=window, layers=cut)


def _outlines(rng, at: np.ndarray, radii: tuple[float, float], small: bool) -> list[np.ndarray]:
    """Roundish, two-lobed or ragged; for specks a few crumbs."""
    angle = rng.uniform(0, np.pi) if rng.random() < 0.5 else rng.normal(0, 0.2)
    if small:
        return [patch_outline(rng, at + rng.normal(0, 0.45 * radii[0], 2), rng.uniform(0.4, 0.8) * np.array(radii),
                              rng.uniform(0, np.pi), 0.22) for _ in range(rng.integers(2, 6))]
    kind = rng.random()
    if kind < 0.28:
        apart = turned(np.array([[0.48 * radii[0], rng.normal(0, 0.15) * radii[1]]]), angle)[0]
        shrink = 0.68 * np.array(radii) * [1, 1.2]
        return [patch_outline(rng, at + sign * apart, shrink * rng.uniform(0.85, 1.1), angle, 0.06) for sign in (-1, 1)]
    return [patch_outline(rng, at, radii, angle, 0.05 if kind < 0.82 else 0.10)]


def _is_fit(circuit: Circuit, points: np.ndarray, at: np.ndarray) -> bool:
    """Whether most of the outline lies in the picture and on copper, and its middle well on it."""
    height, width = circuit.cover.shape
    x, y = np.clip(points, 0, [width - 1, height - 1]).astype(int).T
    inside = ((points >= 1) & (points < [width - 1, height - 1])).all(1)
    on_copper = circuit.cover[y, x] > 0.8
    return bool(inside.mean() > 0.85 and on_copper.mean() > 0.75 and circuit.cover[int(at[1]), int(at[0])] > 0.9)


def _mottled(rng, size, tones: list) -> np.ndarray:
    """Copper's grain between three tones, dark to light."""
    level = 0.5 + 0.2 * smooth_noise(rng, size, 3.2) + 0.16 * smooth_noise(rng, size, 1.6) \
        + 0.1 * smooth_noise(rng, size, 9)
    level = np.clip(level, 0, 1)[..., None]
    dark, middle, light = (np.float32(tone) for tone in tones)
    return np.where(level < 0.5, dark + 2 * level * (middle - dark), middle + (2 * level - 1) * (light - middle))


def _ragged(rng, size, core: np.ndarray, soft_px: float, uneven: float, sharpness: float) -> np.ndarray:
    soft = blurred(core.astype(np.float32) / 255, soft_px) + uneven * smooth_noise(rng, size, 2.6)
    return np.clip((soft - 0.5) * sharpness + 0.5, 0, 1) * (blurred(core.astype(np.float32), 2.0) > 1)


def _patch(rng, size, core: np.ndarray, circuit: Circuit) -> list[Layer]:
    """Halo, now and then a near-black cap, the core, now and then a bright streak."""
    tone = rng.uniform(0.8, 1.15) * (0.85 + 0.25 * circuit.exposure)
    ring = 2 * int(rng.integers(1, 4)) + 1
    wide = cv2.dilate(core, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (ring, ring))).astype(np.float32) / 255
    shift = rng.normal(0, 0.9, 2)
    halo = blurred(np.roll(wide, np.round(shift).astype(int)[::-1], (0, 1)), rng.uniform(1.4, 2.4))
    grey = np.float32(np.array([60, 56, 34]) * tone * rng.uniform(0.6, 1.15))
    layers = [Layer(colour=grey * (1 + 0.16 * smooth_noise(rng, size, 2.2))[..., None],
                    cover=np.float32(rng.uniform(0.7, 0.92)) * np.clip(halo, 0, 1))]
    middle = _ragged(rng, size, core, rng.uniform(1.2, 1.8), 0.10, 1.6)
    if rng.random() < 0.3:
        layers.append(_cap(rng, size, core))
        middle *= 1 - 0.9 * layers[-1].cover
    reds = [np.array([58, 16, 10]), np.array([100, 34, 19]), np.array([142, 60, 38])]
    hue = rng.normal(1, [0.06, 0.10, 0.12])
    red = _mottled(rng, size, [red * tone * hue for red in reds])
    layers.append(Layer(colour=red, cover=middle * np.float32(0.96)))
    if rng.random() < 0.35:
        layers.append(_streak(rng, size, core))
    return layers


def _cap(rng, size, core: np.ndarray) -> Layer:
    """A near-black rim over one end of the spot."""
    x, y, wide, high = cv2.boundingRect(core)
    turn = rng.normal(-np.pi / 2, 0.5)
    away = turned(np.array([[0.5 * high * rng.uniform(0.75, 1.0), 0]]), turn)[0]
    patch = np.zeros_like(core)
    fill(patch, patch_outline(rng, np.array([x + wide / 2, y + high / 2]) + away, (0.42 * wide, 0.22 * high), 0, 0.08))
    within = np.clip(blurred(core.astype(np.float32) / 255, 2.0) * 2.5, 0, 1)
    cover = blurred(patch.astype(np.float32) / 255, 1.6) * within
    return Layer(colour=np.broadcast_to(np.float32([13, 14, 12]), (*core.shape, 3)), cover=0.95 * cover)


def _streak(rng, size, core: np.ndarray) -> Layer:
    """A thin bright reflex near the upper edge."""
    x, y, wide, high = cv2.boundingRect(core)
    half = turned(np.array([[0.5 * wide * rng.uniform(0.4, 0.8), 0]]), rng.normal(0, 0.08))[0]
    centre = np.array([x + wide / 2 + rng.normal(0, 0.08) * wide, y + high * rng.uniform(0.06, 0.28)])
    patch = np.zeros_like(core)
    stroke(patch, np.array([centre - half, centre + half]), rng.uniform(1.0, 2.0))
    broken = np.clip(0.75 + 0.6 * smooth_noise(rng, size, 4), 0, 1)
    pale = np.float32([232, 214, 190]) * rng.uniform(0.85, 1.08)
    return Layer(colour=np.broadcast_to(pale, (*core.shape, 3)), cover=broken * patch.astype(np.float32) / 255)


def _specks(rng, size, core: np.ndarray, circuit: Circuit) -> list[Layer]:
    """Crumbs of orange-red copper, hardly any halo."""
    tone = rng.uniform(0.85, 1.15) * (0.8 + 0.3 * circuit.exposure)
    middle = _ragged(rng, size, core, 0.7, 0.16, 2.0)
    shade = blurred(core.astype(np.float32) / 255, 1.8)
    reds = [np.array([72, 16, 10]), np.array([148, 44, 24]), np.array([206, 96, 50])]
    return [Layer(colour=np.broadcast_to(np.float32([84, 44, 22]) * tone, (*core.shape, 3)), cover=0.45 * shade),
            Layer(colour=_mottled(rng, size, [red * tone for red in reds]), cover=0.92 * middle)]
