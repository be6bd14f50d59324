"""Learning rates and loss weights as pure functions of the step, so that they have no state to save.

    rate = warmup(cosine(2e-4, steps=100_000), steps=1000)
    rate(0), rate(50_000)
"""
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]       # steps done so far -> value


def constant(value: float) -> Schedule:
    return lambda step: value


def linear(first: float, last: float, steps: int, start: int = 0) -> Schedule:
    """`first` until step `start`, then a straight line that reaches `last` after `steps` more, then `last`."""
    return lambda step: first + (last - first) * _progress(step - start, steps)


def cosine(first: float, steps: int, last: float = 0.0) -> Schedule:
    """Half a cosine from `first` down to `last` after `steps` (SGDR, Loshchilov and Hutter 2017, equation 5)."""
    return lambda step: last + (first - last) * 0.5 * (1 + math.cos(math.pi * _progress(step, steps)))


def polynomial(first: float, steps: int, power: float = 0.9, last: float = 0.0) -> Schedule:
    """`first` * (1 - step / steps) ** power, above `last` (DeepLab, Chen et al. 2018; nnU-Net's default)."""
    return lambda step: last + (first - last) * (1 - _progress(step, steps)) ** power


def drops(first: float, at: Sequence[int], factor: float = 0.1) -> Schedule:
    """`first`, multiplied by `factor` from each step in `at` on."""
    ordered = sorted(at)
    return lambda step: first * factor ** bisect_right(ordered, step)


def inverse_root(first: float, steps: int) -> Schedule:
    """`first` for `steps`, then falling with the root of the step (EDM2, Karras et al. 2024, equation 67)."""
    return lambda step: first / math.sqrt(max(step / steps, 1.0))


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """`schedule`, scaled up in a straight line over the first `steps`; the very first step already moves."""
    return lambda step: schedule(step) * _progress(step + 1, steps)


def _progress(step: int, steps: int) -> float:
    """Share done, 0..1; a span of no steps is done at once."""
    return min(max(step / steps, 0.0), 1.0) if steps > 0 else 1.0
