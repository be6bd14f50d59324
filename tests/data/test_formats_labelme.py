"""labelme: every shape, and every trap that its files hold."""
import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import formats, images, shapes
from core.errors import DataError
from tests.made_sets import SIZE, facts, picture


def labelled(root: Path, *drawn: dict, name: str = "a", **keys) -> Path:
    """An image with a labelme file beside it. Returns the JSON's path."""
    picture(root / f"{name}.png", 1)
    path = root / f"{name}.json"
    path.write_text(json.dumps({"version": "5.0.1", "flags": {}, "shapes": list(drawn), "imagePath": f"{name}.png",
                                "imageData": None, "imageHeight": SIZE[1], "imageWidth": SIZE[0], **keys}), "utf-8")
    return path


def shape(points: list, kind: str | None = "polygon", label: str = "pit", **keys) -> dict:
    kind = {} if kind is None else {"shape_type": kind}
    return {"label": label, "points": points, "group_id": None, "flags": {}, **kind, **keys}


SQUARE = [[10, 8], [20, 8], [20, 18], [10, 18]]


def only_mask(root: Path, **options) -> np.ndarray:
    record = formats.read(root, "labelme", **options).records[0]
    assert len(record.instances) == 1
    return shapes.instance_mask(record.instances[0], record.size)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE[1], :SIZE[0]] + 0.5
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius ** 2


@pytest.mark.parametrize("kind", ["polygon", "rotation", "oriented_rectangle", None])
def test_polygons(tmp_path, kind):
    labelled(tmp_path, shape([*SQUARE, SQUARE[0]], kind))
    mask = only_mask(tmp_path)
    assert mask.sum() == 100
    assert mask[8:18, 10:20].all()


@pytest.mark.parametrize("points", [[[10, 8], [20, 18]], [[20, 18], [10, 8]], [[10, 18], [20, 8]], SQUARE])
def test_rectangles_in_any_order_are_boxes_without_a_shape(tmp_path, points):
    labelled(tmp_path, shape(points, "rectangle"))
    assert only_mask(tmp_path).sum() == 100
    instance = formats.read(tmp_path).records[0].instances[0]
    assert instance.box == (10, 8, 20, 18)
    assert not instance.has_shape


def test_circle_is_a_disc_round_its_first_point(tmp_path):
    labelled(tmp_path, shape([[20, 20], [23, 24]], "circle"))
    assert np.array_equal(only_mask(tmp_path), disc(20, 20, 5))


def test_points_and_lines_get_the_width_asked_for(tmp_path):
    labelled(tmp_path, shape([[20.5, 20.5]], "point"))
    assert np.array_equal(only_mask(tmp_path, point_radius_px=4), disc(20.5, 20.5, 4))
    labelled(tmp_path, shape([[10, 10], [30, 10], [30, 30]], "linestrip"))
    mask = only_mask(tmp_path, line_width_px=4)
    assert mask[8:12, 10:30].all()
    assert mask[10:30, 28:32].all()
    assert 150 < mask.sum() < 190
    labelled(tmp_path, shape([[5.5, 5], [5.5, 25]], "line"))
    assert 60 < only_mask(tmp_path).sum() < 75


def test_mask_covers_its_corners_both_included(tmp_path):
    drawn = np.zeros((6, 5), np.uint8)
    drawn[1:4, 2] = 1
    png = base64.b64encode(images.encode_png(drawn)).decode()
    labelled(tmp_path, shape([[40, 30], [44, 35]], "mask", mask=png))
    assert np.argwhere(only_mask(tmp_path)).tolist() == [[31, 42], [32, 42], [33, 42]]
    labelled(tmp_path, shape([[40, 30], [45, 35]], "mask", mask=png))
    with pytest.raises(DataError, match="mask of another size than its box, got 5x6 for 6x6"):
        formats.read(tmp_path)
    labelled(tmp_path, shape([[40, 30], [44, 35]], "mask", mask="no png"))
    with pytest.raises(DataError, match="no PNG in base64"):
        formats.read(tmp_path)


def test_a_group_is_one_defect_with_its_hole_cut_out(tmp_path):
    labelled(tmp_path, shape([[2, 2], [12, 2], [12, 12], [2, 12]], group_id=1),
             shape([[20, 2], [30, 2], [30, 12], [20, 12]], group_id=1),
             shape([[5, 5], [7, 5], [7, 7], [5, 7]], group_id=1, flags={"hole": True}),
             shape([[2, 20], [6, 20], [6, 24], [2, 24]], label="crack", group_id=1))
    record = formats.read(tmp_path).records[0]
    assert [item.label for item in record.instances] == ["pit", "crack"]
    mask = shapes.instance_mask(record.instances[0], SIZE)
    assert mask.sum() == 200 - 4
    assert not mask[5:7, 5:7].any()
    assert record.instances[0].box == (2, 2, 30, 12)


def test_odd_shapes_are_kept_dropped_or_told_of(tmp_path):
    labelled(tmp_path, shape([[10, 10], [20, 10]]), shape([[60, 60], [70, 60], [65, 70]]), shape(SQUARE), shape(SQUARE),
             shape([[30, 30], [40, 40], [40, 30], [30, 40]], label="eight"),
             shape([[44.1, 3.1], [44.3, 3.1], [44.2, 3.3]], label="tiny"))
    dataset = formats.read(tmp_path)
    assert [item.label for item in dataset.records[0].instances] == ["pit", "pit", "eight", "tiny"]
    assert [int(shapes.instance_mask(item, SIZE).sum()) for item in dataset.records[0].instances][1:] == [100, 50, 1]
    notes = "\n".join(dataset.notes)
    assert "1 shapes lie outside their image and were dropped" in notes
    assert "1 shapes have no area and were drawn as lines" in notes
    assert "1 shapes were drawn twice" in notes


def test_difficult_and_ignored_shapes(tmp_path):
    labelled(tmp_path, shape(SQUARE, difficult=True), shape([[30, 30], [35, 30], [35, 35]], flags={"ignore": True}),
             shape([[30, 5], [35, 5], [35, 9]], flags=None))
    assert [item.ignore for item in formats.read(tmp_path).records[0].instances] == [True, True, False]


@pytest.mark.parametrize("points", [
    "[[1, NaN], [5, 5], [9, 1]]", "[[1, Infinity], [5, 5], [9, 1]]", '[[1, "2"], [5, 5], [9, 1]]',
    "[[[1, 2]], [5, 5], [9, 1]]", "[]", "[[1, 2, 3], [4, 5, 6], [7, 8, 9]]", "null"])
def test_unusable_points_are_named(tmp_path, points):
    path = labelled(tmp_path, shape(["here"]))
    path.write_text(path.read_text().replace('["here"]', points))
    with pytest.raises(DataError, match=r"a\.json: shape 1: no usable points for a polygon"):
        formats.read(tmp_path)


def test_labels_are_stripped_normalised_and_checked(tmp_path):
    labelled(tmp_path, shape(SQUARE, label=" Lo\u0308cher "), shape([[30, 30], [35, 30], [35, 35]], label=""))
    with pytest.raises(DataError, match="shape 2: a shape without a label"):
        formats.read(tmp_path)
    labelled(tmp_path, shape(SQUARE, label=" Lo\u0308cher "))
    assert formats.read(tmp_path).classes == ("L\u00f6cher",)
    with pytest.raises(DataError, match="no such class, got 'Löcher'. Did you mean 'Loecher'"):
        formats.read(tmp_path, classes=["Loecher", "Kratzer"])
    labelled(tmp_path, shape(SQUARE, "polygone"))
    with pytest.raises(DataError, match="no such shape type, got 'polygone'. Did you mean 'polygon'"):
        formats.read(tmp_path)


@pytest.mark.parametrize(("label", "encoding"), [("缺陷", "gb18030"), ("Löcher", "cp1252"), ("Löcher", "utf-8-sig"),
                                                 ("划痕", "utf-8")])
def test_old_windows_encodings(tmp_path, label, encoding):
    path = labelled(tmp_path, shape(SQUARE, label="LABEL"))
    path.write_bytes(path.read_text("utf-8").replace("LABEL", label).encode(encoding))
    dataset = formats.read(tmp_path)
    assert dataset.classes == (label,)
    assert bool(dataset.notes) == (not encoding.startswith("utf"))


@pytest.mark.parametrize(("content", "named"), [
    ({"images": [], "annotations": [], "categories": []}, "got COCO. Read it with --format coco"),
    ({"_via_img_metadata": {}}, "got VIA"),
    ({"a.png123": {"filename": "a.png", "regions": []}}, "got VIA"),
    ([{"data": {"image": "a.png"}}], "got Label Studio"),
])
def test_foreign_files_are_named(tmp_path, content, named):
    labelled(tmp_path, shape(SQUARE))
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"other.json: not a labelme file, {named}"):
        formats.read(tmp_path, "labelme")


@pytest.mark.parametrize("content", [{}, {"label": "pit"}, [], "text"])
def test_a_strange_file_is_named_where_an_image_has_its_name_and_else_passed_over(tmp_path, content):
    labelled(tmp_path, shape(SQUARE))
    (tmp_path / "notes.json").write_text(json.dumps(content))
    assert formats.read(tmp_path, "labelme").notes == ("1 JSON files are not labelme's and were passed over",)
    labelled(tmp_path, name="b").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"b\.json: not a labelme file, got no list of 'shapes'"):
        formats.read(tmp_path, "labelme")


@pytest.mark.parametrize(("of_file", "of_shape"), [
    ({"flags": "good"}, {}), ({"imageWidth": "48"}, {}), ({}, {"flags": "hole"}), ({}, {"group_id": [1]}),
    ({}, {"shape_type": ["polygon"]}), ({}, {"shape_type": 3}), ({}, {"label": None})])
def test_values_of_another_kind_are_named(tmp_path, of_file, of_shape):
    labelled(tmp_path, {**shape(SQUARE), **of_shape}, **of_file)
    with pytest.raises(DataError, match=r"a\.json: .*, got ") as caught:
        formats.read(tmp_path, "labelme")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b'{"version": "5", "shapes": [', b"\x00\x01"])
def test_damaged_files_are_named(tmp_path, data):
    labelled(tmp_path, shape(SQUARE))
    labelled(tmp_path, name="b").write_bytes(data)
    with pytest.raises(DataError, match=r"b\.json: not readable as JSON.*Was it cut short") as caught:
        formats.read(tmp_path, "labelme")
    assert "\n" not in str(caught.value)


def test_image_of_another_size_and_turned_image(tmp_path):
    labelled(tmp_path, shape(SQUARE), imageWidth=SIZE[0] + 1)
    with pytest.raises(DataError, match="another size than the image, got 49x40 for a.png of 48x40"):
        formats.read(tmp_path)
    labelled(tmp_path, shape(SQUARE), imageWidth=SIZE[1], imageHeight=SIZE[0])
    with pytest.raises(DataError, match="EXIF"):
        formats.read(tmp_path)
    labelled(tmp_path, shape(SQUARE), imageWidth=None, imageHeight=None)
    assert len(formats.read(tmp_path)) == 1


def test_points_are_scaled_where_what_is_faulty_is_left_out(tmp_path):
    double = [[2 * x, 2 * y] for x, y in SQUARE]
    labelled(tmp_path, shape(double), imageWidth=2 * SIZE[0], imageHeight=2 * SIZE[1])
    with pytest.raises(DataError, match="another size than the image, got 96x80"):
        formats.read(tmp_path)
    assert only_mask(tmp_path, faulty="skip")[8:18, 10:20].sum() == 100
    labelled(tmp_path, shape(double), imageWidth=2 * SIZE[0], imageHeight=2 * SIZE[1] + 1)
    labelled(tmp_path, shape(SQUARE), name="b")
    dataset = formats.read(tmp_path, faulty="skip")
    assert facts(dataset, "name") == [("b",)]
    assert [one.code for one in dataset.problems] == ["size"]


def test_labels_of_an_upright_turned_image_fit(tmp_path):
    labelled(tmp_path, shape([[2, 30], [20, 30], [20, 45]]), imageWidth=SIZE[1], imageHeight=SIZE[0], name="b")
    (tmp_path / "b.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)).save(tmp_path / "b.jpg", exif=exif)
    assert formats.read(tmp_path).records[0].size == SIZE[::-1]


def test_pairing_by_stem_then_by_the_name_in_the_file(tmp_path):
    picture(tmp_path / "images" / "F" / "x 1.png", 1)
    picture(tmp_path / "images" / "F" / "Y.png", 2)
    picture(tmp_path / "images" / "G" / "x 1.png", 3)
    for name, image in (("F/x 1", "?"), ("F/y", "?"), ("G/other", "C:\\data\\..\\x 1.png")):
        path = labelled(tmp_path / "labels", shape(SQUARE), name=name, imagePath=image)
        path.with_suffix(".png").unlink()
    assert facts(formats.read(tmp_path, "labelme", unlabelled="error"), "name") == [("F/Y",), ("F/x 1",), ("G/x 1",)]


def test_json_without_image_and_two_for_one(tmp_path):
    labelled(tmp_path, shape(SQUARE))
    labelled(tmp_path, shape(SQUARE), name="lost", imageData="AAAA")
    (tmp_path / "lost.png").unlink()
    with pytest.raises(DataError, match=r"1 labelme JSON without an image, got .*lost\.json"):
        formats.read(tmp_path)
    (tmp_path / "lost.json").rename(tmp_path / "a (1).json")
    (tmp_path / "a (1).json").write_text((tmp_path / "a.json").read_text())
    with pytest.raises(DataError, match="two JSON files for one image"):
        formats.read(tmp_path)


@pytest.mark.parametrize(("choice", "good", "verified"), [("skip", 1, 2), ("good", 2, 3)])
def test_images_without_json(tmp_path, choice, good, verified):
    labelled(tmp_path, shape(SQUARE))
    labelled(tmp_path, name="empty")
    picture(tmp_path / "bare.png", 4)
    dataset = formats.read(tmp_path, unlabelled=choice)
    assert len(dataset.good) == good
    assert sum(record.verified for record in dataset.records) == verified
    assert "1 images without a label" in dataset.notes[0]
    assert "bare.png" in dataset.notes[0]
    with pytest.raises(DataError, match=r"1 image without labelme JSON, got .*bare\.png.* --unlabelled good"):
        formats.read(tmp_path, unlabelled="error")


def test_image_flags(tmp_path):
    labelled(tmp_path, shape(SQUARE))
    labelled(tmp_path, shape(SQUARE), name="again", flags={"rework": True})
    dataset = formats.read(tmp_path)
    assert [record.verified for record in dataset.records] == [True, False]
    labelled(tmp_path, shape(SQUARE), name="fine", flags={"good": True})
    with pytest.raises(DataError, match="flagged as good, got 1 shapes"):
        formats.read(tmp_path)
