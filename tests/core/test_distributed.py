"""Data-parallel training: two processes compute what one does with the same global batch."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core import checkpoint
from core.device import Processes
from core.errors import ConfigError
from core.feeding import batches
from core.loop import train
from core.runlog import open_run
from tests.children import record
from tests.toys import ToyConfig, ToySegmenter, settings

TOY = Path(__file__).parents[1] / "train_toy.py"


def torchrun(run: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
               "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", TOY, run, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch is built without torch.distributed")
def test_two_processes_are_one_with_the_same_global_batch(tmp_path):
    both = torchrun(tmp_path / "both", "--steps", "12")
    assert both.returncode == 0, both.stderr[-3000:]

    loop = settings(12)
    config, device = ToyConfig(loop=loop), torch.device("cpu")
    train(ToySegmenter(config, device), loop, open_run(tmp_path / "one", config.model_dump()), device=device)

    lines = [[json.loads(line) for line in record(tmp_path / run)] for run in ("both", "one")]
    assert len(lines[1]) == 7
    for ours, theirs in zip(*lines, strict=True):
        assert ours.pop("kind") == theirs.pop("kind")
        assert ours == pytest.approx(theirs, rel=1e-5)
    ours, theirs = (checkpoint.load(checkpoint.path_of(tmp_path / run, 12)) for run in ("both", "one"))
    for name, weight in theirs["parts"]["module/network"].items():
        assert torch.allclose(ours["parts"]["module/network"][name], weight, rtol=1e-5, atol=1e-6), name
    assert both.stdout.count("\nstep 12: network/bce") == 1, "the first process alone writes"


def test_a_batch_that_cannot_be_shared_is_refused():
    loop = settings(4, batch_size=4)
    task = ToySegmenter(ToyConfig(loop=loop), torch.device("cpu"))
    with pytest.raises(ConfigError, match="loop.batch_size: must be divisible .* got 4 for 3 processes"):
        batches(task.train_data, loop, 0, torch.device("cpu"), Processes(0, 3))
