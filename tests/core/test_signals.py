"""Real signals to real processes: finish the step, save, exit with the signal's code; the second acts at once."""
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core import checkpoint
from core.signals import StopRequest
from tests.children import exit_code, start, train_child, wait_for
from tests.toys import settings

posix = pytest.mark.skipif(os.name != "posix", reason="this system's signals end a process without asking it")
LONG = settings(100_000, save_every=50_000, evaluate_every=50_000, report_every=1)


@posix
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_step_is_finished_and_saved(tmp_path, signum, code):
    """The signal comes within step 5, which takes half a second."""
    process = start(train_child, "segmenter", tmp_path, LONG, 5, 0.5)
    wait_for(tmp_path / "slow", process)
    os.kill(process.pid, signum)
    assert exit_code(process) == code
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000000.pt", "step-00000006.pt"]
    assert f"stopped by signal {int(signum)} at step 6" in (tmp_path / "log.txt").read_text()


@posix
def test_a_signal_within_an_evaluation_takes_no_further_step(tmp_path):
    """The signal comes within the evaluation at step 5, which takes half a second; no checkpoint was due there."""
    loop = settings(100_000, save_every=50_000, evaluate_every=5, report_every=1)
    process = start(train_child, "segmenter", tmp_path, loop, -3, 0.5)
    wait_for(tmp_path / "slow", process)
    os.kill(process.pid, signal.SIGTERM)
    assert exit_code(process) == 143
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000000.pt", "step-00000005.pt"]
    said = (tmp_path / "log.txt").read_text()
    assert "stopped by signal 15 at step 5" in said
    assert said.count("step 5: evaluated in") == 1              # what was evaluated is kept, and is not done again


@posix
def test_a_second_signal_acts_at_once(tmp_path):
    process = start(train_child, "segmenter", tmp_path, LONG, 5, 60.0)
    wait_for(tmp_path / "slow", process)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.3)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGTERM)
    assert exit_code(process) == -signal.SIGTERM
    assert time.monotonic() - began < 30
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000000.pt"]


@posix
@pytest.mark.parametrize("early", [True, False])
def test_ctrl_c_reaches_the_workers_too_and_they_leave_it_to_the_first_process(tmp_path, early):
    """As a terminal does: to every process of the group; while the workers start, and while they load."""
    toy = Path(__file__).parents[1] / "train_toy.py"
    command = [sys.executable, toy, tmp_path, "--steps", "1000000", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as process:
        for line in process.stdout:
            if line.startswith("step 0:" if early else "step 3:"):
                break
        time.sleep(0.5 if early else 0.0)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert len(checkpoint.found(tmp_path)) >= 1


def test_handlers_are_put_back():
    def handler(signum, frame):
        pass

    before = {signum: signal.signal(signum, handler) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        with StopRequest():
            assert signal.getsignal(signal.SIGTERM) != handler
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == handler
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.signum == signal.SIGINT
            assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == handler
        with pytest.raises(KeyError), StopRequest():
            raise KeyError
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


def test_in_another_thread_signals_are_left_alone():
    found = []

    def enter():
        with StopRequest() as stop:
            found.append(stop.signum)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [0]
