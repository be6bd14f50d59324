"""scripts/augment.py as a user types it: what his mistakes and his data's faults print, and what he is told at the end."""
import runpy
import sys
from pathlib import Path

import pytest

from tests.sets import write_coco

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("command") / "Prüf satz")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(*options) -> (exit code, stdout, stderr) of a script started in `tmp_path`, within this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def start(*options, script="augment"):
        monkeypatch.setattr("sys.argv", [f"scripts/{script}.py", *map(str, options)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
        said = capsys.readouterr()
        return left.value.code, said.out, said.err
    return start


@pytest.fixture
def refused(run, data, tmp_path):
    """The first line that a mistake brings, with exit code 2, after `--data` and `--output`; nothing is made."""
    def start(*options):
        code, _, said = run("--data", data, "--output", tmp_path / "out", "--workers", "1", *options)
        assert code == 2, said
        assert "Traceback" not in said
        assert not (tmp_path / "out" / "manifest.jsonl").exists()
        return said.splitlines()[0]
    return start


@pytest.mark.parametrize(("options", "said"), [
    (["--count", "0"], "--count 0: 'count' must be a whole number, at least 1, got 0"),
    (["--count", "many"], "--count many: 'count' must be a whole number, at least 1, got 'many'"),
    (["--set", "count=0"], "--set count=0: 'count' must be a whole number, at least 1, got 0"),
    (["--per-image", "3,1"], "--per-image 3,1: 'placement': 'per_image' must be two numbers above 0, the smaller first"),
    (["--per-image", "1,2.5"], "--per-image 1,2.5: 'placement.per_image[1]' must be a whole number, got 2.5"),
    (["--size-px", "a],b"], "--size-px a],b: 'placement.size_px[0]' must be a whole number, got 'a]'"),
    (["--split", "vall"], "--split vall: 'split' must be one of auto, all, train, val, test, got 'vall'. Did you mean"),
    (["--set", "placement.per_imag=[1,2]"], "--set placement.per_imag=[1,2]: unknown key 'placement.per_imag'. Did you"),
    (["--method", "copypast"], "--method: no such generator, got 'copypast'. Did you mean 'copypaste'?"),
    (["--write", "yolo,pascal"], "--write: no such format, got 'pascal'."),
    (["--classes", "spott"], "--classes: no sample of that class, got 'spott'."),
    (["--format", "koko"], "--format: no such format, got 'koko'."),
    (["--config", "absent.yaml"], "absent.yaml: no such config file."),
])
def test_a_mistake_names_what_was_typed(refused, options, said):
    assert refused(*options).startswith(said)


def test_what_is_missing_is_named_as_the_option_that_it_is(run, data):
    assert run("--count", "3")[::2] == (2, "--data: missing. Give the folder of the labelled set\n")
    assert run("--data", data)[2].startswith("--output: missing. Give the folder of the new set")
