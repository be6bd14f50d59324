"""What components leave on a bare board: pads, a silkscreen outline, a name."""
from dataclasses import dataclass, field

import numpy as np


@dataclass(kw_only=True)
class Footprint:
    """Relative to its place, in px. pads: (centre, (w, h), shape, hole diameter); texts: (word, centre, height)."""
    pads: list[tuple[np.ndarray, tuple[float, float], str, float]]
    lines: list[np.ndarray] = field(default_factory=list)
    texts: list[tuple[str, np.ndarray, float]] = field(default_factory=list)
    bounds: np.ndarray = None                 # [[x1, y1], [x2, y2]]

    def __post_init__(self):
        low = np.min([at - np.array(size) / 2 for at, size, _, _ in self.pads], axis=0)
        high = np.max([at + np.array(size) / 2 for at, size, _, _ in self.pads], axis=0)
        for line in self.lines:
            low, high = np.minimum(low, line.min(0)), np.maximum(high, line.max(0))
        self.bounds = np.array([low, high])


def pin_row(rng, rules) -> Footprint:
    """A connector or one side of a large package: holes in a row, the first pad often square."""
    count, pitch = int(rng.integers(3, 13)), rules.pitch
    wide = rng.uniform(0.62, 0.8) * pitch
    long = wide * rng.choice([1.0, 1.0, rng.uniform(1.2, 1.7)])
    hole = rng.uniform(0.46, 0.64) * wide
    pads = [(np.array([number * pitch, 0.0]), (wide, long), "oval" if long > wide else "round", hole)
            for number in range(count)]
    if rng.random() < 0.5:
        pads[0] = (pads[0][0], (wide, min(long, wide)), "square", hole)
    lines = [_box((count - 1) * pitch / 2, 0, count * pitch / 2 + 0.1 * pitch, 0.75 * pitch)] \
        if rng.random() < 0.25 else []
    return _turned(rng, pads, lines, _name(rng, "JKP", np.array([0.0, -1.05 * pitch]), rules, 0.4))


def dual_in_line(rng, rules) -> Footprint:
    """A DIP: two rows of oval pads."""
    count, pitch = int(rng.integers(3, 11)), rules.pitch
    apart = rng.choice([3, 3, 6]) * pitch
    wide = rng.uniform(0.58, 0.72) * pitch
    long = wide * rng.uniform(1.0, 1.7)
    hole = rng.uniform(0.46, 0.64) * wide
    pads = [(np.array([number * pitch, row * apart]), (wide, long), "oval" if long > 1.08 * wide else "round", hole)
            for row in (0, 1) for number in range(count)]
    lines = [_package((count - 1) * pitch / 2, apart / 2, count * pitch / 2, apart / 2 - 0.85 * pitch)] \
        if rng.random() < 0.6 else []
    return _turned(rng, pads, lines, _name(rng, "U", np.array([(count - 1) * pitch / 2, apart / 2]), rules, 0.5))


def small_outline(rng, rules) -> Footprint:
    """An SO package: two combs of narrow pads, the outline printed between or through them."""
    count, step = int(rng.integers(4, 15)), rules.pitch / 2
    long, wide = rng.uniform(0.8, 1.05) * rules.pitch, rng.uniform(0.24, 0.28) * rules.pitch
    apart = rng.uniform(2.4, 3.6) * rules.pitch
    pads = [(np.array([number * step, row * apart]), (wide, long), "smd", 0.0)
            for row in (0, 1) for number in range(count)]
    half = apart / 2 - long / 2 - 0.12 * rules.pitch
    lines = [_package((count - 1) * step / 2, apart / 2, (count + 0.6) * step / 2, half)] \
        if rng.random() < 0.8 else []
    return _turned(rng, pads, lines, _name(rng, "U", np.array([(count - 1) * step / 2, apart / 2]), rules, 0.4))


def two_pin(rng, rules) -> Footprint:
    """A resistor, capacitor or LED with wire leads."""
    apart = rng.choice([1, 1, 2, 3, 4]) * rules.pitch
    wide = rng.uniform(0.66, 0.84) * rules.pitch
    hole = rng.uniform(0.46, 0.64) * wide
    first = "square" if rng.random() < 0.5 else "round"
    pads = [(np.array([0.0, 0.0]), (wide, wide), first, hole), (np.array([apart, 0.0]), (wide, wide), "round", hole)]
    lines = []
    if apart >= 3 * rules.pitch and rng.random() < 0.5:
        lines = [_box(apart / 2, 0, apart / 2 - 0.7 * rules.pitch, 0.36 * rules.pitch)]
    elif apart < 2 * rules.pitch and rng.random() < 0.25:
        lines = [_circle(apart / 2, 0, 1.25 * rules.pitch)]
    return _turned(rng, pads, lines, _name(rng, "RCDL", np.array([apart / 2, 0.95 * rules.pitch]), rules, 0.35))


def three_pin(rng, rules) -> Footprint:
    """A transistor or trimmer."""
    wide = rng.uniform(0.6, 0.7) * rules.pitch
    long = wide * rng.uniform(1.0, 1.4)
    shape = "oval" if long > 1.08 * wide else "round"
    pads = [(np.array([number * rules.pitch, 0.0]), (wide, long), shape, 0.56 * wide) for number in range(3)]
    return _turned(rng, pads, [], _name(rng, "QT", np.array([rules.pitch, -0.95 * rules.pitch]), rules, 0.3))


def chip(rng, rules) -> Footprint:
    """A surface-mounted resistor or capacitor."""
    long, wide = rng.uniform(0.42, 0.62) * rules.pitch, rng.uniform(0.45, 0.8) * rules.pitch
    apart = long + rng.uniform(0.28, 0.75) * rules.pitch
    pads = [(np.array([side * apart / 2, 0.0]), (long, wide), "smd", 0.0) for side in (-1, 1)]
    half = wide / 2 + 0.13 * rules.pitch
    lines = [np.array([(-apart / 2, side * half), (apart / 2, side * half)]) for side in (-1, 1)] \
        if rng.random() < 0.6 else []
    return _turned(rng, pads, lines, _name(rng, "RC", np.array([0.0, half + 0.4 * rules.pitch]), rules, 0.35))


def single(rng, rules) -> Footprint:
    """A test point, a wire's pad or a power terminal."""
    wide = rng.uniform(0.75, 1.05) * rules.pitch if rng.random() < 0.7 else rng.uniform(1.1, 1.5) * rules.pitch
    shape = rng.choice(["round", "round", "round", "square"])
    return Footprint(pads=[(np.zeros(2), (wide, wide), shape, rng.uniform(0.38, 0.72) * wide)])


def via(rng, rules) -> Footprint:
    """A through-connection."""
    wide = max(rng.uniform(0.4, 0.52) * rules.pitch, 11.0)
    return Footprint(pads=[(np.zeros(2), (wide, wide), "round", 0.5 * wide)])


FOOTPRINTS = ((pin_row, 2.0), (dual_in_line, 1.4), (small_outline, 1.6), (two_pin, 3.0), (three_pin, 0.8), (chip, 1.0),
              (single, 1.2), (via, 0.8))
HEAVY = ((pin_row, 1.2), (two_pin, 2.0), (single, 4.0), (three_pin, 1.0), (dual_in_line, 0.4))


def _turned(rng, pads, lines, texts) -> Footprint:
    """Turn a footprint by a random multiple of 90 degrees."""
    turn = int(rng.integers(4))
    matrix = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), turn)
    pads = [(at @ matrix, size if turn % 2 == 0 else size[::-1], shape, hole) for at, size, shape, hole in pads]
    texts = [(word, at @ matrix, height) for word, at, height in texts]
    return Footprint(pads=pads, lines=[line @ matrix for line in lines], texts=texts)


def _name(rng, letters: str, at: np.ndarray, rules, chance: float) -> list:
    if rng.random() > chance:
        return []
    word = f"{letters[rng.integers(len(letters))]}{rng.integers(1, 60)}"
    return [(word, at, float(np.clip(rng.uniform(0.4, 0.6) * rules.pitch, 9, 30)))]


def _box(x: float, y: float, half_w: float, half_h: float) -> np.ndarray:
    return np.array([(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h), (-half_w, -half_h)]) \
        + [x, y]


def _package(x: float, y: float, half_w: float, half_h: float) -> np.ndarray:
    """A box with the half-round notch that marks pin 1."""
    turn = np.linspace(np.pi / 2, -np.pi / 2, 9)
    radius = min(0.35 * half_h, 0.5 * half_w)
    notch = np.stack([radius * np.cos(turn) - half_w, radius * np.sin(turn)], 1)
    box = [(-half_w, half_h), (half_w, half_h), (half_w, -half_h), (-half_w, -half_h)]
    return np.concatenate([notch[::-1], box, notch[::-1][:1]]) + [x, y]


def _circle(x: float, y: float, radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 33)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1) + [x, y]
