"""The grain of defects: measured where a network paints none, drawn again alike, and only where there is paint."""
import numpy as np
import pytest
import torch

from core.seeding import rng
from midg import grain
from midg.maps import Maps
from midg.networks import DefectGenerator
from tests.midg.painters import untrained

SIDE_PX = 64


class Flat(DefectGenerator):
    """Paints everything in one grey."""

    def paint_over(self, x, attention, label=None):
        return torch.full_like(x[:, :3], 0.4), torch.ones_like(x[:, :1])


def noise(number: int, mixing: np.ndarray, fineness_px: float) -> np.ndarray:
    """float32 [3, H, W]: smoothed noise in the colours of `mixing`."""
    kernel = np.exp(-np.arange(-9, 10) ** 2 / (2 * fineness_px ** 2))
    kernel /= np.sqrt((kernel ** 2).sum())
    white = rng(4, number).standard_normal((3, SIDE_PX, SIDE_PX))
    for axis in (1, 2):
        white = np.apply_along_axis(np.convolve, axis, white, kernel, "same")
    return np.einsum("cd,dhw->chw", mixing, white).astype(np.float32)


def batch(pictures: list[np.ndarray], labels: list[int]) -> Maps:
    planes = torch.zeros(len(pictures), 1, SIDE_PX, SIDE_PX)
    mask = planes.clone()
    mask[:, :, 12:-12, 12:-12] = 1
    image = torch.from_numpy(np.stack(pictures))
    return Maps(image, image * 0, planes, planes, planes, mask, planes, torch.tensor(labels), torch.zeros(len(labels)))


@pytest.mark.parametrize("fineness_px", [0.7, 2.0])
def test_what_is_drawn_has_the_colours_and_the_fineness_of_what_was_measured(fineness_px):
    mixing = np.array([[0.06, 0, 0], [0.03, 0.02, 0], [0.01, 0, 0.01]])
    maps = batch([0.4 + noise(number, mixing, fineness_px) for number in range(12)], [0] * 12)
    stored = grain.measured(Flat(2, blend=True), [maps], 1)
    made = np.stack([grain.drawn(stored, 0, SIDE_PX, rng(number)) for number in range(20)])
    covariance = np.cov(made.transpose(1, 0, 2, 3).reshape(3, -1))
    assert np.allclose(covariance, mixing @ mixing.T, atol=0.15 * (mixing @ mixing.T).max())
    for step in (1, 2, 3):
        alike = (made[..., step:] * made[..., :-step]).mean() / (made ** 2).mean()
        assert alike == pytest.approx(np.exp(-step ** 2 / (4 * fineness_px ** 2)), abs=0.12)


def test_a_wrong_colour_or_place_is_no_grain():
    step = np.zeros((3, SIDE_PX, SIDE_PX), np.float32)
    step[:, :20] = 0.5                              # a quarter of the mask is something else
    fine = noise(0, np.eye(3) * 0.01, 1.0)
    stored = grain.measured(Flat(2, blend=True), [batch([0.7 + fine + step], [0])], 1)
    assert np.sqrt(np.trace(stored["mixing"][0] @ stored["mixing"][0].T) / 3) < 0.025


def test_classes_have_their_own_and_rare_ones_none():
    rough, smooth = (0.4 + noise(number, np.eye(3) * size, 1.0) for number, size in ((1, 0.1), (2, 0.01)))
    few = batch([rough], [2])
    few.mask[:, :, 22:] = 0
    few.mask[..., 40:] = 0
    classed = Flat(2, blend=True, classes=3)
    stored = grain.measured(classed, [batch([rough, smooth], [0, 1]), few], 3)
    sizes = [np.sqrt(np.trace(mixing @ mixing.T) / 3) for mixing in stored["mixing"]]
    assert sizes[0] == pytest.approx(0.1, rel=0.2)
    assert sizes[1] == pytest.approx(0.01, rel=0.2)
    assert sizes[2] == 0


def test_thin_paint_gets_none():
    class Thin(Flat):
        def paint_over(self, x, attention, label=None):
            colour, opacity = super().paint_over(x, attention, label)
            return colour, 0.6 * opacity

    maps = batch([0.4 + noise(1, np.eye(3) * 0.1, 1.0)], [0])
    assert not grain.measured(Thin(2, blend=True), [maps], 1)["mixing"].any()
    assert grain.measured(Flat(2, blend=True), [maps], 1)["mixing"].any()


def test_nothing_to_measure_is_no_grain(tmp_path):
    maps = batch([np.full((3, SIDE_PX, SIDE_PX), 0.4, np.float32)], [0])
    stored = grain.measured(Flat(2, blend=True), [maps], 1)
    assert not grain.drawn(stored, 0, SIDE_PX, rng(0)).any()
    assert grain.kept(tmp_path) == {}
    grain.keep(stored, tmp_path)
    first = (tmp_path / grain.FILE).read_bytes()
    grain.keep(grain.kept(tmp_path), tmp_path)
    assert (tmp_path / grain.FILE).read_bytes() == first


def test_a_painter_adds_it_to_the_paint_alone():
    painter, picture = untrained(("pit",)), torch.full((3, 48, 48), 0.5)
    mask = np.zeros((48, 48), bool)
    mask[15:35, 10:30] = True
    assert painter.paint(picture, mask, "pit", rng(1)).grain is None
    painter.parts[1][1].update({"grain.mixing": np.eye(3, dtype=np.float32)[None] * 0.1,
                                "grain.kernel": np.ones((1, 1, 1), np.float32)})
    plain, rough = (again.paint(picture, mask, "pit", rng(1)) for again in (untrained(("pit",)), painter))
    assert (plain.image == rough.image).all()
    assert 0 < rough.grain[:, 15:35, 10:30].std() < 0.1
    for side, roughened in ((72, True), (144, False)):      # a window that is shrunk keeps the picture's own grain
        margin = (side - 48) // 2
        painted = painter.paint(torch.full((3, side, side), 0.5), np.pad(mask, margin), "pit", rng(1))
        assert (painted.grain is not None) == roughened
        assert painted.grain is None or painted.grain.shape == (3, side, side)
