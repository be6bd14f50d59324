"""scripts/convert.py as a user runs it."""
import subprocess
import sys
from dataclasses import replace
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


def test_several_sets_become_one(source, tmp_path):
    """Splits are kept, what has none is trained on; groups of two sets are never one; equal classes are."""
    whole = formats.read(source)
    bare = replace(whole, classes=("dent", *whole.classes),
                   records=tuple(replace(record, split=None) for record in whole.records))
    split = replace(whole, records=tuple(replace(record, split="test") for record in whole.records))
    formats.write(split, tmp_path / "a" / "set", "coco")
    formats.write(bare, tmp_path / "b" / "set", "coco")
    done = convert("--to", "coco", tmp_path / "a" / "set", tmp_path / "b" / "set", tmp_path / "both")
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: " + str(tmp_path / "b" / "set") + ": has no splits, so that its 5 images go to train" in done.stdout
    assert "10 images, 14 defects, 4 classes: coco -> coco" in done.stdout
    both = formats.read(tmp_path / "both")
    assert both.classes == (*whole.classes, "dent")
    halves = {place: [record for record in both.records if record.name.startswith(f"{place}/")]
              for place in ("set", "set-2")}
    for place, wanted in (("set", "test"), ("set-2", "train")):
        assert [record.name for record in halves[place]] == [f"{place}/{record.name}" for record in whole.records]
        assert {record.split for record in halves[place]} == {wanted}
        for record, before in zip(halves[place], whole.records):
            assert record.image.read_bytes() == before.image.read_bytes()
            assert [item.box for item in record.instances] == [item.box for item in before.instances]
            assert (record.clean is None) == (before.clean is None)
    assert not {record.group for record in halves["set"]} & {record.group for record in halves["set-2"]}


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
