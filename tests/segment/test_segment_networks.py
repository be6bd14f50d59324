"""The segmenter's networks: published parameter counts, layers, dropout and initialisation; cost; how far they look."""
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.config import load
from core.errors import ConfigError
from segment import networks
from segment.models import build, multiplications, parameter_count
from segment.networks import Compact, FlexUNet, SmallUNet
from segment.settings import CompactConfig, FlexUNetConfig, SegmentConfig, SmpConfig

FULL = (2560, 2048)
# Block: filters, kernel, parameters of the first and the second convolution (published summary, 7 classes).
ENCODER = [(16, 11, 5_824, 30_992), (32, 9, 41_504, 82_976), (64, 7, 100_416, 200_768), (128, 5, 204_928, 409_728),
           (256, 3, 295_168, 590_080), (512, 3, 1_180_160, 2_359_808), (1024, 3, 4_719_616, 9_438_208),
           (2048, 3, 18_876_416, 37_750_784)]
DECODER = [(2_064, 61_968, 30_992), (8_224, 165_920, 82_976), (32_832, 401_472, 200_768), (131_200, 819_328, 409_728),
           (524_544, 1_179_904, 590_080), (2_097_664, 4_719_104, 2_359_808), (8_389_632, 18_875_392, 9_438_208)]


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return FlexUNet(7)


def test_flexunet_has_the_published_parameters(published):
    assert parameter_count(published) == 126_809_303
    with torch.device("meta"):
        assert parameter_count(FlexUNet(6, base_kernel=9)) == 124_996_934


def test_flexunet_has_the_published_layers(published):
    for block, (filters, kernel, first, second) in zip(published.encoder, ENCODER, strict=True):
        convs = [layer for layer in block if isinstance(layer, nn.Conv2d)]
        assert [parameter_count(conv) for conv in convs] == [first, second]
        assert {conv.kernel_size for conv in convs} == {(kernel, kernel)}
        assert {conv.out_channels for conv in convs} == {filters}
    for up, block, (before, first, second) in zip(published.up, published.decoder, DECODER, strict=True):
        assert parameter_count(up) == before
        assert [parameter_count(layer) for layer in block if isinstance(layer, nn.Conv2d)] == [first, second]
    assert parameter_count(published.head) == 119
    assert multiplications(FlexUNetConfig(name="flexunet"), 7, 3, (512, 512)) == pytest.approx(90.84e9, rel=1e-3)


def test_flexunet_drops_elements_once_a_block_more_at_each_level(published):
    def rates(blocks):
        return [[layer.p for layer in block if isinstance(layer, nn.Dropout)] for block in blocks]
    assert rates(published.encoder) == [[pytest.approx(0.05 * level)] for level in range(8)]
    assert rates(published.decoder) == [[pytest.approx(0.05 * level)] for level in range(7)]
    order = [type(layer) for layer in FlexUNet(2, levels=2, batch_norm=True).encoder[1]]
    assert order == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Conv2d, nn.ReLU, nn.BatchNorm2d]


def test_flexunet_starts_as_keras_would():
    torch.manual_seed(0)
    network = FlexUNet(3, base_filters=16, base_kernel=5, levels=3)
    conv = network.encoder[2][0]
    spread = (2 / conv.weight[0].numel()) ** 0.5
    assert conv.weight.std().item() == pytest.approx(spread, rel=0.03)
    assert conv.weight.abs().max() <= 2.0001 * spread / networks.TRUNCATED
    up = network.up[1]
    limit = (6 / (4 * (up.in_channels + up.out_channels))) ** 0.5
    assert 0.98 * limit < up.weight.abs().max() <= limit
    assert all((parameter == 0).all() for name, parameter in network.named_parameters() if name.endswith("bias"))


def test_flexunet_kernels_and_dilations_shrink_level_by_level():
    network = FlexUNet(2, base_kernel=5, levels=4, dilation=3, base_filters=2)
    assert [(block[0].kernel_size[0], block[0].dilation[0]) for block in network.encoder] == [
        (5, 3), (3, 2), (3, 1), (3, 1)]
    with pytest.raises(ValueError, match="must be odd"):
        FlexUNet(2, base_kernel=4)


def test_flexunet_scales_its_input_where_asked():
    torch.manual_seed(0)
    plain, grey = FlexUNet(2, levels=2, base_filters=2), FlexUNet(2, levels=2, base_filters=2, input_scale=255)
    grey.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 8, 8)
    assert torch.allclose(grey.eval()(images), plain.eval()(images * 255))


@pytest.mark.parametrize(("filters", "count"), [(16, 116_753), (32, 465_953), (64, 1_861_697)])
def test_small_unet_without_batch_norm_has_the_plain_counts(filters, count):
    with torch.device("meta"):
        assert parameter_count(SmallUNet(filters=filters, batch_norm=False)) == count


def test_the_default_is_small_and_cheap():
    with torch.device("meta"):
        assert parameter_count(build(CompactConfig(), 7, 3)) < 10e6
    cost = multiplications(CompactConfig(), 7, 3, FULL)
    assert cost < 150e9
    assert multiplications(FlexUNetConfig(name="flexunet"), 7, 3, FULL) > 10 * cost


@pytest.mark.parametrize(("network", "channels"), [
    (FlexUNet(4, levels=3, base_filters=2, base_kernel=5), 3), (SmallUNet(filters=4), 1),
    (Compact(7, widths=(4, 8, 8)), 3), (Compact(1, 1, widths=(4, 8)), 1), (Compact(2, widths=(4, 8), fold_px=4), 3)],
    ids=lambda value: type(value).__name__)
def test_logits_have_the_images_size_for_any_multiple_of_the_stride(network, channels):
    height, width = 3 * network.stride, 5 * network.stride
    logits = network.eval()(torch.rand(2, channels, height, width))
    assert logits.shape[0] == 2
    assert logits.shape[2:] == (height, width)


@pytest.mark.parametrize(("make", "length", "expected"), [
    (lambda: FlexUNet(1, base_filters=1, levels=3, base_kernel=3), 96, 23),
    (lambda: FlexUNet(1, base_filters=1, levels=4, base_kernel=7, dilation=2), 400, None),
    (lambda: SmallUNet(filters=2), 96, 23),
    (lambda: Compact(1, widths=(2, 2, 2), contrast=False), 256, None),
    (lambda: Compact(1, widths=(2, 2), contrast=False, fold_px=4), 256, None)],
    ids=["flexunet", "wide flexunet", "small", "compact", "compact, folds of 4"])
def test_reach_is_that_of_the_gradient(make, length, expected, monkeypatch):
    """In a linear network of positive weights every pixel that counts has a gradient; pooling is made linear too."""
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)
    network = make().double().eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    channels = 1 if isinstance(network, SmallUNet) else 3
    images = torch.ones(1, channels, length, network.stride, dtype=torch.double, requires_grad=True)
    scores, middle, farthest = network(images), length // 2 // network.stride * network.stride, 0
    for place in range(middle, middle + network.stride):
        gradient, = torch.autograd.grad(scores[0, 0, place, 0], images, retain_graph=True)
        rows = gradient[0].abs().sum((0, 2)).nonzero()
        farthest = max(farthest, place - int(rows.min()), int(rows.max()) - place)
    assert network.reach == farthest
    assert expected in (None, farthest)


@pytest.mark.parametrize("fold", [2, 4])
def test_contrast_looks_no_farther_than_it_says(fold):
    torch.manual_seed(0)
    layer, images = networks.Contrasted(fold), torch.rand(1, 3, 8 * networks.CELL_PX, 20 * networks.CELL_PX)
    before, seen = layer(images), 0
    for column in range(80, 80 + networks.CELL_PX):
        changed = images.clone()
        changed[..., column] += 0.1
        columns = (layer(changed) - before).abs().sum((0, 1, 2)).nonzero() * fold
        seen = max(seen, column - int(columns.min()), int(columns.max()) + fold - 1 - column)
    assert layer.reach - networks.CELL_PX < seen <= layer.reach


def test_contrast_is_the_same_in_the_dark():
    torch.manual_seed(0)
    layer, images = networks.Contrasted(), torch.rand(1, 1, 64, 64)
    bright, dark = layer(images)[0, -1], layer(0.2 + 0.5 * images)[0, -1]
    assert (bright - dark).abs().mean() < 0.15 * bright.abs().mean()
    assert layer(torch.full((1, 1, 64, 64), 0.5))[0, -1].abs().max() < 1e-4
    assert torch.equal(layer(images)[0, :4], torch.pixel_unshuffle(images, 2)[0])


@pytest.mark.parametrize(("kernel", "levels", "px"), [(11, 5, 211), (3, 6, 219), (3, 5, 107), (3, 3, 23)])
def test_reach_of_published_shapes(kernel, levels, px):
    with torch.device("meta"):
        assert FlexUNet(7, base_kernel=kernel, levels=levels).reach == px


def test_library_networks_are_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ConfigError, match="network.name: 'smp' needs a package .* pip install -r requirements-extras"):
        build(SmpConfig(name="smp"), 7, 3)


class StandIn(nn.Module):
    """What segmentation-models-pytorch would make."""

    def __init__(self, classes):
        super().__init__()
        self.encoder, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, classes, 1)


def test_library_networks_take_local_weights_alone(monkeypatch, tmp_path):
    asked = {}

    def create_model(arch, **options):
        asked.update(options, arch=arch)
        return StandIn(options["classes"])
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", types.SimpleNamespace(create_model=create_model))
    weights = tmp_path / "encoder.pt"
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), weights)
    network = build(SmpConfig(name="smp", decoder="segformer", encoder="mit_b0", weights=weights), 5, 3)
    assert asked["encoder_weights"] is None
    assert (asked["arch"], asked["encoder_name"], asked["classes"]) == ("segformer", "mit_b0", 5)
    assert torch.equal(network.encoder.weight, torch.load(weights)["weight"])
    assert (network.stride, network.reach) == (32, None)
    (tmp_path / "text.pt").write_text("no weights")
    for wrong in (tmp_path / "text.pt", tmp_path / "absent.pt"):
        with pytest.raises(ConfigError, match="network.weights: .* cannot be loaded into the encoder"):
            build(SmpConfig(name="smp", weights=wrong), 5, 3)


@pytest.mark.parametrize(("decoder", "encoder"), [
    ("unet", "resnet18"), ("deeplabv3plus", "resnet18"), ("segformer", "mit_b0")])
def test_library_networks_work_where_the_library_is_installed(decoder, encoder):
    pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch, an extra, is not installed")
    network = build(SmpConfig(name="smp", decoder=decoder, encoder=encoder), 5, 3).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64, 96)
    with pytest.raises(ConfigError, match=f"not one that {decoder} takes, got 'resnet81'. Did you mean 'resnet18'"):
        build(SmpConfig(name="smp", decoder=decoder, encoder="resnet81"), 5, 3)


@pytest.mark.parametrize(("option", "message"), [
    ("network.name=unet", "'network.name' must be one of compact, flexunet, small-unet, smp, got 'unet'"),
    ("network.base_kernel=4", "'base_kernel' must be odd, got 4"),
    ("network.dropout=0.2", "'dropout' times 7 must be below 1, got 0.2")])
def test_wrong_networks_are_named(option, message):
    with pytest.raises(ConfigError, match=message):
        load(SegmentConfig, None, ["data.root=x", "loop.steps=1", "loop.batch_size=1", "network.name=flexunet", option])


@pytest.mark.parametrize("fold", [2, 4])
def test_the_default_begins_without_a_chequered_pattern(fold):
    torch.manual_seed(0)
    logits = Compact(3, widths=(4, 8), fold_px=fold).eval()(torch.rand(1, 3, 16, 16))
    for row, column in np.ndindex(fold, fold):
        assert torch.equal(logits[..., ::fold, ::fold], logits[..., row::fold, column::fold])
    assert logits.std() > 0
