"""A flexible circuit under the microscope: conductors, their grain, and what is on them but is no exposed copper."""
from dataclasses import dataclass

import cv2
import numpy as np

from .drawing import blurred, brushed, fill, patch_outline, slope, smooth_noise, stroke, turned

# A surface's colour by its brightness 0..1.3: rows of (brightness, R, G, B).
GOLD = ((0, 8, 0, 2), (0.15, 54, 14, 5), (0.35, 134, 58, 18), (0.55, 198, 118, 42), (0.75, 228, 176, 86),
        (1.0, 255, 236, 170), (1.3, 255, 255, 246))
ORANGE = ((0, 10, 0, 2), (0.15, 62, 14, 4), (0.35, 146, 52, 10), (0.55, 206, 104, 24), (0.75, 244, 172, 44),
          (1.0, 255, 226, 112), (1.3, 255, 252, 214))
PINK = ((0, 14, 4, 4), (0.15, 62, 30, 24), (0.35, 132, 80, 64), (0.55, 192, 134, 112), (0.75, 228, 178, 156),
        (1.0, 252, 220, 202), (1.3, 255, 248, 240))
BROWN = ((0, 8, 4, 2), (0.15, 34, 18, 10), (0.35, 72, 44, 26), (0.55, 112, 76, 48), (0.75, 150, 112, 78),
         (1.0, 196, 158, 118), (1.3, 236, 208, 170))
SURFACES = (((GOLD, ORANGE), 0.84), ((PINK, GOLD), 0.09), ((BROWN, GOLD), 0.07))     # its own colour, its tarnish
BRIGHTEST = 1.3


@dataclass(kw_only=True)
class Circuit:
    """The good circuit: colour float32 [H, W, 3] 0..255 before the camera, copper's cover float32 [H, W] 0..1, bool
    [H, W] where something lies that a defect must keep off, and the camera's light and noise."""
    colour: np.ndarray
    cover: np.ndarray
    confusers: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    blur_px: float
    exposure: float

    def expose(self, colour: np.ndarray) -> np.ndarray:
        """The photograph of a surface: uint8 [H, W, 3]."""
        seen = blurred(colour, self.blur_px) * self.light[..., None] + self.noise
        return np.clip(seen + 0.5, 0, 255).astype(np.uint8)


def draw_circuit(rng: np.random.Generator, size: tuple[int, int]) -> Circuit:
    """Draw one good circuit of `size` (width, height) px."""
    (table, tarnish), _ = SURFACES[rng.choice(len(SURFACES), p=[chance for _, chance in SURFACES])]
    exposure = float(rng.choice([rng.uniform(0.50, 0.66), rng.uniform(0.64, 0.84), rng.uniform(0.92, 1.12)],
                                p=[0.4, 0.4, 0.2]))
    plan, angle = _conductors(rng, size)
    confusers = np.zeros(plan.shape, np.uint8)
    _bite_borders(rng, plan)
    cover, rim = _rough(rng, size, plan)
    bright = _grain(rng, size, exposure, angle)
    _scratch(rng, size, bright, confusers)
    bright -= 0.22 * rim * (1 + 0.5 * smooth_noise(rng, size, 6))
    share = np.clip(rng.uniform(-0.3, 1.1) + rng.uniform(0, 0.7) * slope(rng, size)
                    + 0.15 * smooth_noise(rng, size, 40), 0, 1 if table is GOLD else 0.3)[..., None]
    colour = _toned(bright, table)
    colour += share * (_toned(bright, tarnish) - colour)
    film = _film(rng, size, cover)
    colour = film + cover[..., None] * (colour - film)
    _holes(rng, size, colour, cover, confusers)
    light = (1 + rng.uniform(0, 0.10) * slope(rng, size)).astype(np.float32)
    noise = rng.standard_normal((size[1], size[0], 3), np.float32) * np.float32([1.3, 1.0, 1.5])
    noise = cv2.GaussianBlur(noise, (3, 3), 0.7) * np.float32(rng.uniform(1.5, 4))
    return Circuit(colour=colour, cover=cover, confusers=confusers > 0, light=light, noise=noise,
                   blur_px=float(rng.uniform(0.35, 0.8)), exposure=exposure)


# ---- shapes

def _conductors(rng, size) -> tuple[np.ndarray, float]:
    """Copper uint8 [H, W] and the direction of the brushing, radians."""
    layer = np.zeros(size[::-1], np.uint8)
    lean = np.deg2rad(rng.normal(0, 4) if rng.random() < 0.8 else rng.uniform(-20, 20))
    upright = np.pi / 2 if rng.random() < 0.4 else 0
    draw = rng.choice([_bands, _stepped, _slotted], p=[0.62, 0.26, 0.12])
    draw(rng, size, layer, lean + upright)
    brushing = rng.choice([lean, lean + upright, rng.uniform(0, np.pi)])
    return layer, float(brushing)


def _bar(layer: np.ndarray, size, angle: float, x1: float, y1: float, x2: float, y2: float, value: int = 255) -> None:
    """A bar between two corners, in a frame through the picture's middle turned by `angle`."""
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    fill(layer, turned(corners, angle) + np.array(size) / 2, value)


def _bands(rng, size, layer, angle: float) -> None:
    """Parallel conductors, now and then with an end in the picture."""
    reach = np.hypot(*size)
    wide, gap = rng.uniform(26, 62), rng.uniform(11, 28)
    end = rng.uniform(-0.48, 0.48) * min(size) if rng.random() < 0.22 else reach
    place = -reach / 2 - rng.uniform(0, wide + gap)
    while place < reach / 2:
        stop = end + rng.normal(0, 1.5) if end < reach else reach
        _bar(layer, size, angle, -reach, place, stop, place + wide)
        place += wide + gap
    if end < reach and rng.random() < 0.5:                                # a frame beyond the ends
        _bar(layer, size, angle, end + rng.uniform(8, 20), -reach, reach, reach)


def _stepped(rng, size, layer, angle: float) -> None:
    """Wide conductors with tabs and steps, wide dark gaps between them."""
    reach = np.hypot(*size)
    place = -reach / 2 + rng.uniform(-60, 60)
    while place < reach / 2:
        wide = rng.uniform(42, 95)
        _bar(layer, size, angle, -reach, place, reach, place + wide)
        for _ in range(rng.integers(1, 4)):
            along, long, high = rng.uniform(-0.6, 0.6) * reach, rng.uniform(30, 80), rng.uniform(14, 50)
            if rng.random() < 0.5:
                _bar(layer, size, angle, along, place + wide - 2, along + long, place + wide + high)
            else:
                _bar(layer, size, angle, along, place - high, along + long, place + 2)
        place += wide + rng.uniform(40, 130)


def _slotted(rng, size, layer, angle: float) -> None:
    """A copper area with slots etched into it."""
    layer[:] = 255
    reach = np.hypot(*size)
    for _ in range(rng.integers(1, 4)):
        place, along = rng.uniform(-0.45, 0.45) * min(size), rng.uniform(-0.6, 0.3) * reach
        long = rng.uniform(0.3, 1.5) * reach
        _bar(layer, size, angle, along, place, along + long, place + rng.uniform(9, 30), 0)


def _bite_borders(rng, layer: np.ndarray) -> None:
    """Dark blots that hang on the borders of conductors."""
    height, width = layer.shape
    edges = np.argwhere(cv2.morphologyEx(layer, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0)
    if not len(edges):
        return
    for _ in range(rng.poisson(0.5 * height * width / 50_000)):
        y, x = edges[rng.integers(len(edges))]
        radii = rng.uniform(2.5, 8, 2)
        fill(layer, patch_outline(rng, np.array([x, y], float), radii, rng.uniform(0, np.pi), 0.16), 0)


def _rough(rng, size, layer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The etched cover 0..1 with its uneven border, and the darker rim along it 0..1."""
    soft = blurred(layer.astype(np.float32) / 255, 1.3)
    uneven = rng.uniform(0.07, 0.22) * soft * (1 - soft) * 4
    soft += uneven * (smooth_noise(rng, size, 2.4) + 0.4 * smooth_noise(rng, size, 12))
    cover = np.clip((soft - 0.5) * 2.6 + 0.5, 0, 1)
    rim = cover * (1 - np.clip((blurred(cover, rng.uniform(1.4, 2.8)) - 0.5) * 2, 0, 1))
    return cover, rim


# ---- surfaces

def _grain(rng, size, exposure: float, angle: float) -> np.ndarray:
    """Brightness of brushed, grainy metal, 0..about 1.3."""
    strength = rng.uniform(0.65, 1.15)
    along = rng.uniform(2.4, 6)
    brush = brushed(rng, size, along, rng.uniform(1.5, 2.2), angle)
    cross = brushed(rng, size, along, 1.7, angle + rng.choice([0.5, 0.9, np.pi / 2]))
    pits = np.clip(brush + 0.6 * cross - rng.uniform(0.4, 1.0), 0, 2.0)    # dark strokes between the bright grains
    fine = rng.standard_normal((size[1], size[0]), np.float32)
    bright = exposure * (1.04 + strength * (0.10 * brush + 0.08 * cross + 0.13 * fine - 0.30 * pits))
    bright *= 1 + 0.05 * smooth_noise(rng, size, rng.uniform(30, 90)) + rng.uniform(0.02, 0.16) * slope(rng, size)
    if rng.random() < 0.3:                                                # light and tarnished bands across
        band = brushed(rng, size, 400, rng.uniform(14, 40), angle + np.pi / 2)
        bright *= 1 + rng.uniform(0.06, 0.15) * band
    return bright.astype(np.float32)


def _toned(bright: np.ndarray, table: tuple) -> np.ndarray:
    rows = np.array(table, np.float32)
    steps = np.linspace(0, BRIGHTEST, 1024)
    colours = np.stack([np.interp(steps, rows[:, 0], rows[:, channel]) for channel in (1, 2, 3)], 1).astype(np.float32)
    return colours[np.clip(bright * (1023 / BRIGHTEST), 0, 1023).astype(np.int32)]


def _film(rng, size, cover: np.ndarray) -> np.ndarray:
    """The gaps: nearly black, or brownish in their middle."""
    dark = np.array([13, 2, 4]) * rng.uniform(0.3, 1.4)
    film = np.float32(dark) * (1 + 0.25 * smooth_noise(rng, size, 2.2))[..., None]
    if rng.random() < 0.3:
        middle = np.clip(1 - 2.2 * blurred(cover, 4.0), 0, 1) * rng.uniform(0.4, 1)
        brown = np.array([52, 26, 22]) * rng.uniform(0.5, 1.15)
        speckle = 1 + 0.25 * smooth_noise(rng, size, 2.0) + 0.15 * smooth_noise(rng, size, 1.2)
        film += middle[..., None] * (np.float32(brown) * speckle[..., None] - film)
    return np.maximum(film, 0).astype(np.float32)


def _scratch(rng, size, bright: np.ndarray, confusers: np.ndarray) -> None:
    """Scratches and rubbed places, darker or lighter."""
    for _ in range(rng.poisson(0.6 * size[0] * size[1] / 50_000)):
        layer = np.zeros(size[::-1], np.uint8)
        start, heading = rng.uniform(0, 1, 2) * size, rng.uniform(0, 2 * np.pi)
        turns = heading + np.cumsum(rng.normal(0, 0.09, rng.integers(6, 16)))
        way = start + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * rng.uniform(3, 7), 0)
        for copy in range(rng.choice([1, 1, 2, 5])):
            stroke(layer, way + rng.normal(0, 2.2 * (copy > 0), 2), rng.uniform(0.9, 2.4), int(rng.integers(110, 255)))
        depth = rng.uniform(0.2, 0.5) * (1 if rng.random() < 0.75 else -0.5)
        broken = np.clip(0.7 + 0.5 * smooth_noise(rng, size, 3), 0, 1)
        bright -= depth * broken * blurred(layer.astype(np.float32) / 255, 0.6)
        confusers |= layer


def _holes(rng, size, colour: np.ndarray, cover: np.ndarray, confusers: np.ndarray) -> None:
    """Round holes, black to their soft edge."""
    places = np.argwhere(cover > 0.99)
    if not len(places):
        return
    for _ in range(rng.poisson(0.3 * size[0] * size[1] / 50_000)):
        y, x = places[rng.integers(len(places))]
        radius, reach = rng.uniform(5, 12), 30
        top, left = max(y - reach, 0), max(x - reach, 0)
        window = (slice(top, y + reach), slice(left, x + reach))
        layer, place = np.zeros(cover[window].shape, np.uint8), colour[window]
        radii = (radius, radius * rng.uniform(0.9, 1))
        fill(layer, patch_outline(rng, np.array([x - left, y - top], float), radii, 0, 0.015))
        dark = blurred(layer.astype(np.float32) / 255, rng.uniform(1.0, 2.6)) * cover[window]
        halo = blurred(layer.astype(np.float32) / 255, 4.0) * cover[window]
        place += (0.45 * halo)[..., None] * (np.float32([58, 60, 26]) - place)
        place += dark[..., None] * (np.float32([5, 5, 4]) - place)
        confusers[window] |= (halo > 0.1).astype(np.uint8)
