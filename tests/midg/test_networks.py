"""MIDG's networks: sizes, the golden outputs of the earlier code, and what attention, classes and spectral norm do."""
import zlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midg.edges import merged_edges
from midg.legacy_weights import from_earlier, to_earlier
from midg.networks import (
    DefectGenerator,
    Discriminator,
    EdgeAttention,
    EdgeGenerator,
    defect_input,
    edge_input,
    edge_judged,
    paste,
)

TOLERANCE = 1e-4        # of the reference's standard deviation
DEFECT_TOLERANCE = 3e-4     # the reference itself, made in float32, is 2.1e-4 from the same network in float64


def random_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def earlier_weights(prefix: str, shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that anyone can make again, under the earlier keys; `shapes` are tensors of those shapes."""
    state = {}
    for key, like in shapes.items():
        if key.startswith("features.") or key.endswith("weight_v"):
            continue
        numbers = random_of(prefix + key).standard_normal(like.shape)
        if key.endswith("bias"):
            numbers *= 0.1
        elif like.ndim == 1:
            numbers /= np.linalg.norm(numbers)
        else:
            numbers *= np.sqrt(2 / np.prod(like.shape[1:]))
        state[key] = torch.from_numpy(numbers.astype(np.float32))
    for key in [key for key in state if key.endswith("weight_orig")]:
        u, v = f"{key[:-4]}u", f"{key[:-4]}v"
        state[u], state[v] = singular_vectors(state[key].double().flatten(1), random_of(prefix + u))
    return state | {key: state[key.replace("features.", "conv1.")] for key in shapes if key.startswith("features.")}


def singular_vectors(matrix: Tensor, start: np.random.Generator) -> tuple[Tensor, Tensor]:
    u = torch.from_numpy(start.standard_normal(matrix.shape[0]))
    u = u / u.norm()
    for _ in range(30):
        v = matrix.T @ u / (matrix.T @ u).norm()
        u = matrix @ v / (matrix @ v).norm()
    return u.float(), v.float()


def with_golden_weights(network: nn.Module, prefix: str) -> nn.Module:
    network.load_state_dict(from_earlier(earlier_weights(prefix, to_earlier(network)), network))
    return network.eval()


def golden_input(name: str, channels: int) -> Tensor:
    return torch.from_numpy(random_of(name).random((2, channels, 64, 96)).astype(np.float32))


@pytest.fixture(scope="module")
def full_edge() -> EdgeGenerator:
    return EdgeGenerator()


@pytest.fixture(scope="module")
def full_defect() -> DefectGenerator:
    return DefectGenerator(legacy_attention=True)


@pytest.fixture(scope="module")
def full_discriminator() -> Discriminator:
    return Discriminator()


def off(made: Tensor, golden: np.ndarray) -> float:
    """The largest difference, in standard deviations of the reference."""
    assert made.shape == golden.shape
    return float(np.abs(made.numpy() - golden).max() / golden.std())


def test_the_numbers_of_weights_are_the_published_ones(full_edge, full_defect, full_discriminator):
    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())
    assert count(full_edge) == 34_506_497
    assert count(full_defect) == 35_067_398
    assert count(full_discriminator) == 2_763_776
    assert count(Discriminator(2)) == 2_762_752


@torch.no_grad()
def test_edge_generator_is_the_earlier_one(full_edge, golden):
    with_golden_weights(full_edge, "edge.")
    assert off(full_edge(golden_input("edge.input", 3)).sigmoid(), golden["edge_output"]) < TOLERANCE


@torch.no_grad()
def test_defect_generator_is_the_earlier_one(full_defect, golden):
    with_golden_weights(full_defect, "defect.")
    attention = (golden_input("defect.edge", 1) > 0.9).float()
    assert off(full_defect(golden_input("defect.input", 4), attention), golden["defect_output"]) < DEFECT_TOLERANCE


@torch.no_grad()
def test_discriminator_is_the_earlier_one(full_discriminator, golden):
    with_golden_weights(full_discriminator, "disc.")
    outputs = full_discriminator(golden_input("disc.input", 3))
    assert off(outputs[-1].sigmoid(), golden["disc_score"]) < TOLERANCE
    for number, output in enumerate(outputs, 1):
        mean, std = golden[f"disc_feature{number}_mean"]
        assert output.mean().item() == pytest.approx(mean, abs=TOLERANCE * std)
        assert output.std().item() == pytest.approx(std, rel=TOLERANCE)


@torch.no_grad()
def test_shapes_and_ranges_at_a_small_width():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 48, 80)
    assert EdgeGenerator(4)(x).shape == (2, 1, 48, 80)
    made = DefectGenerator(4)(torch.rand(2, 4, 48, 80), torch.zeros(2, 1, 48, 80))
    assert made.shape == (2, 3, 48, 80)
    assert 0 <= made.min() < made.max() <= 1
    assert [tuple(output.shape[1:]) for output in Discriminator(3, 4)(torch.rand(2, 3, 224, 224))] == [
        (4, 112, 112), (8, 56, 56), (16, 28, 28), (32, 27, 27), (1, 26, 26)]


@pytest.mark.parametrize("size", [(40, 64), (64, 56), (16, 64)])
def test_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=f"multiples of 16 px and at least 32 px, got {size[0]}x{size[1]}"):
        EdgeGenerator(2)(torch.zeros(1, 3, *size))


@torch.no_grad()
def test_formats_and_precisions_agree():
    torch.manual_seed(0)
    network, x = DefectGenerator(8).eval(), torch.rand(2, 4, 64, 64)
    attention = (torch.rand(2, 1, 64, 64) > 0.9).float()
    plain = network(x, attention)
    network.to(memory_format=torch.channels_last)
    last = network(x.to(memory_format=torch.channels_last), attention)
    torch.testing.assert_close(last, plain, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, attention)
        logits = EdgeGenerator(4)(x[:, :3])
    assert half.dtype == logits.dtype == torch.float32
    assert (half - plain).abs().mean() < 0.02


def test_attention_is_the_published_gate():
    """The equations of the paper's block, channel by channel."""
    torch.manual_seed(0)
    block, x = EdgeAttention(), torch.randn(2, 5, 6, 7)
    lines = (torch.rand(2, 1, 6, 7) > 0.7).float()
    for n in range(2):
        mean = [x[n, c].mean() for c in range(5)]
        y = [(lines[n, 0] * x[n, c] + (1 - lines[n, 0]) * mean[c]).mean() for c in range(5)]
        w = block.gate.weight[0, 0]
        for c in range(5):
            near = [y[c - 1] if c else 0, y[c], y[c + 1] if c < 4 else 0]
            gate = torch.sigmoid(sum(weight * value for weight, value in zip(w, near)))
            torch.testing.assert_close(block(x, lines)[n, c], lines[n, 0] * x[n, c] * gate)


def test_without_attention_edges_say_nothing_beyond_the_input():
    torch.manual_seed(0)
    x, lines = torch.rand(1, 4, 64, 64), torch.rand(1, 1, 64, 64)
    without, with_it = (DefectGenerator(2, attention_levels=levels).eval() for levels in (0, 2))
    assert torch.equal(without(x, lines), without(x, 0 * lines))
    assert not torch.equal(with_it(x, lines), with_it(x, 0 * lines))


def test_attention_has_a_threshold_and_keeps_thin_lines():
    soft = torch.full((1, 1, 64, 64), 0.2)
    soft[:, :, 35, :] = 0.8
    network = DefectGenerator(2, attention_levels=4)
    for level in range(4):
        lines = network.lines(soft, level)
        assert lines.sum() == 64 >> level
        assert lines[0, 0, 35 >> level].all()
    legacy = DefectGenerator(2, legacy_attention=True)
    assert legacy.lines(soft, 0).all()                              # the whole rectangle counts as edge
    sharp = (soft > 0.5).float()
    assert not legacy.lines(sharp, 2).any()                         # and a thin line is lost further down


@torch.no_grad()
def test_attention_matters_on_the_edges():
    torch.manual_seed(0)
    network, x = DefectGenerator(4).eval(), torch.rand(1, 4, 32, 32)
    none, some = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    some[..., 8:12, 8:12] = 0.6
    assert not torch.equal(network(x, none), network(x, some))
    assert torch.equal(network(x, none), network(x, some / 2))     # below the threshold


@torch.no_grad()
def test_a_blending_generator_lays_paint_over_the_background():
    torch.manual_seed(0)
    network, x = DefectGenerator(4, blend=True).eval(), torch.rand(2, 4, 32, 32)
    colour, opacity = network.paint_over(x, x[:, 3:])
    assert colour.shape == (2, 3, 32, 32)
    assert opacity.shape == (2, 1, 32, 32)
    torch.testing.assert_close(network(x, x[:, 3:]), colour * opacity + x[:, :3] * (1 - opacity))
    network.output.bias[3] = -50.0                                 # no paint
    assert torch.equal(network(x, x[:, 3:]), x[:, :3])
    plain = DefectGenerator(4).eval()
    assert plain.paint_over(x, x[:, 3:])[1] is None
    assert torch.equal(plain.paint_over(x, x[:, 3:])[0], plain(x, x[:, 3:]))


@torch.no_grad()
def test_a_class_changes_the_picture_once_its_table_has_learned():
    torch.manual_seed(0)
    labels, x = torch.tensor([0, 2]), torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    network = EdgeGenerator(4, classes=3).eval()
    same = network(x, labels)
    torch.testing.assert_close(same[0], same[1])
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0, 0.5)
    other = network(x, labels)
    assert (other[0] - other[1]).abs().mean() > 1e-3
    judge = Discriminator(3, 4, classes=3)
    assert not torch.equal(*judge(x, labels)[-1])
    with pytest.raises(ValueError, match="of 3 classes needs label"):
        network(x)
    with pytest.raises(ValueError, match="of 0 classes takes no label"):
        EdgeGenerator(2)(x, labels)


def test_spectral_norm_finds_the_largest_singular_value():
    torch.manual_seed(0)
    layer = Discriminator(3, 8).layers[1]
    for _ in range(50):
        weight = layer.weight                           # training: an iteration each
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
    layer.eval()
    before = layer.parametrizations.weight[0].u.clone()
    assert torch.equal(layer.weight, layer.weight)
    assert torch.equal(before, layer.parametrizations.weight[0].u)


def test_spectral_norm_stays_exact_under_autocast():
    torch.manual_seed(0)
    layer = Discriminator(3, 8).layers[1].eval()
    plain = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, plain)


def test_every_weight_but_the_inert_biases_learns():
    torch.manual_seed(0)
    attention = (torch.rand(1, 1, 32, 32) > 0.8).float()
    for network, inputs in ((EdgeGenerator(4), (torch.rand(1, 3, 32, 32),)),
                            (DefectGenerator(4), (torch.rand(1, 4, 32, 32), attention))):
        network(*inputs)[..., :20, :].square().sum().backward()
        still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert all(name.endswith("conv.bias") for name in still), still


def test_inputs_are_those_of_the_publication():
    torch.manual_seed(0)
    grey, noise = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    edges, mask = (torch.rand(1, 1, 8, 8) > 0.5).float(), torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 3:7] = 1
    inside = mask.bool()
    x = edge_input(grey, edges, mask, noise)
    assert x.shape == (1, 3, 8, 8)
    assert x.max() <= 1                                            # noise outside the mask is not let in
    assert torch.equal(x[:, :1][~inside], grey[~inside])
    assert not x[:, 2:][~inside].any()
    assert all(torch.equal(x[:, [plane]][inside], noise[inside]) for plane in range(3))
    assert torch.equal(edge_input(grey, edges, mask, noise, mask_channel=True)[:, 3:], mask)
    merged = merged_edges(noise, edges, mask)
    assert torch.equal(merged[inside], noise[inside])
    assert torch.equal(merged[~inside], edges[~inside])
    rgb = torch.rand(1, 3, 8, 8)
    x, attention = defect_input(rgb, merged, mask)
    assert torch.equal(x, torch.cat([rgb, merged], 1))
    assert torch.equal(attention, merged * mask)
    assert torch.equal(defect_input(rgb, merged, mask, noise)[0], torch.cat([rgb, merged, noise * mask], 1))
    assert DefectGenerator(2, noise_channel=True)(torch.rand(1, 5, 32, 32), torch.zeros(1, 1, 32, 32)).shape[1] == 3
    assert torch.equal(edge_judged(grey, edges, mask), torch.cat([grey, edges, edges * mask], 1))
    assert torch.equal(paste(1 - rgb, rgb, mask), torch.where(inside, 1 - rgb, rgb))
