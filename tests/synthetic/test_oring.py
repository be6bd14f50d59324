"""Made o-rings: patches that are pieces of the frame, equal to their twin away from the defects."""
import numpy as np
import pytest

from core.errors import ConfigError
from core.seeding import rng
from core.synthetic import oring
from tests.synthetic.twins import assert_true_twin

SMALL = (640, 560)
REACH_PX = oring.SHADOW_REACH_PX + 6


def test_full_frame():
    sample = oring.draw(rng(1, 0), defects=4)
    assert sample.image.shape == (2048, 2448, 3)
    assert np.ptp(sample.image.astype(int), axis=2).max() == 0
    assert len(sample.defects) == 4
    assert_true_twin(sample, REACH_PX)


@pytest.mark.parametrize("label", oring.CLASSES)
@pytest.mark.parametrize(("size", "patch"), [(SMALL, None), ((431, 517), None), (oring.SIZE, 333)])
def test_every_defect_is_there_to_be_seen(label, size, patch):
    for i in range(3):
        sample = oring.draw(rng(7, i), size, defects=1, classes=[label], patch=patch)
        shape = (size[1], size[0]) if patch is None else (patch, patch)
        assert sample.image.shape == (*shape, 3)
        assert sample.image.dtype == np.uint8
        assert_true_twin(sample, REACH_PX)
        defect, = sample.defects
        difference = np.abs(sample.image.astype(int) - sample.clean).max(axis=2)
        assert defect.label == label
        assert defect.mask.dtype == bool
        assert defect.mask.shape == shape
        assert defect.mask.sum() >= 8
        assert np.percentile(difference[defect.mask], 95) >= 10


@pytest.mark.parametrize("i", range(3))
def test_patch_is_a_piece_of_the_frame_cut_at_the_ring(i):
    size, side = (1024, 900), 256
    frame = oring.draw(rng(4, i), size, defects=0).clean[..., 0].astype(np.float32)
    patch = oring.draw(rng(4, i), size, defects=0, patch=side).clean[..., 0].astype(np.float32)
    spots = np.argwhere(frame[:-side + 1, :-side + 1] == patch[0, 0])
    misses = [np.abs(frame[y:y + side, x:x + side] - patch).max() for y, x in spots
              if np.abs(frame[y:y + 8, x:x + 8] - patch[:8, :8]).max() <= 1]
    assert min(misses) <= 1
    assert patch.min() < 90
    assert patch.max() > 90


def test_every_class_appears():
    drawn = [oring.draw(rng(9, i), (300, 300)) for i in range(30)]
    assert {defect.label for sample in drawn for defect in sample.defects} == set(oring.CLASSES)
    assert {len(sample.defects) for sample in drawn} == {1, 2, 3}


def test_good_part_equals_its_twin_and_shares_it_with_the_bad_one():
    good, bad = oring.draw(rng(1, 1), SMALL, defects=0), oring.draw(rng(1, 1), SMALL, defects=2)
    assert good.defects == ()
    assert np.array_equal(good.image, good.clean)
    assert np.array_equal(good.clean, bad.clean)
    assert any(not oring.draw(rng(1, i), (256, 256), good_share=0.9).defects for i in range(4))


@pytest.mark.parametrize(("options", "message"), [
    ({"size": (200, 900)}, "small to draw in, got 200x900"), ({"patch": 255}, "got 255 px"),
    ({"patch": 4000}, "got 4000 px"),
    ({"classes": ["tears"]}, "Did you mean 'tear'"), ({"classes": []}, "no class"), ({"defects": -2}, "got -2"),
    ({"size": (256, 256), "defects": 200}, "no room")])
def test_wrong_option_is_one_clear_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        oring.draw(rng(1, 1), **options)
    assert "\n" not in str(error.value)
