"""The augmentation report, from made-up runs of every odd kind."""
import base64
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from core.augment import panels
from core.augment.tally import choose, read_tally
from core.data import images
from tests.augment.report_run import Run
from tests.pages import parsed, stored_pictures


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.split(",", 1)[1])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def checked(page: str, folder: Path):
    """Hold what every report must keep to, and return its structure."""
    found = parsed(page)
    assert found.tags["html"] == found.tags["h1"] == 1
    stored = stored_pictures(page)
    assert set(found.values("data-full")) >= set(stored)
    for name, attributes in found.attributes:
        assert attributes.get("src", "data:image/").startswith("data:image/"), name
        href = attributes.get("href", "#")
        if not href.startswith("#"):
            assert (folder / re.sub("%20", " ", href)).is_file(), href
        assert "http" not in href
        assert not any(key.startswith("on") for key in attributes)
    assert not re.search(r"@import|url\(", page)
    return found


def test_page_of_an_ordinary_run(tmp_path):
    run = Run(tmp_path / "out", count=9, failed=(4,))
    page = run.report()
    found = checked(page, run.folder)
    texts = " ".join(found.texts)
    assert "8 defect images by copypaste" in found.texts
    assert "rule <off>" in found.texts
    assert "python augment.py --data 'sets/<my> data' --classes spur\npython b.py" in texts
    assert {"Summary", "Contact sheet", "Real and generated", "Distributions", "Counts", "Time",
            "Configuration"} <= set(found.texts)
    assert found.values("class").count("card") == 8
    assert found.values("class").count("group") == 2
    reasons = [cell for cell in re.findall(r"<tr>(.*?)</tr>", page) if "spur" in cell][0]
    assert re.findall(r">([^<>]+)<", reasons) == ["spur", "9", "4", "5"]        # attempts, kept, not visible


def test_panels_show_the_very_pixels_of_the_image(tmp_path):
    run = Run(tmp_path / "out", count=1)
    found = checked(run.report(), run.folder)
    thumbs = {attributes["alt"]: attributes["src"] for name, attributes in found.attributes
              if name == "img" and "alt" in attributes and attributes["alt"]}
    marks = next(attributes for _, attributes in found.attributes if attributes.get("class") == "marks")
    x, y, width, height = map(int, marks["viewbox"].split())
    made, clean = (images.read_image(path) for path in (run.folder / "images/000000.png", run.sources["good/a"]))
    assert (decoded(thumbs["spur, image 0: defect"]) == made[y:y + height, x:x + width]).all()
    assert (decoded(thumbs["spur, image 0: clean"]) == clean[y:y + height, x:x + width]).all()
    x1, y1, x2, y2 = run.lines[0]["defects"][0]["box"]
    assert x <= x1 < x2 <= x + width
    assert y <= y1 < y2 <= y + height
    assert (decoded(stored_pictures(run.report())["image 0"]) == made).all()


def test_names_are_text_whatever_they_hold(tmp_path):
    classes = ["<html>", "Öl & 'Fett'", 'a "b"</script>']
    run = Run(tmp_path / "out ü", classes=classes, names=["x <b>/Ä ö", "quote\"'</title>"])
    found = checked(run.report(), run.folder)
    assert found.tags["b"] == 6                                 # one in the caption of each card
    assert found.tags["script"] == 2
    for label in classes:
        assert label in found.texts


def test_nothing_kept(tmp_path):
    run = Run(tmp_path / "out", count=3, failed=(0, 1, 2))
    found = checked(run.report(), run.folder)
    assert "0 defect images by copypaste" in found.texts
    assert any("No image was kept" in text for text in found.texts)
    assert "card" not in found.values("class")


def test_empty_manifest_and_empty_bank(tmp_path):
    run = Run(tmp_path / "out", count=0)
    run.bank.crops.clear()
    checked(run.report(), run.folder)


@pytest.mark.parametrize("classes", [1, 40])
def test_number_of_classes(tmp_path, classes):
    run = Run(tmp_path / "out", classes=[f"class {k}" for k in range(classes)], count=classes + 5)
    found = checked(run.report(), run.folder)
    cards = [text for text in found.texts if text.startswith("class ")]
    assert found.values("class").count("group") == classes
    assert {f"class {k}" for k in range(classes)} <= set(cards)
    assert 6 <= found.values("class").count("card") <= 40


def test_deep_images_are_shown_bright(tmp_path):
    run = Run(tmp_path / "out", count=2, dtype=np.uint16, top=4095)
    page = run.report()
    checked(page, run.folder)
    for uri in stored_pictures(page).values():
        assert decoded(uri).max() > 200


def test_grey_images(tmp_path):
    run = Run(tmp_path / "out", count=2, grey=True)
    page = run.report()
    checked(page, run.folder)
    assert (decoded(stored_pictures(page)["image 0"]) == images.read_image(run.folder / "images/000000.png")).all()


def test_large_pictures_keep_the_page_small(tmp_path):
    run = Run(tmp_path / "out", count=3, size=(2448, 2048), extent=300, names=["good"])
    run.bank.crops = [SimpleNamespace(**{**vars(crop), "pixels": crop.pixels[:80, :80], "clean": crop.clean[:80, :80],
                                         "mask": np.eye(80, dtype=bool)}) for crop in run.bank.crops]
    page = run.report()
    found = checked(page, run.folder)
    assert len(page) < 25e6
    assert {"image 0", "image 1", "source good"} <= set(stored_pictures(page))
    for uri in stored_pictures(page).values():
        height, width = decoded(uri).shape[:2]
        assert 500 < width < 2448                               # reduced, the original lies beside the page
        assert width / height == pytest.approx(2448 / 2048, rel=0.01)
    assert len(found.values("data-better")) == len(found.values("data-full"))


def test_a_defect_larger_than_its_image_and_a_tiny_one(tmp_path):
    for name, options in {"large": {"size": (20, 40), "extent": 100}, "tiny": {"extent": 1}}.items():
        run = Run(tmp_path / name, count=2, **options)
        found = checked(run.report(), run.folder)
        pictures = {attributes.get("alt"): attributes.get("style") for _, attributes in found.attributes}
        drawn = [attributes.get("style") for _, attributes in found.attributes if attributes.get("class") == "marks"]
        assert drawn == [pictures["spur, image 0: label"], pictures["pit, image 1: label"]]     # laid on exactly


def test_real_pictures_lend_what_the_crops_lack(tmp_path):
    run = Run(tmp_path / "out", classes=["spur"], count=1)
    original = tmp_path / "original.png"
    whole = run.bank.crops[0]
    images.write_image(original, whole.pixels)
    x1, y1, x2, y2 = whole.box
    small = {name: getattr(whole, name)[y1:y2, x1:x2] for name in ("pixels", "clean", "mask")}
    run.bank.crops = [SimpleNamespace(**{**vars(whole), **small})]
    for originals, expected in ((None, (9, 9)), ({"real/0": original}, (24, 24))):
        found = checked(run.report(originals), run.folder)
        shown = next(attributes["src"] for _, attributes in found.attributes
                     if attributes.get("alt") == "spur, real, real/0")
        assert decoded(shown).shape[:2] == expected


def test_labels_that_were_there_before_are_drawn_apart(tmp_path):
    carried = [{"label": "pit", "box": [3.0, 4.0, 9.5, 8.0], "rle": None, "area_px": None, "ignore": False}]
    run = Run(tmp_path / "out", count=1, carried=carried)
    page = run.report()
    found = checked(page, run.folder)
    assert "carried" in found.values("class")
    assert '<rect x="2" y="3" width="8.5" height="6"/>' in page
    assert "labels that the backgrounds had" in found.texts


def test_ragged_masks_are_drawn_coarser(tmp_path):
    shape = np.random.default_rng(1).random((300, 300)) > 0.5
    run = Run(tmp_path / "out", count=1, size=(400, 400), extent=300, shape=shape)
    page = run.report()
    checked(page, run.folder)
    assert "scale(" in page
    assert max(map(len, re.findall(r' d="([^"]*)"', page))) < panels.PATH_LETTERS


def test_equal_runs_give_equal_pages_but_for_the_time(tmp_path):
    first = Run(tmp_path / "a" / "out").report(seconds=1.0)
    second = Run(tmp_path / "b" / "out").report(seconds=77.0)
    assert first != second
    assert re.sub(r"<h2>Time</h2>.*?</section>", "", first) == re.sub(r"<h2>Time</h2>.*?</section>", "", second)
    assert "77" in second


def test_timings_may_be_missing(tmp_path):
    run = Run(tmp_path / "out", count=1)
    checked(run.report(stages=None, hardware=None, images_per_second=None, seconds=None, workers=None), run.folder)


def test_tally_counts_and_finds_lines_again(tmp_path):
    run = Run(tmp_path / "ö", classes=["ä", "b", "c"], count=10, failed=(3, 7))
    tally = read_tally(run.folder / "manifest.jsonl")
    assert [tally.line(index) for index in range(10)] == run.lines
    assert (tally.images_kept, len(tally.defects), tally.attempts) == (8, 8, 18)
    assert tally.rejected == {"ä": {"not visible": 4}, "b": {"not visible": 3}, "c": {"not visible": 3}}
    assert tally.kept["contrast"] == [0.4] * 8
    assert len(tally.refused["contrast"]) == 10


def test_choice_is_even_and_forgets_no_rare_class(tmp_path):
    run = Run(tmp_path / "out", count=0)
    frame = {"size": [9, 9], "source": "good/a", "seed": 0, "wanted": 1, "attempts": 1, "rejected": [],
             "carried": [], "config": ""}
    entry = {"box": [1, 1, 3, 3], "rle": None, "area_px": 4, "figures": {}}
    run.lines = [{**frame, "index": k, "image": "x",
                  "defects": [{**entry, "label": "often"}] + [{**entry, "label": "rare"}] * (k in (50, 60))}
                 for k in range(200)]
    run.write()
    tally = read_tally(run.folder / "manifest.jsonl")
    chosen = choose(tally, ["rare", "often", "never"], 24)
    assert [defect.index for defect in chosen if defect.label == "rare"] == [50, 60]
    often = [defect.index for defect in chosen if defect.label == "often"]
    assert len(often) == 22
    assert len({defect.index for defect in chosen}) == 24
    assert np.diff([-1, *often, 200]).max() <= 2 * 200 / 22
    assert choose(tally, ["rare"], 24) == chosen[:2]
