"""Every format: what is written is read back, found out, and told apart."""
import dataclasses
import json
from pathlib import Path

import pytest

from core.data import formats, images
from core.data.records import Dataset
from core.errors import ConfigError, DataError, OutputError
from tests.made_sets import CLASSES, box_error_px, facts, made_set, mask_iou, picture

LABELLED = [name for name in formats.FORMATS if name != "good"]
REAL = {"deeppcb": "deeppcb", "magnetic_tile": "masks", "aluminum_large": "masks", "midg_fpc": "midg",
        "bsdata_labelme": "labelme", "neu_det": "voc", "pku_market_pcb": "voc"}


@pytest.fixture
def made(tmp_path) -> Dataset:
    return made_set(tmp_path / "Höhen und Tiefen")


def without_ignored(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, records=tuple(dataclasses.replace(record, instances=tuple(
        item for item in record.instances if not item.ignore)) for record in dataset.records))


@pytest.mark.parametrize("name", ["yolo", "coco", "voc", "labelme", "masks"])
def test_round_trip_of_a_made_set(made, tmp_path, name):
    root = tmp_path / "zurück hier"
    formats.write(made, root, name)
    assert formats.detect(root) == name
    again = formats.read(root)
    holds = formats.FORMATS[name].HOLDS
    before = made if "ignore" in holds else without_ignored(made)
    assert again.classes == CLASSES
    assert facts(again, "name", "size", "group", "split", "verified") == facts(
        before, "name", "size", "group", "split", "verified")
    if name == "masks":                                     # ignored pixels have no class of their own there
        again, before = without_ignored(again), without_ignored(before)
    order = sorted_by_label(again), sorted_by_label(before)
    assert box_error_px(*order) <= (0.01 if name in ("yolo", "voc") else 1.0)
    if "shapes" in holds:
        assert mask_iou(*order) == 1.0 or (name == "coco" and mask_iou(*order) > 0.99)
    if name in ("coco", "voc", "labelme"):
        assert [item.ignore for item in again.records[1].instances] == [False, True]
    assert [record.image.read_bytes() for record in again.records] == [
        record.image.read_bytes() for record in made.records]


def sorted_by_label(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, records=tuple(dataclasses.replace(record, instances=tuple(
        sorted(record.instances, key=lambda item: (item.label, item.box)))) for record in dataset.records))


def test_masks_of_one_defect_each_are_kept_to_the_pixel(made, tmp_path):
    for name in ("masks", "labelme"):
        formats.write(made, tmp_path / name, name)
        again = formats.read(tmp_path / name, name)
        assert mask_iou(sorted_by_label(without_ignored(again)), sorted_by_label(without_ignored(made))) == 1.0


def test_the_defect_free_twin_is_kept_where_it_has_a_place(made, tmp_path):
    for name in ("coco", "deeppcb", "midg"):
        formats.write(made, tmp_path / name, name)
        again = formats.read(tmp_path / name)
        twins = [record for record in again.records if record.clean]
        assert len(twins) == (3 if name == "midg" else 2)   # one image with two classes lies in both kinds' folders
        for twin in twins:
            stem = twin.clean.stem.removesuffix("_temp")
            assert twin.clean.read_bytes() == (made.root / "twins" / f"{stem}.png").read_bytes()


def test_deeppcb_keeps_its_own_names_and_others(made, tmp_path):
    formats.write(made, tmp_path / "out", "deeppcb")
    again = formats.read(tmp_path / "out")
    assert again.classes == CLASSES
    assert facts(again, "group", "split") == facts(made, "group", "split")
    whole = [item.box for record in again.records for item in record.instances]
    assert all(number == int(number) for box in whole for number in box)
    assert box_error_px(again, without_ignored(made)) < 1


def test_midg_has_one_folder_a_class_and_rectangles(made, tmp_path):
    formats.write(made, tmp_path / "out", "midg")
    assert formats.detect(tmp_path / "out") == "midg"
    again = formats.read(tmp_path / "out")
    assert again.classes == tuple(sorted(CLASSES))
    boxes = {(record.name, item.label, item.box) for record in again.records for item in record.instances}
    assert ("stain/val/größe__b", "stain", (3, 4, 20, 31)) in boxes             # a box without a shape is kept as it is
    assert ("pit/train/a 1", "pit", (2, 2, 22, 22)) in boxes                    # the disc of 6 .. 18, and 4 px round it
    assert {record.group for record in again.records} <= {record.group for record in made.records}
    assert {record.split for record in again.records if record.group == "part 0"} == {"train"}


def test_good_images_are_copied_and_read(made, tmp_path):
    formats.write(made, tmp_path / "out", "good")
    again = formats.read(tmp_path / "out")
    assert (again.format, facts(again, "name", "is_good")) == ("good", [("good", True)])
    defective = dataclasses.replace(made, records=made.defective)
    with pytest.raises(DataError, match="no defect-free image"):
        formats.write(defective, tmp_path / "none", "good")


def test_equal_data_give_equal_bytes(made, tmp_path):
    for name in LABELLED:
        for turn in ("one", "two"):
            formats.write(made, tmp_path / turn / name, name)
    one, two = ({path.relative_to(tmp_path / turn): path.read_bytes() for path in (tmp_path / turn).rglob("*")
                 if path.is_file()} for turn in ("one", "two"))
    assert one == two


def test_several_formats_round_one_folder_of_images(made, tmp_path):
    formats.write(made, tmp_path / "out", "coco")
    kept = formats.read(tmp_path / "out", "coco")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").rglob("*.png")}
    for name in ("yolo", "voc", "masks", "midg", "labelme"):
        formats.write(kept, tmp_path / "out", name, images="keep")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").rglob("*.png")} == before
    for name in ("yolo", "voc", "masks", "labelme"):
        again = formats.read(tmp_path / "out", name)
        assert facts(again, "name", "group", "split") == facts(kept, "name", "group", "split")
    assert len(formats.read(tmp_path / "out", "midg")) == 6
    assert formats.read(tmp_path / "out").format == "coco"          # written here, so it holds what the others do
    theirs = tmp_path / "out" / "annotations.json"
    theirs.write_text(theirs.read_text(encoding="utf-8").replace('"DefectForge"', '"another"'), encoding="utf-8")
    with pytest.raises(DataError, match=r"more than one format fits, got midg and yolo and coco.* --format midg"):
        formats.read(tmp_path / "out")
    with pytest.raises(OutputError, match="not in .*images"):
        formats.write(made, tmp_path / "out", "yolo", images="keep")


def test_coco_file_is_as_any_reader_expects(made, tmp_path):
    formats.write(made, tmp_path / "out", "coco")
    document = json.loads((tmp_path / "out" / "annotations.json").read_text(encoding="utf-8"))
    assert [entry["id"] for entry in document["categories"]] == [1, 2, 3]
    assert [entry["id"] for entry in document["images"]] == [1, 2, 3, 4, 5]
    assert [entry["id"] for entry in document["annotations"]] == list(range(1, 8))
    assert [entry["file_name"] for entry in document["images"]] == sorted(e["file_name"] for e in document["images"])
    assert {"good.png"} <= {entry["file_name"] for entry in document["images"]}
    pit = next(entry for entry in document["annotations"] if entry["category_id"] == 1 and entry["segmentation"])
    assert (pit["bbox"], pit["area"]) == ([6, 6, 12, 12], 112)
    assert isinstance(pit["segmentation"][0][0], int)
    with_hole = next(entry for entry in document["annotations"] if isinstance(entry["segmentation"], dict))
    assert with_hole["category_id"] == 2
    assert isinstance(with_hole["segmentation"]["counts"], str)
    assert "2026" not in json.dumps(document["info"])


@pytest.mark.parametrize(("folder", "name"), sorted(REAL.items()))
def test_real_sets_are_recognised_and_read(shared_data, folder, name):
    dataset = formats.read(shared_data / folder)
    assert dataset.format == name
    counts = {"deeppcb": (120, 810, 6), "magnetic_tile": (238, 173, 5), "aluminum_large": (7, 449, 6), "neu_det":
              (120, 259, 6), "midg_fpc": (4, 8, 1), "bsdata_labelme": (52, 52, 1), "pku_market_pcb": (9, 37, 6)}
    assert (len(dataset), sum(len(record.instances) for record in dataset.records),
            len(dataset.classes)) == counts[folder]
    groups = {"deeppcb": 7, "magnetic_tile": 102, "bsdata_labelme": 23, "pku_market_pcb": 2}
    assert len({record.group for record in dataset.records}) == groups.get(folder, len(dataset))
    assert facts(dataset, "name") == sorted(facts(dataset, "name"))


def test_real_sets_hold_what_their_manifests_say(shared_data):
    board = formats.read(shared_data / "deeppcb")
    assert board.classes == ("open", "short", "mousebite", "spur", "copper", "pin-hole")
    assert [record.clean.stem for record in board.records] == [
        record.image.stem.replace("_test", "_temp") for record in board.records]
    assert sum(record.split == "test" for record in board.records) == 35
    assert len(formats.read(shared_data / "magnetic_tile").good) == 100
    assert len(formats.read(shared_data / "bsdata_labelme").good) == 0
    assert len(formats.read(shared_data / "bsdata_labelme", unlabelled="good").good) == 12
    assert sum(not record.verified for record in formats.read(shared_data / "bsdata_labelme").records) == 12
    flexible = formats.read(shared_data / "midg_fpc")
    assert all(record.clean is not None for record in flexible.records)
    for inner in ("dataset", "dataset/kinds/exposed_copper"):
        assert facts(formats.read(shared_data / "midg_fpc" / inner), "name", "split", "instances") == facts(
            flexible, "name", "split", "instances")
    yolo = formats.read(shared_data / "deeppcb" / "yolo")
    pairs = {record.image: record for record in board.records}
    for record in yolo.records:
        for a, b in zip(record.instances, pairs[record.image].instances, strict=True):
            assert a.label == b.label
            assert max(abs(x - y) for x, y in zip(a.box, b.box)) <= 0.01
    with pytest.raises(DataError, match="no labelled data set that is known here"):
        formats.read(shared_data / "crg_pcb_sample")


@pytest.mark.parametrize(("folder", "source"), [(folder, name) for folder, name in sorted(REAL.items())])
def test_round_trips_of_the_real_sets(shared_data, tmp_path, folder, source):
    dataset = formats.read(shared_data / folder)
    step = {"aluminum_large": 4, "midg_fpc": 1, "pku_market_pcb": 4}.get(folder, len(dataset) // 7)
    dataset = dataclasses.replace(dataset, records=dataset.records[::step])
    for name in ("deeppcb", "yolo", "coco", "voc", "labelme"):
        root = tmp_path / name
        formats.write(dataset, root, name)
        again = formats.read(root)
        holds = formats.FORMATS[name].HOLDS
        before = dataset if "ignore" in holds else without_ignored(dataset)
        if "unlabelled" not in holds:
            before = dataclasses.replace(before, records=tuple(record for record in before.records if record.verified))
        assert again.classes == dataset.classes
        again_by_old_name = sorted(facts(again, "group", "split", "size", "verified"), key=str)
        assert again_by_old_name == sorted(facts(before, "group", "split", "size", "verified"), key=str)
        if name != "deeppcb":
            assert facts(again, "name") == facts(before, "name")
            assert box_error_px(again, before) <= (0.01 if name in ("yolo", "voc") else 1.0)
        if "shapes" in holds:
            assert mask_iou(again, before) > (0.999 if name == "labelme" else 0.98)


def test_deeppcb_comes_back_as_it_was(shared_data, tmp_path):
    dataset = formats.read(shared_data / "deeppcb")
    dataset = dataclasses.replace(dataset, records=dataset.records[::9])
    formats.write(dataset, tmp_path / "out", "deeppcb")
    again = formats.read(tmp_path / "out")
    fields = ("name", "instances", "group", "split", "size")
    assert facts(again, *fields) == facts(dataset, *fields)
    first = dataset.records[0]
    copied = tmp_path / "out" / first.image.relative_to(shared_data / "deeppcb")
    assert copied.read_bytes() == first.image.read_bytes()


def test_midg_comes_back_as_it_was(shared_data, tmp_path):
    dataset = formats.read(shared_data / "midg_fpc")
    formats.write(dataset, tmp_path / "out", "midg")
    fields = ("name", "instances", "split", "size", "group")
    assert facts(formats.read(tmp_path / "out"), *fields) == facts(dataset, *fields)


def test_magnetic_tile_masks_come_back_to_the_pixel(shared_data, tmp_path):
    dataset = formats.read(shared_data / "magnetic_tile")
    dataset = dataclasses.replace(dataset, records=dataset.records[::8])
    for name in ("masks", "coco"):
        formats.write(dataset, tmp_path / name, name)
        again = formats.read(tmp_path / name)
        assert mask_iou(again, dataset) == 1.0
        assert box_error_px(again, dataset) == 0.0


def test_losses_say_what_a_format_has_no_place_for(made):
    assert formats.losses(made, "coco") == []
    lost = "\n".join(formats.losses(made, "yolo"))
    assert "5 defects have a shape" in lost
    assert "1 defects are to be ignored" in lost
    assert "2 defect-free twins" in lost
    assert "7 defects have no place at all" in "\n".join(formats.losses(made, "good"))


def test_unknown_choices_name_the_nearest(made, tmp_path):
    picture(tmp_path / "in" / "a.png", 1)
    with pytest.raises(ConfigError, match="Did you mean 'labelme'"):
        formats.read(tmp_path / "in", "labelm")
    with pytest.raises(ConfigError, match="no such option, got 'colors'.*Did you mean 'colours'"):
        formats.read(tmp_path / "in", "masks", colors={})
    with pytest.raises(ConfigError, match="One of error, skip, good"):
        formats.read(tmp_path / "in", unlabelled="maybe")
    with pytest.raises(ConfigError, match="One of copy, keep"):
        formats.write(made, tmp_path / "out", "coco", images="move")


@pytest.mark.parametrize("path", ["nowhere", "file.txt"])
def test_no_folder(tmp_path, path):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(DataError, match="no such folder"):
        formats.read(tmp_path / path)


def test_nothing_that_is_known(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match="(?s)got notes.docx. Looked for:.*deeppcb .*_test.jpg.*labelme "):
        formats.read(tmp_path)


def test_unknown_labels_do_not_pass_for_good_parts(tmp_path):
    picture(tmp_path / "a.png", 1)
    assert formats.detect(tmp_path) == "good"
    (tmp_path / "a.txt").write_text("0 0.5 0.5\n")
    with pytest.raises(DataError, match="no labelled data set"):
        formats.detect(tmp_path)


def test_images_of_one_stem_get_their_suffixes(tmp_path):
    picture(tmp_path / "a.png", 1)
    images.write_image(tmp_path / "a.bmp", images.read_image(tmp_path / "a.png"))
    assert facts(formats.read(tmp_path), "name") == [("a_bmp",), ("a_png",)]


def test_hidden_and_system_files_are_passed_over(tmp_path):
    picture(tmp_path / "a.png", 1)
    for path in ("__MACOSX/a.png", ".hidden/b.png", "Thumbs.db", "._a.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Path(tmp_path / path).write_bytes(b"x")
    assert len(formats.read(tmp_path)) == 1
