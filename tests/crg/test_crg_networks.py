"""CRG's U-Nets: published sizes, the golden outputs of the earlier code, options against float32."""
import zlib
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crg.models import Model
from crg.networks import CONTEXT, DEFECT, Attention, Shape, UNet, wave_features

TOLERANCE = 1e-4        # of the reference's standard deviation
SMALL = Shape(size_px=32, width=32, multipliers=(1, 2), attention_px=(16,), head_channels=16, classes=3)


def random_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def golden_state(network: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The weights that anyone can make again, by prefix and key."""
    state = {}
    for key, like in network.state_dict().items():
        numbers = random_of(prefix + key).standard_normal(tuple(like.shape))
        if key.endswith("bias"):
            numbers = 0.1 * numbers
        elif like.ndim == 1:
            numbers = 1 + 0.1 * numbers
        elif key != "label_emb.weight":
            numbers = numbers * np.sqrt(1 / np.prod(like.shape[1:]))
        state[key] = torch.from_numpy(numbers.astype(np.float32))
    return state


def made(shape: Shape, prefix: str) -> UNet:
    """A network with those weights, without the time to draw others first."""
    with torch.device("meta"):
        network = UNet(shape)
    network.load_state_dict(golden_state(network, prefix), assign=True)
    return network.eval()


@pytest.mark.parametrize(("shape", "parameters", "tensors"), [(CONTEXT, 151_561_990, 538), (DEFECT, 25_120_966, 387)])
def test_numbers_of_parameters_and_tensors_are_the_published_ones(shape, parameters, tensors):
    with torch.device("meta"):
        network = UNet(shape)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == tensors


@pytest.mark.parametrize(("shape", "key", "size"), [
    (CONTEXT, "time_embed.2.weight", (512, 512)),
    (CONTEXT, "input_blocks.15.0.in_layers.2.weight", (512, 512, 3, 3)),
    (CONTEXT, "input_blocks.13.0.skip_connection.weight", (512, 384, 1, 1)),
    (CONTEXT, "output_blocks.5.1.qkv.weight", (1536, 512, 1)),
    (CONTEXT, "output_blocks.5.2.emb_layers.1.weight", (1024, 512)),
    (CONTEXT, "output_blocks.14.1.out_layers.3.weight", (128, 128, 3, 3)),
    (CONTEXT, "out.2.weight", (6, 128, 3, 3)),
    (DEFECT, "label_emb.weight", (6, 256)),
    (DEFECT, "output_blocks.8.1.in_layers.0.weight", (128,)),
    (DEFECT, "middle_block.1.proj_out.weight", (256, 256, 1)),
])
def test_keys_are_the_published_ones(shape, key, size):
    with torch.device("meta"):
        assert tuple(UNet(shape).state_dict()[key].shape) == size


@torch.no_grad()
def test_defect_network_is_the_earlier_one(golden):
    images = torch.from_numpy(random_of("dpm.input").standard_normal((2, 3, 64, 64)).astype(np.float32))
    out = made(DEFECT, "dpm.")(images, torch.tensor([120, 877]), torch.tensor([2, 5])).numpy()
    assert np.abs(out - golden["dpm_output"]).max() < TOLERANCE * golden["dpm_output"].std()


@torch.no_grad()
def test_context_network_is_the_earlier_one(golden):
    images = torch.from_numpy(random_of("csm.input").standard_normal((1, 3, 256, 256)).astype(np.float32))
    out = made(CONTEXT, "csm.")(images, torch.tensor([120])).numpy()
    wanted, (mean, std) = golden["csm_output_every_4th_pixel"], golden["csm_output_mean_std"]
    assert np.abs(out[:, :, ::4, ::4] - wanted).max() < TOLERANCE * wanted.std()
    assert out.mean() == pytest.approx(mean, abs=TOLERANCE * std)
    assert out.std() == pytest.approx(std, rel=TOLERANCE)


def small_inputs(side: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    images = torch.from_numpy(random_of("small").standard_normal((3, 3, side, side)).astype(np.float32))
    return images, torch.tensor([0, 500, 999]), torch.tensor([0, 1, 2])


@torch.no_grad()
@pytest.mark.parametrize(("option", "bound"), [("channels_last", 1e-5), ("bfloat16", 0.03), ("both", 0.03)])
def test_options_compute_the_same_function(option, bound):
    network, inputs = made(SMALL, "small."), small_inputs()
    wanted = network(*inputs)
    if option != "bfloat16":
        network = network.to(memory_format=torch.channels_last)
        inputs = (inputs[0].to(memory_format=torch.channels_last), *inputs[1:])
    with torch.autocast("cpu", torch.bfloat16, enabled=option != "channels_last"):
        out = network(*inputs)
    assert out.dtype == (torch.float32 if option == "channels_last" else torch.bfloat16)
    assert (out.float() - wanted).square().mean().sqrt() < bound * wanted.std()


@torch.no_grad()
def test_a_compiled_model_computes_the_same_function_as_one_graph(monkeypatch):
    """Traced as torch.compile does and run without its code generator, which takes half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    network, inputs, cpu = made(SMALL, "small."), small_inputs(16), torch.device("cpu")
    wanted = network(*inputs)
    model = Model(network, ("a", "b", "c"), cpu, compiled=True)
    assert model.run is not model.network
    assert (model(*inputs) - wanted).square().mean().sqrt() < 1e-5 * wanted.std()


@torch.no_grad()
def test_attention_is_softmax_of_scaled_products_per_head():
    attention, x = Attention(64, 16), torch.from_numpy(random_of("a").standard_normal((2, 64, 3, 4))).float()
    attention.load_state_dict(golden_state(attention, "attention."))
    parts = attention.qkv(attention.norm(x.flatten(2))).reshape(2 * 4, 48, 12)
    query, key, value = parts[:, :16], parts[:, 16:32], parts[:, 32:]
    weights = torch.softmax(torch.einsum("bct,bcs->bts", query, key) / 4, dim=-1)
    found = torch.einsum("bts,bcs->bct", weights, value).reshape(2, 64, 12)
    wanted = (x.flatten(2) + attention.proj_out(found)).reshape(x.shape)
    assert torch.allclose(attention(x), wanted, atol=1e-5)


@torch.no_grad()
def test_a_batch_is_its_samples_and_any_multiple_is_a_size():
    network, (images, times, classes) = made(SMALL, "small."), small_inputs(48)
    together = network(images, times, classes)
    alone = torch.cat([network(images[i:i + 1], times[i:i + 1], classes[i:i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], network(images, times, classes.flip(0))[0], atol=1e-2)


@torch.no_grad()
def test_a_new_network_predicts_nothing():
    assert UNet(SMALL)(*small_inputs()).abs().max() == 0


def test_time_features_begin_with_cosines():
    found = wave_features(torch.tensor([0, 3]), 8)
    assert found[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert found[1, [0, 4]].tolist() == pytest.approx([np.cos(3), np.sin(3)])
    assert found[1, [3, 7]].tolist() == pytest.approx([np.cos(0.003), np.sin(0.003)], abs=1e-6)


def test_a_class_is_never_forgotten():
    images, times, classes = small_inputs()
    with pytest.raises(ValueError, match="3 classes"):
        UNet(SMALL)(images, times)
    with pytest.raises(ValueError, match="0 classes"):
        UNet(Shape(size_px=32, width=32, multipliers=(1, 1), attention_px=()))(images, times, classes)


@pytest.mark.parametrize(("change", "problem"), [
    ({"width": 48}, "48 channels"), ({"attention_px": (12,)}, "12 is the side of no level"),
    ({"size_px": 33}, "33 px cannot be halved"), ({"head_channels": 48}, "heads of 48")])
def test_impossible_shapes_are_named(change, problem):
    with pytest.raises(ValueError, match=problem):
        UNet(Shape(**{**SMALL.__dict__, **change}))
