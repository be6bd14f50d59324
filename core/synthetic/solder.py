"""Tinned pads and their holes, lit from one side."""
import numpy as np

from .drawing import smooth_noise
from .looks import Look


class Solder:
    """One pad's own solder: where it lies in the picture, its noise, its light."""

    def __init__(self, pad, look: Look, angle: float, rng: np.random.Generator):
        self.pad, self.look, self.angle = pad, look, angle
        reach = np.hypot(*pad.size) / 2 + 3
        x1, y1 = np.floor(pad.at - reach).astype(int)
        x2, y2 = np.ceil(pad.at + reach).astype(int)
        self.box = (int(x1), int(y1), int(x2), int(y2))
        size = (self.box[2] - self.box[0], self.box[3] - self.box[1])
        least = min(pad.size)
        self.coarse = smooth_noise(rng, size, max(0.24 * least, 3))
        self.fine = smooth_noise(rng, size, max(0.05 * least, 1.3))
        self.tone = 1 + 0.06 * rng.normal()
        self.light = np.arctan2(look.light[1], look.light[0]) + 0.3 * rng.normal()
        self.phase = rng.uniform(0, 2 * np.pi)
        self.reflexes = look.reflexes * np.clip(1 + 0.3 * rng.normal(size=2), 0, 1.6)
        self.glints = [(rng.uniform(-0.8, 0.8), rng.uniform(-0.6, 0.6), look.gloss * rng.uniform(0, 0.6))
                       for _ in range(rng.integers(1, 3))] if not pad.hole else []
        self.hole_shift = rng.normal(0, 0.03 * least, 2)
        self.kept: dict[bool, tuple[np.ndarray, np.ndarray]] = {}

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates along the pad's own axes, px from its centre."""
        x1, y1, x2, y2 = self.box
        x = np.arange(x1, x2, dtype=np.float32)[None, :] + np.float32(0.5 - self.pad.at[0])
        y = np.arange(y1, y2, dtype=np.float32)[:, None] + np.float32(0.5 - self.pad.at[1])
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return x * cosine + y * sine, y * cosine - x * sine

    def hole_cover(self) -> np.ndarray:
        """The hole's share of each pixel of the box, float32 0..1."""
        u, v = self.grid()
        return np.clip(self.hole_inside(u, v) + 0.5, 0, 1)

    def hole_inside(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self.pad.hole / 2 - np.hypot(u - np.float32(self.hole_shift[0]), v - np.float32(self.hole_shift[1]))


def solder_patch(solder: Solder, drilled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (RGB float32 [h, w, 3], cover float32 [h, w]) of a pad's box; drawn once, then remembered."""
    if drilled not in solder.kept:
        solder.kept[drilled] = _flat(solder) if not solder.pad.hole else _ring(solder, drilled)
    return solder.kept[drilled]


def _inside(solder: Solder, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distance to the pad's edge, px, positive within."""
    half_w, half_h = solder.pad.size[0] / 2, solder.pad.size[1] / 2
    if solder.pad.shape in ("round", "oval"):
        least = min(half_w, half_h)
        du = np.maximum(np.abs(u) - np.float32(half_w - least), 0)
        dv = np.maximum(np.abs(v) - np.float32(half_h - least), 0)
        return np.float32(least) - np.hypot(du, dv)
    return np.minimum(np.float32(half_w) - np.abs(u), np.float32(half_h) - np.abs(v))


def _metal(solder: Solder, shade: np.ndarray) -> np.ndarray:
    """Colour of solder, RGB, where `shade` 1 is its own tone and more than 1.3 begins to shine."""
    shade = solder.tone * shade * (1 + 0.05 * solder.coarse + 0.07 * solder.fine)
    colour = np.minimum(shade, 1.3)[..., None] * solder.look.tin.astype(np.float32)
    shine = solder.look.gloss * np.clip((shade - 1.3) / 0.5, 0, 1)
    return colour + shine[..., None] * (np.float32([252, 248, 240]) - colour)


def _flat(solder: Solder) -> tuple[np.ndarray, np.ndarray]:
    """A surface-mount pad: a flat cushion of tin, a soft glint or two along it."""
    u, v = solder.grid()
    half_w, half_h = np.float32(solder.pad.size[0] / 2), np.float32(solder.pad.size[1] / 2)
    inside = _inside(solder, u, v)
    lit = (u * np.cos(solder.light) + v * np.sin(solder.light)) / max(half_w, half_h)
    shade = 0.92 + 0.05 * solder.coarse + 0.10 * lit
    for along, across, strength in solder.glints:
        far = ((u / half_w - along) / 0.3) ** 2 + ((v / half_h - across) / 0.3) ** 2
        shade += np.float32(strength) * np.exp(-far)
    shade *= 1 - 0.4 * np.clip(1.2 - inside, 0, 1)
    return _metal(solder, shade), np.clip(inside + 0.5, 0, 1)


def _ring(solder: Solder, drilled: bool) -> tuple[np.ndarray, np.ndarray]:
    """A pad round a hole: dull solder that slopes to the pad's edge, and in the hole the meniscus or what is beyond."""
    u, v = solder.grid()
    inside, hole = _inside(solder, u, v), solder.hole_inside(u, v)
    ring = np.clip(inside / np.maximum(inside - hole, 0.5), 0, 1)             # 0 at the pad's edge, 1 at the hole's
    turn = np.arctan2(v, u) - solder.light + 0.3 * solder.coarse
    facing = np.cos(turn)
    shade = 0.80 + 0.22 * facing * (1 - 2 * ring) + 0.08 * solder.coarse
    shade -= 0.42 * ring ** 2 * (0.75 - 0.5 * np.cos(2 * turn + solder.phase))
    shade += 0.9 * _lobe(ring, 0.22, 0.16) * _lobe(1 - facing, 0, 0.25)
    shade *= 1 - 0.35 * np.clip(1.2 - inside, 0, 1)
    colour = _metal(solder, shade)
    floor = _meniscus(solder, u, v, hole, turn) if drilled else _laminate(solder, hole)
    colour += np.clip(hole / (1 if drilled else 1.6) + 0.5, 0, 1)[..., None] * (floor - colour)
    return colour, np.clip(inside + 0.5, 0, 1)


def _lobe(value: np.ndarray, middle: float, width: float) -> np.ndarray:
    return np.exp(-((value - np.float32(middle)) / np.float32(width)) ** 2)


def _meniscus(solder: Solder, u, v, hole: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The barrel's wall, its bright reflexes, and the table seen through the hole."""
    look = solder.look
    out = np.clip(1 - hole / (solder.pad.hole / 2), 0, 1)                     # 0 at the hole's middle, 1 at its wall
    glow = 0.98 - 0.16 * out ** 2 + 0.10 * out * np.cos(turn) + 0.02 * solder.fine + 0.02 * solder.coarse
    colour = glow[..., None] * look.beyond.astype(np.float32)
    wall = _lobe(out, 0.95, 0.16)[..., None] * np.float32(0.75)
    side = (0.55 - 0.3 * np.cos(turn) + 0.12 * solder.coarse)[..., None]
    colour += wall * (side * look.tin.astype(np.float32) - colour)
    near, far = solder.reflexes
    shine = near * _lobe(out, 0.7, 0.17) * _lobe(np.sin(turn / 2), 0, 0.26)
    shine += far * _lobe(out, 0.72, 0.16) * _lobe(np.cos(turn / 2), 0, 0.3)
    return colour + np.clip(look.gloss * shine, 0, 1)[..., None] * (np.float32([250, 250, 250]) - colour)


def _laminate(solder: Solder, hole: np.ndarray) -> np.ndarray:
    """The hole is missing: laminate under the mask, or on some boards the pad's own metal, closes it."""
    look = solder.look
    if look.plugged:
        return _metal(solder, np.full_like(hole, 0.86) + 0.06 * solder.coarse)
    green = 0.8 * look.channel + 0.2 * look.copper
    return (1 + 0.03 * solder.fine)[..., None] * green.astype(np.float32)
