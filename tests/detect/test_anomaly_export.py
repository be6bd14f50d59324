"""A model of good images as an ONNX file: the same scores and maps as here, or no file."""
import json
import sys

import pytest
import torch

from core.data.images import read_image, write_image
from core.errors import ConfigError, OutputError
from core.onnx_packages import FACTS, PACKAGES
from detect import anomaly_export, screen
from detect.anomaly_data import prepared
from detect.anomaly_task import AnomalyTask
from tests.detect.test_anomaly_task import CPU, trained
from tests.sets import defective, write_coco

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    trained(write_coco(folder / "set", bad=2, good=24), folder / "anomaly", "data.resize_px=[64,48]",
            "loop.evaluate_every=1", steps=1)
    return folder / "anomaly"


@pytest.fixture(scope="module")
def packages():
    for name in PACKAGES:
        pytest.importorskip(name, reason=f"{name}, an extra, is not installed")


def test_the_file_judges_as_the_model_does(packages, run, tmp_path):
    import onnx
    import onnxruntime
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in/bad.png", defective(50)[0])
    found = AnomalyTask.export(run, tmp_path / "model.onnx", [], tmp_path / "in")
    assert found["difference"] < 1e-4
    facts = json.loads({one.key: one.value for one in onnx.load(tmp_path / "model.onnx").metadata_props}[FACTS])
    judge = screen.load(run, [], CPU)
    assert (facts["width"], facts["height"], facts["light"]) == (64, 48, "standard")
    assert facts["threshold"] == judge.limits.image
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    image = prepared(read_image(tmp_path / "in/bad.png"), judge.config.data, facts["light"])
    score, found = session.run(None, {"image": image[None].numpy()})
    assert score[0] == pytest.approx(judge(read_image(tmp_path / "in/bad.png")).score, rel=1e-4)
    assert found.shape == (1, 48, 64)


def test_other_answers_and_what_cannot_be_exported_leave_no_file(packages, run, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(ConfigError, match="the size of the images must be set"):
        AnomalyTask.export(run, path, ["data.resize_px=null"], None)
    with pytest.raises(ConfigError, match="finding the part is not in the file"):
        AnomalyTask.export(run, path, ["data.foreground.method=otsu"], None)
    monkeypatch.setattr(anomaly_export, "MOST_APART", 1e-12)
    with pytest.raises(OutputError, match="not written, for its answers differ"):
        AnomalyTask.export(run, path, [], None)
    monkeypatch.setattr(anomaly_export, "MOST_MIB", 0)
    with pytest.raises(ConfigError, match="too much is remembered"):
        AnomalyTask.export(run, path, [], None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match="pip install -r requirements-extras.txt"):
        AnomalyTask.export(run, path, [], None)
    assert not path.exists()
