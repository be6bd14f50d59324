"""How often a rejected defect is tried again, on which images, and what the manifest and the advice say of it."""
from itertools import groupby
from pathlib import Path

import pytest

from core.augment.advice import shortfall
from core.augment.maker import Maker
from core.augment.pipeline import augment, learn, maker_of, read_verified
from core.augment.settings import AugmentConfig
from tests.outputs import manifest
from tests.sets import write_coco


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("tiny") / "set")


@pytest.mark.parametrize("retries", [0, 1, 2, 4])
def test_a_defect_that_never_passes_has_exactly_the_tries_asked_for(data, tmp_path, retries):
    augment(AugmentConfig(data=data, output=tmp_path / "out", count=3, placement={"per_image": (2, 2)},
                          gate={"outgrown": 1e-9, "retries": retries}))
    for line in manifest(tmp_path / "out"):
        assert line["attempts"] == len(line["rejected"]) == 2 * (1 + retries)
        tries = [(entry["number"], entry["attempt"]) for entry in line["rejected"]]
        assert sorted(tries) == [(number, attempt) for number in range(2) for attempt in range(1 + retries)]
        drawn_on = [entry["source"] for entry in line["rejected"]]
        assert len(list(groupby(drawn_on))) <= min(3, 1 + retries)
        assert drawn_on[-1] == line["source"]


def test_beside_a_drawn_defect_a_third_of_the_tries_is_made(data, tmp_path, monkeypatch):
    """One defect of each image passes at its second try, the other never does."""
    def judged(self, canvas, want, label, occupied, stream, clock):
        if occupied or stream.random() < 0.5:
            return {"reason": "not visible", "box": None, "figures": {}}
        return {"box": [1, 1, 9, 9], "rle": None, "area_px": 64, "wanted": [1, 1, 9, 9], "from": "", "figures": {}}
    monkeypatch.setattr(Maker, "_defect", judged)
    config = AugmentConfig(data=data, output=tmp_path / "out", count=1, placement={"per_image": (2, 2)},
                           gate={"retries": 20})
    maker = maker_of(config, learn(config, read_verified(config)[0]))
    lines = [maker.make(index).line for index in range(8)]
    for line in lines:
        (drawn,) = line["defects"]
        failed = [entry["attempt"] for entry in line["rejected"] if entry["number"] != drawn["number"]]
        assert failed == list(range(7))
    tries = sum(line["attempts"] for line in lines)
    assert tries > 8 * 8, "some defect should have been drawn at a later try"
    assert "8 of 16 defects were given up: 56 of 56 tries at them failed as 'not visible'" in shortfall(lines)
