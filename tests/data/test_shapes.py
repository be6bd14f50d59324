"""Masks, rings, boxes and run-length codes turn into one another without losing a pixel."""
import time

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from core.data import shapes
from core.data.records import Instance
from core.errors import DataError


def blobs(seed: int, height: int = 37, width: int = 53, share: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < share


def disc(size: int = 60, radius: float = 20) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return (rows - 30) ** 2 + (columns - 25) ** 2 < radius ** 2


def slow_inside(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixel-centre even-odd rule, one pixel and one edge at a time."""
    width, height = size
    mask = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0)):
                y = row + 0.5
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= column + 0.5:
                    mask[row, column] ^= True
    return mask


@pytest.mark.parametrize("seed", range(8))
def test_rle_round_trip(seed):
    mask = blobs(seed, share=seed / 7)
    code = shapes.mask_to_rle(mask)
    assert isinstance(code["counts"], str)
    assert code["size"] == [37, 53]
    assert np.array_equal(shapes.rle_to_mask(code), mask)
    assert shapes.rle_area_px(code) == mask.sum()
    assert code["counts"] == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def test_uncompressed_and_bytes_codes_are_read():
    assert shapes.rle_to_mask({"size": [2, 3], "counts": [1, 2, 3]}).tolist() == [[0, 1, 0], [1, 0, 0]]
    code = shapes.mask_to_rle(blobs(1))
    assert np.array_equal(shapes.rle_to_mask({**code, "counts": code["counts"].encode()}), blobs(1))


@pytest.mark.parametrize("seed", range(6))
def test_polygon_fill_is_the_pixel_centre_even_odd_rule(seed):
    ring = np.random.default_rng(seed).uniform(-6, 30, (5 + seed, 2))            # self-crossing, partly outside
    instance = Instance(label="a", box=(0, 0, 1, 1), polygons=(ring,))
    assert np.array_equal(shapes.instance_mask(instance, (25, 22)), slow_inside(ring, (25, 22)))


def test_a_box_of_whole_pixels_is_filled_exactly():
    mask = shapes.instance_mask(Instance(label="a", box=(2, 3, 6, 5)), (10, 8))
    expected = np.zeros((8, 10), bool)
    expected[3:5, 2:6] = True
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("ring", [
    [[4.6, 3.6], [4.9, 3.6], [4.9, 3.9], [4.6, 3.9]],
    [[4.1, 3.05], [4.45, 3.05], [4.3, 3.9]],
])
def test_a_shape_with_an_area_never_vanishes(ring):
    mask = shapes.instance_mask(Instance(label="a", box=(0, 0, 1, 1), polygons=(np.array(ring),)), (10, 8))
    assert np.argwhere(mask).tolist() == [[3, 4]]


def test_a_shape_outside_the_image_is_empty():
    ring = np.array([[20.0, 20], [25, 20], [25, 25]])
    assert not shapes.instance_mask(Instance(label="a", box=(20, 20, 25, 25), polygons=(ring,)), (10, 8)).any()
    tiny = ring / 100 - 3
    assert not shapes.instance_mask(Instance(label="a", box=(0, 0, 1, 1), polygons=(tiny,)), (10, 8)).any()


def test_rings_of_one_defect_are_united():
    rings = (shapes.box_ring((0, 0, 4, 4)), shapes.box_ring((2, 2, 6, 6)))
    assert shapes.instance_mask(Instance(label="a", box=(0, 0, 6, 6), polygons=rings), (8, 8)).sum() == 16 + 16 - 4


def test_rle_wins_over_polygons_and_another_size_is_refused():
    mask = blobs(3)
    instance = shapes.mask_instance(mask, "a", polygons=(shapes.box_ring((0, 0, 9, 9)),))
    assert np.array_equal(shapes.instance_mask(instance, (53, 37)), mask)
    with pytest.raises(DataError, match="53x37 for an image of 37x53"):
        shapes.instance_mask(instance, (37, 53))


def test_mask_instance_has_a_tight_box_with_exclusive_ends():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 7:8] = True
    instance = shapes.mask_instance(mask, "crack", ignore=True)
    assert instance.box == (7, 4, 8, 9)
    assert instance.ignore
    assert instance.has_shape
    assert shapes.rle_box(instance.rle) == instance.box
    crop, x, y = shapes.instance_crop(instance, (30, 20))
    assert (crop.shape, x, y) == ((5, 1), 7, 4)


def test_empty_and_full_masks():
    empty = np.zeros((6, 9), bool)
    assert not shapes.rle_to_mask(shapes.mask_to_rle(empty)).any()
    assert shapes.components(empty) == []
    assert shapes.mask_polygons(empty) == ()
    assert shapes.rle_to_mask(shapes.mask_to_rle(~empty)).all()
    assert shapes.mask_instance(~empty, "a").box == (0, 0, 9, 6)
    assert shapes.instance_crop(shapes.mask_instance(empty, "a"), (9, 6))[0].size == 0


@pytest.mark.parametrize("mask", [disc(), disc()[:, 20:], np.eye(9, dtype=bool), np.ones((4, 5), bool)])
def test_polygons_give_the_mask_back_exactly(mask):
    rings = shapes.mask_polygons(mask)
    assert rings
    again = shapes.instance_mask(Instance(label="a", box=(0, 0, 1, 1), polygons=rings), mask.shape[::-1])
    assert np.array_equal(again, mask)


@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_exact_or_none_for_any_mask(seed):
    mask = blobs(seed, 12, 14, share=0.15 + 0.03 * seed)
    rings = shapes.mask_polygons(mask)
    if rings is not None:
        again = shapes.instance_mask(Instance(label="a", box=(0, 0, 1, 1), polygons=rings), (14, 12))
        assert np.array_equal(again, mask)


def test_a_mask_with_a_hole_has_no_polygons():
    ring = disc() & ~disc(radius=8)
    assert shapes.mask_polygons(ring) is None
    assert shapes.mask_polygons(disc()) is not None


def test_components_are_eight_connected_and_ordered():
    mask = np.zeros((10, 12), bool)
    mask[1, 1] = mask[2, 2] = True
    mask[6:9, 5:8] = True
    mask[0, 11] = True
    parts = shapes.components(mask)
    assert [part.sum() for part in parts] == [1, 2, 9]
    assert np.array_equal(np.any(parts, axis=0), mask)
    assert [part.sum() for part in shapes.components(mask, minimum_px=2)] == [2, 9]


def test_a_defect_on_a_large_frame_is_cheap():
    mask = np.zeros((2048, 2448), bool)
    mask[900:980, 400:520] = disc(120)[:80, :]
    instance = shapes.mask_instance(mask, "pit")
    started = time.perf_counter()
    for _ in range(10):
        shapes.crop_to_rle(*shapes.tight(mask[900:980, 400:520], 400, 900), (2448, 2048))
    assert (time.perf_counter() - started) / 10 < 0.01
    assert np.array_equal(shapes.instance_mask(instance, (2448, 2048)), mask)
