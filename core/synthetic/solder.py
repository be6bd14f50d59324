"""Tinned pads and their holes, lit from one side."""
import numpy as np

from .looks import Look
from .drawing import smooth_noise


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
        self.fine = smooth_noise(rng, size, max(0.07 * least, 1.5))
        self.tone = 1 + 0.05 * rng.normal()
        self.light = np.arctan2(look.light[1], look.light[0]) + 0.35 * rng.normal()
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


def _metal(solder: Solder, facing: np.ndarray) -> np.ndarray:
    """Colour of solder that faces the light by `facing` -1..1."""
    look = solder.look
    facing = facing + 0.28 * solder.coarse + 0.10 * solder.fine
    tone = solder.tone * (0.92 + 0.26 * np.clip(facing, -1.2, 1) + 0.05 * solder.fine)
    colour = tone[..., None] * look.tin.astype(np.float32)
    shine = look.gloss * np.clip((facing - 0.62) / 0.45, 0, 1) ** 1.5
    return colour + shine[..., None] * (np.float32([250, 244, 240]) - colour)


def _flat(solder: Solder) -> tuple[np.ndarray, np.ndarray]:
    """A surface-mount pad: flat tin, glints along one edge."""
    u, v = solder.grid()
    inside = _inside(solder, u, v)
    near = np.clip(1 - inside / max(0.16 * min(solder.pad.size), 1.5), 0, 1)
    side = np.cos(np.arctan2(v / solder.pad.size[1], u / solder.pad.size[0]) - solder.light)
    colour = _metal(solder, near * side * 0.8 - 0.12)
    colour *= (1 - 0.35 * np.clip(1.2 - inside, 0, 1))[..., None]
    return colour, np.clip(inside + 0.5, 0, 1)


def _ring(solder: Solder, drilled: bool) -> tuple[np.ndarray, np.ndarray]:
    """A pad round a hole: solder swells between the pad's edge and the hole's, and dips into the barrel."""
    look = solder.look
    u, v = solder.grid()
    inside, hole = _inside(solder, u, v), solder.hole_inside(u, v)
    ring = np.clip(inside / np.maximum(inside - hole, 0.5), 0, 1)             # 0 at the pad's edge, 1 at the hole's
    turn = np.arctan2(v, u) - solder.light
    facing = np.cos(turn) * np.cos(np.pi * ring) * (0.35 + 0.65 * np.abs(2 * ring - 1))
    colour = _metal(solder, 0.8 * facing)
    colour *= (1 - 0.4 * np.clip(1.3 - inside, 0, 1))[..., None]
    if not drilled:
        return _closed(solder, colour, hole), np.clip(inside + 0.5, 0, 1)
    radius = solder.pad.hole / 2
    wall = np.clip(1 - hole / (0.3 * radius), 0, 1)                           # the barrel seen aslant
    barrel = (0.62 - 0.55 * np.cos(turn) + 0.1 * solder.coarse)[..., None] * look.tin.astype(np.float32)
    glow = 0.94 + 0.10 * np.cos(turn) * np.clip(1 - hole / radius, 0, 1) + 0.02 * solder.coarse
    through = glow[..., None] * look.beyond.astype(np.float32)
    through += wall[..., None] * (np.clip(barrel, 0, 245) - through)
    colour += np.clip(hole + 0.5, 0, 1)[..., None] * (through - colour)
    return colour, np.clip(inside + 0.5, 0, 1)


def _closed(solder: Solder, colour: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The hole is missing: laminate under the mask, or the pad's own flat metal, in its place."""
    look = solder.look
    if look.plugged:
        floor = _metal(solder, np.full_like(hole, -0.05))
    else:
        green = 0.8 * look.channel + 0.2 * look.copper
        floor = (1 + 0.03 * solder.fine)[..., None] * green.astype(np.float32)
    return colour + np.clip(hole / 1.6 + 0.5, 0, 1)[..., None] * (floor - colour)
