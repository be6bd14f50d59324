"""Figures of segmentation: published predictions to the digits on record, and small masks counted by hand."""
import math

import numpy as np
import pytest

from core.data.formats.label_image import ColourMap, without_rings
from core.data.images import read_mask
from core.metrics import segmentation as seg

COLOURS = ColourMap({"1": (255, 0, 0), "2": (0, 255, 0), "3": (0, 0, 255), "4": (255, 255, 0), "5": (0, 255, 255),
                     "6": (255, 0, 255)})
# Image: true class, ring px, IoU of it with raw masks, then with clean ones IoU, Dice, precision, recall, pixel
# accuracy, false px on the background, parts that touch a defect, parts, boundary F1 at 2 and at 8 px.
PUBLISHED = {
    26: (5, 9052, 0.9840, 0.9825, 0.9912, 0.995, 0.987, 0.9935, 8_973, 6, 6, 0.535, 0.935),
    103: (1, 0, 0.8858, 0.8858, 0.9394, 0.960, 0.920, 0.9921, 13_690, 41, 72, 0.358, 0.702),
    132: (3, 617, 0.8524, 0.8556, 0.9222, 0.925, 0.919, 0.9983, 4_184, 6, 13, 0.306, 0.820),
    161: (4, 4087, 0.6594, 0.6633, 0.7975, 0.824, 0.773, 0.9916, 19_069, 1, 84, 0.038, 0.520),
    247: (6, 4858, 0.8141, 0.8132, 0.8970, 0.823, 0.985, 0.9787, 104_260, 12, 156, 0.536, 0.687),
    249: (6, 4614, 0.7825, 0.7810, 0.8770, 0.799, 0.971, 0.9678, 154_610, 30, 520, 0.263, 0.535),
    317: (2, 1039, 0.2763, 0.2740, 0.4301, 1.000, 0.274, 0.9832, 45, 61, 89, 0.000, 0.018),
}


@pytest.mark.parametrize("image", PUBLISHED)
def test_published_predictions_have_the_figures_on_record(shared_data, image):
    (number, rings, raw_iou, iou, dice, precision, recall, accuracy, false_px, touching, parts,
     *boundary) = PUBLISHED[image]
    root = shared_data / "aluminum_large"
    raw, predicted = (COLOURS.codes(read_mask(path), path) for path in (
        root / "masks" / f"{image}.png", root / "published_predictions" / f"{image}.png"))
    clean = without_rings(raw)
    matrix = seg.confusion(clean, predicted, 7)
    each = seg.by_class(matrix)
    assert np.count_nonzero(raw != clean) == rings
    assert round(seg.by_class(seg.confusion(raw, predicted, 7)).iou[number], 4) == raw_iou
    assert [round(float(values[number]), 4) for values in (each.iou, each.dice)] == [iou, dice]
    assert [round(float(values[number]), 3) for values in (each.precision, each.recall)] == [precision, recall]
    assert round(seg.overall(matrix)["pixel_accuracy"], 4) == accuracy
    assert matrix[0, 1:].sum() == false_px
    found = seg.objects(clean, predicted)
    assert (found.found - found.spurious, found.found) == (touching, parts)
    assert [round(seg.boundary_f1(clean, predicted, px), 3) for px in (2, 8)] == boundary


def test_a_matrix_of_a_set_is_the_sum_of_its_images_and_ignored_pixels_do_not_count():
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]], np.uint8)
    found = np.array([[0, 1, 1, 0], [2, 0, 1, 2]], np.uint8)
    matrix = seg.confusion(truth, found, 3)
    assert matrix.tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    halves = seg.confusion(truth[:, :2], found[:, :2], 3) + seg.confusion(truth[:, 2:], found[:, 2:], 3)
    assert (halves == matrix).all()
    assert matrix.dtype == np.int64
    each = seg.by_class(matrix)
    assert each.iou.tolist() == pytest.approx([1 / 4, 1 / 3, 1 / 2])
    assert each.dice.tolist() == pytest.approx([2 / 5, 1 / 2, 2 / 3])
    assert each.recall.tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 2])
    assert each.precision.tolist() == pytest.approx([1 / 3, 1 / 2, 1])
    figures = seg.overall(matrix)
    assert figures["miou"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 2) / 3)
    assert figures["miou_defects"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert figures["pixel_accuracy"] == pytest.approx(3 / 6)
    assert figures["defect_iou"] == pytest.approx(2 / 5)
    assert figures["frequency_weighted_iou"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 2) / 3)


def test_a_class_that_never_occurs_is_unknown_and_left_out_of_means():
    matrix = seg.confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 3)
    assert np.isnan(seg.by_class(matrix).iou[1:]).all()
    assert seg.overall(matrix)["miou"] == 1
    assert math.isnan(seg.overall(matrix)["miou_defects"])
    with pytest.raises(ValueError, match="more than 3 classes, got 3"):
        seg.confusion(np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8), 3)


def test_background_alone_has_high_pixel_accuracy_and_no_defect_iou():
    truth = np.zeros((100, 100), np.uint8)
    truth[:10, :10] = 1
    figures = seg.overall(seg.confusion(truth, np.zeros_like(truth), 2))
    assert figures["pixel_accuracy"] == 0.99
    assert figures["miou_defects"] == figures["defect_iou"] == 0


def test_soft_pixel_accuracy_is_the_dice_with_its_classes_added_up_first():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(4), (6, 7)).transpose(2, 0, 1)
    truth = random.integers(0, 4, (6, 7)).astype(np.uint8)
    y = np.stack([truth == k for k in range(4)])
    pooled = 2 * (y * p).sum() / (y.sum() + p.sum())
    assert seg.soft_pixel_accuracy(p, truth) == pytest.approx(pooled)
    truth[0] = seg.IGNORE
    kept = np.take_along_axis(p[:, 1:], truth[None, 1:].astype(np.int64), 0).mean()
    assert seg.soft_pixel_accuracy(p, truth) == pytest.approx(kept)


def test_outlines_match_within_their_tolerance():
    truth, moved = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    truth[10:20, 10:20], moved[13:23, 10:20] = 1, 1
    assert seg.boundary_f1(truth, truth, 0) == 1
    assert seg.boundary_f1(truth, moved, 3) == 1
    assert 0.3 < seg.boundary_f1(truth, moved, 2) < 1
    assert seg.boundary_f1(truth, np.zeros_like(truth), 8) == 0
    assert math.isnan(seg.boundary_f1(np.zeros_like(truth), np.zeros_like(truth), 8))
    assert not seg.outline(np.ones((5, 5), np.uint8)).any()
    assert seg.outline(truth).sum() == 36 + 40
    truth[10:20, 15:20] = 2
    assert seg.outline(truth).sum() == 36 + 40 + 16        # the border between two classes is one too
    ignored = truth.copy()
    ignored[22:, :] = 255
    below = truth.copy()
    below[25:30, 5:9] = 1
    assert seg.boundary_f1(ignored, below, 0) == 1
    assert seg.boundary_f1(truth, below, 0) < 1


def test_objects_are_counted_as_found_named_and_spurious():
    truth, found = np.zeros((30, 60), np.uint8), np.zeros((30, 60), np.uint8)
    truth[0:10, 0:10] = 1               # found, right class
    found[0:10, 0:5] = 1
    truth[0:10, 20:30] = 2              # found, wrong class
    found[2:8, 22:28] = 1
    truth[0:10, 40:50] = 1              # 5 of 100 px: missed, though not spurious
    found[0, 40:45] = 1
    found[20:22, 0:2] = 2               # touches nothing
    truth[20:30, 50:60] = seg.IGNORE    # neither
    found[22:28, 52:58] = 1
    assert seg.objects(truth, found) == seg.Objects(true=3, hit=2, named=1, found=4, spurious=1)
    assert seg.objects(np.zeros_like(truth), np.zeros_like(truth)) == seg.Objects(0, 0, 0, 0, 0)


def test_false_alarms_on_clean_tiles():
    truth, found = np.zeros((100, 150), np.uint8), np.zeros((100, 150), np.uint8)
    truth[60, 60] = 1                   # tile (1, 1) is not clean
    found[0:6, 0:6] = 1                 # 36 of 2500 px: more than 1 %
    found[0:5, 50:55] = 1               # exactly 1 %: no alarm
    assert seg.clean_tiles(truth, found, side_px=50) == (5, 1)


def test_seams_are_seen_on_the_lines_alone():
    smooth, seamed = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    smooth[20:40, 10:50] = 1
    seamed[:, :32] = 1
    lines = range(16, 64, 16)
    assert seg.seam_ratio(seg.label_changes(seamed, lines, lines)) == math.inf
    assert math.isnan(seg.seam_ratio(seg.label_changes(np.zeros_like(smooth), lines, lines)))
    seamed[5, 5] = 2
    assert seg.seam_ratio(seg.label_changes(seamed, lines, lines)) > 50
    assert seg.seam_ratio(seg.label_changes(smooth, lines, lines)) == 0
    random = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8)
    assert seg.seam_ratio(seg.label_changes(random, lines, lines)) == pytest.approx(1, abs=0.1)
    twice = seg.label_changes(random, lines, lines) * 2
    assert seg.seam_ratio(twice) == seg.seam_ratio(twice // 2)


def test_the_bootstrap_interval_holds_the_figure_and_repeats():
    random = np.random.default_rng(0)
    matrices = [random.integers(1, 100, (3, 3)) for _ in range(12)]

    def figure(matrix):
        return seg.overall(matrix)["miou"]
    low, high = seg.bootstrap(matrices, figure, draws=200)
    assert low < figure(sum(matrices)) < high
    assert seg.bootstrap(matrices, figure, draws=200) == (low, high)
    assert seg.bootstrap(matrices[:1], figure, draws=5) == pytest.approx([figure(matrices[0])] * 2)
