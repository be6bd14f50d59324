"""Tiled inference: as the whole image at once, for any size, batch and tile; no seams; memory of a row of tiles."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from core.errors import ConfigError
from core.metrics.segmentation import label_changes, seam_ratio
from core.seeding import rng
from segment import infer
from segment.data import network_input
from segment.flow import folded
from segment.infer import axis, labels_of, predict, predict_whole
from segment.losses import probabilities
from segment.networks import Compact, FlexUNet, SmallUNet
from segment.settings import InferConfig

SIZES = ((1, 1), (7, 3), (97, 61), (131, 257), (200, 96), (64, 409))


def noisy(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights at which inputs matter: batch norms with statistics of their own, biases that are not 0."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.3, 0.6)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.1)
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    channels = 1 if isinstance(network, SmallUNet) else 3
    with torch.no_grad():
        image = torch.rand(1, channels, 64, 64)
        last.weight /= network.eval()(image).std()
        if isinstance(network, SmallUNet):
            last.bias -= network(image).mean()
    return network


NETWORKS = {"compact": noisy(Compact(3, widths=(8, 8, 8))), "small": noisy(SmallUNet(1, filters=4)),
            "flexunet": noisy(FlexUNet(3, levels=3, base_filters=4, base_kernel=5, batch_norm=True)),
            "folds of 4": noisy(Compact(2, widths=(8, 8), fold_px=4))}


def image(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return rng(seed, *size).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def at_once(network: nn.Module, pixels: np.ndarray, channels: int) -> torch.Tensor:
    given = network_input(pixels, channels)
    rows, columns = (infer.mirror(side, infer.up_to(side, network.stride)) for side in given.shape[1:])
    with torch.inference_mode():
        return probabilities(network(given[:, rows][:, :, columns][None]))[0][:, :pixels.shape[0], :pixels.shape[1]]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_exact_tiles_give_what_the_whole_image_gives(name, size):
    network, channels = NETWORKS[name], 1 if name == "small" else 3
    pixels = image(size)
    wanted = at_once(network, pixels, channels)
    found = predict_whole(network, pixels, InferConfig(tile_px=16, batch=3), channels)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-5
    assert size == (1, 1) or wanted.std() > 0.05
    assert sum(len(axis(side, network, InferConfig(tile_px=16)).starts) > 1 for side in size) == (min(
        2, sum(side > 3 * infer.up_to(network.reach, network.stride) for side in size)))


def test_so_does_the_flow_of_a_large_image():
    network, pixels = noisy(Compact(1, widths=(4, 4))), image((4097, 3001))
    found = predict_whole(network, pixels, InferConfig(tile_px=1024), 3)
    assert (found - at_once(network, pixels, 3)).abs().max() < 1e-4


def test_a_halo_that_is_too_small_is_seen(monkeypatch):
    network, pixels = NETWORKS["flexunet"], image((200, 96))
    monkeypatch.setattr(network, "reach", network.reach // 2)
    found = predict_whole(network, pixels, InferConfig(tile_px=16), 3)
    assert (found - at_once(network, pixels, 3)).abs().max() > 1e-5


@pytest.mark.parametrize("rows", [1, 16, 48, 1000])
def test_the_default_network_takes_rows_as_they_come(rows, monkeypatch):
    """In bands of any height, with and without tiles, an image gives what it gives at once."""
    network, pixels = NETWORKS["compact"], image((61, 210))
    wanted = at_once(network, pixels, 3)
    monkeypatch.setattr(infer, "BAND_PX", rows)
    flowed = list(predict(network, infer.WholeRows(pixels), InferConfig(tile_px=64), 3))
    assert [top for top, _ in flowed] == [sum(band.shape[1] for _, band in flowed[:place])
                                          for place in range(len(flowed))]
    assert len(flowed) > 3 or rows > 16
    assert (torch.cat([band for _, band in flowed], 1) - wanted).abs().max() < 1e-5
    monkeypatch.setattr(infer, "flows", lambda network: False)
    assert (predict_whole(network, pixels, InferConfig(tile_px=16), 3) - wanted).abs().max() < 1e-5


def test_batch_norms_are_folded_into_a_copy():
    network, given = NETWORKS["compact"], torch.rand(1, 3, 32, 48)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = folded(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.modules())
    assert (found(given) - network(given)).abs().max() < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_the_batch_does_not_matter(mode):
    network, pixels = NETWORKS["compact"], image((300, 150))
    config = InferConfig(mode=mode, tile_px=64, overlap_px=24)
    one = predict_whole(network, pixels, config, 3)
    many = predict_whole(network, pixels, config.model_copy(update={"batch": 16}), 3)
    assert (one - many).abs().max() < 1e-5


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_blended_probabilities_sum_to_1_everywhere(size):
    found = predict_whole(NETWORKS["flexunet"], image(size), InferConfig(mode="blend", tile_px=48, overlap_px=20), 3)
    assert found.shape == (3, size[1], size[0])
    assert torch.allclose(found.sum(0), torch.ones(size[1], size[0]), atol=1e-5)


@pytest.mark.parametrize("overlap_px", [0, 1, 17, 31])
def test_tiles_cover_every_pixel_and_weigh_1_together(overlap_px):
    network = NETWORKS["compact"]
    for length in range(1, 200):
        for mode in ("blend", "exact"):
            lie = axis(length, network, InferConfig(mode=mode, tile_px=32, overlap_px=overlap_px))
            mass = torch.zeros(lie.padded)
            for place, (low, high), weight in zip(lie.starts, lie.spans, lie.weights):
                assert place % network.stride == 0
                mass[place + low:place + high] += weight
            assert lie.padded - length < network.stride
            assert torch.allclose(mass, torch.ones(lie.padded))


def test_identity_comes_out_as_it_went_in():
    class Identity(nn.Module):
        stride, reach = 4, 0

        def __init__(self):
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return images[:, :1] + self.nothing

    pixels = image((61, 83))
    wanted = network_input(pixels, 3)[:1].sigmoid()
    for mode in ("exact", "blend"):
        config = InferConfig(mode=mode, tile_px=20, overlap_px=7)
        assert (predict_whole(Identity(), pixels, config, 3) - wanted).abs().max() < 1e-6
        assert (predict_whole(Identity(), pixels, config.model_copy(update={"flips": True}), 3)
                - wanted).abs().max() < 1e-6


def test_mirrorings_are_averaged_and_stay_exact():
    network, pixels = NETWORKS["compact"], image((200, 96))
    found = predict_whole(network, pixels, InferConfig(tile_px=16, flips=True), 3)
    given = network_input(pixels, 3)[None]
    with torch.inference_mode():
        wanted = sum(probabilities(network(given.flip(turn))).flip(turn) for turn in infer.FLIPS)[0] / 4
    assert (found - wanted).abs().max() < 1e-5
    assert (found - at_once(network, pixels, 3)).abs().max() > 1e-4


def test_labels_change_on_tile_lines_no_more_than_elsewhere():
    network, pixels = NETWORKS["flexunet"], image((400, 300))
    config = InferConfig(tile_px=16)
    labels = labels_of(predict_whole(network, pixels, config, 3), 0.5)
    lines = [axis(side, network, config).cuts for side in (300, 400)]
    assert len(lines[1]) > 4
    assert seam_ratio(label_changes(labels, *lines)) == pytest.approx(1, abs=0.15)


def test_memory_is_that_of_a_row_of_tiles():
    """The image is never asked for as a whole, and no band is kept back."""
    asked = []

    class Tall:
        size = (48, 5000)

        def rows(self, top, bottom):
            asked.append((top, bottom))
            return np.full((bottom - top, 48, 3), 7, np.uint8)

    network, end = NETWORKS["flexunet"], 0
    tile = axis(5000, network, InferConfig(tile_px=128)).tile
    for top, band in predict(network, Tall(), InferConfig(tile_px=128), 3):
        assert top == end
        assert band.shape[1] <= tile
        assert band.untyped_storage().nbytes() <= 4 * 3 * tile * 48
        assert tile < 300
        end = top + band.shape[1]
    assert end == 5000
    assert max(bottom - top for top, bottom in asked) == tile < 300
    assert asked == sorted(asked)


def test_a_full_memory_halves_the_batch_but_never_the_tile(monkeypatch):
    network, pixels, calls = NETWORKS["flexunet"], image((300, 60)), []
    forward = network.forward

    def tight(images):
        calls.append(tuple(images.shape))
        if len(images) > 1:
            raise torch.OutOfMemoryError("no")
        return forward(images)
    config = InferConfig(tile_px=16, batch=4)
    wanted = predict_whole(network, pixels, config, 3)
    monkeypatch.setattr(network, "forward", tight)
    assert torch.allclose(predict_whole(network, pixels, config, 3), wanted, atol=1e-5)
    assert [shape[0] for shape in calls[:3]] == [4, 2, 1]
    assert len({shape[2:] for shape in calls}) == 1
    monkeypatch.setattr(network, "forward", lambda images: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(ConfigError, match="not even one tile"):
        predict_whole(network, pixels, config, 3)


def test_settings_that_cannot_work_are_named(monkeypatch):
    network = NETWORKS["flexunet"]
    with pytest.raises(ConfigError, match="infer.overlap_px: must be below the tile's 32 px, got 32"):
        predict_whole(network, image((100, 40)), InferConfig(mode="blend", tile_px=32, overlap_px=32), 3)
    monkeypatch.setattr(network, "reach", None)
    with pytest.raises(ConfigError, match="infer.mode: 'exact' needs a network whose reach is known"):
        predict_whole(network, image((100, 40)), InferConfig(), 3)


def test_half_precision_gives_nearly_the_same():
    network, pixels = NETWORKS["compact"], image((200, 96))
    found = predict_whole(network, pixels, InferConfig(tile_px=16, precision="bfloat16"), 3)
    assert found.dtype == torch.float32
    assert 0 < (found - at_once(network, pixels, 3)).abs().max() < 0.05


def test_labels_are_the_likeliest_class_or_above_the_threshold():
    chances = torch.tensor([[[0.2, 0.5]], [[0.5, 0.3]], [[0.3, 0.2]]])
    assert labels_of(chances, 0.5).tolist() == [[1, 0]]
    assert labels_of(chances[:1], 0.4).tolist() == [[0, 1]]
    assert labels_of(chances, 0.5).dtype == np.uint8


def test_a_large_image_takes_the_memory_of_a_row_of_tiles(tmp_path):
    """Its pixels would take 41 MiB, its probabilities 165: as 40,000 x 40,000 px under 2 GiB, but smaller."""
    size = (1200, 12_000)
    tile = np.random.default_rng(0).integers(0, 256, (500, 1200)).astype(np.uint8)
    Image.fromarray(np.tile(tile, (24, 1))).save(tmp_path / "large.tif")
    done = subprocess.run([sys.executable, Path(__file__).parent / "work_in_bands.py", tmp_path / "large.tif",
                           tmp_path / "labels.png"], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50
    with Image.open(tmp_path / "labels.png") as labels:
        assert labels.size == size
