"""What the trained figures are made of: folds that keep an object together, time by the record, halves of images."""
import json

import numpy as np
import pytest

from core.data import formats, splits
from core.data.images import encode_png, write_bytes
from segment import figures
from segment.settings import SegmentConfig

CONFIG = SegmentConfig.model_validate({"data": {"root": "set"}, "loop": {"steps": 10, "batch_size": 1}})


def test_images_of_one_object_are_left_out_together(tmp_path):
    names = ["103", "247", "249", "26"]
    assert figures.groups(names) == [("247", "249"), ("103",), ("26",)]
    assert figures.groups(["247", "26"]) == [("247",), ("26",)]
    read = splits.load(figures.fold_file(tmp_path, names, ("247", "249")))
    assert read.groups == {"103": "train", "247": "test", "249": "test", "26": "train"}


def test_keys_and_sections_are_changed_and_checked():
    rival = figures.changed(CONFIG, figures.FLEXUNET)
    assert (rival.network.name, rival.optim.optimizer, rival.data.crop_px) == ("flexunet", "adam", 256)
    assert (rival.data.root, rival.loop.steps) == (CONFIG.data.root, 10)
    seeded = figures.of_seed(CONFIG, 2)
    assert (seeded.loop.seed, seeded.data.split_seed) == (2, 2)
    with pytest.raises(ValueError, match="steps"):
        figures.changed(CONFIG, {"loop.steps": 0})


def test_time_is_that_of_the_steps(tmp_path, monkeypatch):
    lines = [{"step": 0, "kind": "evaluate", "miou": 1}, *({"step": step, "kind": "train", "timing":
             {"seconds_per_step": seconds}} for step, seconds in ((6, 9.0), (12, 2.0), (16, 1.0)))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert figures.seconds(tmp_path) == 6 * 9 + 6 * 2 + 4
    assert figures.seconds(tmp_path, skip=2) == 4
    monkeypatch.setattr(figures, "trained", lambda config, run, device: None)
    monkeypatch.setattr(figures, "seconds", lambda run, skip: 12.0 if run.name.endswith("own") else 36.0)
    own, other = (figures.changed(CONFIG, {"loop.steps": steps}) for steps in (500, 70))
    config = figures.in_the_same_time(own, other, tmp_path / "rival")
    assert config.loop.steps == 3 * 70
    assert figures.in_the_same_time(own, own, tmp_path / "rival") == config         # as it was begun
    assert figures.in_the_same_time(CONFIG, other, tmp_path / "short").loop.steps == 10


def test_seams_are_counted_on_the_lines_of_the_earlier_tiles(tmp_path):
    labels = np.zeros((600, 1100), np.uint8)
    labels[:512, 300:1024] = 2
    write_bytes(tmp_path / "7.png", encode_png(labels, palette=np.zeros((3, 3), np.uint8)))
    labels[32:40, 64:70] = 1
    write_bytes(tmp_path / "7.png", encode_png(labels, palette=np.zeros((3, 3), np.uint8)))
    every = 2 * (8 + 6)             # the small square's outline, three sides on the grid
    assert figures.seams(tmp_path / "7.png").tolist() == [
        [724 + 512, 1 + 2, 512 + every, 599 + 1099 - 3], [724 + 512, 1 + 2, 6 + 6 + 8, 74 + 137 - 3]]
    assert figures.on_lines(labels, 512, 40).tolist() == [6, 2 + 3, 724 + 2 * 512 + every - 6, 599 + 1099 - 5]


def test_halves_hold_the_whole(tmp_path):
    pixels = np.arange(4 * 10 * 3, dtype=np.uint8).reshape(4, 10, 3)
    mask = np.zeros((4, 10, 3), np.uint8)
    mask[1:3, 4:8] = figures.PROFILES["4"]
    for folder, values in (("images", pixels), ("masks", mask)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        write_bytes(tmp_path / "set" / folder / "7.png", encode_png(values))
    assert figures.halves(tmp_path / "halves", tmp_path / "set") == ("left", "right")
    read = formats.read(tmp_path / "halves", "masks")
    assert [(record.name, record.size) for record in read.records] == [("7-left", (5, 4)), ("7-right", (5, 4))]
    assert [[item.label for item in record.instances] for record in read.records] == [["4"], ["4"]]
