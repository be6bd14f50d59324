"""Plots as inline SVG."""
import re

import numpy as np
import pytest

from core.plots import Axis, bars, curves, density, density_peak, histogram, spreads
from tests.pages import parsed


def test_every_plot_is_balanced_and_escapes_names():
    values = np.random.default_rng(0).gamma(3, 5, 80)
    names = ["<html>", 'a "quoted" class with a very long name, longer than its column']
    plots = [
        histogram({names[0]: values, names[1]: values * 2}, "size <px>", log=True),
        bars(names, {"real": [3, 0], "<made>": [7, 12000]}),
        spreads(names, {"real": [values, []], "made": [values[:1], values]}, "px", log=True),
        density(np.random.default_rng(0).random((30, 2)), 1, "<positions>"),
        curves({"<loss>": (np.arange(5), np.array([3, 2, np.nan, 1, 1.5]))}, "step", "loss", log=True)]
    for plot in plots:
        found = parsed(plot)
        assert found.tags["svg"] == 1
        assert not set(found.tags) & {"html", "px", "made", "loss", "positions"}


def test_nothing_to_plot_is_none():
    assert histogram({}, "px") is None
    assert histogram({"real": []}, "px") is None
    assert bars([], {"real": []}) is None
    assert spreads(["a"], {"real": [[]]}, "px") is None
    assert density(np.zeros((0, 2)), 0, "nothing") is None
    assert density_peak([np.zeros((0, 2))]) is None
    assert curves({"loss": ([], [])}, "step", "loss") is None


@pytest.mark.parametrize("values", [[5], [0], [3, 3, 3], [-2, -2], [1e-9, 1e9], [0.1, 0.30000001]])
@pytest.mark.parametrize("log", [False, True])
def test_odd_ranges_give_finite_plots(values, log):
    plot = histogram({"real": values}, "px", log=log)
    assert "nan" not in plot
    assert "inf" not in plot
    ticks = Axis.over(np.array(values, float), 0, 100, log=log).ticks()
    assert 1 <= len(ticks) < 30


def test_axis_maps_its_ends_and_ticks_lie_between():
    axis = Axis.over(np.array([3.0, 96.0]), 50, 450)
    assert (axis.low, axis.high) == (0, 100)
    assert (axis(0), axis(100), axis(50)) == (50, 450, 250)
    assert axis.ticks() == [0, 20, 40, 60, 80, 100]
    by_ratio = Axis.over(np.array([2.0, 200.0]), 0, 300, log=True)
    assert by_ratio(20) == pytest.approx(150)
    assert by_ratio.ticks() == [2, 5, 10, 20, 50, 100, 200]


def test_bars_are_as_long_as_their_numbers():
    plot = bars(["a", "b"], {"real": [10, 40]})
    short, long = (float(width) for width in re.findall(r'width="([\d.]+)" height="9"', plot))
    assert long == pytest.approx(4 * short, rel=0.01)


def test_density_shares_a_scale_and_puts_points_where_they_are():
    few = np.array([[0.1, 0.9]])
    plot = density(few, 0, "one")
    strongest = max(re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="11" height="11" fill-opacity="([\d.]+)"', plot),
                    key=lambda cell: float(cell[2]))
    assert float(strongest[0]) == pytest.approx(0.1 * 264, abs=11)
    assert float(strongest[1]) == pytest.approx(0.9 * 264, abs=11)
    spread_out = np.random.default_rng(0).random((500, 2))
    peak = density_peak([few, spread_out])
    many = density(spread_out, 1, "many", peak=peak)
    faint = max(float(value) for value in re.findall(r'fill-opacity="([\d.]+)"', many))
    assert faint < 0.5 * float(strongest[2])
    assert "<circle" in plot
    assert "<circle" not in many
