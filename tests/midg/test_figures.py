"""The bench's figures of short trainings: every row is there, and the ones that need no training are sound."""
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from midg import figures
from midg.data import grown
from midg.edges import canny


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
    for wanted in ("model 1 with the published losses and boxes, box", "model 1 corrected, shape", "an ellipse",
                   "the shape mask shrunk by 5 px", "model 3 against", "model 3 without its grain against",
                   "copy-paste against", "no defect against",
                   "copy-paste: kernel distance", "model 3: distance of 3 seeds in one place"):
        assert wanted in names
    (ellipse, outline) = (map(float, re.fullmatch(r"P ([\d.]+)  R ([\d.]+)", figure).groups())
                          for what, (figure, beside) in rows.items() if beside.endswith("no learning"))
    assert all(0.5 < value < 1 for value in ellipse)
    assert all(0.7 < value <= 1 for value in outline), "the shape is given but for its margin"
    copied, nothing = (float(rows[f"fpc, {name} against the real defect: PSNR in the mask"][0].split()[0])
                       for name in ("copy-paste", "no defect"))
    assert copied > nothing + 1


def test_a_shrunk_mask_has_its_edges_where_the_shape_had_them():
    shape = np.zeros((64, 64), np.uint8)
    cv2.ellipse(shape, (30, 33), (14, 9), 40, 0, 360, 1, -1)
    margin = sum(figures.data(Path()).margin_px) // 2
    assert margin == figures.MARGIN_PX
    mask = grown(shape > 0, margin)
    true, found = (canny(torch.from_numpy(area.astype(np.float64))[None], 1.0)[0].numpy()
                   for area in (shape, figures.shrunk(mask)))
    assert found.any()
    assert cv2.distanceTransform((~true).astype(np.uint8), cv2.DIST_L2, 5)[found].max() <= 2
