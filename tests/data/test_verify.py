"""Verification: each thing that can be wrong is found, named, and graded; nothing else is."""
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.data import formats, images, shapes, splits, verify
from core.data.problems import KINDS, shortened
from core.data.records import Dataset, Instance, Record
from core.data.summary import summarise
from core.errors import DataError
from scripts import verify as command
from tests.sets import CLASSES, defective, plate

ROOT = Path(__file__).resolve().parents[2]
SIZE = (112, 96)


def good_set(folder: Path, count: int = 6) -> list[Record]:
    """`count` defective records and two good ones, without a fault."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for k in range(count + 2):
        pixels, marks = defective(k) if k < count else (plate(k), [])
        images.write_image(folder / f"image {k}.png", pixels)
        rings = [(label, np.array(ring).reshape(-1, 2)) for label, ring in marks]
        records.append(Record(image=folder / f"image {k}.png", name=f"image {k}", size=SIZE, instances=tuple(
            Instance(label=label, box=(*ring.min(0).tolist(), *ring.max(0).tolist()), polygons=(ring,))
            for label, ring in rings)))
    return records


def made(records: list[Record], classes: tuple[str, ...] = CLASSES) -> Dataset:
    return Dataset(root=Path("a set"), format="coco", classes=classes, records=tuple(records))


def codes(report: verify.Report) -> set[str]:
    """The codes of all errors and warnings."""
    return {one.code for one in report.problems if one.level != "note"}


def lines(report: verify.Report, code: str) -> list[str]:
    return [one.message for one in report.problems if one.code == code]


def boxed(label: str, *box: float) -> Instance:
    return Instance(label=label, box=box)


def masked(mask: np.ndarray, label: str = "spot") -> Instance:
    return shapes.mask_instance(mask, label)


@pytest.fixture
def records(tmp_path) -> list[Record]:
    return good_set(tmp_path / "ü set")


def test_a_good_set_has_no_errors_and_no_warnings(records):
    report = verify.check(made(records))
    assert codes(report) == set()
    assert report.exit_code == 0
    report.raise_errors()
    assert set(report.prints) == {record.image for record in records}


def test_images_that_cannot_be_read_are_all_named_at_once(records):
    cut = records[1].image.read_bytes()
    records[1].image.write_bytes(cut[:len(cut) // 2])
    records[3].image.write_bytes(b"")
    records[5].image.unlink()
    report = verify.check(made(records))
    assert codes(report) == {"image"}
    for k, message in zip((1, 3, 5), lines(report, "image")):
        assert str(records[k].image) in message
    with pytest.raises(DataError) as raised:
        report.raise_errors()
    assert len(str(raised.value).splitlines()) == 3
    assert report.exit_code == 2


@pytest.mark.parametrize(("instance", "code"), [
    (boxed("spot", 10, 10, 10, 30), "box"),
    (boxed("spot", 30, 10, 20, 30), "box"),
    (boxed("spot", 10, 10, float("nan"), 30), "box"),
    (boxed("spot", 112, 10, 130, 30), "box"),
    (boxed("spot", -30, 10, -1, 30), "box"),
    (boxed("spot", -30, 10, 20, 30), "box-border"),
    (boxed("spot", 90, 80, 112, 98), "box-border"),
    (boxed("spot", 10, 10, 11.5, 12), "tiny-defect"),
    (boxed("spot", 0, 0, 112, 96), "box-full"),
    (masked(np.zeros((96, 112), bool)), "mask-empty"),
    (Instance(label="spot", box=(200, 9, 220, 19), polygons=(np.array([[200.0, 9], [220, 9], [220, 19]]),)), "box"),
    (masked(np.ones((96, 112), bool)), "mask-full"),
    (masked(np.arange(96)[:, None].repeat(112, 1) > 2), "mask-nearly-full"),
    (masked(np.ones((96, 100), bool)), "size"),
    (masked(np.eye(96, 112, dtype=bool) & (np.arange(96)[:, None] < 2)), "tiny-defect"),
])
def test_labels_that_cannot_be(records, instance, code):
    records[2] = replace(records[2], instances=(*records[2].instances, instance))
    for decode in (True, False):
        report = verify.check(made(records), decode=decode)
        assert {one.code for one in report.problems} - {"shape", "stored"} == {code}
        assert str(records[2].image) in lines(report, code)[0]
        assert "got" in lines(report, code)[0]
    assert report.exit_code == (2 if KINDS[code][0] == "error" else 0)


def test_boxes_that_end_on_the_border_are_right(records):
    records[2] = replace(records[2], instances=(boxed("spot", 0, 0, 20, 20), boxed("scratch", 90, 80, 112, 96),
                                                boxed("spot", -0.6, 50, 20, 70)))
    assert codes(verify.check(made(records))) == set()


def test_files_of_another_size_than_their_labels(records, tmp_path):
    images.write_image(tmp_path / "twin.png", plate(0, (100, 96)))
    records[0] = replace(records[0], clean=tmp_path / "twin.png")
    records[1] = replace(records[1], size=(96, 112))
    report = verify.check(made(records))
    assert codes(report) == {"size"}
    assert ["twin" in message for message in lines(report, "size")] == [True, False]


def test_a_twin_that_still_has_its_defect(records, tmp_path):
    (tmp_path / "twin.png").write_bytes(records[0].image.read_bytes())
    records[0] = replace(records[0], clean=tmp_path / "twin.png")
    assert codes(verify.check(made(records))) == {"clean-same"}


def test_the_same_file_twice(records, tmp_path):
    (tmp_path / "339.png").write_bytes(records[1].image.read_bytes())
    copy = replace(records[1], image=tmp_path / "339.png", name="339")
    report = verify.check(made([*records, copy]))
    assert codes(report) == {"duplicate"}
    assert "other labels" not in lines(report, "duplicate")[0]
    report = verify.check(made([*records, replace(copy, instances=records[1].instances[:1])]))
    assert "with other labels" in lines(report, "duplicate")[0]
    report = verify.check(made([*records, replace(copy, instances=())]))
    assert codes(report) == {"conflict"}
    assert "339.png" in lines(report, "conflict")[0]
    assert codes(verify.check(made([*records, replace(copy, instances=(), verified=False)]))) == {"duplicate"}


def test_near_copies_count_between_groups_only_and_leaks_between_splits(records, tmp_path):
    brighter = np.minimum(images.read_image(records[1].image).astype(int) + 7, 255).astype(np.uint8)
    images.write_image(tmp_path / "brighter.png", brighter)
    copy = replace(records[1], image=tmp_path / "brighter.png", name="brighter")
    assert codes(verify.check(made([*records, copy]))) == {"near-duplicate"}
    assert codes(verify.check(made([*records, replace(copy, group="image 1")]))) == set()
    apart = [replace(record, split="train") for record in records]
    report = verify.check(made([*apart, replace(copy, split="test")]))
    assert codes(report) == {"leak"}
    assert codes(verify.check(made([*apart, replace(copy, split="train")]))) == {"near-duplicate"}
    report = verify.check(made([*apart, replace(copy, split="test", group="image 1")]))
    assert len(lines(report, "leak")) == 1
    (tmp_path / "same.png").write_bytes(records[2].image.read_bytes())
    same = replace(records[2], image=tmp_path / "same.png", name="same", split="val")
    assert codes(verify.check(made([*apart, same]))) == {"duplicate", "leak"}


def test_classes_and_good_images(records):
    lone = replace(records[0], instances=(*records[0].instances, boxed("crack", 10, 10, 30, 30)))
    report = verify.check(made([lone, *records[1:]], (*CLASSES, "crack", "pit")), decode=False)
    assert codes(report) == {"class-single", "class-unused"}
    assert lines(report, "class-single")[0].startswith("crack")
    twice = replace(lone, instances=(*lone.instances, boxed("crack", 50, 50, 70, 70)))
    assert codes(verify.check(made([twice, *records[1:]], (*CLASSES, "crack")), decode=False)) == {"class-one-group"}
    report = verify.check(made(records[:6]), decode=False)
    assert codes(report) == {"no-good"}
    assert report.exit_code == 0
    assert codes(verify.check(made(records[6:], ()), decode=False)) == {"no-defect"}


def test_rings_that_an_interpolated_label_image_leaves(records):
    blob = np.zeros((96, 112), bool)
    blob[30:60, 30:80] = True
    rim = np.zeros_like(blob)
    rim[29:30, 30:80] = rim[60:62, 30:80] = True
    ringed = replace(records[0], instances=(masked(blob, "scratch"), masked(rim, "spot")))
    report = verify.check(made([ringed, *records[1:]]))
    assert codes(report) == {"ring"}
    assert "150 px" in lines(report, "ring")[0]
    apart = replace(ringed, instances=(ringed.instances[0], masked(np.roll(rim, 3, axis=0) & ~blob, "spot")))
    bold = replace(ringed, instances=(ringed.instances[0], masked(cv2.dilate(
        rim.astype(np.uint8), np.ones((3, 3))).astype(bool) & ~blob & (np.arange(96)[:, None] > 45), "spot")))
    own = replace(ringed, instances=(ringed.instances[0], masked(rim, "scratch")))
    thin = np.zeros_like(blob)
    thin[28:29, 30:80] = True
    equal = replace(ringed, instances=(masked(thin, "scratch"), masked(rim & (np.arange(96)[:, None] < 40), "spot")))
    for fine in (apart, bold, own, equal):
        assert codes(verify.check(made([fine, *records[1:]]))) == set()


def test_ways_of_storing_are_read_and_counted(records):
    pixels = [images.read_image(record.image) for record in records]
    Image.fromarray(pixels[0]).convert("P").save(records[0].image)
    images.write_image(records[1].image, pixels[1].astype(np.uint16) * 257)
    turned = Image.fromarray(np.rot90(pixels[2]))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(records[2].image.with_suffix(".jpg"), exif=exif, quality=95)
    records[2] = replace(records[2], image=records[2].image.with_suffix(".jpg"))
    Image.fromarray(np.dstack([pixels[3], np.full(SIZE[::-1], 255, np.uint8)])).save(records[3].image)
    Image.fromarray(pixels[4][..., 0]).save(records[4].image)
    report = verify.check(made(records))
    assert codes(report) == set()
    assert len(lines(report, "stored")) == 5
    assert all(line.startswith("1 of 8 images") for line in lines(report, "stored"))


def test_blank_and_tiny_images_and_those_nobody_labelled(records, tmp_path):
    images.write_image(tmp_path / "blank.png", np.full((96, 112, 3), 7, np.uint8))
    images.write_image(tmp_path / "tiny.png", plate(9, (30, 40)))
    more = [Record(image=tmp_path / "blank.png", name="blank", size=SIZE, verified=False),
            Record(image=tmp_path / "tiny.png", name="tiny", size=(30, 40))]
    report = verify.check(made([*records, *more]))
    assert codes(report) == {"blank", "tiny-image"}
    assert "got 1" in lines(report, "unverified")[0]


def test_everything_is_told_at_once_and_at_most_ten_of_a_kind(records):
    full = [replace(record, instances=(boxed("spot", 5, 5, 5, 5),)) for record in records] * 2
    report = verify.check(made(full), decode=False)
    assert len(lines(report, "box")) == 16
    with pytest.raises(DataError) as raised:
        report.raise_errors()
    assert str(raised.value).splitlines()[10:] == ["... and 6 more of this kind"]
    assert shortened(["a"] * 10) == ["a"] * 10


def test_the_summary_counts_what_is_there(records):
    parted = [replace(record, split="test" if k in (1, 7) else None) for k, record in enumerate(records)]
    parted[0] = replace(parted[0], instances=(replace(parted[0].instances[0], ignore=True), parted[0].instances[1]))
    summary = summarise(verify.check(made(parted)))
    assert json.loads(json.dumps(summary)) == summary
    whole, test, none = (summary["splits"][name] for name in ("all", "test", "none"))
    assert "got 1 such" in lines(verify.check(made(parted), decode=False), "ignored")[0]
    assert (whole["images"], whole["good"], whole["instances"], whole["ignored"]) == (8, 2, 11, 1)
    assert (test["images"], test["good"], test["instances"], none["images"]) == (2, 1, 2, 6)
    assert whole["classes"]["spot"]["instances"] == whole["classes"]["spot"]["images"] == 5
    area = shapes.instance_mask(parted[1].instances[0], SIZE).sum()
    assert test["classes"]["spot"]["area_px"]["50"] == area
    assert sum(whole["sqrt_area_px"]["counts"]) == 11
    assert whole["at_border"] == 0
    edged = replace(parted[0], instances=(boxed("spot", 90, 10, 112, 30), boxed("spot", 50, 40, 80, 60)))
    assert summarise(verify.check(made([edged]), decode=False))["splits"]["all"]["at_border"] == 0.5
    assert len(summary["hashes"]) == 8
    pixels = np.stack([images.read_image(record.image) for record in parted]) / 255
    np.testing.assert_allclose(whole["pixels"]["mean"], pixels.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(whole["pixels"]["std"], pixels.std((0, 1, 2)), atol=1e-4)


def test_fingerprints_of_a_report_serve_the_split(records):
    dataset = made(records)
    assert splits.split(dataset, prints=verify.check(dataset).prints) == splits.split(dataset)


def test_published_label_images_with_rings(shared_data):
    report = verify.check(formats.read(shared_data / "aluminum_large", "masks"))
    assert report.exit_code == 0
    assert codes(report) == {"no-good", "ring"}
    ringed = {line.split(": ")[0].rsplit("/")[-1] for line in lines(report, "ring")}
    assert ringed == {f"{number}.jpg" for number in (132, 161, 247, 249, 26, 317)}      # 103 has class 1: no rings
    assert ["247.jpg" in line and "249.jpg" in line for line in lines(report, "look-alike")] == [True]


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "scripts" / "verify.py"), *map(str, arguments)],
                          capture_output=True, text=True, timeout=120)


@pytest.fixture
def good_folder(tmp_path) -> Path:
    good_set(tmp_path / "ä b", count=0)
    return tmp_path / "ä b"


def test_the_command_writes_its_page_and_refuses_to_overwrite(good_folder, tmp_path):
    page, figures = tmp_path / "runs" / "report.html", tmp_path / "runs" / "figures" / "summary.json"   # new folders
    done = run("--data", good_folder, "--format", "good", "--output", page, "--summary", figures)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 images, 2 defect-free, 0 defects" in done.stdout
    assert "WARNING: no defect" in done.stdout
    assert json.loads(figures.read_text())["splits"]["all"]["good"] == 2
    text = page.read_text()
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "no labelled defect" in text
    again = run("--data", good_folder, "--format", "good", "--output", page)
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1
    assert str(page) in again.stderr
    assert page.read_text() == text


@pytest.mark.parametrize(("arguments", "said"), [
    (("--output", "picture.png"), "something.html"),
    (("--output", f"{__file__}/report.html"), "test_verify.py: cannot be written"),
    (("--format", "cocco"), "Did you mean 'coco'"),
])
def test_mistakes_on_the_command_line(good_folder, monkeypatch, arguments, said):
    monkeypatch.setattr(sys, "argv", ["verify.py", "--data", str(good_folder), *arguments])
    with pytest.raises(Exception, match=said) as raised:
        command.main()
    assert raised.value.exit_code == 2


def test_a_set_that_the_reader_refuses_is_told_and_exits_with_2(good_folder, monkeypatch, capsys, tmp_path):
    next(good_folder.glob("*.png")).write_bytes(b"broken")
    monkeypatch.setattr(sys, "argv", ["verify.py", "--data", str(good_folder), "--format", "good", "--output",
                                      str(tmp_path / "report.html")])
    assert command.main() == 2
    assert "1 error," in capsys.readouterr().out
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(sys, "argv", ["verify.py", "--data", str(empty)])
    assert command.main() == 2
    assert "1 error," in capsys.readouterr().out
    assert "not a readable image" in (tmp_path / "report.html").read_text()
