"""Losses of the first steps, stored: a change of the numbers is seen, and accepted only on purpose.

    GOLDEN=accept python -m pytest tests/core/test_golden.py
"""
import json
import os
from pathlib import Path

import torch

from core.device import Processes
from core.feeding import batches
from core.phase import Turn
from core.seeding import seed_step
from core.task import LoopConfig, Task

FOLDER = Path(__file__).parent / "golden"


def losses_of(task: Task, loop: LoopConfig, steps: int = 10) -> list[dict[str, float]]:
    """What each of the first steps reports, on the CPU with one thread."""
    threads, device, values = torch.get_num_threads(), torch.device("cpu"), []
    torch.set_num_threads(1)
    try:
        feed, turns = batches(task.train_data, loop, 0, device, Processes()), Turn.of(task, loop, device, Processes())
        for step in range(steps):
            batch = next(feed)
            seed_step(loop.seed, step)
            values.append({})
            for turn in turns:
                if step % turn.phase.every == 0:
                    values[-1] |= turn.take(batch, step)
    finally:
        torch.set_num_threads(threads)
    return values


def check(name: str, values: list[dict[str, float]], test: str, tolerance: float = 1e-6) -> None:
    """Compare with tests/golden/NAME.json, relative to each value; `test` is the caller's file, for the message."""
    path = FOLDER / f"{name}.json"
    if os.environ.get("GOLDEN") == "accept":
        path.write_text("[\n" + ",\n".join(json.dumps(step) for step in values) + "\n]\n")
        return
    stored = json.loads(path.read_text())
    accept = f"Where the change is wanted, accept it: GOLDEN=accept python -m pytest {test}"
    assert len(stored) == len(values), f"{path} has {len(stored)} steps, got {len(values)}. {accept}"
    for step, (old, new) in enumerate(zip(stored, values)):
        assert list(old) == list(new), f"{path}, step {step}: the losses were {list(old)}, got {list(new)}. {accept}"
        for key in old:
            assert abs(new[key] - old[key]) <= tolerance * abs(old[key]), (
                f"{path}, step {step}: {key} was {old[key]!r}, got {new[key]!r}. {accept}")
