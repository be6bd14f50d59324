"""Whether a network's chances can be taken at their word, and the one number that makes them so."""
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

TEMPERATURES = (0.05, 20.0)


def temperature(logits: Sequence[float], truth: Sequence[bool]) -> float:
    """What to divide logits by so that their log loss is least (Guo et al. 2017); 1 without both kinds of truth."""
    values, positive = np.asarray(logits, np.float64), np.asarray(truth, bool)
    if positive.all() or not positive.any():
        return 1.0
    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(lambda log: log_loss(values / np.exp(log), positive), bounds=(low, high), method="bounded")
    return float(np.exp(best.x))


def log_loss(logits: Sequence[float], truth: Sequence[bool]) -> float:
    """Mean negative log likelihood, in nats; 0.693 for chances of one half."""
    values, positive = np.asarray(logits, np.float64), np.asarray(truth, bool)
    return float(np.logaddexp(0, np.where(positive, -values, values)).mean())


def calibration_error(chances: Sequence[float], truth: Sequence[bool], bins: int = 10) -> float:
    """Mean distance between chance and frequency over bins of equal width, weighted by their counts (Naeini 2015)."""
    values, positive = np.asarray(chances, np.float64), np.asarray(truth, np.float64)
    at = np.minimum((values * bins).astype(int), bins - 1)
    gaps = np.bincount(at, values - positive, bins)
    return float(np.abs(gaps).sum() / len(values))


def chance(logits: np.ndarray) -> np.ndarray:
    """Logits -> 0..1."""
    return 0.5 * (1 + np.tanh(np.asarray(logits) / 2))
