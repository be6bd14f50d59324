"""Scores into verdicts: ranks, thresholds, escape and overkill with intervals."""
import numpy as np
import pytest

from core.errors import DataError
from core.metrics import decisions as d

SCORES = [0.1, 0.2, 0.3, 0.4, 0.6, 0.35, 0.7, 0.8, 0.9, 0.95]
BAD = [False] * 5 + [True] * 5


def pairwise(scores, bad):
    scores, bad = np.array(scores), np.array(bad)
    apart = scores[bad][:, None] - scores[~bad][None]
    return ((apart > 0) + 0.5 * (apart == 0)).mean()


@pytest.mark.parametrize("scale", [1, 37.0, 1e6, -1e-3])
def test_auroc_is_the_share_of_pairs_in_order_on_any_scale(scale):
    random = np.random.default_rng(0)
    scores = random.integers(0, 30, 60) * scale + 1000 * abs(scale)
    bad = random.random(60) < 0.4
    assert d.auroc(scores, bad) == pytest.approx(pairwise(scores, bad))


def test_average_precision_by_hand_and_with_ties():
    assert d.average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1], bool)) == pytest.approx((1 + 2 / 3) / 2)
    assert d.average_precision(np.array([5.0, 5.0]), np.array([1, 0], bool)) == pytest.approx(0.5)


def test_weights_count_as_copies():
    scores, bad = np.array(SCORES), np.array(BAD)
    weights = np.array([0, 2, 1, 3, 1, 1, 2, 0, 1, 1])
    for figure in (d.auroc, d.average_precision):
        assert figure(scores, bad, weights) == pytest.approx(figure(scores.repeat(weights), bad.repeat(weights)))


def test_rules_choose_what_they_say():
    def at(**config):
        return d.decide(SCORES, BAD, d.choose_threshold(SCORES, BAD, d.ThresholdConfig(**config)))
    assert at(rule="recall", recall=1.0) == d.Decided(hit=5, miss=0, false=2, passed=3)
    assert at(rule="recall", recall=0.8) == d.Decided(hit=4, miss=1, false=0, passed=5)
    assert at(rule="max_f1") == d.Decided(hit=4, miss=1, false=0, passed=5)
    assert at(rule="cost", miss=20, false=1).miss == 0
    assert at(rule="cost", miss=1, false=20).false == 0
    assert d.choose_threshold(SCORES, BAD, d.ThresholdConfig(rule="fixed", value=0.25)) == 0.25
    assert 0.6 < d.choose_threshold(SCORES, BAD, d.ThresholdConfig(rule="max_f1")) < 0.7
    assert at(rule="cost", miss=0.001, false=20) == d.Decided(hit=4, miss=1, false=0, passed=5)
    worthless = d.choose_threshold([0.9, 0.1], [False, True], d.ThresholdConfig(rule="cost", miss=1, false=5))
    assert d.decide([0.9, 0.1], [False, True], worthless) == d.Decided(hit=0, miss=1, false=0, passed=1)


def test_no_defect_to_choose_on_is_an_error():
    with pytest.raises(DataError, match="no defective image to choose it on, got 2 good ones"):
        d.choose_threshold([1, 2], [False, False], d.ThresholdConfig())
    with pytest.raises(DataError, match="not finite"):
        d.decide([float("nan")], [True], 0)


def test_figures_and_their_intervals():
    found = d.figures(SCORES, BAD, 0.5, draws=200)
    assert (found["escape"], found["overkill"]) == (0.2, 0.2)
    assert found["recall"] == found["precision"] == found["f1"] == 0.8
    for name in ("auroc", "ap", "escape", "overkill"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert "auroc" not in d.figures([0.1, 0.2], [False, False], 0.5)
    only_bad = d.figures([0.1, 0.2], [True, True], 0.5)
    assert only_bad["escape"] == 1
    assert "precision" not in only_bad
    assert "overkill" not in only_bad


def test_groups_widen_the_interval():
    scores, bad = np.array(SCORES * 4), np.array(BAD * 4)
    alone = d.bootstrap(scores, bad, d.auroc, None, 300)
    together = d.bootstrap(scores, bad, d.auroc, [str(n % 10) for n in range(40)], 300)
    assert together[1] - together[0] > 1.3 * (alone[1] - alone[0])


def test_wilson():
    assert d.wilson(0, 100) == pytest.approx((0, 0.0370), abs=1e-4)
    assert d.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_a_part_is_as_bad_as_its_worst_image():
    assert d.by_part([0.1, 0.9, 0.3], [False, True, False], ["a", "a", "b"]) == ([0.9, 0.3], [True, False], ["a", "b"])
