"""What tears, pits, flash and missing material do to a rubber ring: each drawn at the middle of a window."""
import cv2
import numpy as np

from core.synthetic.fixed_noise import Window
from core.synthetic.oring_scene import Change, Ring, coordinates
from core.synthetic.texture import noise, ribbon, smooth_step, walk


def tear(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray) -> Change:
    """A ragged cut that gapes in the middle: dark within, one rough wall in the light, lips pushed up."""
    _, _, w, h = window
    scale = ring.section / 75
    middle = np.array([w, h]) / 2
    tangent = _tangent(ring, window)
    heading = tangent + rng.choice([0, np.pi / 2, np.pi / 4, -np.pi / 4], p=[0.4, 0.3, 0.15, 0.15]) + rng.normal(0, 0.2)
    length = scale * min(rng.uniform(28, 190), 1.7 * 75 if abs(np.sin(heading - tangent)) > 0.5 else 190)
    curve = walk(rng, length, heading, 0.35, 0.22, step_px=2.5)
    curve = curve - curve[len(curve) // 2] + middle
    along = np.linspace(0, 1, len(curve))
    gape = max(1.0, scale * rng.uniform(1.2, 7)) * np.sin(np.pi * along ** rng.uniform(0.6, 1.5)) ** 0.8
    ragged = np.clip(1 + 0.3 * rng.standard_normal(len(curve)), 0.4, 1.7)
    inside = ribbon((w, h), curve, np.clip(gape * ragged, 0.45, None))
    wall_side = rng.choice([-1, 1]) * gape.max() * 0.55
    wall = ribbon((w, h), curve, np.clip(gape * 0.55 * ragged, 0.3, None), offset_px=wall_side)
    lips = cv2.GaussianBlur(inside, (0, 0), 1.2 + 0.35 * gape.max())
    inside = inside * (np.abs(across) < 1 + 0.5 / ring.section)
    open_end = inside * smooth_step(np.abs(across), 0.86, 1.0) * (gape.max() > 2.5)
    return _change(window, relief=1.6 * lips * (1 - inside) * (1 + 0.4 * gape.max()) * 0.7, gone=open_end,
                   shade=inside * (0.9 - 0.75 * wall), torn=np.maximum(inside * 0.85, 0.35 * lips * (lips > 0.3)))


def pit(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray) -> Change:
    """A pin-hole or small cavity: black inside, its rim glinting where it leans towards a lamp."""
    _, _, w, h = window
    radius = 2.4 * (14 / 2.4) ** (rng.random() ** 1.4) * min(1.0, 0.5 + ring.section / 150)
    holes = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
    lean = np.clip(np.sqrt(np.clip(1 - _centre(ring, window)[0] ** 2, 0, 1)), 0.45, 1)      # seen from the side
    outward = _tangent(ring, window) - np.pi / 2
    y, x = np.mgrid[:h, :w].astype(np.float32)
    squeeze = ((x - w / 2) * np.cos(outward) + (y - h / 2) * np.sin(outward)) * (1 / lean - 1)
    x, y = x + squeeze * np.cos(outward), y + squeeze * np.sin(outward)
    depth = _nothing(window)
    for k in range(holes):
        cx, cy = np.array([w, h]) / 2 + (k > 0) * rng.normal(0, 9 + radius, 2)
        size = radius * (1 if k == 0 else rng.uniform(0.4, 0.8))
        c, s, stretch = *_unit(rng.uniform(0, np.pi)), rng.uniform(1, 1.6)
        distance = np.hypot(((x - cx) * c + (y - cy) * s) / stretch, (y - cy) * c - (x - cx) * s)
        edge = size * (1 + 0.2 * noise(rng, (w, h), max(1.2, size * 0.5))) - distance
        depth = np.maximum(depth, smooth_step(edge, -0.7, 0.7 + 0.4 * size))
    rim = cv2.GaussianBlur(depth, (0, 0), 1.6) * (1 - depth)
    deep = 0.93 if rng.random() < 0.75 or radius < 5 else rng.uniform(0.3, 0.6)
    inside = smooth_step(-np.abs(across), -1, -0.93)
    depth = depth * inside
    return _change(window, relief=(1.6 * rim - (1.2 + 0.3 * radius) * depth) * inside,
                   shade=deep * smooth_step(depth, 0.5, 1.0))


def flash(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray) -> Change:
    """Rubber squeezed out between the mould's halves: thin fins at a contour that let light through, or threads."""
    side, arc, scale = _side(ring, window), _arc(ring, window, angle), ring.section / 75
    beyond = (side * across - 1) * ring.section
    film = _nothing(window)
    if rng.random() < 0.75:
        span, extent = scale * rng.uniform(28, 250), max(3.0, scale * rng.uniform(4, 26))
        places = np.linspace(-1, 1, max(12, int(span / 2)))
        steps = ((5, 0.4), (max(4, int(span / 14)), 0.22), (max(4, int(span / 5)), 0.07))
        ragged = 0.65 + sum(np.interp(places, np.sort(rng.uniform(-1, 1, count)), rng.uniform(-depth, depth, count))
                            for count, depth in steps)
        ends = np.clip((1 - np.abs(places)) * rng.uniform(1.3, 5), 0, 1) ** 0.7
        reach_px = np.interp(arc, places * span / 2, extent * np.clip(ragged, 0.1, 1.2) * ends, left=-3, right=-3)
        fin = smooth_step(reach_px - beyond, -0.6, 0.9) * smooth_step(beyond, -2.5, -0.5)
        size = film.shape[::-1]
        folds = noise(rng, size, 2.2) + 0.7 * noise(rng, size, 7)
        thick = rng.uniform(0.22, 0.5) + 0.055 * folds + 0.3 * np.exp(-np.maximum(beyond, 0) / (0.35 * extent))
        thick = thick + rng.uniform(0.08, 0.35) * np.exp(-((reach_px - beyond - 1.2) / 1.1) ** 2)
        film = fin * np.clip(thick, 0.12, 0.93)
    if rng.random() < 0.4 or not film.any():
        for _ in range(rng.integers(1, 4)):
            film = np.maximum(film, _thread(rng, ring, window, side, scale))
    return _change(window, film=film)


def missing_material(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray,
                     angle: np.ndarray) -> Change:
    """A bite out of the cord: torn, with a rough broken face along it, or never filled, with a smooth round edge."""
    side, arc, size = _side(ring, window), _arc(ring, window, angle), (window[2], window[3])
    inward = (1 - side * across) * ring.section
    on_ring = inward > -0.5
    span = ring.section * rng.uniform(0.35, 2.2)
    depth = min(ring.section * rng.uniform(0.18, 1.3), 0.9 * span)
    broken = rng.random() < 0.65
    if broken:
        shape = np.clip(1 - np.abs(2 * arc / span) ** rng.uniform(1.8, 3.5), -1.5, 1)
        shape = shape + rng.uniform(-0.3, 0.3) * arc / span
    else:
        depth = min(depth, 0.32 * span)
        shape = 0.5 + 0.5 * np.cos(np.clip(2 * np.pi * arc / span, -np.pi, np.pi))
    edge = depth * shape - np.maximum(inward, 0)
    if broken:
        edge = edge + depth * 0.07 * noise(rng, size, 8) + 1.6 * noise(rng, size, 2.4) + 0.7 * noise(rng, size, 0.9)
    gone = smooth_step(edge, -0.7, 0.7) * (inward < 1.6 * ring.section) * (shape > 0.02)
    if broken:
        face = rng.uniform(3, 6) + rng.uniform(0.08, 0.35) * depth
        torn = on_ring * smooth_step(edge + face * (1 + 0.35 * noise(rng, size, 6)), -0.8, 1.0)
        rough = torn * (0.35 * noise(rng, size, 1.1) + 1.0 * noise(rng, size, 3))
        return _change(window, relief=rough, torn=torn * 0.9, gone=gone,
                       shade=0.25 * smooth_step(noise(rng, size, 4), 0.2, 1.4) * torn)
    lip = np.clip(1 + edge / (0.5 * ring.section), 0, 1) * np.clip(4 * shape, 0, 1)
    fall = 1 - np.sqrt(np.clip(1 - 0.9 * lip ** 2.5, 0, 1))
    return _change(window, relief=-0.3 * ring.section * fall, gone=gone, shade=0.05 * lip * on_ring)


DRAW = {"tear": tear, "pit": pit, "flash": flash, "missing_material": missing_material}


def _centre(ring: Ring, window: Window) -> tuple[float, float]:
    """Place across the cord, and angle, of the window's middle."""
    x, y, w, h = window
    across, angle = coordinates(ring, (x + w // 2, y + h // 2, 1, 1))
    return float(across[0, 0]), float(angle[0, 0])


def _side(ring: Ring, window: Window) -> int:
    return 1 if _centre(ring, window)[0] > 0 else -1


def _tangent(ring: Ring, window: Window) -> float:
    return _centre(ring, window)[1] + ring.turn + np.pi / 2


def _arc(ring: Ring, window: Window, angle: np.ndarray) -> np.ndarray:
    """Length along the ring from the window's middle, px."""
    return ((angle - _centre(ring, window)[1] + np.pi) % (2 * np.pi) - np.pi) * ring.radius


def _thread(rng: np.random.Generator, ring: Ring, window: Window, side: int, scale: float) -> np.ndarray:
    """One whisker of rubber that stands out from the contour, as density."""
    _, _, w, h = window
    outward = _tangent(ring, window) - np.pi / 2 + (0 if side > 0 else np.pi)
    curve = walk(rng, max(9.0, scale * rng.uniform(10, 55)), outward + rng.normal(0, 0.6), 1.1, 0.1, step_px=2)
    shift = _unit(outward + np.pi / 2) * rng.normal(0, 14 * scale) - 2 * _unit(outward)
    half = rng.uniform(0.5, 1.5) * np.linspace(1.3, 0.55, len(curve))
    return 0.85 * ribbon((w, h), curve + np.array([w, h]) / 2 + shift, half)


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _change(window: Window, **parts: np.ndarray) -> Change:
    """A change of the given parts alone."""
    return Change(**{name: parts[name].astype(np.float32) if name in parts else _nothing(window)
                     for name in Change.__annotations__})


def _nothing(window: Window) -> np.ndarray:
    return np.zeros((window[3], window[2]), np.float32)
