"""Every fault of the data that a user may bring: one clear line and exit code 2, or read as it was meant."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import formats, images
from tests.sets import write_coco


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("whole") / "set")


@pytest.fixture
def copied(data, tmp_path) -> Path:
    """A copy of the set to spoil, in a folder with blanks and umlauts."""
    return Path(shutil.copytree(data, tmp_path / "Prüf satz ß"))


@pytest.fixture
def masks(data, tmp_path) -> Path:
    """The same set with index masks."""
    formats.write(formats.read(data), tmp_path / "Prüf masken", "masks")
    return tmp_path / "Prüf masken"


@pytest.fixture
def refused(run, tmp_path):
    """What is said of a faulty set: one line, exit code 2, and nothing is made."""
    def start(folder, *options, lines=1):
        code, said, wrong = run("--data", folder, "--output", "out", "--count", "1", "--workers", "1", *options)
        assert (code, said, len(wrong.splitlines())) == (2, "", lines), wrong
        assert not (tmp_path / "out").exists()
        return wrong
    return start


def repainted(path: Path, change) -> None:
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def spoil_json(folder: Path, change) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    change(document)
    (folder / "annotations.json").write_text(json.dumps(document))


def test_a_missing_mask(masks, refused):
    (masks / "masks/bad000.png").unlink()
    assert "bad000.png. Add it, or say --unlabelled good" in refused(masks)


def test_a_mask_of_another_size(masks, refused):
    Image.open(masks / "masks/bad001.png").resize((50, 40), 0).save(masks / "masks/bad001.png")
    assert "bad001.png: mask of another size than its image, got 50x40 for bad001.png of 112x96" in refused(masks)


def test_a_mask_that_covers_everything(masks, refused, copied):
    repainted(masks / "masks/bad001.png", lambda mask: mask * 0 + 1)
    said = refused(masks)
    assert "bad001.png: a mask that covers the whole image" in said
    assert "is it inverted?" in said
    spoil_json(copied, lambda found: found["annotations"][0].update(segmentation=[[0, 0, 112, 0, 112, 96, 0, 96]]))
    assert "bad000.png: a mask that covers the whole image, got 'spot'" in refused(copied)


def test_an_empty_mask(masks, copied, refused, run):
    """As an annotation it is a fault; a black mask is how that format says "good"."""
    repainted(masks / "masks/bad001.png", lambda mask: mask * 0)
    assert run("--data", masks, script="verify")[1].startswith(f"{masks} (masks): 10 images, 5 defect-free")
    spoil_json(copied, lambda found: found["annotations"][0].update(segmentation=[], bbox=[5, 5, 0, 0]))
    assert "annotation 1: no box on the image, got 5 5 5 5" in refused(copied)


@pytest.mark.parametrize("spoilt", [b"", b"no image", None])
def test_an_image_that_cannot_be_read(copied, refused, spoilt):
    victim = copied / "images/bad002.png"
    victim.write_bytes(victim.read_bytes()[:900] if spoilt is None else spoilt)
    assert f"{victim}: not a readable image" in refused(copied)


def test_an_image_that_is_not_there(copied, refused):
    (copied / "images/bad003.png").unlink()
    assert "annotations.json: 1 images are missing, got bad003.png" in refused(copied)


def turned(path: Path) -> None:
    """Stored lying down, with the word that it is to be stood up."""
    orientation = Image.Exif()
    orientation[274] = 6
    Image.open(path).rotate(90, expand=True).save(path, exif=orientation)


@pytest.mark.parametrize("store", [
    lambda path: images.write_image(path, images.read_image(path)[..., 0].astype(np.uint16) * 257),
    lambda path: Image.open(path).convert("RGB").save(path),
    lambda path: Image.open(path).convert("RGBA").save(path),
    lambda path: Image.open(path).convert("P").save(path),
    lambda path: Image.open(path).convert("LA").save(path),
    turned,
], ids=["16-bit", "colour", "transparent", "palette", "grey with alpha", "EXIF"])
def test_every_way_to_store_an_image_is_read(data, copied, run, tmp_path, store):
    """Labelled upright and drawn on at full depth: the labels are those of the plain set."""
    for path in (copied / "images").iterdir():
        store(path)
    for folder, name in ((data, "plain"), (copied, "stored")):
        assert run("--data", folder, "--output", name, "--count", "2", "--workers", "1")[0] == 0
    plain, stored = (formats.read(tmp_path / name) for name in ("plain", "stored"))
    for one, other in zip(plain.records, stored.records, strict=True):
        assert one.size == other.size == (112, 96)
        assert [item.label for item in one.instances] == [item.label for item in other.instances]
        boxes = [np.array([item.box for item in record.instances]) for record in (one, other)]
        assert np.abs(boxes[0] - boxes[1]).max() <= 2


def test_a_class_with_one_sample_is_made_and_told(copied, run, tmp_path):
    def rare(found):
        found["categories"].append({"id": 3, "name": "rare"})
        found["annotations"][0]["category_id"] = 3
    spoil_json(copied, rare)
    code, said, _ = run("--data", copied, "--output", "out", "--count", "3", "--classes", "rare", "--workers", "1")
    assert code == 0
    assert "note: Classes with one sample (1), such as rare: a class with one sample" in said
    assert {item.label for record in formats.read(tmp_path / "out").records for item in record.instances} == {"rare"}


def test_no_defect_free_image_and_no_defect(tmp_path, refused):
    assert "no defect-free image to draw on, got 6 defective ones. Give a folder of good images with --good" in refused(
        write_coco(tmp_path / "bad", good=0))
    assert "no defect to learn from" in refused(write_coco(tmp_path / "good", bad=0))


def test_images_that_are_not_square(tmp_path, run):
    for name, size in (("wide", (220, 96)), ("tall", (100, 200))):
        folder = write_coco(tmp_path / name, size=size)
        assert run("--data", folder, "--output", f"{name} out", "--count", "2", "--workers", "1")[0] == 0
        assert {record.size for record in formats.read(tmp_path / f"{name} out").records} == {size}


def test_two_formats_that_both_fit(copied, refused, run):
    before = (copied / "annotations.json").read_text()
    formats.write(formats.read(copied), copied, "yolo", images="keep")
    (copied / "annotations.json").write_text(before)
    assert "more than one format fits, got yolo and coco. Say which with --format yolo" in refused(copied)
    assert run("--data", copied, "--format", "coco", "--output", "one", "--count", "1", "--workers", "1")[0] == 0


def test_an_output_folder_with_files_in_it(data, tmp_path, run):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    code, _, said = run("--data", data, "--output", "out", "--count", "1", "--workers", "1")
    assert (code, said) == (2, "out: the output folder has files in it, got mine.txt. Choose an empty folder or say "
                               "--overwrite\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_disk_that_fills_up(data, tmp_path, run):
    """One line; what was made is whole; with room again the same command ends as if nothing had been."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        command = ("--data", data, "--count", "30", "--workers", "1", "--output")
        code, _, said = run(*command, disk / "out")
        assert code == 2
        assert "cannot be written, got 'No space left on device'. Free space" in said.splitlines()[-1]
        assert not list((disk / "out").rglob("*.partial"))
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        assert run(*command, disk / "out")[0] == run(*command, tmp_path / "whole")[0] == 0
        assert (disk / "out/manifest.jsonl").read_bytes() == (tmp_path / "whole/manifest.jsonl").read_bytes()
        assert (disk / "out/annotations.json").read_bytes() == (tmp_path / "whole/annotations.json").read_bytes()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
