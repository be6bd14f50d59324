"""How alike two sets of feature vectors are: Frechet distance, kernel distance, precision, recall, density, coverage.

Features are float [N, D], a row a picture. A figure belongs to the extractor that made the features and carries its
name (core/metrics/features.py); it is "FID" or "KID" without further words with FID's own Inception weights alone.
DataError: too few rows, rows of different length, values that are not finite.
"""
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ..errors import DataError
from ..seeding import rng

KERNEL_LEAST, NEIGHBOURS = 4, 5
BLOCK_ROWS = 2048


@dataclass(frozen=True)
class KernelDistance:
    """value: squared maximum mean discrepancy, unbiased, so about 0 (also below) for one distribution.
    standard_error: its standard deviation over other draws of as many pictures, estimated.
    """
    value: float
    standard_error: float


@dataclass(frozen=True)
class Manifold:
    """precision: share of the made rows that lie near real ones; recall: share of the real ones near made ones;
    density: precision that counts how many real rows are near, and so is not fooled by an outlier, may exceed 1;
    coverage: share of the real rows with a made one nearby.
    """
    precision: float
    recall: float
    density: float
    coverage: float


def frechet_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians fitted to the rows (Heusel et al. 2017, eq. 6).

    Sample covariances (N - 1). Biased upwards where there are few rows: for less than some times D, prefer
    `kernel_distance`. The root of the product of covariances is taken as a nuclear norm, tr sqrt(A'A B'B) = |A B'|*, so
    covariances without full rank need no ridge.
    """
    real, made = _checked(real, made, 2)
    shift = real.mean(0) - made.mean(0)
    a, b = _deviations(real), _deviations(made)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(shift @ shift + (a * a).sum() + (b * b).sum() - 2 * cross, 0.0))


def kernel_distance(real: np.ndarray, made: np.ndarray, *, subsets: int = 50, largest_subset: int = 1000,
                    seed: int = 0) -> KernelDistance:
    """KID (Binkowski et al. 2018): unbiased MMD^2 with the cubic kernel (x.y / D + 1)^3.

    `value` is from all rows: papers take the mean over subsets of 1000, which expects the same and scatters more.
    `standard_error` is from `subsets` random subsets of half of the rows, at most `largest_subset`, scaled to all rows
    (delete-half jackknife).
    """
    real, made = _checked(real, made, KERNEL_LEAST)
    value = _mmd2(real, made)
    sizes = [min(len(rows) // 2, largest_subset) for rows in (real, made)]
    draws = []
    for subset in range(subsets):
        numbers = rng(seed, subset)
        draws.append(_mmd2(*(rows[numbers.permutation(len(rows))[:size]]
                             for rows, size in zip((real, made), sizes))))
    scale = max(size / (len(rows) - size) for rows, size in zip((real, made), sizes))
    return KernelDistance(value, float(np.std(draws, ddof=1) * np.sqrt(scale)))


def precision_recall_density_coverage(real: np.ndarray, made: np.ndarray, *, neighbours: int = NEIGHBOURS) -> Manifold:
    """Balls round every row reach to its k-th neighbour of its own set (Kynkaanniemi et al. 2019; Naeem et al. 2020).

    On a ball's border is inside, so a set compared with itself gives 1 everywhere even where rows are equal.
    """
    if neighbours < 1:
        raise DataError(f"neighbours: too few, got {neighbours}. Give at least 1")
    real, made = _checked(real, made, neighbours + 1)
    real_radius, made_radius = _radii(real, neighbours), _radii(made, neighbours)
    near_real, found, covered = np.zeros(len(made)), 0, 0
    for start in range(0, len(real), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        distance = cdist(real[rows], made)
        in_real = distance <= real_radius[rows, None]
        near_real += in_real.sum(0)
        covered += int(in_real.any(1).sum())
        found += int((distance <= made_radius).any(1).sum())
    return Manifold(precision=float((near_real > 0).mean()), recall=found / len(real),
                    density=float(near_real.mean()) / neighbours, coverage=covered / len(real))


def _deviations(rows: np.ndarray) -> np.ndarray:
    """A with A'A = the covariance, with at most D rows."""
    a = (rows - rows.mean(0)) / np.sqrt(len(rows) - 1)
    return np.linalg.qr(a, mode="r") if len(a) > a.shape[1] else a


def _mmd2(a: np.ndarray, b: np.ndarray) -> float:
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a) - (_cubic((a * a).sum(1), a.shape[1])).sum()) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - (_cubic((b * b).sum(1), a.shape[1])).sum()) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    return sum(float(_cubic(a[start:start + BLOCK_ROWS] @ b.T, a.shape[1]).sum())
               for start in range(0, len(a), BLOCK_ROWS))


def _cubic(products: np.ndarray, length: int) -> np.ndarray:
    return (products / length + 1) ** 3


def _radii(rows: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each row to its k-th neighbour other than itself."""
    found = [np.partition(cdist(rows[start:start + BLOCK_ROWS], rows), neighbours, axis=1)[:, neighbours]
             for start in range(0, len(rows), BLOCK_ROWS)]
    return np.concatenate(found)


def _checked(real: np.ndarray, made: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    both = []
    for what, rows in (("real features", real), ("made features", made)):
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise DataError(f"{what}: not a table, got shape {rows.shape}. Give [N, D], a row a picture")
        if len(rows) < least:
            raise DataError(f"{what}: too few pictures, got {len(rows)}. This figure needs at least {least}")
        if not np.isfinite(rows).all():
            raise DataError(f"{what}: values that are not finite, got {int((~np.isfinite(rows)).sum())} of them. "
                            "Look for broken pictures or weights")
        both.append(rows)
    if both[0].shape[1] != both[1].shape[1]:
        raise DataError(f"features: of different length, got {both[0].shape[1]} and {both[1].shape[1]}. "
                        "Compare features of one extractor")
    return both[0], both[1]
