"""Distances of feature sets: closed forms, unbiasedness, invariances, bad input."""
import numpy as np
import pytest
from scipy import linalg

from core.errors import DataError
from core.metrics.distribution import frechet_distance, kernel_distance, precision_recall_density_coverage
from core.metrics.diversity import diversity, feature_distances, nearest, picture_distances
from core.seeding import rng


def gaussian(draw, count, mean, covariance):
    """Rows whose sample mean and covariance are exactly these."""
    rows = draw.normal(size=(count, len(mean)))
    rows -= rows.mean(0)
    rows = rows @ linalg.inv(linalg.sqrtm(np.cov(rows.T).reshape(len(mean), -1)).real)
    return rows @ linalg.sqrtm(covariance).real + mean


def covariance(draw, length):
    factor = draw.normal(size=(length, length))
    return factor @ factor.T / length


@pytest.mark.parametrize("length", [1, 2, 7])
def test_frechet_distance_of_gaussians(length):
    draw = rng(0, length)
    means, spreads = draw.normal(size=(2, length)), [covariance(draw, length) for _ in range(2)]
    root = linalg.sqrtm(spreads[0]).real
    wanted = ((means[0] - means[1]) ** 2).sum() + np.trace(
        spreads[0] + spreads[1] - 2 * linalg.sqrtm(root @ spreads[1] @ root).real)
    sets = [gaussian(draw, count, mean, spread) for count, mean, spread in zip((40, 55), means, spreads)]
    assert frechet_distance(*sets) == pytest.approx(wanted, rel=1e-6)


def test_frechet_distance_in_one_dimension_and_of_moved_rows():
    draw = rng(1)
    a, b = (gaussian(draw, 30, [mean], np.array([[spread ** 2]])) for mean, spread in ((1, 2), (4, 0.5)))
    assert frechet_distance(a, b) == pytest.approx(3 ** 2 + 1.5 ** 2)
    rows = draw.normal(size=(12, 50))                           # fewer rows than numbers: no full rank
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + 0.5) == pytest.approx(50 * 0.25)
    centred = rows - rows.mean(0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * (centred ** 2).sum() / 11)


def test_kernel_distance_expects_the_closed_form():
    """Of normal variables: MMD^2 is sum over k of binomial(3, k) (k-th moment of P - of Q)^2; five rows at a time."""
    draw = rng(2)
    equal = [kernel_distance(*draw.normal(size=(2, 5, 1)), subsets=2).value for _ in range(3000)]
    assert abs(np.mean(equal)) < 3.5 * np.std(equal) / np.sqrt(3000)
    assert min(equal) < 0 < max(equal)
    other = [kernel_distance(draw.normal(size=(6, 1)), draw.normal(0.5, 1, (5, 1)), subsets=2).value
             for _ in range(3000)]
    wanted = 3 * 0.5 ** 2 + 3 * (1 - 1.25) ** 2 + (0 - (0.125 + 1.5)) ** 2
    assert np.mean(other) == pytest.approx(wanted, abs=3.5 * np.std(other) / np.sqrt(3000))


def test_standard_error_is_the_scatter_over_draws():
    draw, scatter, said = rng(3), [], []
    for _ in range(120):
        found = kernel_distance(draw.normal(size=(60, 4)), draw.normal(0.7, 1, (80, 4)))
        scatter.append(found.value)
        said.append(found.standard_error)
    assert 0.7 < np.mean(said) / np.std(scatter) < 1.5


def test_kernel_distance_is_by_hand_the_same():
    a, b = rng(4).normal(size=(2, 5, 3))
    kernel = lambda x, y: (x @ y / 3 + 1) ** 3                  # noqa: E731
    within = [np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])
              for rows in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b).value == pytest.approx(sum(within) - 2 * across)
    assert kernel_distance(a, b, seed=7) == kernel_distance(a, b, seed=7)


def test_the_order_of_rows_does_not_count():
    draw = rng(5)
    a, b = draw.normal(size=(40, 6)), draw.normal(0.3, 1.2, (30, 6))
    mixed = a[draw.permutation(40)], b[draw.permutation(30)]
    assert frechet_distance(*mixed) == pytest.approx(frechet_distance(a, b))
    assert kernel_distance(*mixed).value == pytest.approx(kernel_distance(a, b).value)
    assert precision_recall_density_coverage(*mixed) == precision_recall_density_coverage(a, b)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))
    assert kernel_distance(b, a).value == pytest.approx(kernel_distance(a, b).value)
    there, back = precision_recall_density_coverage(a, b), precision_recall_density_coverage(b, a)
    assert (there.precision, there.recall) == (back.recall, back.precision)


def test_blocks_change_nothing(monkeypatch):
    a, b = rng(6).normal(size=(2, 33, 4))
    whole = frechet_distance(a, b), kernel_distance(a, b).value, precision_recall_density_coverage(a, b)
    monkeypatch.setattr("core.metrics.distribution.BLOCK_ROWS", 10)
    assert kernel_distance(a, b).value == pytest.approx(whole[1])
    assert precision_recall_density_coverage(a, b) == whole[2]


def test_manifold_figures_by_hand():
    real = np.array([[0.0], [1], [2], [10], [11], [12]])
    made = np.array([[0.5], [1.5], [1.0], [50]])
    found = precision_recall_density_coverage(real, made, neighbours=2)
    # Radii of the real: 2, 1, 2, 2, 1, 2. Of the made: 1, 1, 0.5, 49.
    assert found.precision == 3 / 4
    assert found.recall == 1                                    # by the stray row's ball; coverage is not fooled
    assert found.density == pytest.approx(9 / (2 * 4))
    assert found.coverage == 3 / 6


def test_a_set_against_itself_and_a_far_one():
    rows = rng(7).normal(size=(10, 3)).repeat(8, 0)             # more equal rows than neighbours: balls of radius 0
    same = precision_recall_density_coverage(rows, rows)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    far = precision_recall_density_coverage(rows, rows + 100)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_one_mode_is_precise_and_covers_little():
    draw = rng(8)
    real = np.concatenate([draw.normal(size=(60, 2)), draw.normal(20, 1, (60, 2))])
    found = precision_recall_density_coverage(real, draw.normal(size=(120, 2)))
    assert found.precision > 0.9
    assert found.recall < 0.6
    assert found.coverage < 0.6


@pytest.mark.parametrize(("figure", "real", "made", "message"), [
    (frechet_distance, np.zeros((1, 4)), np.zeros((5, 4)), "real features: too few pictures, got 1. This figure needs"),
    (kernel_distance, np.zeros((5, 4)), np.zeros((3, 4)), "made features: too few pictures, got 3."),
    (precision_recall_density_coverage, np.zeros((5, 4)), np.zeros((9, 4)), "real features: too few pictures, got 5."),
    (frechet_distance, np.zeros((5, 4)), np.zeros((5, 3)), "features: of different length, got 4 and 3."),
    (frechet_distance, np.zeros(5), np.zeros((5, 3)), "real features: not a table, got shape (5,)."),
    (kernel_distance, np.zeros((5, 4)), np.full((5, 4), np.nan), "made features: values that are not finite, got 20"),
])
def test_bad_features_are_named(figure, real, made, message):
    with pytest.raises(DataError) as raised:
        figure(real, made)
    assert str(raised.value).startswith(message)


def test_diversity_is_the_mean_within_clusters():
    rows = np.array([[0.0, 0], [0, 2], [4, 0], [9, 9], [9, 8], [50, 50]])
    distances = feature_distances(rows) * np.sqrt(2)            # plain Euclidean ones
    found = diversity(distances, ["a", "a", "a", "b", "b", "c"])
    first = (2 + 4 + np.sqrt(20)) / 3
    assert found.value == pytest.approx((first + 1) / 2)
    assert found.spread == pytest.approx((first - 1) / 2)
    assert (found.clusters, found.alone) == (2, 1)
    assert diversity(distances, range(6)).value is None
    assert diversity(np.zeros((3, 3)), [0, 0, 0]).value == 0, "the same picture for every seed"
    with pytest.raises(DataError, match="do not fit"):
        diversity(distances, [0, 1])


def test_clusters_are_the_nearest_real_pictures():
    real = np.array([[0.0], [10]])
    made = np.array([[1.0], [2], [9], [6]])
    assert nearest(feature_distances(made, real)).tolist() == [0, 0, 1, 1]


def test_distances_by_any_measure():
    pictures = [np.full((2, 2), value) for value in (0.0, 0.25, 1.0)]
    measure = lambda a, b: float(np.abs(a - b).mean())          # noqa: E731
    assert picture_distances(measure, pictures).tolist() == [[0, 0.25, 1], [0.25, 0, 0.75], [1, 0.75, 0]]
    assert picture_distances(measure, pictures, pictures[:1]).tolist() == [[0], [0.25], [1]]
