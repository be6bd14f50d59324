"""A rubber ring under an industrial camera: its shape, its light, its background, and the dust and oil on it.

Everything is a function of (ring, window): a window of the frame is drawn without the rest and comes out the same.
"""
from dataclasses import dataclass, field

import cv2
import numpy as np

from core.synthetic.fixed_noise import Window, slow, white
from core.synthetic.texture import ribbon, smooth_step, walk

BLUR_KERNEL_PX = 13
HALO_PX = 8             # what is drawn beyond a window, for blur and slopes


@dataclass(frozen=True, kw_only=True)
class Ring:
    """One photographed ring. Lengths in px of the frame, brightness of full scale, angles in radians."""
    key: int
    frame: tuple[int, int]
    centre: np.ndarray
    radius: float               # of the cord's middle line
    section: float              # half the cord's thickness
    flatness: float             # axis ratio: the ring seen a little from the side
    turn: float
    wobble: np.ndarray          # [K, 2]: amplitude as a share of the radius, phase; harmonics 2, 3, ...
    backlit: bool
    background: float
    shadow: np.ndarray          # where the shadow falls, px
    rubber: float
    band: np.ndarray            # [K, 3]: slope at which a lamp's reflex lies, its width, its strength
    lamp: np.ndarray            # [K, 2]: strength, direction of the harmonics 1, 2, ... of the ring light
    parting: float              # where the mould's halves met, -1..1 across the cord; 9 for out of sight
    rough: float                # slope of the fine texture
    vignetting: float
    blur_sigma_px: float
    noise_sigma: float
    specks: list = field(default_factory=list)      # (x, y, radius, stretch, angle, tone): dust
    fibres: list = field(default_factory=list)      # (points, half width, tone): lint
    sheens: list = field(default_factory=list)      # (angle, place across, half length px, half breadth, strength): oil


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a defect does to the ring within a window; every array float32 [H, W], 0 where nothing changes.

    relief  height in px      shade    share of the light lost in a hole       torn   cover of rough, broken rubber
    gone    cover of missing rubber      film   density of rubber film in front of the background
    """
    relief: np.ndarray
    shade: np.ndarray
    torn: np.ndarray
    gone: np.ndarray
    film: np.ndarray

    def cut(self, part: tuple[slice, slice]) -> "Change":
        return Change(**{name: value[part] for name, value in vars(self).items()})


def make_ring(rng: np.random.Generator, frame: tuple[int, int]) -> Ring:
    """Draw a ring that lies wholly in the frame, with its light and dirt."""
    side, scale = min(frame), min(frame) / 2048
    section = scale * rng.uniform(42, 112)
    radius = rng.uniform(0.23, 0.445) * side - section
    centre = np.array(frame) / 2 + rng.uniform(-0.03, 0.03, 2) * side
    backlit = bool(rng.random() < 0.55)
    harmonics = np.arange(2, 6)
    place, strength = rng.uniform(0.34, 0.7), rng.uniform(0.1, 0.42)
    band = np.array([[place, rng.uniform(0.04, 0.11), strength],
                     [place, rng.uniform(0.16, 0.3), strength * rng.uniform(0.15, 0.4)],
                     [rng.uniform(0.0, 0.25), rng.uniform(0.25, 0.5), rng.uniform(0.02, 0.1)]])
    ring = Ring(
        key=int(rng.integers(2 ** 31)), frame=frame, centre=centre, radius=radius, section=section,
        flatness=1 - rng.uniform(0, 0.035), turn=rng.uniform(0, np.pi),
        wobble=np.stack([rng.normal(0, 0.008, 4) / harmonics, rng.uniform(0, 2 * np.pi, 4)], axis=1),
        backlit=backlit, background=rng.uniform(0.74, 0.9) if backlit else rng.uniform(0.42, 0.66),
        shadow=scale * rng.uniform(-11, 11, 2), rubber=rng.uniform(0.06, 0.19), band=band,
        lamp=np.stack([rng.uniform(0, [0.5, 0.3, 0.12]), rng.uniform(0, 2 * np.pi, 3)], axis=1),
        parting=float(rng.choice([9, rng.choice([-1, 1]) * rng.uniform(0.15, 0.8)])), rough=rng.uniform(0.012, 0.05),
        vignetting=rng.uniform(0.06, 0.25), blur_sigma_px=rng.uniform(0.7, 1.5), noise_sigma=rng.uniform(0.005, 0.013))
    _add_dirt(rng, ring, scale)
    return ring


def ring_place(ring: Ring, angle: float, across: float) -> np.ndarray:
    """The frame's pixel (x, y) at `angle` along the ring and `across` the cord (-1 inner, 1 outer contour)."""
    rho = _middle(ring, np.float32(angle)) + across * ring.section
    flat = np.array([rho * np.cos(angle), rho * np.sin(angle) * ring.flatness])
    c, s = np.cos(ring.turn), np.sin(ring.turn)
    return ring.centre + np.array([c * flat[0] - s * flat[1], s * flat[0] + c * flat[1]])


def coordinates(ring: Ring, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the window: the place across the cord (-1 inner contour, 0 middle, 1 outer), and the angle."""
    x0, y0, w, h = window
    x = np.arange(x0, x0 + w, dtype=np.float32)[None] - np.float32(ring.centre[0])
    y = np.arange(y0, y0 + h, dtype=np.float32)[:, None] - np.float32(ring.centre[1])
    c, s = np.float32(np.cos(ring.turn)), np.float32(np.sin(ring.turn))
    along, off = c * x + s * y, (c * y - s * x) / np.float32(ring.flatness)
    rho, angle = cv2.cartToPolar(along, off)
    return (rho - _middle(ring, angle)) / np.float32(ring.section), angle


def draw_scene(ring: Ring, window: Window, change: Change | None = None) -> np.ndarray:
    """The light that leaves ring and background in the window, before the lens, float32 [H, W]."""
    across, angle = coordinates(ring, window)
    scene = _background(ring, window)
    shade = _contact_shadow(ring, window, across)
    if change is not None:
        shade *= 1 - cv2.GaussianBlur(change.gone, (0, 0), 3 + 0.05 * ring.section)
        scene *= 1 - change.film
    scene *= 1 - shade
    cover = np.clip((1 - np.abs(across)) * ring.section + 0.5, 0, 1)
    rows, cols = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if rows.size:
        part = slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, cols[0] - 1), cols[-1] + 2)
        height, width = scene[part].shape
        inner = (window[0] + part[1].start, window[1] + part[0].start, width, height)
        cut = None if change is None else change.cut(part)
        solid = cover[part] if cut is None else cover[part] * (1 - cut.gone)
        scene[part] += solid * (_rubber(ring, inner, across[part], angle[part], cut) - scene[part])
    _draw_dirt(ring, window, scene, across, cover)
    return scene


def photograph(ring: Ring, window: Window) -> np.ndarray:
    """The good ring's picture in the window, uint8 [H, W]: the same pixels for every window that holds them."""
    grown = _grown(window, HALO_PX)
    return expose(ring, grown, draw_scene(ring, grown))[HALO_PX:-HALO_PX, HALO_PX:-HALO_PX]


def expose(ring: Ring, window: Window, scene: np.ndarray) -> np.ndarray:
    """Vignetting, mild defocus, shot and read noise, 8 bits; uint8 [H, W]. The outer HALO_PX suffer from the border."""
    x0, y0, w, h = window
    x = (np.arange(x0, x0 + w, dtype=np.float32)[None] / ring.frame[0] - 0.5) * 2
    y = (np.arange(y0, y0 + h, dtype=np.float32)[:, None] / ring.frame[1] - 0.5) * 2
    light = cv2.GaussianBlur(scene, (BLUR_KERNEL_PX,) * 2, ring.blur_sigma_px)
    light *= 1 - ring.vignetting / 2 * (x * x + y * y)
    light += white(ring.key, 0, window) * ring.noise_sigma * np.sqrt(0.3 + 1.2 * np.clip(light, 0, 1))
    return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)


def _middle(ring: Ring, angle: np.ndarray) -> np.ndarray:
    """Radius of the cord's middle line: a soft ring is never quite round."""
    share = 1 + sum(np.float32(amplitude) * np.cos(np.float32(k + 2) * angle + np.float32(phase))
                    for k, (amplitude, phase) in enumerate(ring.wobble))
    return np.float32(ring.radius) * share


def _background(ring: Ring, window: Window) -> np.ndarray:
    """A light panel, or a matt grey plate."""
    drift, ripple = slow(ring.key, 1, window, ring.frame, 13), slow(ring.key, 2, window, ring.frame, 1.5)
    light = ring.background * (1 + 0.03 * drift + 0.003 * ripple)
    if not ring.backlit:
        light *= 1 + 0.03 * cv2.GaussianBlur(white(ring.key, 3, _grown(window, 4)), (5, 5), 0.9)[4:-4, 4:-4]
    return light.astype(np.float32)


def _contact_shadow(ring: Ring, window: Window, across: np.ndarray) -> np.ndarray:
    """Share of the light that the ring takes from the background close to it; hardly any over a light panel."""
    if ring.backlit:
        return 0.03 * np.exp(-np.maximum(np.abs(across) - 1, 0) * ring.section / 6)
    x, y, w, h = window
    shifted, _ = coordinates(ring, (round(x - ring.shadow[0]), round(y - ring.shadow[1]), w, h))
    cast = 0.15 * smooth_step(-np.abs(shifted), -1.18, -0.86)
    contact = 0.32 * np.exp(-np.maximum(np.abs(across) - 1, 0) * ring.section / (4 + 0.05 * ring.section))
    return 1 - (1 - cast) * (1 - contact)


def _rubber(ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray, change: Change | None) -> np.ndarray:
    """Dark matt rubber: little diffuse light, and the lamps' reflexes where the surface leans towards them."""
    grown = _grown(window, 8)
    grain = white(ring.key, 4, grown)
    fine = cv2.GaussianBlur(grain, (7, 7), 0.8)
    height = (fine * 3.0 + cv2.GaussianBlur(grain, (15, 15), 2.4) * 7.0) * ring.rough * 2
    height = height[8:-8, 8:-8]
    if abs(ring.parting) < 1:
        seam = (across - ring.parting) * ring.section
        height = height + 0.55 * np.exp(-(seam / 1.6) ** 2)
    if change is not None:
        height = height + change.relief
    lean_x = cv2.filter2D(height, -1, np.float32([[0.5, 0, -0.5]]), borderType=cv2.BORDER_REPLICATE)
    lean_y = cv2.filter2D(height, -1, np.float32([[0.5], [0], [-0.5]]), borderType=cv2.BORDER_REPLICATE)
    facing = angle + np.float32(ring.turn)
    lean_x += across * np.cos(facing)
    lean_y += across * np.sin(facing)
    slope, towards = cv2.cartToPolar(lean_x, lean_y)
    lamp = 1 + sum(np.float32(strength) * np.cos(np.float32(k + 1) * towards + np.float32(phase))
                   for k, (strength, phase) in enumerate(ring.lamp))
    lamp *= 1 + 0.12 * slow(ring.key, 5, window, ring.frame, 2)
    bright = sum(np.float32(strength) * np.exp(-((slope - np.float32(place)) / np.float32(width)) ** 2)
                 for place, width, strength in ring.band)
    level = np.sqrt(np.clip(1 - across * across, 0, 1))
    fine, patchy = fine[8:-8, 8:-8], slow(ring.key, 6, window, ring.frame, 1)
    diffuse = ring.rubber * (0.25 + 0.75 * level) * (1 + 0.3 * fine + 0.09 * patchy)
    light = diffuse + np.clip(lamp, 0.05, 2) * bright * _oil(ring, across, angle)
    light += (0.1 if ring.backlit else 0.04) * ring.background * np.clip((np.abs(across) - 0.86) / 0.14, 0, 1.1) ** 2
    if change is not None:
        broken = ring.rubber * 0.9 + 0.13 + 0.35 * fine * 0.6 + 0.10 * np.clip(lean_x + lean_y, -1, 1)
        light += change.torn * (np.clip(broken, 0.02, 0.6) - light)
        light *= 1 - change.shade
    return light


def _oil(ring: Ring, across: np.ndarray, angle: np.ndarray) -> np.ndarray | float:
    """Gain of the reflexes under smears of oil."""
    gain = 1.0
    for at, middle, length, breadth, strength in ring.sheens:
        chord_2 = (2 - 2 * np.cos(angle - np.float32(at))) * np.float32(ring.radius ** 2)
        if chord_2.min() < length ** 2:
            away = np.sqrt(chord_2 / np.float32(length ** 2) + ((across - middle) / breadth) ** 2)
            gain = gain + strength * smooth_step(-away, -1, -0.4)
    return gain


def _add_dirt(rng: np.random.Generator, ring: Ring, scale: float) -> None:
    frame = np.array(ring.frame)
    for _ in range(rng.integers(25, 140)):
        small = rng.exponential(0.9) + 0.6
        ring.specks.append((*(rng.random(2) * frame), min(small, 4.5), rng.uniform(1, 2.2), rng.uniform(0, np.pi),
                            rng.uniform(0.25, 0.9)))
    for _ in range(rng.integers(5, 30)):
        at = ring_place(ring, rng.uniform(0, 2 * np.pi), rng.uniform(-0.9, 0.9))
        ring.specks.append((*at, min(rng.exponential(0.6) + 0.6, 2.6), rng.uniform(1, 2), rng.uniform(0, np.pi),
                            rng.uniform(0.2, 0.7)))
    for _ in range(rng.integers(0, 8)):
        on_ring = rng.random() < 0.6
        at = ring_place(ring, rng.uniform(0, 2 * np.pi), rng.uniform(-0.9, 0.9)) if on_ring else rng.random(2) * frame
        curve = at + walk(rng, rng.uniform(25, 130) * max(scale, 0.4), rng.uniform(0, 2 * np.pi), 1.6, 0.08)
        ring.fibres.append((curve.astype(np.float32), rng.uniform(0.35, 0.8), rng.uniform(0.3, 0.75)))
    for _ in range(rng.integers(0, 4)):
        ring.sheens.append((rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6), rng.uniform(40, 260) * scale,
                            rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.9)))


def _draw_dirt(ring: Ring, window: Window, scene: np.ndarray, across: np.ndarray, cover: np.ndarray) -> None:
    """Dust and lint: dark before the light background, grey on the black rubber."""
    x0, y0, w, h = window
    marks = []
    for x, y, radius, stretch, angle, tone in ring.specks:
        half = int(2 * radius * stretch) + 3
        if not (-half <= x - x0 <= w + half and -half <= y - y0 <= h + half):
            continue
        left, top = round(x) - half, round(y) - half
        v, u = np.mgrid[:2 * half + 1, :2 * half + 1].astype(np.float32) - half
        u, v = u - np.float32(x - round(x)), v - np.float32(y - round(y))
        c, s = np.cos(angle), np.sin(angle)
        marks.append((left, top, tone * smooth_step(-np.hypot((u * c + v * s) / stretch, v * c - u * s), -radius - 0.7,
                                                    -radius + 0.7)))
    for points, half_width, tone in ring.fibres:
        low = np.floor(points.min(axis=0)).astype(int) - 4
        size = tuple(int(n) for n in np.ceil(points.max(axis=0)).astype(int) + 5 - low)
        if low[0] + size[0] < x0 or low[1] + size[1] < y0 or low[0] >= x0 + w or low[1] >= y0 + h:
            continue
        marks.append((int(low[0]), int(low[1]), tone * ribbon(size, points - low, half_width)))
    for left, top, alpha in marks:
        rows = slice(max(top - y0, 0), min(top - y0 + alpha.shape[0], h))
        cols = slice(max(left - x0, 0), min(left - x0 + alpha.shape[1], w))
        alpha = alpha[rows.start + y0 - top:rows.stop + y0 - top, cols.start + x0 - left:cols.stop + x0 - left]
        here = scene[rows, cols]
        colour = np.where(cover[rows, cols] > 0.5, 0.36, 0.3 * ring.background)
        here += alpha * (colour - here)


def _grown(window: Window, margin_px: int) -> Window:
    x, y, w, h = window
    return x - margin_px, y - margin_px, w + 2 * margin_px, h + 2 * margin_px
