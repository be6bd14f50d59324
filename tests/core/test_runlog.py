"""The run folder says what made it, and a run is not taken up with another configuration."""
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core import checkpoint, runlog
from core.errors import ConfigError, OutputError
from core.lock import fcntl, unlock
from core.runlog import Means, RunLog, cut, open_run
from tests.children import exit_code, record, start, train_child, wait_for
from tests.toys import settings

CONFIG = {"loop": {"steps": 20, "seed": 0, "workers": 2}, "optim": {"lr": 1e-4, "betas": [0.5, 0.9]}, "device": "cpu"}


def with_change(key: str, value) -> dict:
    changed = json.loads(json.dumps(CONFIG))
    *sections, last = key.split(".")
    place = changed
    for section in sections:
        place = place[section]
    place[last] = value
    return changed


@pytest.fixture
def begun(tmp_path) -> Path:
    """A run folder with a checkpoint in it."""
    run = open_run(tmp_path / "dé fects" / "run", CONFIG, command=["train.py", "--model", "1"])
    checkpoint.path_of(run, 0).touch()
    return run


def test_the_folder_says_what_made_it(begun):
    assert yaml.safe_load((begun / "config.yaml").read_text()) == CONFIG
    environment = json.loads((begun / "environment.json").read_text())
    assert environment["command"] == "train.py --model 1"
    assert environment["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"revision", "python", "platform", "started", "numpy"} <= set(environment)
    assert "train.py --model 1" in (begun / "log.txt").read_text()


def test_the_same_configuration_goes_on(begun):
    open_run(begun, CONFIG)
    assert len((begun / "log.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize("key", ["loop.steps", "loop.workers", "device"])
def test_what_does_not_alter_results_may_differ(begun, key):
    changed = with_change(key, 7)
    open_run(begun, changed)
    assert yaml.safe_load((begun / "config.yaml").read_text()) == changed


@pytest.mark.parametrize(("key", "value", "shown"), [
    ("optim.lr", 2e-4, "'optim.lr' was 0.0001 when this run was started, got 0.0002"),
    ("loop.seed", 1, "'loop.seed' was 0 when this run was started, got 1"),
    ("optim.betas", [0.5, 0.99], "'optim.betas' was [0.5, 0.9] when this run was started, got [0.5, 0.99]"),
    ("optim.decay", 0.1, "'optim.decay' was 'absent' when this run was started, got 0.1"),
])
def test_what_alters_results_is_refused_with_key_old_and_new(begun, key, value, shown):
    before = {path: path.read_bytes() for path in begun.iterdir()}
    with pytest.raises(ConfigError) as caught:
        open_run(begun, with_change(key, value))
    assert shown in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert {path: path.read_bytes() for path in begun.iterdir()} == before


def test_before_the_first_checkpoint_the_configuration_may_be_corrected(tmp_path):
    open_run(tmp_path, CONFIG)
    open_run(tmp_path, with_change("optim.lr", 1.0))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["optim"]["lr"] == 1.0


def test_best_weights_without_their_run_are_not_replaced(begun):
    checkpoint.path_of(begun, 0).rename(checkpoint.best_path(begun))
    before = {path: path.read_bytes() for path in begun.iterdir()}
    with pytest.raises(OutputError, match=r"best.pt: best weights of a training whose step-\*.pt are gone"):
        open_run(begun, with_change("optim.lr", 1.0))
    assert {path: path.read_bytes() for path in begun.iterdir()} == before


@pytest.mark.parametrize("content", [None, "a: [1", "text"])
def test_a_run_whose_configuration_is_lost_is_refused(begun, content):
    (begun / "config.yaml").unlink()
    if content is not None:
        (begun / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match="config.yaml: (missing|cannot be read)"):
        open_run(begun, CONFIG)


@pytest.mark.skipif(fcntl is None, reason="this system has no locks of this kind")
def test_two_trainings_do_not_write_into_one_folder(tmp_path):
    run = tmp_path / "run"
    other = start(train_child, "gan", run, settings(steps=500, workers=2), -2, 0.05)
    wait_for(checkpoint.path_of(run, 4), other)
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(OutputError, match="run: another training is writing here. Wait for it, or"):
        open_run(run, CONFIG)
    assert (run / "config.yaml").read_bytes() == before
    other.kill()
    other.join()
    same = yaml.safe_load(before)
    with RunLog(open_run(run, same), 4, 500) as log:         # at once: the workers that it leaves hold no lock
        log.say("went on")
    unlock(run)                                              # once more is no fault


def test_a_file_in_the_folders_place_is_one_clear_line(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(OutputError, match="run: cannot be written, got 'File exists'"):
        open_run(tmp_path / "run", CONFIG)


def test_only_the_first_process_writes(tmp_path):
    assert open_run(tmp_path / "run", CONFIG, rank=1) == tmp_path / "run"
    with RunLog(tmp_path / "run", 0, 10, writes=False) as log:
        log.say("text")
        log.write("train", 1, {"loss": 1.0}, {})
        log.sync()
        log.advance()
    assert not (tmp_path / "run").exists()


def test_without_git_the_revision_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runlog._revision() == "unknown"


def test_values_that_are_not_finite_are_null_and_events_hold_the_numbers(tmp_path):
    with RunLog(tmp_path, 0, 10) as log:
        log.write("evaluate", 0, {"psnr": float("inf"), "iou": 0.5}, {"seconds": 0.1})
        log.write("train", 1, {"loss": 2.0}, {})
    assert record(tmp_path) == ['{"step": 0, "kind": "evaluate", "psnr": null, "iou": 0.5}',
                                '{"step": 1, "kind": "train", "loss": 2.0}']
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 2.0)]


@pytest.mark.parametrize(("step", "kept", "evaluated"), [(0, 1, 0), (5, 2, 0), (6, 4, 6), (99, 4, 6)])
def test_cut_keeps_what_came_before(tmp_path, step, kept, evaluated):
    lines = [{"step": 0, "kind": "evaluate"}, {"step": 3, "kind": "train"}, {"step": 6, "kind": "train"},
             {"step": 6, "kind": "evaluate"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    log = tmp_path / "metrics.jsonl"
    for tail in ("", '{"step": 6, "ki', "\0\0\0\0\n"):
        log.write_text(text + tail)
        assert cut(log, step) == evaluated
        assert len(log.read_text().splitlines()) == kept


def test_means_go_on_from_their_state():
    whole, first, second = Means(), Means(), Means()
    for value in (1.0, 2.0, 6.0):
        whole.add({"loss": value})
    whole.add({"other": 5.0})
    first.add({"loss": 1.0})
    second.load_state_dict(first.state_dict())
    for value in (2.0, 6.0):
        second.add({"loss": value})
    second.add({"other": 5.0})
    assert second.take() == whole.take() == {"loss": 3.0, "other": 5.0}
    assert second.take() == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("full", ["metrics.jsonl", "log.txt"])
def test_a_full_disk_under_the_log_is_one_clear_line(tmp_path, full):
    with RunLog(tmp_path, 0, 10) as log, log.diary, log.record, open("/dev/full", "ab", buffering=0) as handle:
        log.diary, log.record = (handle, log.record) if full == "log.txt" else (log.diary, handle)
        act = partial(log.say, "text") if full == "log.txt" else partial(log.write, "train", 1, {"loss": 1.0}, {})
        with pytest.raises(OutputError, match=rf"{full}: cannot be written, got 'No space left on device'"):
            act()


def full_disk_child(folder: Path) -> None:
    """Train on a file system of 1 MiB, mounted for this process alone; exit 77 where that is not permitted."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True).returncode:
        sys.exit(77)
    try:
        train_child("gan", folder / "run", settings(500, save_every=1, report_every=1, keep=100))
    finally:
        paths = checkpoint.found(folder / "run")
        steps = [checkpoint.load(path)["step"] for path in paths]
        hidden = [path.name for path in (folder / "run").glob(".*.partial")]
        error = (folder / "run" / "error.txt")
        outcome = {"steps": steps, "hidden": hidden, "error": error.read_text() if error.exists() else ""}
        subprocess.run(["umount", "--lazy", folder], check=True)
        (folder / "outcome.json").write_text(json.dumps(outcome))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small file system")
def test_training_onto_a_disk_that_fills_up(tmp_path):
    process = start(full_disk_child, tmp_path)
    code = exit_code(process, limit_s=120)
    if code == 77:
        pytest.skip("mounting is not permitted here")
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert code == 2
    assert len(outcome["steps"]) > 3
    assert outcome["steps"] == list(range(len(outcome["steps"])))
    assert outcome["hidden"] == []
    assert "cannot be written, got 'No space left on device'" in outcome["error"]
