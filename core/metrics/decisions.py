"""From image scores to good or defective: how well scores rank, where to cut them, what escapes and what is wasted.

A score is any finite number, higher where a defect is likelier; an image counts as defective from the threshold on.
All figures are of ranks or counts in float64, so no scale of the scores matters.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import norm

from ..errors import DataError
from ..seeding import rng

SHARE = 0.95            # of the intervals


class ThresholdConfig(BaseModel):
    """How the threshold is chosen on validation images; never on those that are reported."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: Literal["max_f1", "recall", "cost", "fixed"] = Field("recall", description="what the threshold aims at")
    recall: float = Field(0.99, gt=0, le=1, description="of rule recall: least share of the defective images found")
    miss: float = Field(20.0, gt=0, description="of rule cost: price of a defective image that passes")
    false: float = Field(1.0, gt=0, description="of rule cost: price of a good image that is rejected")
    value: float = Field(0.5, description="of rule fixed: the threshold itself")


@dataclass(frozen=True)
class Decided:
    """Counts at a threshold: defective images found and missed, good images rejected and passed."""
    hit: int
    miss: int
    false: int
    passed: int


def choose_threshold(scores: Sequence[float], defective: Sequence[bool], config: ThresholdConfig) -> float:
    """The threshold for a rule, half-way to the next lower score, so that scores just like those seen are found.

    DataError: no defective image to choose on.
    """
    if config.rule == "fixed":
        return config.value
    values, truth = _checked(scores, defective)
    if not truth.any():
        raise DataError(f"threshold: no defective image to choose it on, got {len(truth)} good ones. Add some to val, "
                        "or fix it: rule fixed, value 0.5")
    levels = np.unique(values)[::-1]                        # rejecting ever more
    hit = np.array([np.count_nonzero(truth & (values >= level)) for level in levels])
    false = np.array([np.count_nonzero(~truth & (values >= level)) for level in levels])
    if config.rule == "recall":
        best = int(np.argmax(hit >= np.ceil(config.recall * truth.sum() - 1e-9)))
    elif config.rule == "max_f1":
        best = int(np.argmax(2 * hit / (hit + false + truth.sum())))
    else:
        price = config.miss * (truth.sum() - hit) + config.false * false
        best = int(np.argmin(price))
        if config.miss * truth.sum() < price[best]:         # nothing is worth rejecting
            return float(np.nextafter(levels[0], np.inf))
    lower = levels[best + 1] if best + 1 < len(levels) else levels[best]
    return float((levels[best] + lower) / 2)


def decide(scores: Sequence[float], defective: Sequence[bool], threshold: float) -> Decided:
    """Count right and wrong verdicts at a threshold."""
    values, truth = _checked(scores, defective)
    found = values >= threshold
    return Decided(hit=int((truth & found).sum()), miss=int((truth & ~found).sum()),
                   false=int((~truth & found).sum()), passed=int((~truth & ~found).sum()))


def figures(scores: Sequence[float], defective: Sequence[bool], threshold: float, *,
            groups: Sequence[str] | None = None, draws: int = 1000, seed: int = 0) -> dict[str, float]:
    """Figures by name, each but the counts with NAME_low and NAME_high (95 %); what is unknown is left out.

    auroc, ap           rank figures; intervals by drawing groups (images without) anew
    recall, precision, specificity, f1, balanced_accuracy, and
    escape              missed defective images / defective images
    overkill            good images rejected / good images; intervals of these by Wilson
    """
    values, truth = _checked(scores, defective)
    at = decide(values, truth, threshold)
    bad, good, rejected = at.hit + at.miss, at.false + at.passed, at.hit + at.false
    found: dict[str, float] = {"hit": at.hit, "miss": at.miss, "false": at.false, "passed": at.passed}
    for name, count, total in (("recall", at.hit, bad), ("precision", at.hit, rejected),
                               ("specificity", at.passed, good), ("escape", at.miss, bad),
                               ("overkill", at.false, good)):
        if total:
            found[name] = count / total
            found[f"{name}_low"], found[f"{name}_high"] = wilson(count, total)
    if bad:
        found["f1"] = 2 * at.hit / (bad + rejected)
    if bad and good:
        found["balanced_accuracy"] = (at.hit / bad + at.passed / good) / 2
        for name, figure in (("auroc", auroc), ("ap", average_precision)):
            found[name] = figure(values, truth)
            found[f"{name}_low"], found[f"{name}_high"] = bootstrap(values, truth, figure, groups, draws, seed)
    return found


def by_part(scores: Sequence[float], defective: Sequence[bool], parts: Sequence[str],
            ) -> tuple[list[float], list[bool], list[str]]:
    """One score and one truth a part: the highest of its images, and whether any is defective."""
    names = sorted(set(parts))
    best = {name: max(score for score, part in zip(scores, parts) if part == name) for name in names}
    bad = {part for part, wrong in zip(parts, defective) if wrong}
    return [best[name] for name in names], [name in bad for name in names], names


def auroc(scores: np.ndarray, defective: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Chance that a defective image scores above a good one, ties half; NaN without both."""
    positive, negative = _tied(scores, defective, weights)
    below = np.cumsum(negative) - negative
    total = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / total) if total else float("nan")


def average_precision(scores: np.ndarray, defective: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean precision over the defective images, from the highest score down, ties together; NaN without any."""
    positive, negative = (counts[::-1] for counts in _tied(scores, defective, weights))
    hit, false = np.cumsum(positive), np.cumsum(negative)
    if not hit[-1]:
        return float("nan")
    rejected = hit + false
    precision = np.divide(hit, rejected, out=np.zeros_like(hit), where=rejected > 0)
    return float((positive * precision).sum() / hit[-1])


def bootstrap(scores: np.ndarray, defective: np.ndarray, figure: Callable[..., float],
              groups: Sequence[str] | None = None, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The interval of a figure when groups of images (each image without) are drawn anew, with replacement."""
    _, members = np.unique(np.arange(len(scores)) if groups is None else np.asarray(groups), return_inverse=True)
    random, count = rng(seed, draws), members.max() + 1
    drawn = (np.bincount(random.integers(0, count, count), minlength=count)[members] for _ in range(draws))
    values = np.array([figure(scores, defective, weights) for weights in drawn])
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (50 - 50 * SHARE, 50 + 50 * SHARE))
    return float(low), float(high)


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if total < 1:
        return 0.0, 1.0
    z = norm.ppf(0.5 + SHARE / 2)
    share, spread = count / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _tied(scores: np.ndarray, defective: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the defective and of the good images at each distinct score, from the lowest up."""
    levels, at = np.unique(np.asarray(scores, np.float64), return_inverse=True)
    weights = np.ones(len(at)) if weights is None else np.asarray(weights, np.float64)
    truth = np.asarray(defective, bool)
    return (np.bincount(at, weights * truth, len(levels)), np.bincount(at, weights * ~truth, len(levels)))


def _checked(scores: Sequence[float], defective: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(scores, np.float64), np.asarray(defective, bool)
    if values.shape != truth.shape or values.ndim != 1 or not len(values):
        raise ValueError(f"one score and one truth an image, got {values.shape} and {truth.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"scores: not finite, got {np.count_nonzero(~np.isfinite(values))} such. Look for broken "
                        "pictures or weights")
    return values, truth
