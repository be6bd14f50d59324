"""The bench's figures of short trainings: every row is there, and the ones that need no training are sound."""
import re

import pytest
import torch

from midg import figures


@pytest.fixture
def rows(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, value in (("LEARNT", 14), ("UNSEEN", 5), ("SIDE_PX", 64), ("WIDTH", 2)):
        monkeypatch.setattr(figures, name, value)
    yield {what: (figure, beside) for what, figure, beside in figures.rows(tmp_path, 1, 1)}
    torch.set_num_threads(before)


def test_rows(rows):
    names = " ".join(rows)
    for wanted in ("model 1 as published", "model 1 corrected", "an ellipse", "model 3 against", "copy-paste against",
                   "no defect against", "copy-paste: kernel distance"):
        assert wanted in names
    ellipse = next(figure for what, (figure, _) in rows.items() if "an ellipse" in what)
    precision, recall = map(float, re.fullmatch(r"P ([\d.]+)  R ([\d.]+)", ellipse).groups())
    assert 0.5 < precision < 1
    assert 0.5 < recall <= 1
    copied, nothing = (float(rows[f"fpc, {name} against the real defect: PSNR in the mask"][0].split()[0])
                       for name in ("copy-paste", "no defect"))
    assert copied > nothing + 1
