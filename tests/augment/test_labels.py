"""Tight labels: what really changed, no more and no less."""
import numpy as np
import pytest

from core.augment.labels import tight_mask


def plate(depth) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 3, (80, 90, 1)).repeat(3, axis=2)
    return ((120 + noise) / 255 * np.iinfo(depth).max).astype(depth)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("side", [4, 8, 24])
def test_a_square_is_found_to_the_pixel_or_nearly(depth, side):
    clean = plate(depth)
    made, truth = clean.copy(), np.zeros(clean.shape[:2], bool)
    truth[30:30 + side, 40:40 + side] = True
    made[truth] = np.iinfo(depth).max // 5
    found = tight_mask(clean, made, np.ones(clean.shape[:2], np.float32))
    assert (found & truth).sum() / (found | truth).sum() > (0.6 if side == 4 else 0.85)


def test_nothing_changed_or_too_little_is_no_label():
    clean = plate(np.uint8)
    everywhere = np.ones(clean.shape[:2], np.float32)
    assert not tight_mask(clean, clean, everywhere).any()
    assert not tight_mask(clean, clean + 3, everywhere).any()
    speck = clean.copy()
    speck[5, 5] = 255
    assert tight_mask(clean, speck, everywhere).sum() in (0, *range(9, 16))


def test_changes_outside_alpha_are_no_part_of_it():
    clean = plate(np.uint8)
    made, alpha = clean.copy(), np.zeros(clean.shape[:2], np.float32)
    made[10:20, 10:20] = made[50:60, 50:60] = 20
    alpha[45:65, 45:65] = 1
    found = tight_mask(clean, made, alpha)
    assert found[50:60, 50:60].mean() > 0.9
    assert not found[:40].any()
