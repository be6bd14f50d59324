"""Geometry of traces: ways between two points at 45 and 90 degrees, parallels."""
from collections.abc import Iterator

import numpy as np


def ways(rng: np.random.Generator, start: np.ndarray, end: np.ndarray, pitch: float) -> Iterator[np.ndarray]:
    """Octilinear ways between two points, in random order: straight, one or two 45 degree bends, a chamfered corner."""
    delta = end - start
    lesser, sign = np.abs(delta).min(), np.sign(delta)
    if lesser < 1e-6 or abs(abs(delta[0]) - abs(delta[1])) < 1e-6:
        yield np.array([start, end])
        return
    slant = sign * lesser
    long_way = delta - slant
    kinds = list(rng.permutation(4))
    for kind in kinds:
        if kind == 0:
            yield np.array([start, start + slant, end])
        elif kind == 1:
            yield np.array([start, start + long_way, end])
        elif kind == 2:
            part = rng.uniform(0.15, 0.85)
            yield np.array([start, start + part * long_way, start + part * long_way + slant, end])
        else:
            axis = int(rng.integers(2))
            corner = start.copy()
            corner[axis] = end[axis]
            cut = min(0.5 * pitch, lesser * 0.8)
            before = corner - cut * np.sign(corner - start)
            after = corner + cut * np.sign(end - corner)
            yield np.array([start, before, after, end])


def octilinear(way: np.ndarray) -> np.ndarray:
    """The way with each step's direction rounded to a multiple of 45 degrees."""
    points = [way[0]]
    for step in np.diff(way, axis=0):
        along = np.round(np.arctan2(step[1], step[0]) / (np.pi / 4)) * (np.pi / 4)
        points.append(points[-1] + np.hypot(*step) * np.array([np.cos(along), np.sin(along)]))
    return np.array(points)


def offset(points: np.ndarray, distance: float) -> np.ndarray:
    """The parallel of a polyline at a signed distance, its corners mitred."""
    along = np.diff(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    corner = np.concatenate([normal[:1], normal[:-1] + normal[1:], normal[-1:]])
    inner = corner[1:-1]
    corner[1:-1] = inner * (2 / (inner ** 2).sum(1, keepdims=True))
    return points + distance * corner
