"""What every command line shares: a Ctrl-C while it still imports its libraries."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("train.py", "test.py", "scripts/augment.py", "scripts/make_synthetic.py", "scripts/convert.py",
            "scripts/verify.py", "scripts/metrics.py", "scripts/flist2.py", "scripts/bench.py")


@pytest.mark.skipif(os.name != "posix", reason="this system has no signal to send to one process alone")
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_during_imports_is_one_line(tmp_path, command):
    """A torch that takes a minute to import stands for the real one, which takes seconds."""
    (tmp_path / "torch.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    began = time.monotonic()
    with subprocess.Popen([sys.executable, ROOT / command, "--help"], env={**os.environ, "PYTHONPATH": str(tmp_path)},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=50)
    assert (process.returncode, errors) == (130, "stopped by Ctrl-C\n")
    assert time.monotonic() - began < 50
