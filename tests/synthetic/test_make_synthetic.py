"""A made set on disk: labels that agree with the pictures, the same bytes after a kill, a folder that is respected."""
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core.data import formats, images, shapes
from core.errors import ConfigError, OutputError
from core.synthetic import KINDS, make, write
from core.synthetic.write import MANIFEST, Recipe, make_set

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_synthetic.py"


def recipe(**changes) -> Recipe:
    return Recipe(**{"kind": "fpc", "count": 6, "seed": 3, "size": (128, 96), **changes})


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_synthetic", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_product_is_laid_out_as_its_preparation_reads_it(tmp_path):
    made = make_set(recipe(product="model1", good_share=0.2), tmp_path, ["labelme"])
    assert {record.name.split("/")[0] for record in made.records} == {"model1good", "model1defect"}
    for record in made.records:
        assert record.image == tmp_path / "images" / f"{record.name}.png"
        assert record.name.startswith("model1defect/") == bool(record.instances)
    back = formats.read(tmp_path, "labelme", folders=["model1defect"])
    assert {one.name: len(one.instances) for one in back.records} == {
        one.name: len(one.instances) for one in made.records if one.instances}
    with pytest.raises(ConfigError, match="not a folder's name, got 'a/b'"):
        make_set(recipe(product="a/b"), tmp_path / "other")


def test_labels_agree_with_the_pictures(tmp_path):
    make_set(recipe(count=8), tmp_path, ("coco", "masks"))
    dataset = formats.read(tmp_path, "coco")
    assert len(dataset) == 8
    assert dataset.classes == KINDS["fpc"].CLASSES
    for record in dataset.defective:
        index = int(record.image.stem.split("_")[1])
        sample = make("fpc", 3, index, (128, 96))
        assert (images.read_image(record.image) == sample.image).all()
        assert (images.read_image(record.clean) == sample.clean).all()
        assert len(record.instances) == len(sample.defects)
        for instance, defect in zip(record.instances, sample.defects):
            assert (shapes.instance_mask(instance, record.size) == defect.mask).all()
        mask = images.read_mask(tmp_path / "masks" / record.image.name)
        assert (mask == sample.index_mask(dataset.classes)).all()
    for record in dataset.good:
        index = int(record.image.stem.split("_")[1])
        assert (images.read_image(record.image) == make("fpc", 3, index, (128, 96), defects=0).image).all()


def test_some_pictures_are_good_and_none_or_all_where_asked(tmp_path):
    dataset = make_set(recipe(count=20), tmp_path / "some")
    assert 0 < len(dataset.good) < 20
    assert len(make_set(recipe(good_share=0.0), tmp_path / "none").good) == 0
    assert len(make_set(recipe(options={"defects": 0}), tmp_path / "all").good) == 6


def test_every_kind_makes_a_set(tmp_path):
    for kind, options in (("pcb", {}), ("metal", {}), ("oring", {"patch": 128})):
        size = (512, 448) if kind == "oring" else (128, 128)
        dataset = make_set(recipe(kind=kind, count=2, size=size, options=options, good_share=0.0), tmp_path / kind)
        assert all(record.instances for record in dataset.records)


def test_more_pictures_leave_the_first_as_they_are(tmp_path):
    make_set(recipe(count=3), tmp_path / "grown")
    make_set(recipe(count=6), tmp_path / "grown")
    make_set(recipe(count=6), tmp_path / "whole")
    assert hashes(tmp_path / "grown") == hashes(tmp_path / "whole")


def test_other_processes_make_the_same_set(tmp_path):
    make_set(recipe(kind="pcb", count=9), tmp_path / "one")
    make_set(recipe(kind="pcb", count=9), tmp_path / "two", workers=2)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_a_killed_run_goes_on(tmp_path):
    arguments = ["--kind", "fpc", "--count", 12, "--seed", 3, "--size", "128x96", "--workers", 1, "--output"]
    process = subprocess.Popen([sys.executable, SCRIPT, *map(str, arguments), tmp_path / "killed"])
    manifest = tmp_path / "killed" / MANIFEST
    while not (manifest.exists() and manifest.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = manifest.read_bytes()
    manifest.write_bytes(done + b'{"index": 99, "im')                     # a line that the kill cut short
    first = (tmp_path / "killed" / json.loads(done.splitlines()[0])["image"]).stat().st_mtime_ns
    make_set(recipe(count=12), tmp_path / "killed")
    assert (tmp_path / "killed" / "images" / "fpc_00000.png").stat().st_mtime_ns == first
    make_set(recipe(count=12), tmp_path / "whole")
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


@pytest.mark.skipif(os.name != "posix", reason="this system's signals end a process without asking it")
@pytest.mark.parametrize(("signum", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_a_signal_finishes_the_picture_and_says_how_to_go_on(tmp_path, signum, workers):
    arguments = ["--kind", "fpc", "--count", 200, "--seed", 3, "--size", "128x96", "--workers", workers, "--output"]
    process = subprocess.Popen([sys.executable, SCRIPT, *map(str, arguments), tmp_path], stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    while not ((tmp_path / MANIFEST).exists() and (tmp_path / MANIFEST).read_bytes()):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signum)                      # a terminal's Ctrl-C reaches the workers too
    _, said = process.communicate(timeout=60)
    done = (tmp_path / MANIFEST).read_bytes().count(b"\n")
    assert process.returncode == 128 + signum
    assert said.endswith(f"stopped by {signum.name} with {done} of 200 images made; the same command goes on\n")
    assert "Traceback" not in said
    assert 0 < done < 200
    assert len(make_set(recipe(count=done + 1), tmp_path)) == done + 1


def test_a_folder_with_files_is_respected(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="has files in it, got notes.txt"):
        make_set(recipe(), tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]
    make_set(recipe(), tmp_path, overwrite=True)
    make_set(recipe(seed=4, count=2), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(os.listdir(tmp_path / "images")) == 2


def test_another_recipe_is_not_mixed_in(tmp_path):
    make_set(recipe(count=2), tmp_path)
    before = hashes(tmp_path)
    with pytest.raises(OutputError, match="another recipe, got seed 4 where it was 3"):
        make_set(recipe(count=2, seed=4), tmp_path)
    with pytest.raises(OutputError, match="already holds more"):
        make_set(recipe(count=1), tmp_path)
    assert hashes(tmp_path) == before


@pytest.mark.parametrize(("arguments", "message"), [
    (("--kind", "pbc"), "Did you mean 'pcb'"),
    (("--kind", "pcb", "--size", "big"), "--size: not a size, got 'big'"),
    (("--kind", "pcb", "--size", "40x40"), "^--size: too small to draw in, got 40x40"),
    (("--kind", "pcb", "--write", "coko"), "^--write: .* Did you mean 'coco'"),
    (("--kind", "pcb", "--patch", "64"), "^--patch: not for pcb, got 64"),
    (("--kind", "pcb", "--count", "0"), "^--count: too small, got 0"),
    (("--kind", "pcb", "--seed", "-2"), "^--seed: too small, got -2"),
    (("--kind", "pcb", "--good", "1.5"), "^--good: not a share, got 1.5"),
    (("--kind", "pcb", "--defects", "-3"), "^--defects: less than none, got -3"),
    (("--kind", "pcb", "--style", "binari"), "^--style: .* Did you mean 'binary'"),
    (("--kind", "metal", "--classes", "crack,pitt"), "^--classes: .* Did you mean 'pit'"),
    (("--kind", "oring", "--patch", "99"), "^--patch: does not fit, got 99"),
    (("--kind", "pcb", "--workers", "0"), "^--workers: too small, got 0"),
])
def test_a_mistake_is_named_and_leaves_nothing(tmp_path, script, arguments, message):
    with pytest.raises(ConfigError, match=message):
        script.main(["--count", "1", "--output", str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()


def test_the_command_makes_a_set_and_says_so(tmp_path, script, capsys):
    assert script.main(["--kind", "pcb", "--count", "3", "--good", "0", "--size", "130x120", "--style", "binary",
                        "--write", "deeppcb", "--workers", "1", "--output", str(tmp_path)]) == 0
    assert "3 images (0 without a defect)" in capsys.readouterr().out
    dataset = formats.read(tmp_path, "deeppcb")
    assert len(dataset.defective) == 3
    assert all(record.clean and record.size == (130, 120) for record in dataset.records)
    assert set(np.unique(images.read_image(dataset.records[0].image))) == {0, 255}


def test_defects_that_find_no_room_are_told(tmp_path, script, capsys):
    command = ["--kind", "fpc", "--count", "1", "--good", "0", "--size", "64", "--defects", "30", "--workers", "1"]
    assert script.main([*command, "--output", str(tmp_path)]) == 0
    drawn = len(formats.read(tmp_path).records[0].instances)
    assert 0 < drawn < 30
    assert f"{drawn} defects of 30 wanted (there was no room for more)" in capsys.readouterr().out


@pytest.mark.parametrize(("changes", "message"), [
    ({"count": 0}, "count: too small, got 0"), ({"seed": -1}, "seed: too small"), ({"good_share": 1.5}, "not a share")])
def test_numbers_out_of_range_are_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_set(recipe(**changes), tmp_path / "out")


def test_a_full_disk_is_named_and_the_set_goes_on(tmp_path, monkeypatch):
    real = images.write_image

    def full(path, pixels):
        if path.name == "fpc_00002.png":
            raise OutputError(f"{path}: cannot be written, got 'No space left on device'. Free space")
        real(path, pixels)
    monkeypatch.setattr(write.images, "write_image", full)
    with pytest.raises(OutputError, match="No space left"):
        make_set(recipe(), tmp_path / "set")
    monkeypatch.undo()
    make_set(recipe(), tmp_path / "set")
    make_set(recipe(), tmp_path / "whole")
    assert hashes(tmp_path / "set") == hashes(tmp_path / "whole")
    lines = (tmp_path / "set" / MANIFEST).read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(6))
