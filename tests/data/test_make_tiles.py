"""scripts/make_tiles.py: tiles cover the images, no image has tiles in two splits, the set is read again."""
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from core.data import formats, splits
from core.data.images import read_mask, write_image
from scripts.make_tiles import tiles
from tests.segment.made import make_set

ROOT = Path(__file__).resolve().parents[2]


def run(*options):
    return subprocess.run([sys.executable, ROOT / "scripts" / "make_tiles.py", *map(str, options)], capture_output=True,
                          text=True, check=False, timeout=60)


def test_a_set_becomes_tiles_that_are_a_set_again(tmp_path):
    root = make_set(tmp_path / "set", 9, size=(100, 70))
    done = run("--data", root, "--output", tmp_path / "tiles", "--side", 40, "--ratios", "0.6,0.2,0.2")
    assert done.returncode == 0, done.stderr
    assert "54 tiles of 40 px from 9 images" in done.stdout
    dataset = formats.read(tmp_path / "tiles")
    assert (len(dataset), dataset.classes) == (54, ("square", "disc"))
    places = defaultdict(set)
    for record in dataset.records:
        places[splits.group_of(record)].add(record.split)
        assert record.size == (40, 40)
    assert len(places) == 9
    assert all(len(found) == 1 for found in places.values())
    assert {split for found in places.values() for split in found} == {"train", "val", "test"}
    again = run("--data", root, "--output", tmp_path / "tiles")
    assert again.returncode == 2
    assert "has files in it" in again.stderr


def test_empty_tiles_can_be_left_out(tmp_path):
    root = make_set(tmp_path / "set", 9, size=(100, 70))
    assert run("--data", root, "--output", tmp_path / "tiles", "--side", 40, "--skip-empty").returncode == 0
    dataset = formats.read(tmp_path / "tiles")
    assert 5 <= len(dataset) < 30
    assert not dataset.good


def test_colours_are_named_on_the_command_line_and_strange_ones_passed_over_where_asked(tmp_path):
    root = make_set(tmp_path / "set", 6, size=(100, 70), good=1)
    (root / "classes.json").unlink()
    for path in sorted((root / "masks").iterdir()):
        coloured = np.array([(0, 0, 0), (200, 30, 30), (20, 60, 220)], np.uint8)[read_mask(path)]
        coloured[:2, :3] = (90, 200, 90)
        write_image(path, coloured)
    given = ("--data", root, "--side", 40, "--skip-empty", "--colours", "square=200,30,30", "disc=20,60,220")
    done = run(*given, "--output", tmp_path / "refused")
    assert done.returncode == 2
    assert "colours of no class, got (90, 200, 90) 6 px" in done.stderr
    assert run(*given, "--output", tmp_path / "tiles", "--unknown-colours", "ignore").returncode == 0
    dataset = formats.read(tmp_path / "tiles")
    assert dataset.classes == ("square", "disc")
    assert all(any(not item.ignore for item in record.instances) for record in dataset.records)


def test_what_cannot_be_cut_is_told(tmp_path):
    root = make_set(tmp_path / "set", 6, size=(100, 70), good=1)
    done = run("--data", root, "--output", tmp_path / "large", "--side", 90)
    assert done.returncode == 0
    assert "6 of the images are smaller than a tile of 90 px and were filled up with black" in done.stdout
    for path in (root / "masks").iterdir():
        write_image(path, np.zeros((70, 100), np.uint8))
    done = run("--data", root, "--output", tmp_path / "none", "--skip-empty")
    assert done.returncode == 2
    assert f"{root}: no tile, got none with a defect from 6 images. Label some, or leave out --skip" in done.stderr


@pytest.mark.parametrize(("fit", "count"), [("flush", 6), ("stretch", 6), ("pad", 6)])
def test_tiles_hold_every_pixel(fit, count):
    pixels = np.random.default_rng(0).integers(1, 256, (70, 100, 3)).astype(np.uint8)
    labels = (pixels[..., 0] > 128).astype(np.uint8) * 3
    found = list(tiles(pixels, labels, 40, fit))
    assert len(found) == count
    assert all(tile.shape == (40, 40, 3) and mask.shape == (40, 40) for _, tile, mask in found)
    assert {int(value) for _, _, mask in found for value in np.unique(mask)} == {0, 3}
    if fit == "flush":
        assert np.array_equal(found[-1][1], pixels[-40:, -40:])
    if fit == "pad":
        assert sum(int((tile > 0).all(2).sum()) for _, tile, _ in found) == 7000
    small = list(tiles(pixels[:20, :30], labels[:20, :30], 40, "flush"))
    assert len(small) == 1
    assert small[0][1].shape == (40, 40, 3)


@pytest.mark.parametrize(("options", "message"), [
    (["--fit", "squeeze"], "--fit: no such choice, got 'squeeze'. One of flush, stretch, pad"),
    (["--ratios", "a,b"], "--ratios: three numbers of sum 1, got 'a,b'")])
def test_wrong_options_are_named(tmp_path, options, message):
    root = make_set(tmp_path / "set", 4, good=1)
    done = run("--data", root, "--output", tmp_path / "tiles", *options)
    assert done.returncode == 2
    assert message in done.stderr
