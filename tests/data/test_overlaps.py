"""Crops of one photograph are found, shifted and turned; pictures of the same material are not."""
import numpy as np
import pytest

from core.data.overlaps import overlap


def photograph(seed: int) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, 10, (300, 300, 1))
    stripes = 20 * (np.arange(300) % 30 < 12)[None, :, None]
    return np.repeat((120 + grain + stripes).clip(0, 255).astype(np.uint8), 3, axis=2)


@pytest.mark.parametrize("turn", range(8))
def test_a_shared_part_is_found_in_every_turn_and_light(turn):
    photo = photograph(0)
    first, second = photo[:200, :200], photo[100:300, 80:280]
    second = np.rot90(second[:, ::-1] if turn >= 4 else second, turn % 4)
    assert overlap(first, (0.8 * second).astype(np.uint8))


def test_the_same_material_is_another_place():
    assert not overlap(photograph(0)[:200, :200], photograph(1)[100:, 80:])
    flat = np.full((100, 120, 3), 90, np.uint8)
    assert not overlap(flat, flat)
    assert not overlap(flat, photograph(0)[:100, :120])


def test_depth_and_size_may_differ():
    photo = photograph(2)
    assert overlap(photo[:180, :200].astype(np.uint16) * 257, photo[40:200, 50:220])
