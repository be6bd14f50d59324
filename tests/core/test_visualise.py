"""Pictures of images, masks and boxes."""
import re

import cv2
import numpy as np
import pytest

from core import visualise
from core.visualise import COLOURS, edge_path, fill_path, grid, overlay, shown, square_window, white_point


def masks():
    random = np.random.default_rng(3)
    hole = np.ones((5, 6), bool)
    hole[2, 2:4] = False
    return [hole, np.eye(4, dtype=bool), np.zeros((3, 3), bool), np.ones((1, 1), bool), random.random((17, 23)) > 0.5]


def drawn(path: str, shape: tuple[int, int]) -> np.ndarray:
    """How often each pixel is covered by the rectangles of a fill path."""
    covered = np.zeros(shape, int)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
        covered[int(y), int(x):int(x) + int(width)] += 1
    return covered


@pytest.mark.parametrize("mask", masks())
def test_fill_path_covers_exactly_the_mask(mask):
    covered = drawn(fill_path(mask, 7, 4), (40, 40))
    expected = np.zeros((40, 40), int)
    expected[4:4 + mask.shape[0], 7:7 + mask.shape[1]] = mask
    assert (covered == expected).all()


@pytest.mark.parametrize("mask", masks())
def test_edge_path_is_as_long_as_the_border_of_the_mask(mask):
    framed = np.pad(mask, 1).astype(int)
    border = np.abs(np.diff(framed, axis=0)).sum() + np.abs(np.diff(framed, axis=1)).sum()
    assert sum(map(int, re.findall(r"[hv](\d+)", edge_path(mask)))) == border


def test_square_window_stays_inside_and_keeps_its_side():
    random = np.random.default_rng(0)
    for _ in range(200):
        width, height, side = random.integers(1, 90, 3)
        x, y = random.integers(0, width), random.integers(0, height)
        x1, y1, x2, y2 = square_window((x, y, x + 1, y + 1), (width, height), side)
        assert 0 <= x1 <= x < x2 <= width
        assert 0 <= y1 <= y < y2 <= height
        assert (x2 - x1, y2 - y1) == (min(side, width), min(side, height))


def test_deep_images_are_shown_by_their_own_range():
    image = np.full((40, 40, 3), 3000, np.uint16)
    image[:20] = 300
    white = white_point([image])
    assert white == 3000
    assert shown(image, white).max() == 255
    assert int(shown(image, white)[0, 0, 0]) in (25, 26)
    assert white_point([np.zeros((4, 4, 3), np.uint8)]) == 255


def test_eight_bit_images_are_shown_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert (shown(image, 17) == image).all()


def test_overlay_leaves_the_rest_and_its_input_alone():
    image = np.full((20, 30, 3), 100, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[5:10, 6:12] = True
    result = overlay(image, [mask], [(6, 5, 12, 10)])
    assert (image == 100).all()
    changed = (result != image).any(axis=2)
    assert changed[4:11, 5:13].all()
    assert changed.sum() == 7 * 8
    assert (result[5, 6] == COLOURS[0]).all()
    assert (result[7, 8] == np.rint(70 + COLOURS[0] * 0.3)).all()


def test_overlay_of_nothing_and_of_a_box_over_the_border():
    image = np.zeros((8, 8, 3), np.uint8)
    assert (overlay(image) == image).all()
    assert overlay(image, boxes=[(0, 0, 8, 8)]).shape == image.shape


def test_reduced_and_enlarged():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    assert visualise.reduced(image, 90) is image
    assert visualise.reduced(image, 30).shape == (20, 30, 3)
    assert (visualise.enlarged(image, 3)[::3, ::3] == image).all()


def test_grid_holds_every_picture_whole():
    pictures = [[np.full((10, 12, 3), 10 * r + c, np.uint8) for c in range(3)] for r in range(2)]
    pictures[1].pop()
    sheet = grid(pictures, row_labels=["clean", "Größe"], column_labels=["a", "b", "c"])
    assert sheet.dtype == np.uint8
    for row in pictures:
        for picture in row:
            assert (sheet == picture[0, 0]).all(axis=2).sum() >= 120


def test_jpeg_is_near_its_original():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 4)
    decoded = cv2.imdecode(np.frombuffer(visualise.encode_jpeg(image, 92), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - image).max() < 12
