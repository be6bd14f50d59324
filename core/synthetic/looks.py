"""Colours, light and camera of a made circuit board."""
from dataclasses import dataclass

import numpy as np

# Solder masks: name, chance, RGB of (narrow channel, wide bare area, copper under the mask).
MASKS = (
    ("green", 0.74, ((2, 42, 7), (6, 72, 14), (7, 95, 22))),
    ("bright green", 0.10, ((10, 62, 34), (20, 92, 52), (38, 138, 72))),
    ("blue", 0.05, ((8, 20, 56), (12, 32, 76), (24, 58, 116))),
    ("red", 0.04, ((78, 8, 10), (104, 14, 16), (158, 30, 28))),
    ("black", 0.035, ((16, 17, 19), (22, 23, 25), (42, 42, 44))),
    ("yellow", 0.035, ((140, 112, 34), (164, 134, 50), (196, 158, 62))),
)
FINISHES = (("tin", 0.90, (152, 140, 133)), ("gold", 0.06, (206, 172, 88)), ("copper", 0.04, (190, 122, 84)))


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours are RGB 0..255 float arrays, lengths px, the rest shares of 1."""
    channel: np.ndarray
    bare: np.ndarray
    copper: np.ndarray
    glint: np.ndarray                         # a copper edge that faces the light
    tin: np.ndarray
    ink: np.ndarray
    dust: np.ndarray
    beyond: np.ndarray                        # what is seen through the holes
    plugged: bool                             # a missing hole is a pad closed by its own metal, not bare laminate
    light: tuple[float, float]                # direction the light comes from, x and y
    edge: float
    edge_shade: float
    gloss: float
    reflexes: np.ndarray                      # in a hole: on the side of the light, and opposite
    grain: float
    unevenness: float
    print_px: float
    print_cover: float
    blur_px: float
    fringe_px: float
    sharpening: float
    noise: float                              # deviation, grey levels


def draw_look(rng: np.random.Generator, rules) -> Look:
    """Choose how one board looks."""
    _, _, mask = MASKS[rng.choice(len(MASKS), p=[chance for _, chance, _ in MASKS])]
    finish, _, tin = FINISHES[rng.choice(len(FINISHES), p=[chance for _, chance, _ in FINISHES])]
    exposure = float(np.exp(rng.normal(0, 0.13)))
    tint = rng.normal(1, 0.06, 3)
    channel, bare, copper = (np.array(colour) * exposure * tint for colour in mask)
    bare = channel + (bare - channel) * rng.uniform(0.3, 1)
    copper = channel + (copper - channel) * rng.uniform(0.85, 1.15)
    beyond = np.array([176, 168, 176]) * rng.uniform(0.75, 1.08) if rng.random() < 0.7 else \
        np.array([26, 26, 28]) * rng.uniform(0.5, 1.6)
    angle = rng.uniform(0, 2 * np.pi)
    return Look(
        channel=channel, bare=bare, copper=copper, glint=copper * 0.4 + exposure * np.array([95, 100, 75]),
        tin=np.array(tin) * exposure * rng.normal(1, 0.035, 3), ink=exposure * np.array([172, 190, 176]),
        dust=exposure * np.array([150, 150, 140]), beyond=beyond * exposure,
        plugged=bool(finish != "tin" or beyond[0] < 60), light=(float(np.cos(angle)), float(np.sin(angle))),
        edge=float(rng.uniform(0.05, 0.55)), edge_shade=float(rng.uniform(0.2, 1)),
        gloss=float(rng.uniform(0.35, 1)), reflexes=rng.uniform([0.3, 0.1], [1.3, 1.1]),
        grain=float(rng.uniform(0.008, 0.03)), unevenness=float(rng.uniform(0.01, 0.1)),
        print_px=float(max(rules.pitch * rng.uniform(0.055, 0.085), 1.8)), print_cover=float(rng.uniform(0.75, 0.92)),
        blur_px=float(rng.uniform(0.45, 1.0)), fringe_px=float(rng.choice([0, rng.uniform(0.15, 0.5)])),
        sharpening=float(rng.choice([0, rng.uniform(0.2, 0.6)])), noise=float(rng.uniform(0.8, 2.6)))
