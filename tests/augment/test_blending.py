"""Copied defects take on the light of where they lie, and binary pictures stay binary."""
import cv2
import numpy as np
import pytest

from core.augment.bank import Crop, DefectBank
from core.augment.blending import blended, extended, rim_px


def _flat(level: float) -> np.ndarray:
    return np.full((60, 60, 3), level, np.float32)


def _disc(radius: float = 10) -> np.ndarray:
    y, x = np.indices((60, 60))
    return ((x - 30) ** 2 + (y - 30) ** 2 < radius ** 2).astype(np.float32)


@pytest.mark.parametrize(("brightness", "expected"), [(1.0, 0.4), (0.0, 0.2)])
def test_a_shade_follows_the_light_and_a_paint_does_not(brightness, expected):
    mask = _disc()
    pixels = np.where(mask[..., None] > 0, 0.2, _flat(0.4)).astype(np.float32)
    image, alpha, _ = blended(_flat(0.8), pixels, _flat(0.4), mask, twin=False, brightness=brightness)
    assert abs(float(image[30, 30].mean()) - expected) < 0.04
    rim = (alpha > 0) & (alpha < 0.3)
    assert np.abs(image[rim] - 0.8).max() < 0.1             # no seam in the background carried along
    assert not alpha[np.hypot(*(np.indices((60, 60)) - 30)) > 16].any()


def test_a_dark_defect_is_never_a_light_spot_on_darker_material():
    mask = _disc()
    pixels = np.where(mask[..., None] > 0, 0.3, _flat(0.8)).astype(np.float32)
    image, alpha, _ = blended(_flat(0.1), pixels, _flat(0.8), mask, twin=False, brightness=0.5)
    seen = alpha[..., None] * image + (1 - alpha[..., None]) * 0.1
    assert seen.max() < 0.13
    assert seen[30, 30].max() < 0.11


def test_binary_pictures_stay_binary_and_an_island_touches_nothing():
    mask = _disc(5)
    image, alpha, shape = blended(_flat(1.0), np.where(mask[..., None] > 0, 0.02, _flat(0.98)).astype(np.float32),
                                  _flat(1.0), mask, twin=True, black_and_white=True)
    assert set(np.unique(image)) == {0.0, 1.0}
    assert set(np.unique(alpha)) == {0.0, 1.0}
    assert (shape == (mask > 0)).all()


def test_a_wanted_shape_is_filled_with_the_defect():
    mask, wanted = _disc(6), _disc(12) > 0
    pixels = np.where(mask[..., None] > 0, 0.1, _flat(0.9)).astype(np.float32)
    assert extended(pixels, mask, wanted)[wanted].max() < 0.2


@pytest.mark.parametrize(("share", "constant", "least", "most"), [(0.5, 0, 0.9, 1.0), (0, 60, 0.0, 0.25)])
def test_the_bank_learns_how_a_class_follows_the_light(share, constant, least, most):
    crops = []
    for background in (40, 80, 120, 160, 200, 240):
        mask = _disc() > 0
        clean = np.full((60, 60, 3), background, np.uint8)
        pixels = clean.copy()
        pixels[mask] = share * background + constant
        crops.append(Crop(label="spot", record="a", group="", box=(20, 20, 40, 40), origin=(0, 0), image_size=(60, 60),
                          pixels=pixels, mask=mask, clean=clean, mask_from="label", clean_from="twin"))
    assert least <= DefectBank(tuple(crops), {"spot": (0,)}).brightness["spot"] <= most


def test_a_magnified_black_and_white_defect_stays_sharp():
    mask = cv2.GaussianBlur(_disc(8), (0, 0), 3)            # what magnifying makes of a rim
    pixels = (1 - mask[..., None]).repeat(3, axis=2)
    image, _, _ = blended(_flat(1.0), pixels, _flat(1.0), mask, twin=True, black_and_white=True)
    assert set(np.unique(image)) == {0.0, 1.0}
    grey, _, _ = blended(_flat(0.6), pixels, _flat(1.0), mask, twin=True, black_and_white=True)
    assert len(np.unique(grey)) > 2                         # but not on a grey picture


def test_only_a_large_vague_defect_has_a_wide_rim():
    y, x = np.indices((200, 200))
    away = np.hypot(y - 100, x - 100)
    grain = np.random.default_rng(0).normal(0, 2, (200, 200))
    def picture(depth):
        return np.repeat((160 - depth + grain).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    assert rim_px(picture(80.0 * (away < 60)), away < 60) == 0
    assert rim_px(picture(80 * np.clip((90 - away) / 60, 0, 1)), away < 60) >= 2
    assert rim_px(picture(80 * np.clip((9 - away) / 6, 0, 1)), away < 6) == 0


def test_a_wide_rim_lies_inside_the_mask():
    mask = _disc(20)
    pixels = np.where(mask[..., None] > 0, 0.2, _flat(0.4)).astype(np.float32)
    _, alpha, _ = blended(_flat(0.4), pixels, _flat(0.4), mask, twin=False, feather_px=4)
    assert not alpha[mask == 0].any()
    assert alpha[30, 30] == 1
    assert 0 < alpha[30, 48] < 0.3


def test_a_defect_bears_the_grain_of_where_it_lies():
    grain = np.random.default_rng(0).normal(0, 0.05, (60, 60, 1)).astype(np.float32)
    mask = _disc(14)
    pixels = np.where(mask[..., None] > 0, 0.2, _flat(0.5)).astype(np.float32)
    pixels += np.random.default_rng(1).normal(0, 0.01, (60, 60, 1)).astype(np.float32)
    image, _, _ = blended((_flat(0.5) + grain).astype(np.float32), pixels, _flat(0.5), mask, twin=False)
    assert 0.03 < float(image[24:37, 24:37].std()) < 0.07
    smooth, _, _ = blended(_flat(0.5), pixels, _flat(0.5), mask, twin=False)
    assert float(smooth[24:37, 24:37].std()) < 0.02


def test_a_stain_is_no_lighter_on_bright_material_than_it_is_anywhere():
    rows = np.random.default_rng(0).normal(0, 0.03, (60, 60, 1)).astype(np.float32)
    clean, mask = _flat(0.1) + rows, _disc(14)
    pixels = np.where(mask[..., None] > 0, 3 * clean, clean).astype(np.float32)
    target = _flat(0.1).copy()
    target[:, 30:] = 0.35                                   # a conductor that the crop did not have
    image, _, _ = blended(target, pixels, clean, mask, twin=True)
    assert image[25:35, 32:40].max() < 0.9
