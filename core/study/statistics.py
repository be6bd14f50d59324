"""What several seeds and a few test images allow to say: means, intervals over seeds, paired bootstraps over images."""
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from ..seeding import rng

SHARE = 0.95
DRAWS = 1000
ENOUGH = 10                     # groups (boards, tiles) from which they are drawn whole, else single images are


def seeds_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's interval of the mean of one value a seed; NaN with fewer than two."""
    known = np.asarray(values, float)
    if len(known) < 2 or np.isnan(known).any():
        return float("nan"), float("nan")
    half = stats.t.ppf(0.5 + SHARE / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)


def units_of(groups: Sequence[str]) -> np.ndarray:
    """int [N]: which images are drawn together. Pictures of one object are no independent witnesses, so whole groups
    where there are ENOUGH of them with more than one image; else every image alone."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    return numbers if ENOUGH <= len(names) < len(numbers) else np.arange(len(numbers))


def resamplings(units: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """int [draws, N]: how often each image counts; as many units as there are, drawn with replacement."""
    count = int(units.max()) + 1
    drawn = rng(seed, count).integers(0, count, (draws, count))
    each = np.stack([np.bincount(row, minlength=count) for row in drawn])
    return each[:, units]


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of a bootstrap's values; NaN where none is known."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (50 - 50 * SHARE, 50 + 50 * SHARE))
    return float(low), float(high)


class Bootstrap:
    """Values of every arm for the same resamplings, each arm worked out once."""

    def __init__(self, weights: np.ndarray, values_of: Callable[[str, np.ndarray], dict[str, float]]):
        self.weights, self.values_of = weights, values_of
        self.held: dict[str, dict[str, np.ndarray]] = {}

    def of(self, arm: str) -> dict[str, np.ndarray]:
        """float [draws] by figure."""
        if arm not in self.held:
            drawn = [self.values_of(arm, row) for row in self.weights]
            self.held[arm] = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
        return self.held[arm]

    def gain(self, arms: Sequence[str], over: Sequence[str], figure: str) -> tuple[float, float]:
        """Interval over test images of the mean difference between arms of the same seeds."""
        differences = [self.of(arm)[figure] - self.of(other)[figure] for arm, other in zip(arms, over, strict=True)]
        return percentiles(np.mean(differences, axis=0))
