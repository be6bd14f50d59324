"""Made metal surfaces: equal to their twin away from the defects, and every mask worth its label."""
import cv2
import numpy as np
import pytest

from core.errors import ConfigError
from core.seeding import rng
from core.synthetic import metal
from core.synthetic.metal_surfaces import STYLES
from core.synthetic.texture import REACH_PX
from tests.synthetic.twins import assert_true_twin


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(256, 256), (301, 97)])
def test_picture_equals_its_twin_away_from_the_defects(style, size):
    for i in range(3):
        sample = metal.draw(rng(5, i), size, style=style, defects=2)
        assert sample.image.shape == sample.clean.shape == (size[1], size[0], 3)
        assert sample.image.dtype == np.uint8
        assert len(sample.defects) == 2
        assert_true_twin(sample, REACH_PX + 4)


@pytest.mark.parametrize("label", metal.CLASSES)
def test_every_defect_is_there_to_be_seen(label):
    for i in range(8):
        sample = metal.draw(rng(7, i), defects=2, classes=[label], noise_sigma=(0, 0))
        difference = np.abs(sample.image.astype(int) - sample.clean).max(axis=2)
        for defect in sample.defects:
            assert defect.label == label
            assert defect.mask.dtype == bool
            assert defect.mask.shape == (256, 256)
            assert defect.mask.sum() >= metal.SMALLEST_AREA_PX[label]
            assert np.percentile(difference[defect.mask], 95) >= 8


def test_mask_holds_most_of_what_changed():
    for i in range(12):
        sample = metal.draw(rng(8, i), defects=2, noise_sigma=(0, 0), classes=["stain", "pit", "crack"])
        difference = np.abs(sample.image.astype(int) - sample.clean).max(axis=2)
        masks = np.any([defect.mask for defect in sample.defects], axis=0)
        assert difference[masks].sum() > 0.7 * difference.sum()


def test_every_class_and_both_signs_appear():
    drawn = [metal.draw(rng(9, i), (96, 96)) for i in range(60)]
    assert {defect.label for sample in drawn for defect in sample.defects} == set(metal.CLASSES)
    assert {len(sample.defects) for sample in drawn} == {1, 2, 3, 4}
    changes = [np.mean(s.image[d.mask].astype(int) - s.clean[d.mask]) for s in drawn for d in s.defects]
    assert min(changes) < -8 < 8 < max(changes)


def test_good_part_equals_its_twin_and_shares_it_with_the_bad_one():
    good, bad = metal.draw(rng(1, 1), defects=0), metal.draw(rng(1, 1), defects=3)
    assert good.defects == ()
    assert np.array_equal(good.image, good.clean)
    assert np.array_equal(good.clean, bad.clean)


def test_grey_by_default_and_coloured_where_asked():
    assert np.ptp(metal.draw(rng(1, 4)).image.astype(int), axis=2).max() == 0
    coloured = metal.draw(rng(1, 2), style="aluminium", classes=["scratch"])
    assert np.ptp(coloured.image.astype(int), axis=2).max() > 0
    assert np.ptp(metal.draw(rng(1, 2), style="aluminium", colour=False).image.astype(int), axis=2).max() == 0


def test_recipe_of_the_small_unet():
    drawn = [metal.draw(rng(2, i), **metal.SCRATCHES_AND_STAINS) for i in range(80)]
    labels = [[defect.label for defect in sample.defects] for sample in drawn]
    assert {label for picture in labels for label in picture} == {"scratch", "stain"}
    assert max(picture.count("scratch") for picture in labels) == 4
    assert max(picture.count("stain") for picture in labels) == 3
    assert 10 <= sum(not picture for picture in labels) <= 32
    assert set(np.unique(drawn[0].index_mask(metal.CLASSES) > 0)) <= {False, True}
    light = np.array([sample.clean.mean() / 255 for sample in drawn])
    swing = np.array([cv2.GaussianBlur(sample.clean[..., 0], (0, 0), 8).std() / 255 for sample in drawn])
    grain = np.array([(sample.clean[..., 0].astype(float)[:, 1:] - sample.clean[..., 0][:, :-1]).std() / 255 / 2 ** 0.5
                      for sample in drawn])
    for values, low, high in ((light, 0.33, 0.77), (swing, 0.008, 0.04), (grain, 0.005, 0.06)):
        assert values.min() > low           # the levels, the shading and the noise of the recipe
        assert values.max() < high
    assert np.ptp(light) > 0.25


def test_the_plain_surface_is_drawn_where_it_is_asked_for_alone(monkeypatch):
    def never(random, size):
        raise AssertionError("a plain surface among the others")
    monkeypatch.setitem(metal.STYLES, "plain", never)
    for i in range(30):
        metal.draw(rng(3, i), (64, 64), defects=0)


@pytest.mark.parametrize(("options", "message"), [
    ({"size": (40, 300)}, "too small to draw in, got 40x300"), ({"style": "brusht"}, "Did you mean 'brushed'"),
    ({"classes": ["scratches"]}, "Did you mean 'scratch'"), ({"counts": {"dent": (0, 1)}}, "got 'dent'"),
    ({"classes": []}, "no class"), ({"defects": -1}, "got -1"), ({"size": (64, 64), "defects": 60}, "no room")])
def test_wrong_option_is_one_clear_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        metal.draw(rng(1, 1), **options)
    assert "\n" not in str(error.value)
