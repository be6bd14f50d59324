"""What the loop does with losses, modes, memory, samples and its own configuration."""
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.utils.data import Dataset

from core import checkpoint
from core.errors import DataError, TrainingError
from core.loop import dry_run, evaluate, train
from core.task import LoopConfig
from tests.children import TOYS
from tests.toys import Discs, ToyConfig, ToyGan, ToySegmenter, settings

CPU = torch.device("cpu")


def toy(model: str = "segmenter", **changes) -> tuple:
    loop = settings(**{"steps": 4} | changes)
    return TOYS[model](ToyConfig(loop=loop), CPU), loop


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def entries(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_training_lowers_the_loss(tmp_path):
    task, loop = toy(steps=60)
    train(task, loop, tmp_path, device=CPU)
    losses = [line["network/total"] for line in entries(tmp_path, "train")]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path, bad):
    task, loop = toy(steps=20)
    losses = task.losses

    def broken(phase, batch):
        parts = losses(phase, batch)
        if task.step == 2:
            parts["dice"] = parts["dice"] * bad
            task.before = state_of(task.network)
        task.step += 1
        return parts

    task.step, task.losses = 0, broken
    with pytest.raises(TrainingError) as caught:
        train(task, loop, tmp_path, device=CPU)
    message = str(caught.value)
    assert message.startswith("step 2, phase 'network': loss or gradient is not finite, got bce 0.")
    assert f"dice {bad:g}, total {bad:g}, grad_norm nan" in message
    assert changed(task.network, task.before) == set()
    assert checkpoint.load(checkpoint.found(tmp_path)[-1])["step"] == 0


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    task, loop = toy()
    weight = task.network[1].weight
    task.losses = lambda phase, batch: {"root": (weight - weight.detach()).abs().sum().sqrt()}     # 0, slope infinite
    before = state_of(task.network)
    with pytest.raises(TrainingError, match="got root 0, total 0, grad_norm nan"):
        train(task, loop, tmp_path, device=CPU)
    assert changed(task.network, before) == set()


def test_out_of_memory_names_the_key_to_lower(tmp_path):
    task, loop = toy()

    def greedy(phase, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    task.losses = greedy
    with pytest.raises(TrainingError, match=r"step 0: .* got loop.batch_size = 4. Lower it, or set loop.precision"):
        train(task, loop, tmp_path, device=CPU)


def test_any_other_runtime_error_is_no_want_of_memory(tmp_path):
    task, loop = toy()

    def broken(phase, batch):
        raise RuntimeError("shapes do not fit, not out of memory")

    task.losses = broken
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(task, loop, tmp_path, device=CPU)


@pytest.mark.parametrize(("sizes", "deterministic", "expected"), [
    ([8, 8, 8, 8], False, [False, True, True, True]),
    ([8, 8, 8, 8], True, [False] * 4),
    ([8, 10, 12, 12], False, [False, False, False, True]),
])
def test_convolutions_are_searched_for_while_sizes_stay_and_never_in_an_evaluation(
        tmp_path, sizes, deterministic, expected):
    task, loop = toy(batch_size=1, evaluate_every=1, deterministic=deterministic)
    seen, evaluated, losses, evaluation = [], [], task.losses, task.evaluate

    class Sized(Discs):
        def __getitem__(self, index_and_draw):
            size = sizes[index_and_draw[1]]
            parts = super().__getitem__(index_and_draw)
            return tuple(torch.nn.functional.pad(part, [0, size - 8] * 2) for part in parts)

    def watched(phase, batch):
        seen.append(torch.backends.cudnn.benchmark)
        return losses(phase, batch)

    def watched_evaluation(folder):
        evaluated.append(torch.backends.cudnn.benchmark)
        return evaluation(folder)

    task.train_data, task.losses, task.evaluate = Sized("float32"), watched, watched_evaluation
    train(task, loop, tmp_path, device=CPU)
    assert (seen, set(evaluated)) == (expected, {False})


def test_a_frozen_layer_stays_frozen_though_its_optimiser_holds_it(tmp_path):
    task, loop = toy()
    before = state_of(task.network)
    train(task, loop, tmp_path, device=CPU)
    assert changed(task.network, before) == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_each_phase_trains_its_own_network_only(tmp_path):
    task, loop = toy("gan", steps=1)
    seen, losses = {}, task.losses

    def watched(phase, batch):
        learning = {name for name, module in task.modules.items() if any(p.requires_grad for p in module.parameters())}
        seen[phase] = learning
        return losses(phase, batch)

    task.losses = watched
    train(task, loop, tmp_path, device=CPU)
    assert seen == {"discriminator": {"discriminator"}, "generator": {"generator"}}
    assert all(p.requires_grad for module in task.modules.values() for p in module.parameters())
    assert all(p.grad is not None for p in task.generator.parameters())


def test_a_second_training_in_the_same_process_trains_the_same_parameters(tmp_path):
    task, loop = toy("gan", steps=2)
    train(task, loop, tmp_path, device=CPU)
    before = state_of(task.discriminator)
    train(task, settings(4), tmp_path, device=CPU)
    assert {"layers.4.bias", "layers.0.bias"} <= changed(task.discriminator, before)


def test_a_phase_with_foreign_parameters_is_a_mistake(tmp_path):
    task, loop = toy()
    task.phases[0].optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(ValueError, match="phase 'network' trains parameters that are in none of the task's modules"):
        train(task, loop, tmp_path, device=CPU)


def test_evaluation_changes_nothing(tmp_path):
    task, loop = toy("gan")
    norm = task.generator.layers[1].eval()                  # as a frozen backbone's would be
    both = nn.ModuleDict(task.modules)
    before = state_of(both)
    values, _ = evaluate(task, loop, tmp_path / "samples", 0, CPU)
    assert set(values) == {"score"}
    assert changed(both, before) == set()
    assert task.generator.training
    assert task.discriminator.training
    assert not norm.training
    assert evaluate(task, loop, tmp_path / "samples", 0, CPU)[0] == values


def test_an_evaluation_that_breaks_leaves_the_modes_and_the_checkpoint(tmp_path):
    task, loop = toy("gan")

    def broken(folder):
        raise DataError("photo.png: unreadable")

    task.evaluate = broken
    with pytest.raises(DataError):
        train(task, loop, tmp_path, device=CPU)
    assert task.generator.training
    assert checkpoint.found(tmp_path) == [checkpoint.path_of(tmp_path, 0)]


def test_gradients_are_clipped_to_the_norm(tmp_path):
    task, loop = toy(steps=1, clip_norm=0.01)
    train(task, loop, tmp_path, device=CPU)
    gradients = [p.grad for p in task.network.parameters() if p.grad is not None]
    assert nn.utils.get_total_norm(gradients).item() == pytest.approx(0.01, rel=1e-3)
    assert entries(tmp_path, "train")[0]["network/grad_norm"] > 0.1


def test_bfloat16_trains_close_to_float32(tmp_path):
    runs = {}
    for precision in ("float32", "bfloat16"):
        task, loop = toy(steps=20, precision=precision)
        train(task, loop, tmp_path / precision, device=CPU)
        runs[precision] = entries(tmp_path / precision, "train")[-1]["network/total"]
    assert runs["bfloat16"] != runs["float32"]
    assert runs["bfloat16"] == pytest.approx(runs["float32"], rel=0.1)


def test_reports_hold_means_rates_and_timing(tmp_path):
    task, loop = toy("gan", steps=6)
    train(task, loop, tmp_path, device=CPU)
    first, second = entries(tmp_path, "train")
    assert (first["step"], second["step"]) == (3, 6)
    assert first["generator/learning_rate"] == pytest.approx(sum(map(task.phases[1].learning_rate, range(3))) / 3)
    assert first["generator/total"] == pytest.approx(first["generator/adversarial"] + first["generator/l1"], rel=1e-5)
    assert first["timing"]["seconds_per_step"] > 0
    assert 0 <= first["timing"]["data_wait"] <= 1
    assert [line["step"] for line in entries(tmp_path, "evaluate")] == [0, 6]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


class BadSample(Discs):
    def __getitem__(self, index_and_draw):
        if index_and_draw[1] == 6:
            raise DataError("photos/a.png: truncated, got 3 of 64 rows. Copy it again")
        return super().__getitem__(index_and_draw)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_stops_with_one_line_that_names_it(tmp_path, workers):
    task, loop = toy(workers=workers)
    task.train_data = BadSample("float32")
    with pytest.raises(DataError) as caught:
        train(task, loop, tmp_path, device=CPU)
    assert str(caught.value).startswith("photos/a.png: truncated, got 3 of 64 rows. Copy it again (training sample ")
    assert str(caught.value).endswith(", draw 6)")
    assert not any(child.daemon for child in multiprocessing.active_children())


class Deadly(Discs):
    def __getitem__(self, index_and_draw):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def test_a_worker_that_is_killed_is_said_so(tmp_path):
    task, loop = toy(workers=1)
    task.train_data = Deadly("float32")
    with pytest.raises(TrainingError, match="a process that loads data ended, .* lower loop.workers"):
        train(task, loop, tmp_path, device=CPU)


def test_no_sample_at_all_is_refused(tmp_path):
    class Nothing(Dataset):
        def __len__(self):
            return 0

    task, loop = toy()
    task.train_data = Nothing()
    with pytest.raises(DataError, match="there is no sample, got 0"):
        train(task, loop, tmp_path, device=CPU)


def test_a_data_set_may_make_its_own_batches(tmp_path):
    class Ragged(Discs):
        def collate(self, samples):
            images, masks = zip(*samples)
            return {"images": list(images), "masks": list(masks)}

    task, loop = toy()
    task.train_data = Ragged("float32")
    losses = task.losses
    task.losses = lambda phase, batch: losses(phase, (torch.stack(batch["images"]), torch.stack(batch["masks"])))
    assert train(task, loop, tmp_path, device=CPU) == 0


@pytest.mark.parametrize("model", [ToyGan, ToySegmenter])
def test_dry_run_shows_everything_and_keeps_nothing(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    loop = settings(workers=2)
    assert dry_run(model(ToyConfig(loop=loop), CPU), loop, device=CPU) == 0
    said = capsys.readouterr().out
    for part in ("parameters", "a checkpoint takes", "evaluated in", "total", "nothing is kept"):
        assert part in said
    assert list(tmp_path.iterdir()) == []


def test_configuration_says_why():
    with pytest.raises(ValidationError, match="must be at least 2, got 1: the newest checkpoint may turn out damaged"):
        LoopConfig(steps=1, batch_size=1, keep=1)
    for wrong in ({"steps": 0}, {"batch_size": 0}, {"clip_norm": 0.0}, {"precision": "float16"}, {"save_evry": 3}):
        with pytest.raises(ValidationError):
            LoopConfig(**{"steps": 1, "batch_size": 1} | wrong)
