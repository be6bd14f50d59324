"""Drawn shapes: what is shown white counts, however the file stores it; what cannot be a shape is refused."""
import cv2
import numpy as np
import pytest

from core.augment.drawings import read_drawings
from core.data import images
from core.errors import DataError

PALETTE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)


def blob(size=(60, 80)):
    drawn = np.zeros(size, np.uint8)
    cv2.ellipse(drawn, (40, 30), (20, 12), 30, 0, 360, 255, -1)
    return drawn


@pytest.mark.parametrize("stored", ["grey", "palette", "colour", "deep"])
def test_a_shape_is_what_is_shown_white_however_it_is_stored(tmp_path, stored):
    drawn, path = blob(), tmp_path / "shape.png"
    if stored == "palette":
        images.write_bytes(path, images.encode_png(drawn // 255, palette=PALETTE))
    else:
        images.write_image(path, {"grey": drawn, "colour": drawn[..., None] * np.array([1, 0, 0], np.uint8),
                                  "deep": drawn.astype(np.uint16) * 257}[stored])
    rows, columns = np.nonzero(drawn)
    cut = drawn[rows.min():rows.max() + 1, columns.min():columns.max() + 1] > 0
    assert np.array_equal(read_drawings(path)[0], cut)


@pytest.mark.parametrize("drawn", [255 - blob(), np.full((30, 40), 255, np.uint8),
                                   255 - cv2.dilate(blob(), np.ones((25, 25), np.uint8))])
def test_an_inverted_drawing_is_refused(tmp_path, drawn):
    images.write_image(tmp_path / "shape.png", drawn)
    with pytest.raises(DataError, match=r"shape\.png: white on its border or nearly everywhere, got "):
        read_drawings(tmp_path / "shape.png")


def test_a_shape_cut_to_its_bounds_and_a_contour_are_taken(tmp_path):
    rows, columns = np.nonzero(blob())
    cut = blob()[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    contour = cv2.morphologyEx(blob(), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    for name, drawn in (("a.png", cut), ("b.png", contour)):
        images.write_image(tmp_path / name, drawn)
    whole, outlined = read_drawings(tmp_path)
    assert np.array_equal(whole, cut > 0)
    assert outlined.mean() > 0.6, "the contour was not filled"
