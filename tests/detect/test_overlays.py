"""Verdict pictures: defects stay visible, labels keep off each other, the verdict is told by colour too."""
import numpy as np
import pytest

from core.visualise import COLOURS
from detect.merging import Piece
from detect.overlays import RED, _free, verdict_picture


def piece(x: int, y: int, side: int = 12, label: str = "pit") -> Piece:
    return Piece(label, 0.9, np.ones((side, side), bool), x, y)


@pytest.mark.parametrize("size", [(48, 64), (600, 800)])
def test_a_defect_is_tinted_and_its_middle_still_seen(size):
    pixels = np.full((*size, 3), 128, np.uint8)
    drawn = verdict_picture(pixels, [piece(30, 30)], "reject", ("pit",))
    assert drawn.shape == pixels.shape
    expected = np.rint(128 * 0.6 + 0.4 * COLOURS[0].astype(float))
    assert np.abs(drawn[36, 36].astype(int) - expected).max() <= 1
    assert drawn[2, -2].tolist() == list(RED)
    assert (pixels == 128).all(), "the picture given is left alone"


def test_verdicts_differ_and_a_good_part_has_its_banner_alone():
    pixels = np.full((240, 320, 3), 90, np.uint8)
    banners = {tuple(verdict_picture(pixels, [], name, ())[2, -2].tolist()) for name in ("good", "rework", "review",
                                                                                        "reject")}
    assert len(banners) == 4
    assert (verdict_picture(pixels, [], "good", ())[20:] == 90).all()


def test_labels_keep_off_each_other_and_inside():
    taken = []
    for x in (50, 60, 70, 310):
        place = _free((x, 100, x + 20, 120), (60, 14), (320, 240), taken)
        assert 0 <= place[0] < place[2] <= 320
        assert not any(place[0] < u2 and u1 < place[2] and place[1] < v2 and v1 < place[3]
                       for u1, v1, u2, v2 in taken)
        taken.append(place)
