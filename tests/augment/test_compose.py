"""Windows stay inside the image at native scale; nothing changes where alpha is 0."""
import numpy as np
import pytest
import torch

from core.augment import compose
from core.augment.generator import Generated


@pytest.mark.parametrize("size", [(40, 30), (640, 640), (2448, 2048), (100, 2000)])
@pytest.mark.parametrize("box", [(0, 0, 5, 5), (30, 20, 40, 30), (10, 3, 12, 30)])
def test_the_window_holds_the_box_and_lies_in_the_image(size, box):
    x1, y1, x2, y2 = compose.window_round(box, size, 64)
    assert 0 <= x1 <= box[0] < box[2] <= x2 <= size[0]
    assert 0 <= y1 <= box[1] < box[3] <= y2 <= size[1]
    assert (x2 - x1, y2 - y1) == (min(64, size[0]), min(64, size[1]))


def test_a_large_box_gets_a_larger_window():
    x1, y1, x2, y2 = compose.window_round((100, 100, 300, 150), (640, 640), 64)
    assert x2 - x1 == y2 - y1 == 400


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_pixels_with_alpha_0_keep_every_grey_level(depth):
    clean = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (20, 24, 3), endpoint=True).astype(depth)
    alpha = torch.zeros(20, 24)
    alpha[5:9, 6:12] = 0.7
    made = compose.blend(clean, Generated(image=torch.ones(3, 20, 24), alpha=alpha))
    assert made.dtype == depth
    assert (made[alpha.numpy() == 0] == clean[alpha.numpy() == 0]).all()
    assert (made[5:9, 6:12] > clean[5:9, 6:12]).mean() > 0.95


def test_a_grey_window_stays_grey():
    clean = np.full((8, 8, 3), 90, np.uint8)
    coloured = torch.stack([torch.ones(8, 8), torch.zeros(8, 8), torch.zeros(8, 8)])
    made = compose.blend(clean, Generated(image=coloured, alpha=torch.ones(8, 8)))
    assert (made == made[..., :1]).all()
    assert (made != clean).all()


def test_changes_far_from_the_label_are_put_back():
    clean, made = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 200, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:14, 10:14] = True
    confined = compose.confine(clean, made, mask)
    assert (confined[mask] == 200).all()
    assert (confined[:6] == 0).all()
    assert (confined[20:] == 0).all()
    assert compose.bounds(confined.any(axis=2)) == (7, 7, 17, 17)


def test_bounds_of_nothing_are_none():
    assert compose.bounds(np.zeros((3, 3), bool)) is None
