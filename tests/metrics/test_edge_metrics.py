"""Precision and recall of edges: counted by hand, at tolerances, in masks, over batches."""
import numpy as np
import pytest
import torch

from core.errors import DataError
from core.metrics.edges import NONE, EdgeCounts, edge_counts
from core.seeding import rng


def line(column, size=(20, 20)):
    edges = np.zeros(size, bool)
    edges[2:18, column] = True
    return edges


@pytest.mark.parametrize(("shift", "tolerance", "right"), [
    (0, 0, True), (1, 0, False), (1, 1, True), (2, 1, False), (2, 2, True), (3, 2, False),
])
def test_a_shifted_line_is_found_within_the_tolerance(shift, tolerance, right):
    counts = edge_counts(line(8 + shift), line(8), tolerance_px=tolerance)
    assert counts == EdgeCounts(16, 16 * right, 16, 16 * right)
    assert (counts.precision, counts.recall, counts.f1) == (float(right),) * 3


def test_distance_is_euclidean():
    drawn, true = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    true[4, 4] = drawn[6, 6] = True                             # 2.83 px apart
    assert edge_counts(drawn, true, tolerance_px=2).precision == 0
    assert edge_counts(drawn, true, tolerance_px=2.9).precision == 1


def test_precision_and_recall_are_not_each_other():
    drawn = line(5)
    drawn[10:] = False                                          # 8 of the 16 pixels, and a wrong line of 16
    drawn |= line(15)
    counts = edge_counts(drawn, line(5))
    assert (counts.precision, counts.recall) == (8 / 24, 8 / 16)
    assert counts.f1 == pytest.approx(2 * 8 / (24 + 16))


def test_a_mask_cuts_both_maps():
    mask = np.zeros((20, 20), bool)
    mask[:, :10] = True
    drawn, true = line(9), line(10)                             # the true line is the background's, just outside
    assert edge_counts(drawn, true, tolerance_px=2).precision == 1
    assert edge_counts(drawn, true, mask, tolerance_px=2) == EdgeCounts(16, 0, 0, 0)
    everywhere = np.ones((20, 20), bool)
    assert edge_counts(drawn, true, everywhere, tolerance_px=2) == edge_counts(drawn, true, tolerance_px=2)


def test_a_batch_is_the_sum_of_its_maps():
    draw = rng(1)
    drawn, true, mask = (draw.random((4, 1, 30, 40)) for _ in range(3))
    mask = mask > 0.3
    for tolerance in (0, 1):
        singles = [edge_counts(*maps, tolerance_px=tolerance) for maps in zip(drawn[:, 0], true[:, 0], mask[:, 0])]
        assert edge_counts(drawn, true, mask, tolerance_px=tolerance) == sum(singles, NONE)
        tensors = [torch.from_numpy(maps) for maps in (drawn, true, mask)]
        assert edge_counts(*tensors, tolerance_px=tolerance) == sum(singles, NONE)


def test_wider_tolerance_never_finds_less():
    draw = rng(2)
    drawn, true = draw.random((2, 40, 40)) > 0.95
    figures = [edge_counts(drawn, true, tolerance_px=tolerance) for tolerance in (0, 1, 2, 4, 60)]
    assert [found.recall for found in figures] == sorted(found.recall for found in figures)
    assert figures[-1].precision == figures[-1].recall == 1


def test_threshold_and_depth():
    soft = np.where(line(4), 0.6, 0.1)
    assert edge_counts(soft, line(4)).f1 == 1
    assert edge_counts(soft, line(4), threshold=0.7).recall == 0
    assert edge_counts((soft * 255).astype(np.uint8), line(4).astype(np.uint16) * 65535).f1 == 1


def test_empty_maps():
    nothing = np.zeros((20, 20), bool)
    assert (edge_counts(nothing, nothing).precision, edge_counts(nothing, nothing).recall) == (1, 1)
    drawn_none, none_to_draw = edge_counts(nothing, line(3)), edge_counts(line(3), nothing)
    assert (drawn_none.precision, drawn_none.recall, drawn_none.f1) == (0, 0, 0)
    assert (none_to_draw.precision, none_to_draw.recall) == (0, 0)


def test_bad_input_is_named():
    with pytest.raises(DataError, match="edge maps: of different sizes"):
        edge_counts(line(3), line(3, (20, 21)))
    with pytest.raises(DataError, match="mask: an empty mask"):
        edge_counts(line(3), line(3), np.zeros((20, 20), bool))
