"""CRG's two models in the loop: exact resume, stored losses, figures on fixed noise, earlier files and weights."""
import json
import signal
from pathlib import Path

import pytest
import torch

from core import checkpoint
from core.errors import CheckpointError, ConfigError
from core.experiment import build
from core.loop import train
from core.runlog import open_run
from crg import sheets
from crg.legacy_weights import save_earlier
from crg.settings import LossConfig
from crg.task import ContextTask, DefectTask
from tests import golden as stored
from tests.children import differences
from tests.crg import made
from tests.crg.earlier_files import PCB_GEN, TRAIN_64

CPU = torch.device("cpu")
MODELS = {"context": (ContextTask, made.context_config), "defect": (DefectTask, made.defect_config)}


@pytest.fixture(autouse=True)
def alone(one_thread):
    """One thread: the same numbers on every machine."""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return made.boards(tmp_path_factory.mktemp("set") / "boards")


def run_task(kind, config, run: Path, *, stop_at: int | None = None) -> int:
    """Train as train.py does; in step `stop_at` SIGTERM comes."""
    task = build(kind, config, CPU, run)
    if stop_at is not None:
        rate = task.phases[0].learning_rate

        def interrupted(step: int) -> float:
            if step == stop_at - 1:
                signal.raise_signal(signal.SIGTERM)
            return rate(step)

        object.__setattr__(task.phases[0], "learning_rate", interrupted)
    return train(task, config.loop, open_run(run, config.model_dump(mode="json")), device=CPU)


@pytest.mark.parametrize("model", MODELS)
def test_resume_is_exact_with_and_without_workers(model, root, tmp_path):
    kind, config = MODELS[model]
    assert run_task(kind, config(root), tmp_path / "whole") == 0
    assert run_task(kind, config(root, loop=made.few_steps(workers=int(model == "defect"))), tmp_path / "parts",
                    stop_at=5) == 143
    assert run_task(kind, config(root), tmp_path / "parts") == 0
    assert differences(tmp_path / "parts", tmp_path / "whole") == []
    assert (tmp_path / "whole" / "samples" / "step-00000008" / "sheet.png").is_file()


@pytest.mark.parametrize("model", MODELS)
def test_losses_of_the_first_steps_are_as_stored(model, root):
    kind, config = MODELS[model]
    task = build(kind, config(root), CPU)
    stored.check(f"crg-{model}", stored.losses_of(task, task.config.loop, steps=5), "tests/crg/test_crg_task.py",
                 tolerance=1e-4)


def test_what_is_learnt_is_averaged_and_the_loss_falls(root, tmp_path):
    """Three images by heart."""
    config = made.defect_config(root, loop=made.few_steps(40, batch_size=4, evaluate_every=40, save_every=40),
                                loss=LossConfig(noisiest=0.2))
    assert run_task(DefectTask, config, tmp_path) == 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, last = [line for line in lines if line["kind"] == "evaluate"]
    assert first["noise"] == pytest.approx(1, abs=0.1)
    assert last["noise"] < 0.8 * first["noise"]
    quarters = [f"noise_quarter_{number}" for number in (1, 2, 3, 4)]
    assert last["noise"] == pytest.approx(sum(last[name] for name in quarters) / 4)
    parts = checkpoint.load(checkpoint.found(tmp_path)[-1])["parts"]
    raw, averaged = parts["module/network"], parts["average/network"]
    assert not torch.equal(raw["out.2.weight"], averaged["out.2.weight"])
    assert averaged["out.2.weight"].abs().max() > 0


def test_figures_repeat_and_see_the_average(root, tmp_path):
    task = build(DefectTask, made.defect_config(root), CPU)
    network = task.averages["network"].module
    one = sheets.evaluate(task, network, tmp_path / "a")
    torch.manual_seed(5)
    assert sheets.evaluate(task, network, tmp_path / "b") == one
    assert (tmp_path / "a" / "sheet.png").read_bytes() == (tmp_path / "b" / "sheet.png").read_bytes()
    torch.nn.init.constant_(network.out[2].bias, 0.5)
    assert task.evaluate(tmp_path / "c")["noise"] > one["noise"] + 0.1


@pytest.mark.parametrize("model", MODELS)
def test_figures_of_what_is_learnt_from_are_called_so(model, root, tmp_path):
    """With every image in the one split, and with some kept back."""
    kind, config = MODELS[model]
    for ratios, prefix in (((1.0, 0.0, 0.0), "train_"), ((0.5, 0.5, 0.0), "")):
        task = build(kind, config(root, data={"ratios": ratios}), CPU)
        found = task.evaluate(tmp_path / f"{prefix}sheet")
        assert f"{prefix}noise" in found
        assert all(name.startswith("train_") == bool(prefix) for name in found)


def test_only_the_timesteps_that_are_asked_for_are_learnt(root, monkeypatch):
    task = build(ContextTask, made.context_config(root, loss=LossConfig(noisiest=0.1)), CPU)
    seen = []
    forward = task.network.forward
    monkeypatch.setattr(task.network, "forward", lambda x, t, y: seen.append(t) or forward(x, t, y))
    batch = {"image": torch.zeros(64, 3, 16, 16, dtype=torch.uint8)}
    task.losses("network", batch)
    assert seen[0].max() < 100
    assert seen[0].max() > 50
    assert sheets.respacing(task) == "20"        # 2 steps among the lowest tenth


def test_classes_are_written_beside_the_run(root, tmp_path):
    task = build(DefectTask, made.defect_config(root, data={"classes": ("spur", "short")}), CPU, tmp_path)
    assert task.classes == ("spur", "short")
    assert (tmp_path / "classes.txt").read_text() == "spur\nshort\n"
    assert task.network.shape.classes == 2


def test_training_may_begin_with_weights_of_the_published_form(root, tmp_path):
    torch.manual_seed(3)
    first = build(ContextTask, made.context_config(root), CPU)
    torch.nn.init.normal_(first.network.out[2].weight)
    save_earlier(tmp_path / "ema.pt", first.network)
    task = build(ContextTask, made.context_config(root, start_from=tmp_path / "ema.pt"), CPU)
    assert torch.equal(task.network.out[2].weight, first.network.out[2].weight)
    assert torch.equal(task.averages["network"].module.out[2].weight, first.network.out[2].weight)
    with pytest.raises(CheckpointError, match="0 classes, here 6"):
        build(DefectTask, made.defect_config(root, start_from=tmp_path / "ema.pt"), CPU)


def test_the_earlier_training_files_are_for_their_own_model(tmp_path):
    path = tmp_path / "train-64.yml"
    path.write_text(TRAIN_64)
    values, notes = DefectTask.earlier_config(path)
    assert values["network"]["width"] == 64
    assert notes
    with pytest.raises(ConfigError, match="train --model crg-defect with it"):
        ContextTask.earlier_config(path)
    path.write_text(PCB_GEN)
    with pytest.raises(ConfigError, match="sample_generation"):
        DefectTask.earlier_config(path)
    path.write_text("loop:\n  steps: 3\n")
    assert DefectTask.earlier_config(path) is None
