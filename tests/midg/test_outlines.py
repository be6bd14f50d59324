"""Made shapes are as round and as jagged as the real ones of their class."""
import cv2
import numpy as np

from midg.outlines import deformed, form, is_usual, usual_forms
from tests.midg.test_seats import crop, disc


def ellipse(axes, angle: float = 0) -> np.ndarray:
    return cv2.ellipse(np.zeros((80, 80), np.uint8), (40, 40), axes, angle, 0, 360, 1, cv2.FILLED) > 0


def test_a_class_of_discs_takes_no_ellipse_and_one_of_both_takes_both():
    clean = np.zeros((80, 80, 3), np.uint8)
    discs = [crop(clean, disc((40, 40), radius), "hole") for radius in (6, 8, 9, 12, 15)]
    both = [crop(clean, ellipse((16, width), 10 * width), "bite") for width in (6, 8, 11, 14, 16)]
    forms = usual_forms([*discs, *both])
    assert is_usual(disc((30, 44), 10), forms["hole"])
    assert not is_usual(ellipse((12, 8)), forms["hole"])
    assert is_usual(ellipse((12, 8), 30), forms["bite"])


def test_form_does_not_depend_on_size_and_place():
    assert np.abs(form(disc((30, 30), 8)) - form(disc((44, 40), 16))).max() < 0.05
    assert (np.abs(form(ellipse((20, 8))) - form(ellipse((20, 8), 45))) < 0.06).all()


def test_a_bent_shape_stays_about_where_it_was():
    shape = disc((40, 40), 14)
    bent = deformed(shape, np.random.default_rng(0))
    assert 0.6 < (bent & shape).sum() / (bent | shape).sum() < 1
