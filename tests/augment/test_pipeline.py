"""The road from a handful of labelled defects to an augmented set, on tiny sets made on the spot."""
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.augment import pipeline
from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig
from core.data import formats, images, shapes
from core.errors import ConfigError, DataError, OutputError
from tests import kill_generation
from tests.outputs import assert_changed_at_the_labels_alone, manifest
from tests.sets import CLASSES, write_coco


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("tiny") / "set with blanks and ümläuts")


@pytest.fixture(scope="session")
def made(data, tmp_path_factory) -> Path:
    """Twelve images made in one process, in every label format."""
    folder = tmp_path_factory.mktemp("made") / "out"
    augment(AugmentConfig(data=data, output=folder, count=12, write=("yolo", "voc", "masks", "midg")))
    return folder


def test_labels_are_read_back_and_tight(made):
    dataset = formats.read(made, "coco")
    lines = manifest(made)
    assert len(dataset) == len(lines) == 12
    assert set(dataset.classes) == set(CLASSES)
    for record, line in zip(dataset.records, lines):
        assert len(record.instances) == len(line["defects"]) >= 1
        for instance, defect in zip(record.instances, line["defects"]):
            mask = shapes.instance_mask(instance, record.size)
            assert mask.sum() == defect["area_px"] >= 9
            rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
            assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == tuple(defect["box"])


def test_no_grey_level_changes_away_from_the_labels(made, data):
    assert_changed_at_the_labels_alone(made, data)


def test_defects_keep_clear_of_each_other(made):
    for line in manifest(made):
        boxes = [defect["box"] for defect in line["defects"]]
        for number, a in enumerate(boxes):
            for b in boxes[:number]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_the_grey_set_stays_grey_on_disk(made):
    assert cv2.imread(str(made / "images/000000.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_image_i_depends_on_neither_count_nor_workers(made, data, tmp_path):
    augment(AugmentConfig(data=data, output=tmp_path / "out", count=5, workers=2))
    assert manifest(tmp_path / "out") == manifest(made)[:5]
    for number in range(5):
        name = f"images/{number:06d}.png"
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()


def test_another_seed_makes_other_images(made, data, tmp_path):
    augment(AugmentConfig(data=data, output=tmp_path / "out", count=3, seed=1))
    assert [line["defects"] for line in manifest(tmp_path / "out")] != [line["defects"] for line in manifest(made)[:3]]


def test_a_cut_run_goes_on_to_the_same_bytes(made, tmp_path, data):
    folder = tmp_path / "out"
    config = AugmentConfig(data=data, output=folder, count=12, write=("yolo", "voc", "masks", "midg"))
    augment(config.model_copy(update={"count": 7, "write": ()}))
    lines = (folder / "manifest.jsonl").read_bytes()
    (folder / "manifest.jsonl").write_bytes(lines[:-40])                    # a kill in the middle of a line
    (folder / "images/000002.png").unlink()                                 # and a picture lost
    (folder / "images/.000007.png.partial").write_bytes(b"half")
    augment(config)
    (folder / "images/.000007.png.partial").unlink(missing_ok=True)
    assert kill_generation.digests(folder) == kill_generation.digests(made)


def test_kills_lose_nothing(made, data, tmp_path):
    assert kill_generation.killed_run(data, tmp_path / "killed", 12, kills=2, seed=3, workers=2) >= 1
    whole = tmp_path / "whole"
    augment(AugmentConfig(data=data, output=whole, count=12, write=("yolo", "masks")))
    assert kill_generation.digests(tmp_path / "killed") == kill_generation.digests(whole)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_image_and_says_how_to_go_on(made, data, tmp_path, signum):
    child = subprocess.Popen(kill_generation.command(data, tmp_path / "out", 12, 2), stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)
    path = tmp_path / "out" / "manifest.jsonl"
    while not (path.exists() and path.read_bytes()):
        assert child.poll() is None
        time.sleep(0.002)
    os.killpg(child.pid, signum)                        # a terminal's Ctrl-C reaches the workers too
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signum
    assert "the same command goes on" in said.splitlines()[-1]
    assert "Traceback" not in said
    lines = manifest(tmp_path / "out")
    assert 0 < len(lines) < 12
    assert lines == manifest(made)[:len(lines)]


def test_going_on_with_other_settings_is_refused_by_key(made, data):
    with pytest.raises(ConfigError, match=r"placement\.per_image: was \[1, 3\], is \[2, 2\]"):
        augment(AugmentConfig(data=data, output=made, count=12, placement={"per_image": (2, 2)}))


def test_settings_and_given_files_are_looked_at_before_the_data(made, data, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "read_verified", lambda config: pytest.fail("the data were read"))
    with pytest.raises(ConfigError, match="seed: was 0, is 1"):
        augment(AugmentConfig(data=data, output=made, count=12, seed=1))
    with pytest.raises(ConfigError, match="has made 12 images, got count 3"):
        augment(AugmentConfig(data=data, output=made, count=3))
    for name in ("shape", "positions"):
        with pytest.raises(DataError, match=f"--{name}: no such file or folder, got '.*absent.png'"):
            augment(AugmentConfig(data=data, output=tmp_path / "out", placement={name: tmp_path / "absent.png"}))
    assert not (tmp_path / "out").exists()


def test_files_in_the_way_are_refused_and_never_lost(data, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    config = AugmentConfig(data=data, output=tmp_path, count=3, write=("yolo", "masks"))
    with pytest.raises(OutputError, match="mine.txt"):
        augment(config)
    augment(config, overwrite=True)
    (tmp_path / "labels" / "mine.txt").write_text("mine")
    augment(config.model_copy(update={"seed": 5, "count": 2, "write": ()}), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == (tmp_path / "labels" / "mine.txt").read_text() == "mine"
    assert [line["seed"] for line in manifest(tmp_path)] == [5, 5]
    left = {path.name for folder in ("images", "labels", "masks") for path in (tmp_path / folder).glob("*")}
    assert left == {"000000.png", "000001.png", "mine.txt"}         # no label of the first run beside a new picture


def test_going_on_keeps_every_format_up_with_the_images(data, tmp_path):
    config = AugmentConfig(data=data, output=tmp_path / "out", count=2, write=("yolo",))
    augment(config)
    augment(config.model_copy(update={"count": 4, "write": ("masks",)}))
    assert len(list((tmp_path / "out/labels").glob("*.txt"))) == len(list((tmp_path / "out/masks").glob("0*.png"))) == 4
    with pytest.raises(ConfigError, match="has made 4 images"):
        augment(config)


@pytest.mark.parametrize("place", [".", "inside", ".."])
def test_output_and_data_lie_apart(data, place):
    before = kill_generation.digests(data)
    with pytest.raises(OutputError, match="apart"):
        augment(AugmentConfig(data=data, output=data / place, count=1), overwrite=True)
    assert kill_generation.digests(data) == before


def test_two_runs_on_one_output_do_not_meet(made, data, tmp_path):
    pytest.importorskip("fcntl")
    first = subprocess.Popen(kill_generation.command(data, tmp_path / "out", 12, 1), stdout=subprocess.DEVNULL)
    path = tmp_path / "out" / "manifest.jsonl"
    while not (path.exists() and path.read_bytes()):
        assert first.poll() is None
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        with pytest.raises(OutputError, match="another run"):
            augment(AugmentConfig(data=data, output=tmp_path / "out", count=12, write=("yolo", "masks")))
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait(60) == 0
    assert manifest(tmp_path / "out") == manifest(made)


def test_a_worker_that_the_system_ends_is_told(data, tmp_path):
    child = subprocess.Popen(kill_generation.command(data, tmp_path / "out", 200, 2), stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    path = tmp_path / "out" / "manifest.jsonl"
    while not (path.exists() and path.read_bytes()):
        assert child.poll() is None
        time.sleep(0.002)
    workers = subprocess.run(["pgrep", "-P", str(child.pid), "-f", "spawn_main"], capture_output=True, text=True).stdout
    os.kill(int(workers.split()[0]), signal.SIGKILL)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "ended by the system" in said.splitlines()[-1]


def test_damaged_pictures_and_manifests(made, data, tmp_path):
    folder = tmp_path / "out"
    config = AugmentConfig(data=data, output=folder, count=4)
    augment(config)
    (folder / "images/000001.png").write_bytes((folder / "images/000001.png").read_bytes()[:500])
    augment(config)
    assert (folder / "images/000001.png").read_bytes() == (made / "images/000001.png").read_bytes()
    lines = (folder / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "manifest.jsonl").write_bytes(lines[0] + b"{broken\n" + b"".join(lines[2:]))
    with pytest.raises(OutputError, match=r"manifest\.jsonl:2"):
        augment(config)
    augment(config, overwrite=True)
    assert manifest(folder) == manifest(made)[:4]


def test_changed_positions_are_other_data(data, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("image,label,x,y\ngood008,spot,50,40\n")
    config = AugmentConfig(data=data, output=tmp_path / "out", count=1, placement={"positions": points})
    augment(config)
    points.write_text("image,label,x,y\ngood008,spot,60,40\n")
    with pytest.raises(ConfigError, match="positions have changed"):
        augment(config)


def test_without_a_defect_free_image_the_ways_out_are_named(data, tmp_path):
    folder = write_coco(tmp_path / "bad", good=0)
    with pytest.raises(DataError, match="--good.*--unlabelled.*--backgrounds all"):
        augment(AugmentConfig(data=folder, output=tmp_path / "out", count=2))
    result = augment(AugmentConfig(data=folder, output=tmp_path / "all", count=3, backgrounds="all"))
    for record, line in zip(result.dataset.records, manifest(tmp_path / "all")):
        assert len(line["carried"]) == 2
        assert len(record.instances) == 2 + len(line["defects"])
    good = write_coco(tmp_path / "more", bad=0, good=2) / "images"
    assert augment(AugmentConfig(data=folder, output=tmp_path / "good", count=2, good=good)).counts["kept"] == 2


def test_given_boxes_points_and_shapes_are_filled(data, tmp_path):
    def filled(name: str, positions: Path, count: int) -> list[dict]:
        augment(AugmentConfig(data=data, output=tmp_path / name, count=count, placement={"positions": positions}))
        return manifest(tmp_path / name)

    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,label,x1,y1,x2,y2\ngood006,spot,20,30,44,50\ngood007,,60,60,84,70\n")
    for line, wanted in zip(filled("boxes", boxes, 4), [[20, 30, 44, 50], [60, 60, 84, 70]] * 2):
        (defect,) = line["defects"]
        assert defect["wanted"] == wanted
        x1, y1, x2, y2 = defect["box"]
        assert wanted[0] - 3 <= x1 < x2 <= wanted[2] + 3
        assert wanted[1] - 3 <= y1 < y2 <= wanted[3] + 3
    points = tmp_path / "points.csv"
    points.write_text("image,label,x,y\ngood008,scratch,50,40\n")
    for line in filled("points", points, 2):
        (defect,) = line["defects"]
        assert (line["source"], defect["label"]) == ("good008", "scratch")
        assert defect["wanted"][0] <= 50 < defect["wanted"][2]
    mask = np.zeros((96, 112), np.uint8)
    cv2.ellipse(mask, (60, 40), (16, 9), 30, 0, 360, 255, -1)
    (tmp_path / "shapes" / "spot").mkdir(parents=True)
    images.write_image(tmp_path / "shapes/spot/good009.png", mask)
    (defect,) = filled("masks", tmp_path / "shapes", 1)[0]["defects"]
    found = shapes.rle_to_mask(defect["rle"])
    assert (found & (mask > 0)).sum() / (found | (mask > 0)).sum() > 0.6


def test_sizes_and_numbers_are_the_users(data, tmp_path):
    augment(AugmentConfig(data=data, output=tmp_path / "out", count=4, classes=("spot",),
                          placement={"size_px": (20, 24), "per_image": (2, 2)}))
    for line in manifest(tmp_path / "out"):
        assert {defect["label"] for defect in line["defects"]} == {"spot"}
        for defect in line["defects"]:
            x1, y1, x2, y2 = defect["wanted"]
            assert 20 <= max(x2 - x1, y2 - y1) <= 24
    assert sum(len(line["defects"]) for line in manifest(tmp_path / "out")) == 8


def test_what_never_passes_is_given_up_and_told(data, tmp_path):
    result = augment(AugmentConfig(data=data, output=tmp_path / "out", count=3, gate={"outgrown": 1e-9, "retries": 2}))
    assert result.counts["kept"] == 0
    assert result.counts["failed"] == 3
    assert {item["reason"] for line in manifest(tmp_path / "out") for item in line["rejected"]}
    assert result.report.is_file()
    assert not list((tmp_path / "out/images").iterdir())


def test_deep_images_keep_their_depth(tmp_path):
    folder = write_coco(tmp_path / "deep")
    for path in (folder / "images").iterdir():
        images.write_image(path, images.read_image(path)[..., 0].astype(np.uint16) * 257 + 3)
    augment(AugmentConfig(data=folder, output=tmp_path / "out", count=2))
    for line in manifest(tmp_path / "out"):
        clean = images.read_image(folder / "images" / f"{line['source']}.png")
        picture = images.read_image(tmp_path / "out" / line["image"])
        assert picture.dtype == np.uint16
        assert (picture != clean).any()
        assert (picture == clean).mean() > 0.5


def test_a_truncated_image_is_named_before_anything_is_made(data, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(data, folder)
    victim = folder / "images/bad003.png"
    victim.write_bytes(victim.read_bytes()[:700])
    with pytest.raises(DataError, match="bad003.png"):
        augment(AugmentConfig(data=folder, output=tmp_path / "out", count=2))
    assert not (tmp_path / "out").exists()
