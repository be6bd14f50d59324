"""scripts/convert.py as a user runs it."""
import subprocess
import sys
from pathlib import Path

import pytest

from core.data import formats
from tests.made_sets import facts, made_set

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert.py"


def convert(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("Höhen und Tiefen")
    formats.write(made_set(folder / "made"), folder / "set", "coco")
    return folder / "set"


def test_converts_and_says_what_is_lost(source, tmp_path):
    done = convert("--to", "yolo", source, tmp_path / "zu Yolo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 images, 7 defects, 3 classes: coco -> yolo" in done.stdout
    assert "note: yolo: 1 defects are to be ignored" in done.stdout
    assert facts(formats.read(tmp_path / "zu Yolo"), "name", "group", "split") == facts(
        formats.read(source), "name", "group", "split")


def test_refuses_a_folder_with_files_and_overwrites_only_its_own(source, tmp_path):
    (tmp_path / "labels").mkdir()
    mine = tmp_path / "labels" / "notes.md"
    mine.write_text("mine")
    done = convert("--to", "yolo", source, tmp_path)
    assert done.returncode == 2
    assert done.stderr == (f"{tmp_path}: the output folder has files in it, got labels. "
                           f"Choose an empty folder or say --overwrite\n")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["labels", "notes.md"]
    assert convert("--to", "yolo", "--overwrite", source, tmp_path).returncode == 0
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(("arguments", "told"), [
    (["--to", "cocoo"], "--format: no such format, got 'cocoo'. Did you mean 'coco'?"),
    (["--to", "voc", "--from", "masks"], "no images, got an empty set"),
    (["--to", "voc", "--classes", "pitt,crack,stain"], "no such class, got 'pit'. Did you mean 'pitt'?"),
    (["--to", "voc", "--threshold", "3"], "coco: no such option, got 'threshold'"),
    (["--to", "voc", "--colours", "pit=300,0,0"], "--colours: not a class and its colour, got 'pit=300,0,0'"),
])
def test_mistakes_are_clear_and_exit_with_2(source, tmp_path, arguments, told):
    target = tmp_path / "out"
    done = convert(*arguments, "--", source, target)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not target.exists()
