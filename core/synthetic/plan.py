"""The plan of a made circuit board: what it keeps to, and its pads, traces, pours and print."""
from dataclasses import dataclass, field

import numpy as np

GROUND = 1                                    # the number of the ground net


@dataclass(kw_only=True)
class Rules:
    """What one board keeps to, in px: grid pitch (2.54 mm), trace width, clearance between copper."""
    pitch: float
    width: float
    clearance: float
    heavy: bool
    angle: float                              # how far the board lies turned under the camera, radians


@dataclass(kw_only=True)
class Pad:
    """A soldering pad: centre, size and hole diameter in px (0: none); shape round, oval, square or smd."""
    at: np.ndarray
    size: tuple[float, float]
    shape: str
    hole: float
    net: int
    spokes: bool = False                      # joined to the ground pour by thermal spokes


@dataclass(kw_only=True)
class Trace:
    points: np.ndarray                        # float64 [N, 2]
    width: float
    net: int


@dataclass(kw_only=True)
class Plan:
    """A board's geometry, picture coordinates in px."""
    rules: Rules
    size: tuple[int, int]
    pads: list[Pad] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    pours: list[np.ndarray] = field(default_factory=list)         # outlines within which ground copper is poured
    lines: list[np.ndarray] = field(default_factory=list)         # silkscreen
    texts: list[tuple[str, np.ndarray, float]] = field(default_factory=list)   # words, where, height in px


def draw_rules(rng: np.random.Generator, size: tuple[int, int]) -> Rules:
    """Choose the scale and design rules of one board; a small picture shows nothing of a large scale."""
    largest = 0.33 * min(size)
    heavy = rng.random() < 0.3
    if heavy:
        pitch = float(np.exp(rng.uniform(np.log(30), np.log(min(96, largest)))))
        width, clearance = rng.uniform(0.28, 0.46), rng.uniform(0.22, 0.32)
    else:
        pitch = float(np.exp(rng.uniform(np.log(24), np.log(min(60, largest)))))
        width, clearance = rng.uniform(0.19, 0.26), rng.uniform(0.17, 0.24)
    angle = np.deg2rad(rng.normal(0, 0.5 if rng.random() < 0.85 else 4))
    return Rules(pitch=pitch, width=max(width * pitch, 4.5), clearance=max(clearance * pitch, 4.0), heavy=heavy,
                 angle=float(angle))
