"""The earlier CRG code's YAML files and weights: read as they are, dead keys and misfits said."""
from pathlib import Path

import pytest
import torch

from core.config import load
from core.errors import CheckpointError, ConfigError
from crg.legacy import is_earlier, read_config
from crg.legacy_weights import describe, load_earlier, save_earlier
from crg.networks import CONTEXT, DEFECT, Shape, UNet
from crg.sampler_settings import SamplerConfig
from crg.settings import ContextConfig, DefectConfig, PaintConfig
from tests.crg.earlier_files import PCB_GEN, TRAIN_64, TRAIN_256

SMALL = Shape(size_px=32, width=32, multipliers=(1, 2), attention_px=(16,), head_channels=16, classes=3)


def written(folder: Path, text: str) -> Path:
    path = folder / "earlier.yml"
    path.write_text(text, encoding="utf-8")
    return path


def checked(model, path: Path):
    earlier = read_config(path)
    return load(model, path, values=earlier.values), earlier


def test_the_published_sampling_file_gives_the_published_sampler(tmp_path):
    path = written(tmp_path, PCB_GEN)
    config, earlier = checked(PaintConfig, path)
    assert earlier.purpose == "paint"
    assert config.sampler == SamplerConfig()
    assert config.context.network.shape(0) == CONTEXT
    assert config.defect.network.shape(6) == DEFECT
    assert config.context.weights == Path("checkpoint/checkpoint-256-defect-free.pt")
    assert config.seed == 0
    notes = "\n".join(earlier.notes)
    for key in ("algorithm", "n_samples", "optimize_xt.num_iteration_optimize_xt", "repaint.t_T", "classifier_scale",
                "inpa_inj_sched_prev_cumnoise", "clip_denoised", "num_heads", "cuda", "crop.num_heads"):
        assert f": {key} is not read: " in notes
    assert f"{path}:9: seed is empty or 0, which meant no seed at all" in notes
    assert all(f": {key} is not read" not in notes for key in ("attention_features.enabled", "g_scha.start", "seed"))


@pytest.mark.parametrize(("old", "new", "key", "value"), [
    ("start_step: 30", "start_step: 60", "walk.start", 60),
    ("lr_xt: 0.1", "lr_xt: 1e-2", "guidance.learning_rate", 0.01),
    ("center_weight: 1.0", "center_weight: -1", "mask.center_weight", 0),
    ("stop: 0", "stop: 7", "guidance.iterations_from", 7),
    ("ddim_sigma: 0.0", "ddim_sigma: 1.0", "walk.eta", 1),
    ("filter_type: none", "filter_type: firstp-5", "walk.jumps_where", "firstp-5")])
def test_live_keys_live(tmp_path, old, new, key, value):
    config, _ = checked(PaintConfig, written(tmp_path, PCB_GEN.replace(old, new)))
    section, _, name = key.partition(".")
    assert getattr(getattr(config.sampler, section), name) == value


def test_the_published_training_files(tmp_path):
    defect, earlier = checked(DefectConfig, written(tmp_path, TRAIN_64))
    assert earlier.purpose == "defect"
    assert defect.network.shape(6) == DEFECT
    assert (defect.optimizer.learning_rate, defect.loop.batch_size, defect.loop.save_every) == (1e-4, 64, 10_000)
    assert defect.loop.precision == "bfloat16"
    assert defect.ema.half_life_steps == pytest.approx(6931, abs=1)
    assert not defect.data.balance
    assert defect.loop.steps == 200_000
    notes = "\n".join(earlier.notes)
    assert "lr_anneal_steps 0 trained for ever" in notes
    for key in ("microbatch", "fp16_scale_growth", "checkpoint_dir", "class_json_path", "shuffle"):
        assert f": {key} is not read: " in notes
    context, earlier = checked(ContextConfig, written(tmp_path, TRAIN_256))
    assert earlier.purpose == "context"
    assert context.network.shape(0) == CONTEXT
    assert (context.loop.steps, context.optimizer.decay_steps, context.data.fit) == (3000, 3000, "whole")


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("start_step:", "start_stp:", "unknown key 'ddim.schedule_params.start_stp'. Did you mean"),
    ("learn_sigma: true\ndiff", "learn_sigma: false\ndiff", "'learn_sigma' must be true, got false"),
    ("use_git: false", "use_git: true", "'use_git' must be false, got true"),
    ("channel_mult: '1, 1, 2, 3, 4, 4'", "channel_mult: wide", "'channel_mult' must be whole numbers"),
    ("ddpm_num_steps: 250", "ddpm_num_steps: 100", "must be that of timestep_respacing, 250, got 100"),
])
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, problem):
    text = PCB_GEN.replace(old, new)
    path = written(tmp_path, text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row not in PCB_GEN.splitlines())
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert problem in str(caught.value)


def test_an_unknown_key_like_none_is_noted(tmp_path):
    earlier = read_config(written(tmp_path, PCB_GEN + "zzz: 1\n"))
    assert any(note.endswith("zzz is not read: it meant nothing to the earlier code either") for note in earlier.notes)


def test_files_of_this_project_are_not_taken_for_earlier_ones(tmp_path):
    assert is_earlier(written(tmp_path, PCB_GEN))
    assert is_earlier(written(tmp_path, TRAIN_64))
    assert not is_earlier(written(tmp_path, "loop:\n  steps: 1\nnetwork:\n  width: 32\n"))


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(SMALL)


@pytest.mark.parametrize("wrap", [
    lambda state: state, lambda state: {"state_dict": state},
    lambda state: {f"module.{key}": value for key, value in state.items()},
    lambda state: {key: value.half() for key, value in state.items()}])
def test_weights_are_read_strictly_in_every_wrapping(tmp_path, network, wrap):
    path = tmp_path / "model000100.pt"
    torch.save(wrap(network.state_dict()), path)
    found = load_earlier(path, SMALL)
    for key, value in network.state_dict().items():
        assert torch.allclose(found.state_dict()[key], value, atol=1e-3)
    assert not any(p.requires_grad for p in found.parameters())
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in found.parameters())


def test_written_weights_come_back(tmp_path, network):
    save_earlier(tmp_path / "a.pt", network)
    assert list(torch.load(tmp_path / "a.pt", weights_only=True)) == list(network.state_dict())
    found = load_earlier(tmp_path / "a.pt", SMALL)
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), network.state_dict().values()))


@pytest.mark.parametrize(("change", "said"), [
    ({"width": 64}, "width 32 (num_channels), here 64"),
    ({"multipliers": (1, 1)}, "levels 1 2 (channel_mult), here 1 1"),
    ({"blocks": 1}, "2 residual blocks a level (num_res_blocks), here 1"), ({"classes": 6}, "3 classes, here 6"),
    ({"attention_px": ()}, "attention at levels 1, counted from 0 (attention_resolutions), here "),
])
def test_a_misfit_is_said_in_the_words_of_the_config(tmp_path, network, change, said):
    save_earlier(tmp_path / "a.pt", network)
    with pytest.raises(CheckpointError) as caught:
        load_earlier(tmp_path / "a.pt", Shape(**{**SMALL.__dict__, **change}))
    assert said in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path, network):
    state = network.state_dict()
    state["out.2.bias"][0] = float("nan")
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"not finite, got 'out.2.bias'"):
        load_earlier(tmp_path / "a.pt", SMALL)


def published(shape: Shape) -> dict[str, torch.Tensor]:
    """A state dict of the right shapes that takes no room: every tensor is one number, repeated."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in UNet(shape).state_dict().items()}
    return {key: torch.zeros(1).expand(size) for key, size in shapes.items()}


@pytest.mark.parametrize(("make", "said"), [
    (lambda: published(CONTEXT), "with width 128 (num_channels), levels 1 1 2 3 4 4 (channel_mult), 2 residual blocks "
     "a level (num_res_blocks), attention at levels 4 5, counted from 0 (attention_resolutions), 0 classes, a learned "
     "variance (learn_sigma), scale and shift by the time (use_scale_shift_norm), resizing residual blocks "
     "(resblock_updown); 151,561,990 parameters in 538 tensors; it fits the published context model"),
    (lambda: published(DEFECT), "25,120,966 parameters in 387 tensors; it fits the published defect model"),
    (lambda: published(SMALL), "3 classes, a learned variance (learn_sigma), scale and shift by the time "
     "(use_scale_shift_norm), resizing residual blocks (resblock_updown); "),
    (lambda: {"state": {}, "param_groups": []}, "the state of an optimiser"),
    (lambda: {"format": 1, "step": 7, "parts": {"module/network": {}}}, "a checkpoint of this project at step 7"),
    (lambda: {"model.diffusion_model.x": torch.zeros(1)}, "Stable Diffusion's"),
    (lambda: {"conv1.weight": torch.zeros(1)}, "no U-Net of guided diffusion's form: its first keys "
     "are 'conv1.weight'"),
    (lambda: {k: v for k, v in published(SMALL).items() if not k.startswith("out.")}, "a classifier"),
])
def test_a_file_is_described_in_a_sentence(tmp_path, make, said):
    torch.save(make(), tmp_path / "a.pt")
    assert said in describe(tmp_path / "a.pt")


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "a.pt").write_text("<html>Google Drive")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        describe(tmp_path / "a.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="not a state dict, got list"):
        describe(tmp_path / "b.pt")
