"""A run that was stopped and taken up again ends bit for bit as one that was not."""
import signal
from pathlib import Path

import pytest
import torch

from core import checkpoint
from core.errors import CheckpointError, ConfigError
from core.loop import train
from tests.children import TOYS, differences, record
from tests.kill_training import kill_training
from tests.toys import ToyConfig, settings

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def run_toy(model: str, run: Path, *, stop_at: int | None = None, steps: int = 20, **changes) -> int:
    """Train a toy; in step `stop_at` SIGTERM comes, so that the run is saved at that step's end."""
    loop = settings(steps, **changes)
    task = TOYS[model](ToyConfig(loop=loop), CPU)
    if stop_at is not None:
        rate, phase = task.phases[-1].learning_rate, task.phases[-1]

        def interrupted(step: int) -> float:
            if step == stop_at - 1:
                signal.raise_signal(signal.SIGTERM)
            return rate(step)

        object.__setattr__(phase, "learning_rate", interrupted)
    return train(task, loop, run, device=CPU)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, Path]:
    torch.set_num_threads(1)
    runs = {model: tmp_path_factory.mktemp(model) for model in TOYS}
    for model, run in runs.items():
        assert run_toy(model, run) == 0
    return runs


@pytest.mark.parametrize("model", TOYS)
@pytest.mark.parametrize("stop_at", [7, 10, 11])
def test_resume_is_exact(model, stop_at, uninterrupted, tmp_path):
    assert run_toy(model, tmp_path, stop_at=stop_at) == 143
    assert checkpoint.found(tmp_path)[-1] == checkpoint.path_of(tmp_path, stop_at)
    assert run_toy(model, tmp_path) == 0
    assert differences(tmp_path, uninterrupted[model]) == []


@pytest.mark.parametrize(("model", "stop_at", "workers"), [("gan", 7, (2, 2)), ("segmenter", 11, (0, 2))])
def test_resume_is_exact_with_workers(model, stop_at, workers, uninterrupted, tmp_path):
    assert run_toy(model, tmp_path, stop_at=stop_at, workers=workers[0]) == 143
    assert run_toy(model, tmp_path, workers=workers[1]) == 0
    assert differences(tmp_path, uninterrupted[model]) == []


def test_another_seed_is_another_run(uninterrupted, tmp_path):
    run_toy("segmenter", tmp_path, seed=1)
    assert differences(tmp_path, uninterrupted["segmenter"]) == ["step-00000020.pt", "metrics.jsonl"]


def test_a_finished_run_has_nothing_more_to_do(uninterrupted, tmp_path):
    run_toy("segmenter", tmp_path)
    lines = record(tmp_path)
    assert run_toy("segmenter", tmp_path) == 0
    assert record(tmp_path) == lines
    assert sum('"evaluate"' in line for line in lines) == 3


def test_lines_past_the_checkpoint_are_not_doubled(uninterrupted, tmp_path):
    """A kill after step 10's report and within a line: both are gone when the run goes on from step 8."""
    run_toy("gan", tmp_path)
    for path in checkpoint.found(tmp_path):
        path.unlink()
    run_toy("gan", tmp_path, stop_at=8)
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + b'{"step": 9, "kind": "train", "x": 1}\n{"step": 10, "kind": "evalu')
    assert run_toy("gan", tmp_path) == 0
    assert differences(tmp_path, uninterrupted["gan"]) == []


def test_damaged_newest_is_named_and_after_its_deletion_the_run_ends_the_same(uninterrupted, tmp_path):
    run_toy("gan", tmp_path, stop_at=11)
    newest = checkpoint.found(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="Delete step-00000011.pt to go on from step-00000008.pt"):
        run_toy("gan", tmp_path)
    newest.unlink()
    assert run_toy("gan", tmp_path) == 0
    assert differences(tmp_path, uninterrupted["gan"]) == []


def test_checkpoint_of_another_model_is_refused(tmp_path):
    run_toy("gan", tmp_path, steps=1)
    with pytest.raises(CheckpointError, match="is of another model: it has no 'module/network'"):
        run_toy("segmenter", tmp_path)


def test_a_run_past_its_end_is_refused(tmp_path):
    run_toy("segmenter", tmp_path, steps=6)
    with pytest.raises(ConfigError, match="loop.steps: .* is at step 6 already, got 5"):
        run_toy("segmenter", tmp_path, steps=5)


def test_killed_at_random_moments(tmp_path):
    assert kill_training(4, tmp_path) == []
