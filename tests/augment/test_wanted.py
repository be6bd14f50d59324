"""Given positions: boxes, points, shapes, and what is wrong with them, line by line."""
import numpy as np
import pytest

from core.augment.wanted import read_positions
from core.data import images
from core.errors import DataError

SIZES = {"a/one": (100, 80), "a/two": (100, 80), "b/two": (50, 50)}


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_boxes_and_points(tmp_path):
    boxes_csv = "image,label,x1,y1,x2,y2\none.png,spot,1,2,11,12\n,,3,3,9,9\n"
    boxes = read_positions(written(tmp_path / "boxes.csv", boxes_csv),
                           ("spot",), SIZES)
    assert [(plan.source, plan.wanted[0].label, plan.wanted[0].box) for plan in boxes] == [
        ("a/one", "spot", (1, 2, 11, 12)), (None, None, (3, 3, 9, 9))]
    points = read_positions(written(tmp_path / "points.csv", "image, label, x, y\na/one,spot,5,6\na/one,,50,60\n"),
                            ("spot",), SIZES)
    assert [want.point for want in points[0].wanted] == [(5, 6), (50, 60)]


def test_every_problem_is_named_with_its_line(tmp_path):
    path = written(tmp_path / "boxes.csv", "image,label,x1,y1,x2,y2\none,spott,1,2,11,12\ntwo,spot,1,2,3,4\n"
                                           "one,spot,90,2,110,12\none,spot,x,2,3,4\n")
    with pytest.raises(DataError) as caught:
        read_positions(path, ("spot",), SIZES)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in lines] == ["2", "3", "4", "5"]
    assert "Did you mean 'spot'" in lines[0]
    assert "a/two, b/two" in lines[1]
    assert "100 x 80" in lines[2]


def test_columns_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="x1, y1, x2, y2"):
        read_positions(written(tmp_path / "a.csv", "name,x,y\n"), ("spot",), SIZES)
    with pytest.raises(DataError, match="no position"):
        read_positions(written(tmp_path / "b.csv", "image,label,x,y\n"), ("spot",), SIZES)


def test_shapes_from_masks(tmp_path):
    mask = np.zeros((80, 100), np.uint8)
    mask[10:20, 30:45] = 255
    mask[50:60, 5:9] = 255
    (tmp_path / "shapes" / "spot").mkdir(parents=True)
    images.write_image(tmp_path / "shapes" / "spot" / "one.png", mask)
    (plan,) = read_positions(tmp_path / "shapes", ("spot",), SIZES)
    assert plan.source == "a/one"
    assert [want.label for want in plan.wanted] == ["spot", "spot"]
    assert {want.box for want in plan.wanted} == {(30, 10, 45, 20), (5, 50, 9, 60)}
    assert sum(int(want.mask().sum()) for want in plan.wanted) == 150 + 40


@pytest.mark.parametrize(("size", "value", "message"), [((80, 100), 0, "empty"), ((50, 50), 255, "50 x 50")])
def test_shapes_that_cannot_be(tmp_path, size, value, message):
    images.write_image(tmp_path / "one.png", np.full(size, value, np.uint8))
    with pytest.raises(DataError, match=message):
        read_positions(tmp_path, ("spot",), SIZES)
