"""Stored predictions are scored as a network's own are, whatever program wrote them and in whatever form."""
import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from core.data.images import encode_png, read_image, read_mask, write_bytes, write_image
from core.errors import DataError
from core.metrics import segmentation as seg
from segment.panels import palette
from segment.score import score
from tests.segment.made import make_set

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"square": (255, 0, 0), "disc": (0, 0, 255)}


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def root(tmp_path):
    return make_set(tmp_path / "set", 6, good=1)


def shifted(root):
    """Name -> labels that are a little wrong."""
    return {path.stem: np.roll(read_mask(path), 3, 1) for path in sorted((root / "masks").iterdir())}


def stored(folder, labels, **options):
    for name, values in labels.items():
        folder.mkdir(exist_ok=True)
        write_bytes(folder / f"{name}.png", encode_png(values, **options))
    return folder


def test_figures_are_those_of_the_pooled_confusion_matrix(root, tmp_path):
    labels = shifted(root)
    folder = stored(tmp_path / "found", labels, palette=palette(2))
    values = score(folder, tmp_path / "out", data={"root": root}, tile_px=32, panels=2)
    matrix = sum(seg.confusion(read_mask(root / "masks" / f"{name}.png"), found, 3) for name, found in labels.items())
    assert values["iou/square"] == pytest.approx(seg.by_class(matrix).iou[1])
    assert values["miou_defects"] == pytest.approx(seg.overall(matrix)["miou_defects"])
    assert 0.4 < values["defect_iou"] < 0.9
    assert values["seam_ratio"] >= 0
    assert "loss" not in values
    assert "soft_pixel_accuracy" not in values
    rows = table(tmp_path / "out" / "per_image.csv")
    assert [row["image"] for row in rows] == sorted(labels)
    assert float(rows[1]["iou/square"]) == pytest.approx(float(rows[1]["defect_iou"]))
    assert rows[5]["iou/square"] == rows[5]["defect_iou"] == ""
    assert len(list((tmp_path / "out" / "worst").iterdir())) == 2
    assert (tmp_path / "out" / "evaluation.html").read_text().count("data:image/jpeg") == 2


def test_colours_other_numbers_and_two_levels_say_the_same(root, tmp_path):
    labels = shifted(root)
    usual = score(stored(tmp_path / "usual", labels), tmp_path / "a", data={"root": root})
    tints = np.array([(0, 0, 0), *COLOURS.values()], np.uint8)
    coloured = stored(tmp_path / "coloured", {name: tints[values] for name, values in labels.items()})
    assert score(coloured, tmp_path / "b", data={"root": root, "colours": COLOURS}) == usual
    turned = stored(tmp_path / "turned", {name: np.array([0, 2, 1], np.uint8)[values]
                                          for name, values in labels.items()})
    assert score(turned, tmp_path / "c", data={"root": root})["miou_defects"] == 0
    (turned / "classes.json").write_text('["disc", "square"]')
    assert score(turned, tmp_path / "d", data={"root": root}) == usual
    merged = score(stored(tmp_path / "white", {name: np.where(values, 255, 0).astype(np.uint8)
                                               for name, values in labels.items()}),
                   tmp_path / "e", data={"root": root, "merge": True})
    assert merged["iou/defect"] == pytest.approx(usual["defect_iou"])


def test_white_may_be_a_class_and_strange_colours_are_passed_over_where_asked(root, tmp_path):
    labels, colours = shifted(root), {"square": (255, 255, 255), "disc": (0, 0, 255)}
    usual = score(stored(tmp_path / "usual", labels), tmp_path / "a", data={"root": root})
    tints = np.array([(0, 0, 0), *colours.values()], np.uint8)
    coloured = stored(tmp_path / "coloured", {name: tints[values] for name, values in labels.items()})
    assert score(coloured, tmp_path / "b", data={"root": root, "colours": colours}) == usual
    strange = read_image(coloured / "05.png").copy()
    strange[:2, :3] = (90, 200, 90)
    write_image(coloured / "05.png", strange)
    given = {"root": root, "colours": colours}
    with pytest.raises(DataError, match=r"05.png: colours of no class, got \(90, 200, 90\) 6 px"):
        score(coloured, tmp_path / "c", data=given)
    assert score(coloured, tmp_path / "d", data={**given, "unknown_colours": "ignore"}) == usual


def other_size(folder):
    write_image(folder / "02.png", np.zeros((20, 20), np.uint8))


def no_class(folder):
    write_bytes(folder / "02.png", encode_png(np.full((80, 96), 7, np.uint8)))


def colour_unasked(folder):
    write_image(folder / "02.png", np.full((80, 96, 3), (255, 0, 0), np.uint8))


def two_levels(folder):
    write_image(folder / "02.png", np.where(read_mask(folder / "02.png"), 255, 0).astype(np.uint8))


def one_too_many(folder):
    write_bytes(folder / "zz.png", (folder / "00.png").read_bytes())


def one_too_few(folder):
    (folder / "03.png").unlink()


def other_classes(folder):
    (folder / "classes.json").write_text('["square", "dick"]')


@pytest.mark.parametrize(("break_it", "message"), [
    (other_size, r"02.png: prediction of another size than its image, got 20x20 for 96x80. Predict at"),
    (no_class, r"02.png: a label of no class, got 7. Classes are square, disc"),
    (colour_unasked, r"02.png: a label of no class, got #ff0000"),
    (two_levels, r"02.png: black and white, which names none of the 2 classes, got 255. Store the classes' numbers"),
    (one_too_many, r"predictions of no image of the set, got zz. Take them out"),
    (one_too_few, r"images without a prediction, got none of 03. Predict them, or say --partial"),
    (other_classes, r"a class that the set does not have, got 'dick'. Did you mean 'disc'"),
])
def test_predictions_that_cannot_be_scored_are_named(root, tmp_path, break_it, message):
    folder = stored(tmp_path / "found", shifted(root))
    break_it(folder)
    with pytest.raises(DataError, match=message):
        score(folder, tmp_path / "out", data={"root": root})
    if break_it is one_too_few:
        assert score(folder, tmp_path / "out", data={"root": root}, partial=True)["defect_iou"] > 0


def test_the_command_prints_the_figures_and_refuses_a_full_folder(root, tmp_path, monkeypatch, capsys):
    folder, script = stored(tmp_path / "found", shifted(root)), ROOT / "scripts" / "score.py"
    monkeypatch.setattr(sys, "argv", [str(part) for part in (
        script, "--data", root, "--predictions", folder, "--output", tmp_path / "out")])
    for code in (0, 2):
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
        assert ended.value.code == code
    told = capsys.readouterr()
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert f"defect_iou: {values['defect_iou']:.4f}" in told.out
    assert "has files in it" in told.err


@pytest.mark.parametrize(("options", "message"), [
    (["--tile", "0"], "--tile: must be at least 1, got 0"), (["--worst", "-1"], "--worst: must be at least 0, got -1"),
    (["--unlabelled", "maybe"], "--unlabelled: no such choice, got 'maybe'. One of error, skip, good"),
    (["--unknown-colours", "drop"], "--unknown-colours: no such choice, got 'drop'. One of error, ignore")])
def test_wrong_options_are_one_line(root, tmp_path, monkeypatch, capsys, options, message):
    script = ROOT / "scripts" / "score.py"
    monkeypatch.setattr(sys, "argv", [str(part) for part in (
        script, "--data", root, "--predictions", root / "masks", "--output", tmp_path / "out", *options)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [message]
    assert not (tmp_path / "out").exists()
