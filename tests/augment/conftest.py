"""Scripts run as a user starts them, but within this process, which is faster."""
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(*options, script="augment") -> (exit code, stdout, stderr); the working folder is `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def start(*options, script="augment"):
        monkeypatch.setattr("sys.argv", [f"scripts/{script}.py", *map(str, options)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
        said = capsys.readouterr()
        return left.value.code, said.out, said.err
    return start
