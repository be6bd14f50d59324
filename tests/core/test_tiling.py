"""Tiling: a network that changes nothing changes nothing at any size; every pixel is seen; memory may run out."""
import itertools

import pytest
import torch

from core.errors import ConfigError
from core.tiling import blend_weight, predict, reflected, starts

SIZES = (1, 2, 7, 16, 17, 31, 40, 97)
TILES = ((1, 0), (2, 1), (7, 3), (16, 0), (16, 8), (16, 15), (32, 5))


@pytest.mark.parametrize(("tile", "overlap"), TILES)
def test_identity_stays_identity(tile, overlap):
    for height, width in itertools.product(SIZES, SIZES):
        if height * width > 2000 and tile - overlap < 4:
            continue        # thousands of tiles that show nothing new
        image = torch.rand(2, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
        tiled = predict(lambda tiles: tiles, image, tile, overlap, batch=16)
        assert tiled.shape == image.shape
        torch.testing.assert_close(tiled, image, rtol=0, atol=2e-6, msg=f"{height} x {width} px, {tile=}, {overlap=}")


def test_a_network_of_one_pixel_gives_the_untiled_answer_and_any_number_of_channels():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 5, 1).eval()
    image = torch.rand(3, 45, 61)
    torch.testing.assert_close(predict(network, image, 16, 6), network(image[None])[0].detach(), rtol=0, atol=1e-5)


def test_the_middle_of_a_tile_counts_more_than_its_side():
    """Where two tiles overlap the answer goes over from one to the other without a step."""
    def numbered(tiles, seen=[]):                           # noqa: B006, one list over all calls on purpose
        seen.extend(range(len(seen), len(seen) + len(tiles)))
        return torch.stack([torch.full((1, 16, 16), float(number)) for number in seen[-len(tiles):]])

    row = predict(numbered, torch.zeros(1, 16, 24), 16, 8, batch=1)[0, 5]
    assert row[0] == 0
    assert row[-1] == 1
    assert (row.diff() >= 0).all()
    assert row.diff().max() < 0.2


def test_starts_cover_every_pixel_and_overlap_enough():
    for length, tile, overlap in itertools.product(range(1, 60), (1, 4, 7, 16), (0, 1, 3, 6, 15)):
        if overlap >= tile:
            continue
        at = starts(length, tile, overlap)
        assert at[0] == 0
        assert at[-1] == max(0, length - tile), (length, tile, overlap)
        assert all(0 < after - before <= tile - overlap for before, after in itertools.pairwise(at))
        assert len(at) == 1 or len(at) == -(-(length - overlap) // (tile - overlap)), "more tiles than are needed"


def test_blend_weight_is_never_zero():
    for tile, overlap in TILES:
        weight = blend_weight(tile, overlap)
        assert weight.shape == (tile, tile)
        assert 0 < weight.min() <= weight.max() <= 1


def test_a_small_image_is_continued_by_reflection():
    image = torch.tensor([[[1., 2., 3.]]])
    assert reflected(image, 2, 8).tolist() == [[[1, 2, 3, 2, 1, 2, 3, 2]] * 2]
    assert reflected(image[..., :1], 1, 3).tolist() == [[[1, 1, 1]]]


class SmallMemory:
    """A network that fits `most` tiles at once, on a made-up device."""

    def __init__(self, most):
        self.most, self.batches = most, []

    def __call__(self, tiles):
        self.batches.append(len(tiles))
        if len(tiles) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert tiles.shape[2:] == (8, 8)
        return tiles


def test_out_of_memory_halves_the_batch_and_never_the_tile():
    network, image = SmallMemory(2), torch.rand(1, 24, 24)
    torch.testing.assert_close(predict(network, image, 8, 0, batch=8), image, rtol=0, atol=2e-6)
    assert network.batches == [8, 4, 2, 2, 2, 2, 1]


def test_no_memory_for_a_single_tile_is_a_clear_error():
    with pytest.raises(ConfigError, match="one tile of 8 x 8 px .*smaller tiles"):
        predict(SmallMemory(0), torch.rand(1, 24, 24), 8, 0)


def test_another_runtime_error_is_not_taken_for_missing_memory():
    def broken(tiles):
        raise RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        predict(broken, torch.rand(1, 9, 9), 8, 0)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"tile": 0, "overlap": 0}, "at least 1 px, got 0"),
    ({"tile": 8, "overlap": 8}, "from 0 to 7 px for tiles of 8 px, got 8"),
    ({"tile": 8, "overlap": -1}, "got -1"),
    ({"tile": 8, "overlap": 0, "batch": 0}, "at least 1, got 0"),
])
def test_wrong_numbers_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        predict(lambda tiles: tiles, torch.rand(1, 9, 9), **arguments)


@pytest.mark.parametrize("image", [torch.rand(9, 9), torch.rand(1, 0, 9), torch.zeros(1, 9, 9, dtype=torch.uint8)])
def test_something_else_than_an_image_is_refused(image):
    with pytest.raises(ValueError, match="got torch"):
        predict(lambda tiles: tiles, image, 8, 0)


def test_an_answer_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\[N, K, 8, 8\].*got \[4, 1, 4, 4\]"):
        predict(lambda tiles: tiles[..., ::2, ::2], torch.rand(1, 16, 16), 8, 0)
