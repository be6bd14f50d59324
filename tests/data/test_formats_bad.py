"""Bad labels: each is named with its file and line, all of them at once, and nothing is guessed."""
import json
import shutil
import time

import numpy as np
import pytest

from core.data import formats
from core.data.formats.groups import frame_of
from core.data.records import Dataset, Instance, Record
from core.errors import DataError
from tests.made_sets import SIZE, facts, made_set, picture, save_mask


@pytest.fixture
def made(tmp_path) -> Dataset:
    return made_set(tmp_path / "made")


def refused(root, match: str, format: str = "auto", **options) -> str:
    with pytest.raises(DataError, match=match) as caught:
        formats.read(root, format, **options)
    return str(caught.value)


@pytest.mark.parametrize(("line", "told"), [
    ("0 0.5 0.5 0.2", r"b\.txt:2: not a box, got '0 0.5 0.5 0.2'"),
    ("0 0.5 0.5 0.2 0.1 0.9", r"b\.txt:2: not a box"),
    ("x 0.5 0.5 0.2 0.1", r"b\.txt:2: not a box"),
    ("0 0.5 nan 0.2 0.1", r"b\.txt:2: not a box"),
    ("7 0.5 0.5 0.2 0.1", r"b\.txt:2: no such class number, got 7. 0 to 2: pit, crack, stain"),
    ("0 24 20 10 10", r"b\.txt:2: numbers that are no shares of the image"),
    ("0 0.5 0.5 0 0.1", r"b\.txt:2: no box on the image"),
])
def test_yolo_lines(made, tmp_path, line, told):
    formats.write(made, tmp_path / "out", "yolo")
    (tmp_path / "out" / "labels" / "größe" / "b.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    assert "\n" not in refused(tmp_path / "out", told)


def test_yolo_polygons_names_and_splits_by_folder(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / "images" / split / "x.png", 1)
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "x.txt").write_text("1 0.25 0.25 0.75 0.25 0.5 0.75\n\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: pit, 1: crack}\n")
    dataset = formats.read(tmp_path)
    assert dataset.classes == ("pit", "crack")
    assert facts(dataset, "name", "split") == [("train/x", "train"), ("val/x", "val")]
    assert dataset.records[0].instances[0].polygons[0].tolist() == [[12, 10], [36, 10], [24, 30]]
    (tmp_path / "data.yaml").write_text("names: [pit, crack\n")
    refused(tmp_path, r"data\.yaml: not readable as YAML")
    (tmp_path / "data.yaml").unlink()
    assert formats.read(tmp_path).classes == ("1",)
    assert formats.read(tmp_path, classes=["pit", "crack"]).classes == ("pit", "crack")


@pytest.mark.parametrize(("before", "after", "told"), [
    ("<name>stain</name>", "<name>stein</name>", r"b\.xml: object 1: no such class, got 'stein'. Did you mean 'stain'"),
    ("<xmin>3</xmin>", "<xmin>three</xmin>", r"b\.xml: object 1: not a box, got \['three', '4', '20', '31'\]"),
    ("<xmin>3</xmin>", "<xmin>30</xmin>", r"b\.xml: object 1: no box on the image, got 30 4 20 31 on 48x40 px"),
    ("<width>48", "<width>40", r"b\.xml: another size than the image, got 40x40 for b\.png of 48x40"),
    ("</annotation>", "", r"b\.xml: not readable as XML.*cut short"),
])
def test_voc(made, tmp_path, before, after, told):
    formats.write(made, tmp_path / "out", "voc")
    path = tmp_path / "out" / "Annotations" / "größe" / "b.xml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert "\n" not in refused(tmp_path / "out", told, classes=["pit", "crack", "stain"])


def test_voc_counted_from_one(made, tmp_path):
    formats.write(made, tmp_path / "out", "voc")
    plain, shifted = (formats.read(tmp_path / "out", one_based=one) for one in (False, True))
    assert any("challenge" in note for note in plain.notes)
    a, b = plain.records[3].instances[0].box, shifted.records[3].instances[0].box
    assert np.subtract(a, b).tolist() == [1, 1, 0, 0]


def test_voc_pairs_by_its_filename_where_the_stem_does_not(made, tmp_path):
    formats.write(made, tmp_path / "out", "voc")
    (tmp_path / "out" / "Annotations" / "d.xml").rename(tmp_path / "out" / "Annotations" / "0004.xml")
    assert facts(formats.read(tmp_path / "out"), "name") == facts(made, "name")


def changed_coco(made, root, change) -> None:
    formats.write(made, root, "coco")
    path = root / "annotations.json"
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(("change", "told"), [
    (lambda d: d["annotations"][0].update(category_id=9), "annotation 1: no such category, got 9. One of 1, 2, 3"),
    (lambda d: d["annotations"][0].update(image_id=99), "annotation 1: no such image, got image_id 99"),
    (lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3]]), "annotation 1: not a polygon"),
    (lambda d: d["annotations"][0].update(segmentation=[], bbox=None), "annotation 1: no shape and no box"),
    (lambda d: d["annotations"][0].update(segmentation=[], bbox=[60, 5, 4, 4]), "annotation 1: no box on the image"),
    (lambda d: d["annotations"][0].update(segmentation={"size": [9, 9], "counts": "1"}),
     "annotation 1: mask of another size than its image, got 9x9 for 48x40"),
    (lambda d: d["annotations"][0].update(segmentation={"size": [40, 48], "counts": "zz"}), "not a run-length code"),
    (lambda d: d["annotations"][0].update(segmentation={"size": [40, 48], "counts": "55"}), "runs of 10 px for 1920"),
    (lambda d: d["annotations"][0].update(segmentation={"size": [40, 48]}), "not a run-length code"),
    (lambda d: d["annotations"][0].update(segmentation={"size": [40, 48], "counts": [1920]}), "an empty mask"),
    (lambda d: d["images"][0].update(width=99), r"another size than the image, got 99x40 for a 1\.png of 48x40"),
    (lambda d: d["images"][0].update(file_name="lost.png"), r"1 images are missing, got lost\.png"),
    (lambda d: d["images"][1].update(id=1), "image ids are used twice, got 1 such"),
    (lambda d: d.update(categories=[{"id": "1", "name": "pit"}]), "a category without id or name"),
])
def test_coco(made, tmp_path, change, told):
    changed_coco(made, tmp_path / "out", change)
    refused(tmp_path / "out", told)


def test_coco_of_other_tools(made, tmp_path):
    """Uncompressed run lengths, Windows paths, one file a split, images in a folder a split, a name with umlauts."""
    def change(document):
        rle = next(entry for entry in document["annotations"] if isinstance(entry["segmentation"], dict))
        mask = formats.read(tmp_path / "out").records[0].instances[1]
        assert mask.rle["counts"] == rle["segmentation"]["counts"]
        rle["segmentation"]["counts"] = [0, 30, 1890]
        for entry in document["images"]:
            entry["file_name"] = entry["file_name"].replace("/", "\\")
            entry.pop("split", None)
    changed_coco(made, tmp_path / "out", change)
    (tmp_path / "out" / "annotations").mkdir()
    (tmp_path / "out" / "annotations.json").rename(tmp_path / "out" / "annotations" / "instances_val2017.json")
    (tmp_path / "out" / "images").rename(tmp_path / "out" / "val2017")
    dataset = formats.read(tmp_path / "out")
    assert {record.split for record in dataset.records} == {"val"}
    assert [record.name for record in dataset.records][:2] == ["val2017/a 1", "val2017/d"]
    assert dataset.records[0].instances[1].box == (0, 0, 1, 30)


def test_coco_cut_short_and_unlisted_images(made, tmp_path):
    formats.write(made, tmp_path / "out", "coco")
    picture(tmp_path / "out" / "images" / "more.png", 9)
    dataset = formats.read(tmp_path / "out")
    assert len(dataset) == 6
    assert "1 images without a label" in dataset.notes[0]
    refused(tmp_path / "out", r"more\.png: an image that no COCO file lists", unlabelled="error")
    path = tmp_path / "out" / "annotations.json"
    path.write_bytes(path.read_bytes()[:-100])
    assert "\n" not in refused(tmp_path / "out", r"annotations\.json: not readable as JSON.*cut short")


@pytest.mark.parametrize(("line", "told"), [
    ("1 2 3 4", r"d\.txt:2: not a box, got '1 2 3 4'. Five numbers"),
    ("1,2,30,20,9", r"d\.txt:2: no such type, got 9. 1 to 3: pit, crack, stain"),
    ("30 2 3 20 1", r"d\.txt:2: no box on the image, got 30 2 3 20"),
])
def test_deeppcb_lines(made, tmp_path, line, told):
    formats.write(made, tmp_path / "out", "deeppcb")
    text = next((tmp_path / "out").rglob("d.txt"))
    text.write_text(f"1,2,10,20,1\n{line}\n")
    assert "\n" not in refused(tmp_path / "out", told)


def test_deeppcb_commas_templates_and_leftovers(made, tmp_path):
    formats.write(made, tmp_path / "out", "deeppcb")
    text = next((tmp_path / "out").rglob("d.txt"))
    text.write_text("1,2,10,20,2\n3, 4, 12, 22, 1\n")
    dataset = formats.read(tmp_path / "out")
    assert [item.box for item in dataset.records[1].instances] == [(1, 2, 10, 20), (3, 4, 12, 22)]
    assert "3 images have no template" in dataset.notes
    (tmp_path / "out" / "index.csv").unlink()
    assert facts(formats.read(tmp_path / "out"), "split") == facts(made, "split")       # from trainval.txt ...
    picture(next((tmp_path / "out").rglob("d_temp.png")), 3, (20, 20))
    refused(tmp_path / "out", r"d_temp\.png: template of another size than its image, got 20x20 for d_test\.png")
    text.with_name("lost.txt").write_text("")
    refused(tmp_path / "out", r"1 annotation without an image, got .*lost\.txt")


def midg(root, mask: np.ndarray, name: str = "x"):
    for folder in ("crack", "inpaint2"):
        picture(root / "crack" / folder / "train" / f"{name}.png", 1)
    save_mask(root / "crack" / "mask2" / "train" / f"{name}.png", mask)
    return root


@pytest.mark.parametrize(("value", "size", "told"), [
    (0, SIZE, r"x\.png: an empty mask"), (255, SIZE, r"x\.png: a mask that covers the whole image"),
    (255, (20, 30), r"x\.png: mask of another size than its image, got 20x30 for x\.png of 48x40"),
])
def test_midg_masks(tmp_path, value, size, told):
    midg(tmp_path, np.full(size[::-1], value))
    assert "\n" not in refused(tmp_path, told)


def test_midg_missing_mask_missing_twin_and_flists(tmp_path):
    mask = np.zeros(SIZE[::-1])
    mask[5:15, 6:20] = 255
    midg(midg(tmp_path, mask), mask, "y")
    (tmp_path / "crack" / "mask2" / "train" / "train.flist").write_text("./somewhere/else.png\n")
    (tmp_path / "crack" / "inpaint2" / "train" / "y.png").unlink()
    dataset = formats.read(tmp_path)
    assert dataset.classes == ("crack",)
    assert dataset.notes == ("1 images have no inpainted twin",)
    assert facts(dataset, "name", "split") == [("crack/train/x", "train"), ("crack/train/y", "train")]
    assert dataset.records[0].instances[0].box == (6, 5, 20, 15)
    (tmp_path / "crack" / "mask2" / "train" / "y.png").unlink()
    refused(tmp_path, r"1 image without mask, got .*y\.png")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n0000"])
@pytest.mark.parametrize("name", ["good", "yolo", "coco", "voc", "labelme", "masks", "midg", "deeppcb"])
def test_one_unreadable_image_is_named(made, tmp_path, name, data):
    formats.write(made, tmp_path / "out", name)
    broken = sorted(path for path in (tmp_path / "out").rglob("*.png") if not {"mask", "masks"} & set(path.parts))[-1]
    broken.write_bytes(data)
    told = refused(tmp_path / "out", "not a readable image", name)
    assert str(broken) in told
    assert "\n" not in told


def test_all_problems_at_once_and_no_more_than_twenty_lines(made, tmp_path):
    formats.write(made, tmp_path / "out", "yolo")
    for name in ("a 1", "d"):
        (tmp_path / "out" / "labels" / f"{name}.txt").write_text("9 0.5 0.5 0.1 0.1\n" * 15)
    (tmp_path / "out" / "images" / "good.png").write_bytes(b"")
    lines = refused(tmp_path / "out", "no such class number").splitlines()
    assert len(lines) == 21
    assert "a 1.txt:1:" in lines[0]
    assert lines[-1] == "... and 11 more problems"


def test_a_class_with_one_sample_is_read(made, tmp_path):
    formats.write(made, tmp_path / "out", "yolo")
    text = tmp_path / "out" / "labels" / "d.txt"
    text.write_text("")
    labels = [item.label for record in formats.read(tmp_path / "out").records for item in record.instances]
    assert labels.count("stain") == 1


def test_names_pair_in_any_case_and_never_by_position(made, tmp_path):
    formats.write(made, tmp_path / "out", "yolo")
    labels = tmp_path / "out" / "labels"
    (labels / "d.txt").rename(labels / "D.TXT")
    assert formats.read(tmp_path / "out", unlabelled="error").records[1].instances
    (labels / "D.TXT").rename(labels / "e.txt")
    told = refused(tmp_path / "out", "1 label file without an image", unlabelled="error")
    assert "1 image without label file" in told


def test_group_of_a_tile_is_its_frame():
    tiles = ["p7_r03_c02", "p7_x0640_y0000", "p7_y0_x640", "p7_patch12", "p7_tile-7", "p7_640_1280", "p7_p0007", "p7-3",
             "train/p7_r03_c02", "p7_r1_c1_p0001", "p7_crop_2"]
    assert {frame_of(name) for name in tiles} == {"p7"}
    whole = ["crazing_1", "exp1_num_265077", "2020-08-28", "a/000577_exposed_copper", "KGT1-S-060-A02", "scratch-3"]
    assert [frame_of(name) for name in whole] == whole


def test_ten_thousand_records_and_one_unreadable(tmp_path):
    """A tenth of it, to stay fast; the time a record is what counts."""
    count = 1000
    source = picture(tmp_path / "pictures" / "x.png", 1)
    records = []
    for number in range(count):
        path = tmp_path / "set" / "images" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        records.append(Record(image=path, name=path.stem, size=SIZE, instances=(
            Instance(label="pit", box=(4, 4, 9, 9)), Instance(label="crack", box=(20, 4, 39, 29)))))
    dataset = Dataset(root=tmp_path / "set", format="made", classes=("pit", "crack"), records=tuple(records))
    for name in ("yolo", "coco", "voc", "labelme", "masks"):
        formats.write(dataset, tmp_path / "set", name, images="keep")
        started = time.process_time()
        assert len(formats.read(tmp_path / "set", name)) == count
        assert (time.process_time() - started) / count < 0.002, name
    records[count // 2].image.write_bytes(b"\x89PNG")
    for name in ("yolo", "coco", "voc", "labelme", "masks"):
        assert refused(tmp_path / "set", r"00500\.png: not a readable image", name).count("\n") == 0
