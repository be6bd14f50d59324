"""The gate keeps real defects and finds planted faults: nothing to see, too large, a copy."""
import numpy as np
import pytest

from core.augment.gate import Gate
from core.augment.labels import tight_mask
from core.augment.settings import GateSettings
from tests.augment.boards import made


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return made(tmp_path_factory.mktemp("gate"), count=40)[1]


def test_real_defects_pass(bank):
    gate = Gate(bank, near_copy_off=True)
    verdicts = [gate.judge(crop.clean, crop.pixels, crop.mask, crop.label, crop.inner_box) for crop in bank.crops]
    assert np.mean([verdict.kept for verdict in verdicts]) > 0.9


def test_planted_empty_ones_are_found(bank):
    gate = Gate(bank)
    for number, crop in enumerate(bank.crops):
        noise = np.random.default_rng(number).normal(0, 1, crop.clean.shape)
        faint = (crop.clean + noise).clip(0, 255).astype(np.uint8)
        for changed in (crop.clean, faint):
            label = tight_mask(crop.clean, changed, crop.mask.astype(np.float32))
            assert not gate.judge(crop.clean, changed, label, crop.label, crop.inner_box).kept
            assert not gate.judge(crop.clean, changed, crop.mask, crop.label, crop.inner_box).kept


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flipped", [False, True])
def test_planted_copies_are_found_in_every_turn(bank, turns, flipped):
    gate, missed = Gate(bank), []
    for crop in bank.crops[::4]:
        parts = [np.rot90(part[:, ::-1] if flipped else part, turns) for part in (crop.clean, crop.pixels, crop.mask)]
        clean, changed, mask = (np.ascontiguousarray(part) for part in parts)
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        if gate.judge(clean, changed, mask, crop.label, box, place_given=True).kept:
            missed.append((crop.record, crop.label))
    assert missed == []


def test_reasons(bank):
    gate, crop = Gate(bank, near_copy_off=True), bank.crops[0]
    nothing = np.zeros_like(crop.mask)
    assert gate.judge(crop.clean, crop.pixels, nothing, crop.label, crop.inner_box).reason == "empty label"
    assert gate.judge(crop.clean, crop.clean, crop.mask, crop.label, crop.inner_box).reason == "not visible"
    x1, y1, *_ = crop.inner_box
    small = (x1, y1, x1 + 2, y1 + 2)
    assert gate.judge(crop.clean, crop.pixels, crop.mask, crop.label, small).reason == "too large"
    everything = np.ones_like(crop.mask)
    inverted = (255 - crop.clean.astype(int)).astype(np.uint8)
    whole = (0, 0, crop.mask.shape[1], crop.mask.shape[0])
    assert gate.judge(crop.clean, inverted, everything, crop.label, whole).reason in ("too large", "not visible")


def test_depth_does_not_matter(bank):
    crop, gate = bank.crops[0], Gate(bank, GateSettings(), near_copy_off=True)
    shallow = gate.judge(crop.clean, crop.pixels, crop.mask, crop.label, crop.inner_box)
    deep = gate.judge(crop.clean.astype(np.uint16) * 257, crop.pixels.astype(np.uint16) * 257, crop.mask, crop.label,
                      crop.inner_box)
    assert (deep.kept, deep.reason) == (shallow.kept, shallow.reason)
    assert deep.figures["contrast"] == pytest.approx(shallow.figures["contrast"], rel=1e-3)


def test_small_defects_may_be_more_alike(bank):
    gate = Gate(bank, GateSettings(near_copy=0.8))
    assert gate.copy_limit(0) == pytest.approx(0.9)
    assert gate.copy_limit(200) == pytest.approx(0.85)
    assert gate.copy_limit(5000) == gate.copy_limit(400) == 0.8


def test_what_shows_little_of_itself_is_not_visible(bank):
    gate, crop = Gate(bank, near_copy_off=True), bank.crops[0]
    x1, y1, x2, y2 = crop.inner_box
    wide = (x1 - 2 * (x2 - x1), y1 - 2 * (y2 - y1), x2 + 2 * (x2 - x1), y2 + 2 * (y2 - y1))
    judged = (crop.clean, crop.pixels, crop.mask, crop.label, wide)
    assert gate.judge(*judged).reason == "not visible"
    assert gate.judge(*judged, place_given=True).reason != "not visible"
