"""MIDG's losses: their equations, what they ignore, and that a missing or wrong feature extractor is said."""
import hashlib

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import VGG19_Weights

from core.errors import CheckpointError, ConfigError
from midg import features
from midg.features import feature_extractor
from midg.losses import (
    DEFAULT_WEIGHTS,
    Features,
    TextureFeatures,
    Vgg19Features,
    discriminator_loss,
    edge_loss,
    feature_matching,
    generator_loss,
    gram,
    masked_l1,
    perceptual_and_style,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_adversarial_losses_are_those_of_probabilities_without_their_clamp():
    real, made = torch.randn(2, 1, 5, 5), torch.randn(2, 1, 5, 5)
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    for kind, loss in (("nsgan", F.binary_cross_entropy), ("lsgan", F.mse_loss)):
        half = (loss(real.sigmoid(), one) + loss(made.sigmoid(), zero)) / 2
        torch.testing.assert_close(discriminator_loss(kind, real, made), half)
        torch.testing.assert_close(generator_loss(kind, made), loss(made.sigmoid(), one))
    half = ((1 - real).relu() + (1 + made).relu()).mean() / 2
    torch.testing.assert_close(discriminator_loss("hinge", real, made), half)
    torch.testing.assert_close(generator_loss("hinge", made), -made.mean())
    with pytest.raises(ValueError, match="nsgan, lsgan or hinge, got 'wgan'"):
        generator_loss("wgan", made)
    with pytest.raises(ValueError, match="nsgan, lsgan or hinge, got 'wgan'"):
        discriminator_loss("wgan", real, made)


def test_a_sure_discriminator_still_teaches():
    """On probabilities, the gradient at a logit of -200 is lost in rounding and the clamp."""
    made = torch.full((1, 1, 2, 2), -200.0, requires_grad=True)
    loss = generator_loss("nsgan", made)
    loss.backward()
    assert loss.item() == pytest.approx(200)
    torch.testing.assert_close(made.grad, torch.full_like(made, -0.25))


def test_feature_matching_teaches_the_made_side_alone():
    made = [torch.randn(2, c, 4, 4, requires_grad=True) for c in (2, 3)]
    real = [torch.randn(2, c, 4, 4, requires_grad=True) for c in (2, 3)]
    loss = feature_matching(made, real)
    torch.testing.assert_close(loss, sum((a - b).abs().mean() for a, b in zip(made, real)))
    loss.backward()
    assert all(tensor.grad is None for tensor in real)
    assert all(tensor.grad.any() for tensor in made)


def rectangles(count: int = 2, size: int = 64) -> torch.Tensor:
    mask = torch.zeros(count, 1, size, size)
    for number in range(count):
        mask[number, :, 10:30 + 6 * number, 20:50] = 1
    return mask


def test_l1_is_per_share_of_the_mask_and_picture_by_picture():
    made, real, mask = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), rectangles()
    one_by_one = [masked_l1(made[[n]], real[[n]], mask[[n]]) for n in range(2)]
    torch.testing.assert_close(masked_l1(made, real, mask), sum(one_by_one) / 2)
    torch.testing.assert_close(one_by_one[0], (made[0] - real[0]).abs().mean() / mask[0].mean())
    torch.testing.assert_close(masked_l1(made, real, mask, legacy=True), (made - real).abs().mean() / mask.mean())


def test_l1_is_finite_for_empty_and_tiny_masks():
    made, real, mask = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 64, 64), torch.zeros(3, 1, 64, 64)
    assert masked_l1(made, real, mask).item() == pytest.approx((made - real).abs().mean().item())
    mask[:, :, 5, 5] = 1
    assert masked_l1(made, real, mask).item() == pytest.approx(100 * (made - real).abs().mean().item(), rel=1e-5)


def test_gram_matrix_and_its_normalisation():
    x = torch.randn(2, 3, 4, 5)
    wanted = torch.einsum("nchw,ndhw->ncd", x, x) / (3 * 4 * 5)
    torch.testing.assert_close(gram(x), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gram(x), wanted)


@pytest.mark.parametrize("make", [TextureFeatures, Vgg19Features])
def test_extractors_are_shared_frozen_and_pass_the_gradient_to_the_made_picture(make):
    extractor = make()
    calls = []
    extractor.register_forward_hook(lambda module, args, output: calls.append((len(args[0]), torch.is_grad_enabled())))
    made, real, mask = torch.rand(2, 3, 64, 64, requires_grad=True), torch.rand(2, 3, 64, 64), rectangles()
    perceptual, style = perceptual_and_style(extractor, made, real, mask)
    (perceptual + style).backward()
    assert calls == [(4, False), (4, True)]         # the target without gradient; whole and masked in one batch
    assert made.grad.isfinite().all()
    assert made.grad.any()
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    same = perceptual_and_style(extractor, real, real, mask)
    assert same == (0, 0)


def test_style_sees_the_mask_alone_and_perception_everything():
    extractor, mask = TextureFeatures(), rectangles(1)
    real = torch.rand(1, 3, 64, 64)
    other = torch.where(mask.bool(), real, torch.rand(1, 3, 64, 64))
    perceptual, style = perceptual_and_style(extractor, other, real, mask)
    assert style == 0
    assert perceptual > 0.1


def test_losses_are_means_over_taps_as_published():
    class Taps(torch.nn.Module):
        def forward(self, x):
            return Features([x, 2 * x], [3 * x])
    made, real, mask = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), rectangles(1)
    perceptual, style = perceptual_and_style(Taps(), made, real, mask)
    torch.testing.assert_close(perceptual, 3 * (made - real).abs().mean())
    torch.testing.assert_close(style, (gram(3 * made * mask) - gram(3 * real * mask)).abs().mean())


def grain(sigma_px: float, seed: int) -> torch.Tensor:
    """Grey noise of one contrast, [1, 3, 64, 64], whose spots are about sigma_px wide."""
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    if sigma_px:
        line = torch.exp(-torch.arange(-8, 9) ** 2 / (2 * sigma_px**2))
        noise = F.conv2d(F.pad(noise, (8,) * 4, mode="circular"), (line[:, None] * line)[None, None])
    return (0.5 + 0.1 * (noise - noise.mean()) / noise.std()).expand(-1, 3, -1, -1)


def test_texture_features_tell_textures_apart_that_have_equal_histograms():
    """Another sample of a texture is nearer than another texture, and much nearer than no texture at all."""
    extractor, mask = TextureFeatures(), torch.ones(1, 1, 64, 64)

    def style(a, b):
        return perceptual_and_style(extractor, a, b, mask)[1].item()
    same = max(style(grain(sigma, 1), grain(sigma, 2)) for sigma in (0, 1, 2))
    other = min(style(grain(a, 1), grain(b, 2)) for a, b in ((0, 1), (1, 2), (0, 2)))
    flat = style(torch.full((1, 3, 64, 64), 0.5), grain(1, 1))
    assert other > 2 * same
    assert flat > 2 * same


def test_texture_features_are_the_same_for_everybody():
    first, second = TextureFeatures(), TextureFeatures()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert first.filters[0].flatten()[:3].tolist() == pytest.approx(FIRST_FILTERS, abs=1e-4)


FIRST_FILTERS = [-0.19964, -0.20686, 0.03858]


# Edges

def line(column: int) -> torch.Tensor:
    edges = torch.zeros(1, 1, 32, 32)
    edges[..., 8:24, column] = 1
    return edges


BOX = torch.zeros(1, 1, 32, 32)
BOX[..., 4:28, 4:28] = 1


def sure(edges: torch.Tensor) -> torch.Tensor:
    return 20 * edges - 10


@pytest.mark.parametrize("kind", ["dice", "bce"])
def test_edge_loss_forgives_thicker_lines_and_no_more(kind):
    def loss(edges, tolerance_px=1):
        return edge_loss(sure(edges), line(16), BOX, kind=kind, tolerance_px=tolerance_px).item()
    thick = F.max_pool2d(line(16), 3, 1, 1)
    right = loss(line(16))
    assert right < 0.02
    assert loss(thick) == pytest.approx(right, abs=1e-3)
    assert loss(thick, tolerance_px=0) > right + 0.2
    assert loss(line(17)) > 0.4                             # beside the line
    assert loss(line(16) * (torch.arange(32) % 2)[:, None]) > 0.25              # a dotted line
    assert loss(torch.zeros(1, 1, 32, 32)) > 0.4            # nothing found
    assert loss(torch.ones(1, 1, 32, 32)) > 0.4             # everything called an edge


@pytest.mark.parametrize("kind", ["dice", "bce"])
def test_edge_loss_sees_the_mask_alone_and_bears_an_empty_one(kind):
    outside = sure(line(16)) + 15 * (1 - BOX)
    assert edge_loss(outside, line(16), BOX, kind=kind) == edge_loss(sure(line(16)), line(16), BOX, kind=kind)
    for mask, edges in ((torch.zeros_like(BOX), line(16)), (BOX, torch.zeros_like(BOX))):
        assert edge_loss(sure(edges), edges, mask, kind=kind).item() < 0.05


@pytest.mark.parametrize("kind", ["dice", "bce"])
def test_edge_loss_leads_to_the_edges(kind):
    logits = torch.zeros(1, 1, 32, 32, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.5)
    for _ in range(60):
        optimizer.zero_grad()
        edge_loss(logits + 0.1 * torch.randn_like(logits), line(16), BOX, kind=kind).backward()
        optimizer.step()
    found = (logits > 0) & BOX.bool()
    assert found[..., 8:24, 16].all()
    assert found[..., [*range(4, 15), *range(18, 28)]].sum() == 0


@pytest.mark.parametrize("kind", ["dice", "bce"])
def test_edge_loss_of_a_batch_is_the_mean_of_its_pictures(kind):
    logits, edges, masks = torch.randn(2, 1, 32, 32), torch.cat([line(9), line(20)]), torch.cat([BOX, BOX.roll(3, 2)])
    edges[1, :, :12] = 0
    singly = [edge_loss(logits[i:i + 1], edges[i:i + 1], masks[i:i + 1], kind=kind) for i in range(2)]
    torch.testing.assert_close(edge_loss(logits, edges, masks, kind=kind), sum(singly) / 2)


def test_an_unknown_edge_loss_is_refused():
    with pytest.raises(ValueError, match="dice or bce, got 'focal'"):
        edge_loss(sure(line(1)), line(1), BOX, kind="focal")


# The choice of an extractor

@pytest.fixture(scope="module")
def vgg_state() -> dict[str, torch.Tensor]:
    return {**Vgg19Features().state_dict(), "features.34.weight": torch.zeros(1), "classifier.0.weight": torch.zeros(1)}


def test_vgg19_has_the_layers_of_torchvision():
    """Widths of its convolutions, by the numbers that torchvision gives them."""
    found = {int(key.split(".")[1]): len(value) for key, value in Vgg19Features().state_dict().items() if "bias" in key}
    assert found == {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512, 23: 512,
                     25: 512, 28: 512, 30: 512}
    convolutions = sorted(found)
    assert [convolutions.index(tap - 1) for tap in Vgg19Features.CONTENT] == [0, 2, 4, 8, 12]      # first of each block
    assert [convolutions.index(tap - 1) for tap in Vgg19Features.TEXTURE] == [3, 7, 11, 13]        # 2_2, 3_4, 4_4, 5_2
    seen = Vgg19Features()(torch.rand(1, 3, 64, 64))
    assert [tuple(tensor.shape[1:3]) for tensor in seen.content] == [(64, 64), (128, 32), (256, 16), (512, 8), (512, 4)]
    assert [tuple(tensor.shape[1:3]) for tensor in seen.texture] == [(128, 32), (256, 16), (512, 8), (512, 4)]
    assert all(tensor.min() == 0 for kind in seen for tensor in kind)      # behind the ReLU


def test_vgg19_is_read_from_a_file(tmp_path, vgg_state):
    path = tmp_path / "vgg.pth"
    torch.save(vgg_state, path)
    extractor = feature_extractor(str(path))
    assert torch.equal(extractor.features[30].bias, vgg_state["features.30.bias"])
    named = tmp_path / f"vgg19-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    path.rename(named)
    assert isinstance(feature_extractor(str(named)), Vgg19Features)
    wrong = named.rename(tmp_path / "vgg19-00000000.pth")
    with pytest.raises(CheckpointError, match="got a sha256 of .* where its name says 00000000"):
        feature_extractor(str(wrong))


def test_a_file_of_another_network_is_refused(tmp_path, vgg_state):
    torch.save({**vgg_state, "features.28.weight": torch.zeros(2, 2)}, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match=r"not the weights of VGG19, got no 'features.28.weight' of \[512, 512"):
        feature_extractor(str(tmp_path / "vgg.pth"))


def test_nothing_is_downloaded_unless_asked_for(monkeypatch, tmp_path, vgg_state):
    asked = []

    def fetch(self, **options):
        asked.append(options)
        return vgg_state
    monkeypatch.setattr(VGG19_Weights, "get_state_dict", fetch)
    assert feature_extractor("none") is None
    assert isinstance(feature_extractor("texture"), TextureFeatures)
    with pytest.raises(ConfigError, match="no such file, got 'textures'. Did you mean 'texture'?"):
        feature_extractor("textures")
    with pytest.raises(ConfigError, match="no such file"):
        feature_extractor(str(tmp_path / "vgg19-dcbb9e9d.pth"))
    assert asked == []
    assert isinstance(feature_extractor("download"), Vgg19Features)
    assert asked[0]["check_hash"] is True


def test_a_download_that_fails_is_said(monkeypatch):
    def fail(self, **options):
        raise OSError("no route to host")
    monkeypatch.setattr(features.VGG19_Weights, "get_state_dict", fail)
    with pytest.raises(ConfigError, match="cannot be downloaded, got 'no route to host'"):
        feature_extractor("download")


def test_default_weights_give_losses_of_one_size():
    """On a blurred picture, TextureFeatures' losses weigh neither nothing nor everything beside L1."""
    real, mask = grain(0, 3) + 0.2 * (grain(4, 4) - 0.5), rectangles(1)
    made = torch.where(mask.bool(), F.avg_pool2d(F.pad(real, (2,) * 4, mode="replicate"), 5, 1), real)
    perceptual, style = perceptual_and_style(TextureFeatures(), made, real, mask)
    l1 = masked_l1(made, real, mask)
    assert 0.1 < DEFAULT_WEIGHTS["perceptual"] * perceptual / l1 < 3
    assert 0.1 < DEFAULT_WEIGHTS["style"] * style / l1 < 10
