"""Made flexible circuits: exposed copper where its mask says, nothing changed elsewhere."""
import cv2
import numpy as np
import pytest

from core.errors import ConfigError
from core.synthetic import make
from core.synthetic.fpc import CLASSES, REACH_PX


@pytest.fixture(scope="module")
def samples():
    return [make("fpc", 4, index) for index in range(24)]


def test_picture_and_twin_differ_at_the_defects_alone(samples):
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH_PX + 1, 2 * REACH_PX + 1))
    for sample in samples:
        near = cv2.dilate((sample.index_mask(CLASSES) > 0).astype(np.uint8), reach) > 0
        assert (sample.image[~near] == sample.clean[~near]).all()


def test_spots_have_the_size_of_real_ones_and_lie_in_the_picture(samples):
    for sample in samples:
        assert sample.defects
        for defect in sample.defects:
            _, _, width, height = cv2.boundingRect(defect.mask.astype(np.uint8))
            assert defect.mask.sum() >= 20
            assert 4 <= min(width, height) <= max(width, height) <= 74   # the widest side of the real set's rectangles


def test_spots_are_reddish_and_darker_than_the_gold(samples):
    for sample in samples:
        for defect in sample.defects:
            before, after = (picture[defect.mask].mean(0) for picture in (sample.clean, sample.image))
            assert after.sum() < before.sum()
            assert after[0] > 1.15 * after[1]


def test_a_mask_has_no_crumbs(samples):
    for sample in samples:
        for defect in sample.defects:
            *_, stats, _ = cv2.connectedComponentsWithStats(defect.mask.astype(np.uint8), connectivity=8)
            assert stats[1:, cv2.CC_STAT_AREA].min() >= 6


def test_spots_keep_apart(samples):
    for sample in samples:
        assert max(sum(defect.mask.astype(int) for defect in sample.defects).flat) == 1


def test_a_size_too_small_is_named():
    with pytest.raises(ConfigError, match="too small to draw in, got 20x224"):
        make("fpc", 0, 0, (20, 224))
