"""Model 9 as a command: its network trains and goes on, good is remembered with a threshold, files are judged."""
import csv
import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet

from core import checkpoint, experiment
from core.config import load
from core.data.images import read_image, write_image
from core.errors import CheckpointError, ConfigError, DataError
from core.loop import train
from core.runlog import open_run
from detect import screen
from detect.anomaly_data import Crops, good_of, open_data
from detect.anomaly_settings import AnomalyConfig, AnomalyDataConfig, TrainConfig
from detect.anomaly_task import AnomalyTask
from detect.feature_sources import IMAGENET, FeaturesConfig, build
from tests.sets import defective, plate, write_coco

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SMALL = ["train.crop_px=48", "train.widths=[4,8,8]", "threshold.false_alarms=0.2", "loop.batch_size=2",
         "loop.workers=0", "loop.report_every=2", "model.sampled=2000", "model.most=60", "panels=2"]
PLAIN = [option for option in SMALL if not option.startswith("model.")]


def trained(root, run, *options, steps, small=SMALL):
    config = load(AnomalyConfig, None, [f"data.root={root}", f"loop.steps={steps}", *small, *options])
    folder = open_run(run, config.model_dump(mode="json"))
    task = experiment.build(AnomalyTask, config, CPU, folder)
    assert train(task, config.loop, folder, device=CPU) == 0
    return task


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def built(root, *options):
    return AnomalyTask(load(AnomalyConfig, None, [f"data.root={root}", *options]), CPU)


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("plates"), bad=5, good=30)


@pytest.fixture(scope="module")
def run(plates, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "anomaly"
    trained(plates, folder, "loop.evaluate_every=4", steps=4)
    return folder


def test_good_parts_are_learned_from_and_parts_with_a_defect_are_not(plates):
    dataset, _ = open_data(AnomalyDataConfig(root=plates))
    assert all(record.is_good for record in (*dataset.of_split("train"), *dataset.of_split("val")))
    assert len([record for record in dataset.of_split("test") if record.instances]) == 5
    assert len(good_of(dataset, "train")) > len(good_of(dataset, "val")) > 4


def test_figures_scores_and_pictures_of_an_evaluation(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "evaluate"][-1]
    assert {"image/auroc", "image/escape", "image/f1_max", "auroc/spot", "pixel/auroc", "pixel/aupro_30"} <= set(last)
    assert last["image/auroc"] > 0.8
    rows = table(run / "samples" / "step-00000004" / "scores.csv")
    assert {row["class"] for row in rows} == {"good", "spot"}
    above = [float(row["score"]) > last["threshold"] for row in rows]
    assert [row["rejected"] == "1" for row in rows] == above
    assert read_image(run / "samples" / "step-00000004" / "panels.png").shape[0] > 2 * 96


def test_it_goes_on_as_if_it_had_never_stopped(plates, tmp_path):
    options = ("loop.evaluate_every=100", "loop.save_every=2")
    once = trained(plates, tmp_path / "run", *options, steps=4)
    before = {name: value.clone() for name, value in once.network.state_dict().items()}
    memory = torch.load(tmp_path / "run" / "memory.pt", weights_only=True)
    for name in ("step-00000004.pt", "memory.pt"):
        (tmp_path / "run" / name).unlink()
    again = trained(plates, tmp_path / "run", *options, steps=4)
    assert all(torch.equal(value, before[name]) for name, value in again.network.state_dict().items())
    made = torch.load(tmp_path / "run" / "memory.pt", weights_only=True)
    assert torch.equal(made["learned"]["bank"], memory["learned"]["bank"])
    assert made["beside"] == memory["beside"]


@pytest.mark.parametrize(("light", "least", "most"), [("plain", 0, 1), ("standard", -20, 20)])
def test_crops_with_defects_keep_to_their_scale(plates, light, least, most):
    dataset, _ = open_data(AnomalyDataConfig(root=plates))
    crops = Crops(good_of(dataset, "train"), AnomalyDataConfig(root=plates), TrainConfig(crop_px=48), light, 0, True)
    made = [crops[number % len(crops), number] for number in range(24)]
    assert all(least <= image.min() and image.max() <= most and image.shape == (3, 48, 48) for image, _ in made)
    assert all(torch.equal(*pair) for pair in zip(crops[3, 5], crops[3, 5]))
    assert 8 < sum(bool(mask.any()) for _, mask in made) < 24
    assert len({round(float(image.mean()), 4) for image, _ in made}) > 20


def test_files_are_judged(run, tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    write_image(tmp_path / "in" / "a" / "bad.png", defective(50)[0])
    write_image(tmp_path / "in" / "good.png", plate(51))
    found = AnomalyTask.apply(run, {"input": tmp_path / "in"}, tmp_path / "out", [], CPU)
    told = {one["image"]: one for one in json.loads((tmp_path / "out" / "scores.json").read_text())}
    assert found["images"] == 2
    assert told["a/bad"]["score"] > told["good"]["score"]
    assert told["a/bad"]["verdict"] == "defect"
    assert 0 < told["a/bad"]["p_value"] <= told["good"]["p_value"] <= 1
    mask = read_image(tmp_path / "out" / "found" / "a" / "bad.png")[..., 0] > 0
    assert mask.sum() == sum(part["area_px"] for part in told["a/bad"]["findings"]) > 0
    assert read_image(tmp_path / "out" / "heat" / "good.jpg").shape == (96, 112, 3)
    rows = table(tmp_path / "out" / "scores.csv")
    assert [row["verdict"] for row in rows] == [told[row["image"]]["verdict"] for row in rows]
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"(?s)broken.png.*1 of 3 images could not be read"):
        AnomalyTask.apply(run, {"input": tmp_path / "in"}, tmp_path / "out", [], CPU)
    with pytest.raises(ConfigError, match="--mask: not for anomaly detection"):
        AnomalyTask.apply(run, {"input": tmp_path, "mask": tmp_path}, tmp_path / "out", [], CPU)


def test_further_good_images_are_learned(run, tmp_path, monkeypatch, capsys):
    folder, further = tmp_path / "anomaly", tmp_path / "new"
    shutil.copytree(run, folder)
    further.mkdir()
    write_image(further / "new.png", 255 - plate(60))       # unlike the others, until it is learned
    before = screen.load(folder, [], CPU)
    assert before(255 - plate(60)).rejected

    def start(*options) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["update_screen.py", *map(str, options), "--device", "cpu"])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(Path(__file__).parents[2] / "scripts/update_screen.py"), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    code, text = start("--checkpoints", tmp_path, "--good", further)
    assert (code, "1 images learned" in text) == (0, True), text
    after = screen.load(folder, [], CPU)
    assert not after(255 - plate(60)).rejected
    assert int(after.model.seen) > int(before.model.seen)
    code, text = start("--checkpoints", tmp_path, "--good", tmp_path / "none")
    assert code == 2, text


def test_a_large_frame_and_one_of_sixteen_bits_are_judged(run):
    judge = screen.load(run, ["data.tile_px=64"], CPU)
    pixels = defective(9, (150, 130))[0]
    deep = pixels.astype(np.uint16) * 257
    assert judge(pixels).map.shape == (130, 150)
    assert judge(deep).score == pytest.approx(judge(pixels).score, rel=1e-3)


def test_weights_that_are_not_those_of_the_memory_are_refused(run, plates, tmp_path):
    trained(plates, tmp_path / "anomaly", "loop.seed=5", "loop.evaluate_every=9", steps=1)
    (tmp_path / "anomaly" / "memory.pt").write_bytes((run / "memory.pt").read_bytes())
    with pytest.raises(CheckpointError, match="was made with other features"):
        screen.load(tmp_path / "anomaly", [], CPU)
    (tmp_path / "anomaly" / "memory.pt").unlink()
    with pytest.raises(CheckpointError, match="holds no memory.pt"):
        screen.load(tmp_path / "anomaly", [], CPU)


@pytest.mark.parametrize("model", ["fastflow", "efficientad", "padim", "patchcore"])
def test_features_of_a_trained_run_serve_every_model(run, plates, tmp_path, model):
    steps = 2 if model in ("fastflow", "efficientad") else 1
    options = ["features.kind=network", f"features.file={run}", "features.layers=[down.1,up.0]"]
    options += ["model.aligned=true"] if model == "padim" else []
    trained(plates, tmp_path / "anomaly", f"model.name={model}", *options, "loop.evaluate_every=2", steps=steps,
            small=PLAIN)
    assert np.isfinite(screen.load(tmp_path / "anomaly", [], CPU)(plate(3)).score)


@pytest.mark.parametrize(("options", "error", "message"), [
    (["threshold.false_alarms=0.01"], DataError, "too few held-out good images for 1.00% false alarms, got 6. Give at"),
    (["features.kind=random"], ConfigError, "'loop.steps' must be 1 for patchcore"),
    (["model.name=fastflow"], ConfigError, "'features.kind' must be trained already for fastflow"),
    (["model.name=padim"], ConfigError, "'aligned' must be said to be true"),
    (["features.layers=[down.9]"], ConfigError, "no layer 'down.9'"),
    (["features.kind=network"], ConfigError, "'file' goes with kind weights or network"),
    (["features.kind=network", "features.file=x/midg", "loop.steps=1"], ConfigError, "must be the folder of a run of"),
    (["features.kind=weights", "features.file=none.pth", "loop.steps=1"], CheckpointError, "no such file of weights")])
def test_what_cannot_be_is_one_line(plates, options, error, message):
    small = PLAIN if any(option.startswith("model.name") for option in options) else SMALL
    with pytest.raises(error, match=message):
        built(plates, "loop.steps=2", *small, *options)


def test_no_good_image_is_one_line(tmp_path):
    with pytest.raises(DataError, match="no good image to learn from"):
        open_data(AnomalyDataConfig(root=write_coco(tmp_path / "bad", bad=3, good=0)))


def test_weights_of_a_file_serve_and_those_of_another_network_are_named(tmp_path):
    network = resnet.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "r18.pth")
    features = build(FeaturesConfig(kind="weights", file=tmp_path / "r18.pth"), CPU, None, 0)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        mean, deviation = (torch.tensor(values)[:, None, None] for values in IMAGENET)
        x = (image - mean) / deviation
        x = network.eval().maxpool(network.relu(network.bn1(network.conv1(x))))
        second = network.layer2(network.layer1(x))
    found = features(image)
    assert found.shape == (1, 384, 8, 12)
    assert torch.allclose(found[0, :128, 3, 4], second[0, :, 2:5, 3:6].mean((1, 2)), atol=1e-5)
    with pytest.raises(ConfigError, match=r"of another network than resnet50, got .*: no 'layer1.0.conv3.weight'"):
        build(FeaturesConfig(kind="weights", file=tmp_path / "r18.pth", backbone="resnet50"), CPU, None, 0)


def test_a_checkpoint_without_its_network_is_named(run, plates, tmp_path, capsys):
    trained(plates, tmp_path / "anomaly", "features.kind=random", "loop.evaluate_every=9", steps=1)
    assert "have learned nothing" in capsys.readouterr().err
    assert "module/features" not in checkpoint.load(tmp_path / "anomaly" / "step-00000001.pt")["parts"]
    with pytest.raises(CheckpointError, match="trained no network of synthetic defects"):
        built(plates, "loop.steps=1", *SMALL, "features.kind=network", f"features.file={tmp_path / 'anomaly'}")
