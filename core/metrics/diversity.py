"""How different pictures are that were made with other seeds: mean distance within clusters, as IC-LPIPS has it.

The figure carries the name of what measured the distances; it is IC-LPIPS with LPIPS alone. It also grows when a
background is destroyed: read it beside the kernel distance, and compare sets of one size.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ..errors import DataError
from .image import Picture


@dataclass(frozen=True)
class Diversity:
    """value: mean over the clusters of the mean distance of two of a cluster; None where no cluster has two.
    spread: standard deviation over those clusters; clusters: their number; alone: pictures that are alone in theirs.
    """
    value: float | None
    spread: float
    clusters: int
    alone: int


def diversity(distances: np.ndarray, clusters: Sequence) -> Diversity:
    """From distances [N, N] of made pictures and the cluster of each [N], such as the background it was made on."""
    distances, clusters = np.asarray(distances, np.float64), np.asarray(clusters)
    if distances.shape != (len(clusters), len(clusters)):
        raise DataError(f"diversity: distances and clusters do not fit, got {distances.shape} and {len(clusters)}. "
                        "Give [N, N] and N")
    means, alone = [], 0
    for name in np.unique(clusters):
        inside = np.flatnonzero(clusters == name)
        if len(inside) == 1:
            alone += 1
            continue
        block = distances[np.ix_(inside, inside)]
        means.append(block[np.triu_indices(len(inside), 1)].mean())
    if not means:
        return Diversity(None, 0.0, 0, alone)
    return Diversity(float(np.mean(means)), float(np.std(means)), len(means), alone)


def nearest(made_to_real: np.ndarray) -> np.ndarray:
    """The cluster of each made picture: the real one that is nearest (Ojha et al. 2021); distances [N, K] -> [N]."""
    return np.asarray(made_to_real).argmin(1)


def feature_distances(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Root mean square difference of features [N, D] and [K, D] -> [N, K]; of `a` with itself where `b` is left out."""
    return cdist(a, a if b is None else b) / np.sqrt(np.asarray(a).shape[1])


def picture_distances(measure: Callable[[Picture, Picture], float], pictures: Sequence[Picture],
                      others: Sequence[Picture] | None = None) -> np.ndarray:
    """`measure` (such as Lpips) of every two pictures [N, N], taken as symmetric, or of pictures and others [N, K]."""
    if others is not None:
        return np.array([[measure(a, b) for b in others] for a in pictures]).reshape(len(pictures), len(others))
    found = np.zeros((len(pictures),) * 2)
    for i, a in enumerate(pictures):
        for j in range(i):
            found[i, j] = found[j, i] = measure(a, pictures[j])
    return found
