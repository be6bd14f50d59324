"""The patch classifier learns, calibrates itself on val, shows where, and judges images of any size."""
import csv
import json

import numpy as np
import pytest
import torch

from core import experiment
from core.config import load
from core.data.images import read_image
from core.data.records import Dataset
from core.errors import ConfigError, DataError
from core.loop import train
from core.metrics import calibration
from core.runlog import open_run
from detect import classify_networks
from detect.classify import ClassifyTask, build
from detect.classify_apply import apply
from detect.classify_apply import load as load_judge
from detect.classify_settings import ClassifierConfig, ClassifyConfig
from detect.data import open_data
from detect.patches import heated, scaled
from detect.settings import DataConfig

CPU = torch.device("cpu")
SMALL = ["network.name=small", "network.side_px=48", "data.crop_px=48", "tiles.overlap_px=16", "optim.warmup_steps=5",
         "optim.learning_rate=0.003", "loop.batch_size=8", "loop.workers=0", "loop.steps=60", "loop.evaluate_every=60",
         "loop.report_every=10", "panels=2"]


@pytest.fixture(scope="module")
def run(root):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = root / "runs" / "classify"
    config = load(ClassifyConfig, None, [f"data.root={root}", *SMALL])
    made = open_run(folder, config.model_dump(mode="json"))
    assert train(experiment.build(ClassifyTask, config, CPU, made), config.loop, made, device=CPU) == 0
    torch.set_num_threads(before)
    return folder


def test_it_learns_and_is_measured_with_what_val_chose(run, tmp_path):
    evaluations = json.loads((run / "training_history.json").read_text())["evaluations"]
    first, last = (one["val"] for one in evaluations)
    assert last["patch/nll"] < 0.8 * first["patch/nll"]
    assert last["patch/nll"] <= last["patch/nll_raw"] + 1e-6
    kept = json.loads((run / "threshold.json").read_text())
    assert kept["temperature"] == last["patch/temperature"]
    config = load(ClassifyConfig, run / "config.yaml", ["data.evaluate_on=test"])
    task = experiment.build(ClassifyTask, config, CPU, run, keep=False)
    found = task.evaluate(tmp_path)
    assert (found["patch/temperature"], found["image/threshold"]) == (kept["temperature"], kept["threshold"])
    assert {"image/escape_low", "image/auroc_high"} <= set(json.loads((tmp_path / "figures.json").read_text()))
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_without_defects_in_val_it_is_said_what_counts(root, tmp_path, capsys, monkeypatch):
    good = [record for record in open_data(DataConfig(root=root))[0].of_split("val") if record.is_good]
    monkeypatch.setattr(Dataset, "of_split", lambda self, split: tuple(good) if split == "val" else tuple(
        record for record in self.records if record.split == split))
    task = ClassifyTask(load(ClassifyConfig, None, [f"data.root={root}", *SMALL]), CPU)
    told = capsys.readouterr().err
    assert "note: no defect in val: no threshold is chosen there and threshold.value 0.5 counts" in told
    assert "image/threshold" not in task.evaluate(tmp_path)


def test_its_heat_lies_on_the_defect(run, root):
    judge, _ = load_judge(run, [], CPU)
    document = json.loads((root / "annotations/test.json").read_text())
    inside, outside = [], []
    for one in document["annotations"]:
        name = next(image["file_name"] for image in document["images"] if image["id"] == one["image_id"])
        heat = judge(read_image(root / "images" / name)).heat
        x, y, width, height = map(int, one["bbox"])
        inside.append(heat[y:y + height, x:x + width].mean())
        outside.append(np.delete(heat, np.s_[max(0, y - 8):y + height + 8], 0).mean())
    assert np.mean(inside) > np.mean(outside) + 0.1


def test_it_is_applied_to_files(run, root, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for kind in ("notok", "good"):
        (source / f"{kind}.png").write_bytes(sorted((root / "images/test").glob(f"{kind}*.png"))[0].read_bytes())
    (source / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match="1 of 3 images could not be read"):
        apply(run, {"input": source}, tmp_path / "out", [], CPU)
    rows = {row["image"]: row for row in csv.DictReader((tmp_path / "out/summary.csv").read_text().splitlines())}
    assert float(rows["notok"]["chance"]) > float(rows["good"]["chance"])
    assert int(rows["notok"]["patches"]) == 2
    assert read_image(tmp_path / "out/heat/good.jpg").shape == (48, 64, 3)
    with pytest.raises(ConfigError, match="--mask: not for the patch classifier"):
        apply(run, {"mask": source}, tmp_path / "x", [], CPU)


@pytest.mark.parametrize("name", ["small", "resnet18", "efficientnet_b0", "efficientnet_b4"])
def test_the_map_makes_the_answer(name):
    torch.manual_seed(0)
    network = classify_networks.build(name).eval()
    with torch.no_grad():
        logits, places = network(torch.rand(2, 3, 64, 64))
    flat = places.flatten(1)
    assert (flat.min(1).values <= logits).all()
    assert (logits <= flat.max(1).values + 1e-6).all()
    if name != "small":
        assert torch.allclose(logits, flat.mean(1))


def test_weights_of_another_network_are_refused(tmp_path):
    state = classify_networks.resnet.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "w.pth")
    made = build(ClassifierConfig(name="resnet18", weights=str(tmp_path / "w.pth")))
    assert torch.equal(made.body[0].weight, state["conv1.weight"])
    with pytest.raises(ConfigError, match="of another network than efficientnet_b0"):
        build(ClassifierConfig(name="efficientnet_b0", weights=str(tmp_path / "w.pth")))
    with pytest.raises(ValueError, match="must be none for 'small'"):
        ClassifierConfig(name="small", weights="download")


def test_temperature_undoes_what_was_multiplied():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, 4000)
    truth = random.random(4000) < calibration.chance(logits)
    assert calibration.temperature(3 * logits, truth) == pytest.approx(3, rel=0.15)
    assert calibration.calibration_error(calibration.chance(logits), truth) < 0.03
    assert calibration.calibration_error(calibration.chance(3 * logits), truth) > 0.05
    assert calibration.log_loss(np.zeros(4), [True, False] * 2) == pytest.approx(np.log(2))
    assert calibration.temperature([1.0, 2.0], [True, True]) == 1.0


def test_pictures_are_tinted_by_a_fixed_scale():
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert np.array_equal(heated(grey, np.zeros((4, 4), np.float32)), grey)
    assert heated(grey, np.ones((4, 4), np.float32))[0, 0, 0] > 150
    assert scaled([torch.rand(3, 64, 64)], 32).shape == (1, 3, 32, 32)
