"""The adapter to anomalib: one line where it is absent, and its answers measured as ours, by a stand-in for it."""
import csv
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from core.data.images import image_places, read_image
from core.errors import ConfigError
from core.metrics.decisions import auroc
from detect.anomalib_adapter import measure
from detect.anomaly_settings import AnomalyDataConfig
from tests.sets import write_coco


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("plates"), bad=4, good=30)


class Folder:
    def __init__(self, *, name, root, normal_dir, normal_test_dir, abnormal_dir, mask_dir, train_batch_size,
                 eval_batch_size, num_workers):
        self.learned = list(image_places(root / normal_dir).values())
        self.judged = [*image_places(root / normal_test_dir).values(), *image_places(root / abnormal_dir).values()]
        assert sorted(image_places(root / mask_dir)) == sorted(image_places(root / abnormal_dir))


class Engine:
    def __init__(self, *, default_root_dir, logger):
        pass

    def fit(self, model, datamodule):
        model.mean = np.mean([read_image(path).astype(float) for path in datamodule.learned], 0)

    def predict(self, model, datamodule):
        """A batch an image; the map is the distance from the mean of the good ones, at half the size."""
        for path in datamodule.judged:
            far = torch.from_numpy(np.abs(read_image(path) - model.mean).max(2))[None, ::2, ::2]
            yield SimpleNamespace(image_path=[str(path)], pred_score=far.amax().reshape(1, 1), anomaly_map=far)


@pytest.fixture
def installed(monkeypatch):
    parts = {"anomalib": {}, "anomalib.data": {"Folder": Folder}, "anomalib.engine": {"Engine": Engine},
             "anomalib.models": {"Mean": SimpleNamespace, "Padim": None}}
    for name, content in parts.items():
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        vars(sys.modules[name]).update(content)


def test_its_answers_are_measured_as_ours(installed, plates, tmp_path):
    values = measure(AnomalyDataConfig(root=plates, ratios=(0.4, 0.4, 0.2)), "Mean", tmp_path, share=0.1)
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    tested = rows[12:]                                      # after the held-out ones
    bad = np.array([row["defective"] == "1" for row in tested])
    assert bad.sum() == 4
    assert values["image/auroc"] == pytest.approx(auroc(np.array([float(row["score"]) for row in tested]), bad))
    assert values["pixel/auroc"] > 0.8
    assert values["image/hit"] + values["image/miss"] == 4
    assert json.loads((tmp_path / "metrics.json").read_text()) == values
    assert len(image_places(tmp_path / "maps")) == len(rows)
    with pytest.raises(ConfigError, match="has no model 'Pdim'. Did you mean 'Padim'"):
        measure(AnomalyDataConfig(root=plates), "Pdim", tmp_path)


def test_without_the_package_one_line_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "anomalib", None)
    monkeypatch.setattr("sys.argv", ["anomalib_model.py", "--model", "Padim", "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(Path(__file__).parents[2] / "scripts/anomalib_model.py"), run_name="__main__")
    assert left.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "pip install anomalib" in lines[0]
    assert not (tmp_path / "out").exists()
