"""Defects of metal surfaces, each as a small picture of the change it makes to the light."""
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from core.synthetic.texture import blob, centred, lit, noise, ribbon, smooth_step, walk


@dataclass(frozen=True)
class Setting:
    """What a defect must know of its place: light and grain directions (radians), whether bright or dark marks show,
    the room for it (the picture's smaller side, px), and whether bright rub marks occur."""
    azimuth: float
    grain: float
    sign: int
    room_px: float
    rubbed: bool = False


def scratch(rng: np.random.Generator, setting: Setting) -> np.ndarray:
    """A thin tapered line, 1-3 px wide, 30-220 px long: a groove, and the lip beside it in the opposite tone."""
    if setting.rubbed and rng.random() < 0.45:
        return _rub(rng, setting)
    length = min(rng.uniform(30, 220) * rng.uniform(0.6, 1), 0.9 * setting.room_px)
    angle = setting.grain + rng.normal(0, 0.25) if rng.random() < 0.3 else rng.uniform(0, 2 * np.pi)
    bend = rng.choice([0.03, 0.2, 0.7], p=[0.5, 0.35, 0.15])
    main = walk(rng, length, angle, bend, 0.02)
    shifts = [np.zeros(2)] + [rng.uniform(2.5, 7) * k * np.array([-np.sin(angle), np.cos(angle)])
                              for k in range(1, rng.choice([1, 2, 3], p=[0.75, 0.17, 0.08]))]
    starts = [int(len(main) * rng.uniform(0, 0.3)) * (k > 0) for k in range(len(shifts))]
    curves, size = centred([main[start:] + shift for start, shift in zip(starts, shifts)])
    width = rng.uniform(1.0, 3.0)
    lip_side = rng.choice([-1, 1])
    change = np.zeros(size[::-1], np.float32)
    for weight, curve in zip((1, 0.7, 0.5), curves):
        along = np.linspace(0, 1, len(curve))
        taper = np.clip(np.minimum(along / rng.uniform(0.1, 0.5), (1 - along) / rng.uniform(0.04, 0.3)), 0.12, 1) ** 0.7
        half = width / 2 * taper * (1 + 0.2 * rng.standard_normal(len(curve)))
        groove = ribbon(size, curve, np.clip(half, 0.25, None))
        lip = ribbon(size, curve, np.clip(0.6 * half, 0.2, None), offset_px=lip_side * (width * 0.5 + 0.6))
        change += weight * (groove - rng.uniform(0.2, 0.6) * lip * (1 - groove))
    pressure = 0.85 + 0.3 * noise(rng, size, 9)
    skips = smooth_step(noise(rng, size, (3, 3)), *((-2.4, -1.4) if rng.random() < 0.6 else (-1.0, 0.3)))
    return setting.sign * change * np.clip(pressure, 0.4, 1.5) * (0.35 + 0.65 * skips)


def crack(rng: np.random.Generator, setting: Setting) -> np.ndarray:
    """A dark jittered line with branches that thin out, its walls catching a little light."""
    length = min(rng.uniform(35, 170), 0.8 * setting.room_px)
    angle = rng.uniform(0, 2 * np.pi)
    main = walk(rng, length, angle, 0.5, rng.uniform(0.25, 0.5), step_px=2.2)
    curves, widths = [main], [rng.uniform(1.1, 2.6)]
    for _ in range(rng.integers(0, 5)):
        parent = int(rng.integers(len(curves)))
        start = curves[parent][int(rng.integers(len(curves[parent]) // 5, len(curves[parent])))]
        turn = angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
        curves.append(start + walk(rng, length * rng.uniform(0.1, 0.4), turn, 0.5, 0.45, step_px=2.2))
        widths.append(widths[parent] * rng.uniform(0.5, 0.85))
    curves, size = centred(curves)
    cover = np.zeros(size[::-1], np.float32)
    edge = np.zeros_like(cover)
    for k, (curve, width) in enumerate(zip(curves, widths)):
        along = np.linspace(0, 1, len(curve))
        taper = np.clip((1 - along) * 2.2, 0.2, 1) * (np.clip(along * 6, 0.25, 1) if k == 0 else 1)
        half = width / 2 * taper * np.clip(1 + 0.35 * rng.standard_normal(len(curve)), 0.4, 1.8)
        cover = np.maximum(cover, ribbon(size, curve, np.clip(half, 0.3, None)))
        edge = np.maximum(edge, ribbon(size, curve + 1.2 * _direction(setting.azimuth + np.pi), half * 0.8))
    depth = np.clip(0.9 + 0.25 * noise(rng, size, 5), 0.45, 1.2)
    return -cover * depth + rng.uniform(0, 0.35) * edge * (1 - cover)


def stain(rng: np.random.Generator, setting: Setting) -> np.ndarray:
    """A flat discoloration, 6-40 px in radius, darker or lighter, the texture showing through; some dry to a rim."""
    radius = min(6 * (40 / 6) ** rng.random(), 0.2 * setting.room_px)
    stretch = rng.choice([1.0, rng.uniform(1, 2.2)])
    if setting.rubbed and rng.random() < 0.6:
        radius, stretch = 0.55 * radius, rng.uniform(1.8, 4.5)
    angle = setting.grain if rng.random() < 0.6 else rng.uniform(0, np.pi)
    field = blob(rng, radius, stretch, angle, rng.uniform(0.2, 0.75))
    soft = min(rng.uniform(3.0 if setting.rubbed else 1.0, 7.5), 0.35 * radius)
    cover = smooth_step(field, -soft, soft)
    size = field.shape[::-1]
    mottle = np.clip(0.85 + rng.uniform(0.06, 0.22) * noise(rng, size, max(2.0, radius * 0.3)), 0.5, 1.3)
    change = cover * mottle
    if rng.random() < 0.4:
        rim = np.exp(-((field - soft) / rng.uniform(1.2, 3)) ** 2)
        rim = rim * np.clip(0.6 + 0.4 * noise(rng, size, radius * 0.4), 0, 1)
        change = change * rng.uniform(0.5, 0.9) + 0.4 * rim
    if rng.random() < 0.3:
        drops = smooth_step(noise(rng, size, 1.3) + 0.06 * np.clip(field, -30, 4), 1.5, 2.1)
        change = np.maximum(change, 0.9 * drops * smooth_step(field, -0.35 * radius, 0))
    return change * (0.55 if setting.sign > 0 else -1)      # a bright film is fainter than dirt


def pit(rng: np.random.Generator, setting: Setting) -> np.ndarray:
    """A small hole, or a nest of them: dark inside, the wall and rim that face the light bright."""
    alone = rng.random() < 0.6
    count = 1 if alone else int(rng.integers(3, 12))
    spread = 0 if alone else rng.uniform(5, 18)
    radii = np.exp(rng.uniform(np.log(1.8), np.log(7.5 if alone else 3.6), count))
    centres = rng.normal(0, 1, (count, 2)) * spread * np.array([1, rng.uniform(0.4, 1)])
    _, size = centred([centres.astype(np.float32)], margin_px=24)
    centres = centres - centres.min(axis=0) + 24
    depth = np.zeros(size[::-1], np.float32)
    for (x, y), radius in zip(centres, radii):
        hole = blob(rng, radius, rng.uniform(1, 1.5), rng.uniform(0, np.pi), rng.uniform(0.15, 0.7))
        half, left, top = hole.shape[0] // 2, round(x), round(y)
        window = depth[max(0, top - half):top + half + 1, max(0, left - half):left + half + 1]
        y0, x0 = max(0, half - top), max(0, half - left)
        inside = hole[y0:y0 + window.shape[0], x0:x0 + window.shape[1]]
        np.maximum(window, smooth_step(inside, -0.9, 0.9 + 0.35 * radius) * min(1.0, 0.5 + radius / 6), out=window)
    rough = 1 + 0.15 * noise(rng, size, 0.8)
    walls = lit(-cv2.GaussianBlur(depth, (0, 0), 0.6), setting.azimuth) * 2.2
    lip = cv2.GaussianBlur(depth, (0, 0), 1.3) - depth
    return -depth * rough + np.clip(walls, -0.3, 0.55) + 0.5 * np.clip(lip * (1 + 2 * walls), 0, 0.5)


def wrinkle(rng: np.random.Generator, setting: Setting) -> np.ndarray:
    """A band of worm-like, roughly parallel ridges, each bright towards the light and dark behind."""
    length, breadth = min(rng.uniform(60, 210), 0.8 * setting.room_px), min(rng.uniform(20, 70), 0.32 * setting.room_px)
    angle = setting.grain + rng.choice([0, rng.normal(0, 0.3), np.pi / 2])
    side = 2 * int(np.hypot(length, breadth) / 2) + 21
    size = (side, side)
    y, x = np.mgrid[:side, :side].astype(np.float32) - side / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bow = rng.normal(0, 0.12) * (along / length) ** 2 * length
    inside = np.minimum(length / 2 - np.abs(along), breadth / 2 - np.abs(across - bow))
    inside = inside + 0.16 * breadth * noise(rng, size, 8)
    lean = angle + rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    count = int(length * breadth / rng.uniform(16, 60))
    starts = rng.uniform(-0.55, 0.55, (count, 2)) * (length, breadth)
    starts = starts @ np.stack([_direction(angle), _direction(angle + np.pi / 2)])
    worms = _worms(rng, side, starts + side / 2, lean, rng.uniform(0.15, 0.65))
    height = worms * smooth_step(inside, -2, rng.uniform(4, 14))
    slopes = lit(height, setting.azimuth)
    return 1.6 * slopes + 0.3 * (height - cv2.GaussianBlur(height, (0, 0), 3))


MARKS: dict[str, Callable[[np.random.Generator, Setting], np.ndarray]] = {
    "scratch": scratch, "crack": crack, "stain": stain, "pit": pit, "wrinkle": wrinkle}


def _rub(rng: np.random.Generator, setting: Setting) -> np.ndarray:
    """A rolling scratch: a bright ragged stripe along the strip, broken across by fine dark lines."""
    length = min(rng.uniform(60, 220), 0.9 * setting.room_px)
    curves, size = centred([walk(rng, length, setting.grain, 0.015, 0.01)])
    half = rng.uniform(0.7, 2.6) * np.clip(1 + 0.25 * rng.standard_normal(len(curves[0])), 0.4, 1.6)
    half = half * np.clip(np.minimum(np.linspace(0, 9, len(half)), np.linspace(9, 0, len(half))), 0.25, 1)
    stripe = ribbon(size, curves[0], half)
    ragged = 0.75 + 0.3 * noise(rng, size, (0.6, 2.5)) + 0.3 * noise(rng, size, (3, 12))
    ragged = ragged * (1 - 0.7 * smooth_step(noise(rng, size, (4, 0.8)), 1.4, 2.2))
    return abs(setting.sign) * stripe * np.clip(ragged, 0.15, 1.6)


def _worms(rng: np.random.Generator, side: int, starts: np.ndarray, angle: float, spread: float) -> np.ndarray:
    """Many short curved ridges round one direction, each its own height, float32 [side, side]."""
    canvas = np.zeros((side * 3, side * 3), np.uint8)
    count = len(starts)
    headings = angle + rng.normal(0, spread, count)
    turns, steps = rng.normal(0, 0.45, (count, 1)), rng.uniform(1.2, 4.2, count)
    heading = headings[:, None] + turns * np.arange(5)
    moves = steps[:, None, None] * np.stack([np.cos(heading), np.sin(heading)], axis=2)
    curves = starts[:, None] + np.cumsum(moves, axis=1)
    curves = np.round(curves * 48).astype(np.int32)
    for group in range(12):
        alike = list(curves[group::12])
        cv2.polylines(canvas, alike, False, 120 + 45 * (group % 4), 3 + group // 4, cv2.LINE_AA, shift=4)
    ridges = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return cv2.GaussianBlur(ridges, (0, 0), 0.7)


def _direction(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)], np.float32)
