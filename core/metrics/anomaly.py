"""Figures of anomaly maps against masks: pixel AUROC, average precision, best F1, and overlap by region (AUPRO)."""
from collections.abc import Sequence

import cv2
import numpy as np

BINS = 2 ** 16
LIMITS = (0.3, 0.05)            # false positive rates up to which the overlap by region is averaged


class MapFigures:
    """Adds up histograms of maps of any number; memory is that of the bins and of the regions alone.

    low, high  range of the scores that are told apart in `bins` steps, such as that of all maps; others are clipped
    """

    def __init__(self, low: float, high: float, bins: int = BINS):
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"low must be below high, both finite, got {low} and {high}")
        self.low, self.high, self.bins = low, high, bins
        self.good, self.bad = np.zeros((2, bins), np.int64)
        self.covered = np.zeros(bins)               # sum over regions of the share of each that lies in a bin
        self.regions = 0

    def add(self, scores: np.ndarray, truth: np.ndarray, counted: np.ndarray | None = None) -> None:
        """One map float [H, W] and its mask bool [H, W]; counted: bool [H, W], the pixels that do."""
        if scores.shape != truth.shape:
            raise ValueError(f"map and mask of different sizes, got {scores.shape} and {truth.shape}")
        place = (scores.astype(np.float64) - self.low) / (self.high - self.low) * (self.bins - 1)
        place = np.rint(place.clip(0, self.bins - 1)).astype(np.int64)
        clean = ~truth if counted is None else ~truth & counted
        self.good += np.bincount(place[clean], minlength=self.bins)
        self.bad += np.bincount(place[truth], minlength=self.bins)
        count, regions = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
        for number in range(1, count):
            inside = place[regions == number]
            np.add.at(self.covered, inside, 1 / len(inside))
        self.regions += count - 1

    def figures(self) -> dict[str, float]:
        """auroc, ap, f1 and aupro_30, aupro_5 (divided by their limit); what is unknown is left out."""
        return {} if not self.bad.any() else binned_figures(self.good, self.bad, self.covered / self.regions)


def binned_figures(good: np.ndarray, bad: np.ndarray, covered: np.ndarray | None = None) -> dict[str, float]:
    """auroc, ap and f1 of what is counted, or weighed, by bins of its score, the lowest first; {} without both kinds.

    covered  mean over regions of the share of each by bin: aupro_30 and aupro_5 too
    """
    hit, false = (np.cumsum(counts[::-1]).astype(np.float64) for counts in (bad, good))
    if not hit[-1] or not false[-1]:
        return {}
    recall, alarms = hit / hit[-1], false / false[-1]
    precision = np.divide(hit, hit + false, out=np.ones_like(hit), where=hit + false > 0)
    steps = np.diff(recall, prepend=0)
    named = {"auroc": _area(alarms, recall, 1.0), "ap": float((steps * precision).sum()),
             "f1": float((2 * hit / (hit + false + hit[-1])).max())}
    if covered is None:
        return named
    overlap = np.cumsum(covered[::-1])
    return named | {f"aupro_{limit * 100:g}": _area(alarms, overlap, limit) / limit for limit in LIMITS}


def map_figures(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, float]:
    """MapFigures of maps that are at hand."""
    low, high = min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)
    found = MapFigures(low, high if high > low else low + 1)
    for scores, truth in zip(maps, masks, strict=True):
        found.add(scores, truth)
    return found.figures()


def _area(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area under the curve from (0, 0) up to x = limit, the last piece interpolated."""
    x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    last = int(np.searchsorted(x, limit, side="right"))
    at_limit = y[-1] if last >= len(x) else np.interp(limit, x[last - 1:last + 1], y[last - 1:last + 1])
    x, y = np.append(x[:last], limit), np.append(y[:last], at_limit)
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())
