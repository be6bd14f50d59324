"""Child processes that train or save, for tests that send them real signals."""
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import torch

from core import checkpoint
from core.errors import DefectForgeError
from core.loop import train
from core.runlog import open_run
from core.task import LoopConfig
from tests.toys import ToyConfig, ToyGan, ToySegmenter

TOYS = {"gan": ToyGan, "segmenter": ToySegmenter}
PRELOADED = ["torch", "torch._dynamo", "torch.utils.data", "torch.nn.parallel", "torch.utils.tensorboard", "pydantic",
             "tqdm", "yaml"]


def start(target, *arguments) -> multiprocessing.Process:
    """Start a child; where the system can fork, from a server that has torch loaded, within milliseconds."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload(PRELOADED)
        context = multiprocessing.get_context("forkserver")
    else:
        context = multiprocessing.get_context("spawn")
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def train_child(model: str, run: Path, loop: LoopConfig, slow_step: int = -1, seconds: float = 0.0) -> None:
    """Train a toy and exit with the loop's code; `slow_step` (-2: every step, -3: every evaluation but the first) takes
    `seconds` longer."""
    torch.set_num_threads(1)
    sys.stdout = open(os.devnull, "w")          # noqa: SIM115  the screen is the parent's
    config, device = ToyConfig(loop=loop), torch.device("cpu")
    task = TOYS[model](config, device)
    counted, losses = iter(range(loop.steps * 2)), task.losses

    def slow(phase, batch):
        if slow_step in (-2, next(counted)):
            (run / "slow").touch()
            time.sleep(seconds)
        return losses(phase, batch)

    evaluated, evaluate = iter(range(loop.steps * 2)), task.evaluate

    def slow_evaluation(folder):
        if slow_step == -3 and next(evaluated):
            (run / "slow").touch()
            time.sleep(seconds)
        return evaluate(folder)

    task.losses, task.evaluate = slow, slow_evaluation
    try:
        sys.exit(train(task, loop, open_run(run, config.model_dump(mode="json")), device=device))
    except DefectForgeError as error:
        (run / "error.txt").write_text(str(error))
        sys.exit(error.exit_code)


def save_for_ever(folder: Path) -> None:
    """Save checkpoints of 4 MiB, numbered from 1, until killed; every value of a checkpoint is its number."""
    torch.set_num_threads(1)
    module = torch.nn.Linear(1024, 1024)
    for step in range(1, 10**8):
        torch.nn.init.constant_(module.weight, step)
        checkpoint.save(checkpoint.path_of(folder, step), step, {"module/network": module})
        checkpoint.prune(folder, keep=2)


def wait_for(path: Path, process: multiprocessing.Process, limit_s: float = 60.0) -> None:
    """Wait until a file is there; fail where the child ends before that."""
    until = time.monotonic() + limit_s
    while not path.exists():
        assert process.is_alive(), f"the child ended with {process.exitcode} before it wrote {path}"
        assert time.monotonic() < until, f"{path} is not there after {limit_s} s"
        time.sleep(0.005)


def exit_code(process: multiprocessing.Process, limit_s: float = 60.0) -> int:
    """Wait for a child's end; one that does not end is killed, so that it cannot keep the tests from ending."""
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"the child did not end within {limit_s} s")
    return process.exitcode


def record(run: Path) -> list[str]:
    """The lines of a run's record without their timing, which differs from run to run."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [json.dumps({key: value for key, value in entry.items() if key != "timing"}) for entry in entries]


def differences(run: Path, other: Path) -> list[str]:
    """Names of what differs between two finished runs: the last checkpoint, bit by bit, the record, the pictures."""
    mine, theirs = checkpoint.found(run)[-1], checkpoint.found(other)[-1]
    found = [] if mine.name == theirs.name and same(checkpoint.load(mine), checkpoint.load(theirs)) else [mine.name]
    found += [] if record(run) == record(other) else ["metrics.jsonl"]
    drawn = [{path.relative_to(folder): path.read_bytes() for path in (folder / "samples").rglob("*.*")}
             for folder in (run, other)]
    return found + ([] if drawn[0] == drawn[1] else ["samples"])


def same(one, other) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(one, torch.Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
