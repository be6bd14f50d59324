"""Figures of anomaly maps: perfect, random and hand-computed ones."""
import numpy as np
import pytest

from core.metrics.anomaly import MapFigures, map_figures
from core.metrics.decisions import auroc, average_precision


def masks(count: int = 4) -> list[np.ndarray]:
    found = []
    for number in range(count):
        mask = np.zeros((60, 80), bool)
        mask[5 + number:15, 10:30] = True
        mask[40:44, 50 + number:54 + number] = True
        found.append(mask)
    return found


def test_a_perfect_map_has_all_of_everything():
    found = map_figures([mask * 5.0 - 3 for mask in masks()], masks())
    assert found == pytest.approx({"auroc": 1, "ap": 1, "f1": 1, "aupro_30": 1, "aupro_5": 1})


def test_a_random_map_covers_regions_as_it_does_anything():
    random = np.random.default_rng(0)
    found = map_figures([random.random((60, 80)) for _ in range(40)], masks(4) * 10)
    assert found["auroc"] == pytest.approx(0.5, abs=0.02)
    assert found["aupro_30"] == pytest.approx(0.15, abs=0.01)
    assert found["aupro_5"] == pytest.approx(0.025, abs=0.005)


def test_pixels_are_ranked_as_by_the_exact_figures():
    random = np.random.default_rng(1)
    maps = [random.normal(mask * 1.5, 1) for mask in masks()]
    found, scores, truth = map_figures(maps, masks()), np.concatenate(maps).ravel(), np.concatenate(masks()).ravel()
    assert found["auroc"] == pytest.approx(auroc(scores, truth), abs=1e-4)
    assert found["ap"] == pytest.approx(average_precision(scores, truth), abs=1e-3)


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = masks(1)[0]
    only_large = np.where(mask, 1.0, 0.0)
    only_large[40:44] = 0
    assert map_figures([only_large], [mask])["aupro_30"] == pytest.approx(0.5 + 0.5 * 0.15, abs=0.01)


def test_unknown_figures_are_left_out_and_mistakes_refused():
    assert map_figures([np.zeros((5, 5))], [np.zeros((5, 5), bool)]) == {}
    with pytest.raises(ValueError, match="low must be below high"):
        MapFigures(1, 1)
    with pytest.raises(ValueError, match="different sizes"):
        MapFigures(0, 1).add(np.zeros((4, 4)), np.zeros((4, 5), bool))
