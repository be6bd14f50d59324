"""Made circuit boards: the six defects where their masks say, and nothing changed elsewhere."""
import cv2
import numpy as np
import pytest

from core.errors import ConfigError
from core.synthetic import make
from core.synthetic.board import REACH_PX
from core.synthetic.pcb import CLASSES

COUNT = 40


@pytest.fixture(scope="module")
def samples():
    return [make("pcb", 11, index) for index in range(COUNT)]


def test_picture_and_twin_differ_at_the_defects_alone(samples):
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH_PX + 1, 2 * REACH_PX + 1))
    for sample in samples:
        near = cv2.dilate((sample.index_mask(CLASSES) > 0).astype(np.uint8), reach) > 0
        assert (sample.image[~near] == sample.clean[~near]).all()


def test_the_fringe_outside_a_mask_is_faint(samples):
    """Two px outside the masks nothing but blur is left of a defect."""
    for sample in samples:
        near = cv2.dilate((sample.index_mask(CLASSES) > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        change = cv2.absdiff(sample.image, sample.clean).max(2)
        assert (change[~near] <= 14).all()


def test_a_defect_shows_where_its_mask_is(samples):
    for sample in samples:
        change = cv2.absdiff(sample.image, sample.clean).max(2).astype(float)
        for defect in sample.defects:
            assert np.median(change[defect.mask]) >= 5, defect.label


def test_masks_are_whole_and_apart(samples):
    for sample in samples:
        assert sample.defects
        together = sum(defect.mask.astype(int) for defect in sample.defects)
        assert together.max() == 1
        for defect in sample.defects:
            assert defect.mask.dtype == bool
            assert defect.mask.shape == sample.image.shape[:2]
            assert defect.mask.sum() >= 12
            edge = np.concatenate([defect.mask[0], defect.mask[-1], defect.mask[:, 0], defect.mask[:, -1]])
            assert not edge.any()


def test_every_class_comes(samples):
    labels = [defect.label for sample in samples for defect in sample.defects]
    assert set(labels) == set(CLASSES)
    assert min(labels.count(label) for label in CLASSES) >= 3


def test_the_index_mask_holds_the_defects(samples):
    sample = max(samples, key=lambda sample: len(sample.defects))
    index = sample.index_mask(CLASSES)
    for defect in sample.defects:
        assert (index[defect.mask] == 1 + CLASSES.index(defect.label)).all()
    assert (index > 0).sum() == sum(defect.mask.sum() for defect in sample.defects)


def test_bites_and_gaps_take_copper_away_and_the_others_add_it():
    """On the black and white scan, where copper is black."""
    seen = set()
    for index in range(60):
        sample = make("pcb", 5, index, defects=1, style="binary")
        for defect in sample.defects:
            before, after = (sample.clean[..., 0] == 0)[defect.mask], (sample.image[..., 0] == 0)[defect.mask]
            if defect.label in ("open_circuit", "mouse_bite"):
                assert before.mean() > 0.7 > 0.3 > after.mean()
            else:                                                         # copper is added, or a hole is not drilled
                assert before.mean() < 0.3 < 0.7 < after.mean()
            seen.add(defect.label)
    assert seen == set(CLASSES)


def test_wrong_wishes_are_named():
    with pytest.raises(ConfigError, match="too small to draw in, got 40x256"):
        make("pcb", 0, 0, (40, 256))
    with pytest.raises(ConfigError, match="Did you mean 'binary'"):
        make("pcb", 0, 0, style="binery")
    with pytest.raises(ConfigError, match="Did you mean 'defects'"):
        make("pcb", 0, 0, defect=3)
    with pytest.raises(ConfigError, match="Did you mean 'pcb'"):
        make("pcbs", 0, 0)
