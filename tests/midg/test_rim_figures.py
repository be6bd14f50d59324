"""Figures of a change tell where it joins what is round it, and are the same however the picture lies."""
import numpy as np
import pytest

from midg.rim_figures import FIGURES, REACHES_PX, changed_area, rim_figures, run_lengths

DARK, BRIGHT = (0.1, 0.3, 0.15), (0.7, 0.65, 0.35)


def changed(box, colour) -> tuple[np.ndarray, np.ndarray]:
    """Two horizontal conductors on a dark ground, without and with a change, float32 [64, 64, 3]."""
    clean = np.full((64, 64, 3), DARK, np.float32)
    clean[10:22] = clean[38:50] = BRIGHT
    image, (x1, y1, x2, y2) = clean.copy(), box
    image[y1:y2, x1:x2] = colour
    return clean, image


@pytest.mark.parametrize(("box", "colour", "runs"), [
    ((30, 8, 36, 24), DARK, 2), ((30, 8, 36, 17), DARK, 1), ((28, 20, 34, 40), BRIGHT, 2),
    ((28, 20, 34, 31), BRIGHT, 1), ((26, 26, 36, 34), BRIGHT, 0)])
def test_runs_of_its_own_kind_along_the_rim(box, colour, runs):
    clean, image = changed(box, colour)
    figures = rim_figures(clean, image)
    assert figures.shape == (FIGURES,)
    assert figures.dtype == np.float32
    assert figures[10 + 5 * REACHES_PX.index(2)] == runs
    near = 10 + 5 * REACHES_PX.index(4)
    for turn in (1, 2, 3):
        again = rim_figures(np.rot90(clean, turn), np.rot90(image, turn))
        assert np.allclose(again[:near], figures[:near], atol=0.06)


def test_specks_are_left_out_and_equal_pictures_give_nothing():
    clean, image = changed((26, 26, 36, 34), BRIGHT)
    area = changed_area(clean, image)
    image[60, 60] = BRIGHT
    assert area.sum() > 60
    assert np.array_equal(changed_area(clean, image), area)
    assert not rim_figures(clean, clean).any()


def test_runs_go_round_the_line_and_single_px_do_not_count():
    flags = np.zeros(12, bool)
    assert run_lengths(flags) == []
    assert run_lengths(~flags) == [12]
    flags[[11, 0, 1, 5, 8, 9]] = True
    assert sorted(run_lengths(flags)) == [2, 3]
