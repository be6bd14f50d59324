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


def test_a_faint_region_has_its_known_shape_and_a_clear_one_what_changed():
    grain = np.random.default_rng(1).normal(0, 8, (120, 160, 1)).repeat(3, axis=2)
    clean = (110 + grain).clip(0, 255).astype(np.uint8)
    shape = np.zeros(clean.shape[:2], bool)
    shape[30:90, 40:120] = True
    streaks = np.where(np.arange(160) % 16 < 4, 26, 5)[None, :, None] * shape[..., None]
    faint = (clean + streaks).clip(0, 255).astype(np.uint8)
    alpha = shape.astype(np.float32)
    alone, known = (tight_mask(clean, faint, alpha, given) for given in (None, shape))
    assert (alone & shape).sum() < 0.7 * shape.sum()        # in patches
    assert (known & shape).sum() / (known | shape).sum() > 0.95
    clear = clean.copy()
    clear[32:88, 42:118] = 30
    assert (tight_mask(clean, clear, alpha, shape) == tight_mask(clean, clear, alpha)).all()
    assert not tight_mask(clean, clean, alpha, shape).any()


def test_a_known_shape_is_no_label_where_nothing_changed():
    clean = plate(np.uint8)
    shape = np.zeros(clean.shape[:2], bool)
    shape[10:70, 10:80] = True
    made = clean.copy()
    made[10:70, 10:40] = 60
    found = tight_mask(clean, made, shape.astype(np.float32), shape)
    assert found[12:68, 12:38].all()
    assert not found[:, 46:].any()


def test_a_faint_defect_on_smooth_material_is_labelled():
    clean = np.full((60, 60, 3), 120, np.uint8)
    made = clean.copy()
    made[20:40, 25:35] = 112
    found = tight_mask(clean, made, np.ones(clean.shape[:2], np.float32))
    assert found[20:40, 25:35].mean() > 0.9
    assert found.sum() < 300
