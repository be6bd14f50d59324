"""The detector trains, goes on exactly, is measured with val's threshold, and is applied to files."""
import csv
import json
import math
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torchvision.models.detection.roi_heads import paste_masks_in_image

from core import checkpoint, experiment
from core.config import load
from core.data import formats
from core.data.images import image_places, read_image
from core.data.records import Instance, Record
from core.errors import CheckpointError, ConfigError, DataError
from core.loop import train
from core.runlog import open_run
from detect import portable
from detect.apply import apply
from detect.apply import load as load_inspector
from detect.data import anchor_sides, open_data
from detect.models import build
from detect.predict import mask_crop
from detect.settings import DetectConfig, NetworkConfig
from detect.task import DetectTask, doubts, settled

CPU = torch.device("cpu")
SMALL = ["network.name=small", "network.side_px=64", "network.anchors_px=[8,16,32,64,96]", "network.proposals=50",
         "network.regions=32", "loop.batch_size=2", "loop.workers=0", "loop.clip_norm=10", "optim.warmup_steps=5",
         "optim.learning_rate=0.02", "frame.tile_px=64", "frame.overlap_px=8", "frame.foreground.method=none",
         "loop.report_every=5", "panels=2"]


def trained(root, folder, *options, steps):
    config = load(DetectConfig, None, [f"data.root={root}", f"loop.steps={steps}", *SMALL, *options])
    run = open_run(folder, config.model_dump(mode="json"))
    task = experiment.build(DetectTask, config, CPU, run)
    assert train(task, config.loop, run, device=CPU) == 0
    return task


@pytest.fixture(scope="module")
def run(root):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = root / "runs" / "detect"
    trained(root, folder, "loop.evaluate_every=40", steps=40)
    torch.set_num_threads(before)
    return folder


def test_losses_fall_and_the_course_is_kept(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    totals = [line["network/total"] for line in lines if line["kind"] == "train"]
    assert np.isfinite(totals).all()
    assert np.mean(totals[-2:]) < 0.7 * totals[0]
    history = json.loads((run / "training_history.json").read_text())
    assert [one["step"] for one in history["evaluations"]] == [0, 40]
    assert {"segm/AP", "bbox/AP50", "image/auroc", "image/escape"} <= set(history["evaluations"][-1]["val"])
    assert "network/mask" in history["evaluations"][-1]["train"]
    kept = json.loads((run / "threshold.json").read_text())
    assert kept["threshold"] == next(one["val"]["image/threshold"] for one in history["evaluations"]
                                     if one["step"] == kept["step"])
    assert json.loads((run / "classes.json").read_text()) == ["pit"]
    pictures = {path.stem.partition("__")[0] for path in (run / "samples" / "step-00000040").glob("*.png")}
    assert pictures == {"scores", "val_notok", "val_good"}
    assert (run / "samples" / "training.png").is_file()


def test_it_goes_on_as_if_it_had_never_stopped(root, tmp_path, one_thread):
    options = ("loop.evaluate_every=100", "loop.save_every=2")
    once = trained(root, tmp_path / "run", *options, steps=4)
    before = {name: value.clone() for name, value in once.network.state_dict().items()}
    (tmp_path / "run" / "step-00000004.pt").unlink()
    again = trained(root, tmp_path / "run", *options, steps=4)
    assert checkpoint.load(tmp_path / "run" / "step-00000002.pt")["step"] == 2
    for (name, one), other in zip(before.items(), again.network.state_dict().values()):
        assert torch.equal(one, other), name


def test_on_test_the_threshold_of_val_is_used(run, tmp_path):
    config = load(DetectConfig, run / "config.yaml", ["data.evaluate_on=test", "panels=0"])
    task = experiment.build(DetectTask, config, CPU, run, keep=False)
    task.network.eval()
    kept = json.loads((run / "threshold.json").read_text())["threshold"]
    assert task.evaluate(tmp_path)["image/threshold"] == kept
    every = json.loads((tmp_path / "figures.json").read_text())
    assert {"image/escape_low", "segm/AP_q1", "bbox/AR10", "segm/AP/pit"} <= set(every)


def test_without_defects_in_val_there_are_no_verdicts_and_training_goes_on(run, tmp_path):
    config = load(DetectConfig, run / "config.yaml", ["panels=0"])
    task = experiment.build(DetectTask, config, CPU, run, keep=False)
    task.network.eval()
    task.held_out = tuple(record for record in task.held_out if record.is_good)
    assert task.evaluate(tmp_path) == {}
    lines = doubts([*task.held_out], ("pit",), "val")
    assert [line.split(":")[1].split("'")[0] for line in lines] == [" class ", " no defect in val"]
    fixed = config.model_copy(update={"threshold": config.threshold.model_copy(update={"rule": "fixed"})})
    task.config = fixed
    assert task.evaluate(tmp_path)["image/threshold"] == 0.5


def test_it_is_applied_to_files_and_results_can_be_read_back(run, root, tmp_path):
    (tmp_path / "in").mkdir()
    source = sorted((root / "images/test").glob("notok*.png"))[0]
    (tmp_path / "in/a.png").write_bytes(source.read_bytes())
    (tmp_path / "in/broken.png").write_bytes(b"not a picture")
    (tmp_path / "in/b.png").write_bytes(sorted((root / "images/test").glob("good*.png"))[0].read_bytes())
    with pytest.raises(DataError, match="1 of 3 images could not be read"):
        apply(run, {"input": tmp_path / "in"}, tmp_path / "out", ["threshold.value=0.0"], CPU)
    (tmp_path / "in/broken.png").unlink()
    rules = tmp_path / "rules.yaml"
    rules.write_text("ring: false\nrules: [{id: any, verdict: rework, reason: try, all: [[area_px, '>', 0]]}]\n")
    found = apply(run, {"input": tmp_path / "in"}, tmp_path / "judged", [], CPU, rules)
    assert found["images"] == 2
    rows = list(csv.DictReader((tmp_path / "judged/summary.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["a", "b"]
    for row in rows:
        told = json.loads((tmp_path / "judged/defects" / f"{row['image']}.json").read_text())
        assert told["verdict"] == row["verdict"] == ("rework" if told["defects"] else "good")
        assert set(told["seconds"]) == {"foreground", "detect", "merge"}
        assert read_image(tmp_path / "judged/overlays" / f"{row['image']}.jpg").shape == (48, 64, 3)
    back, again = (formats.read(tmp_path / "judged" / name) for name in ("coco", "labelme"))
    assert [len(r.instances) for r in back.records] == [len(r.instances) for r in again.records]


def test_mistakes_are_named(run, tmp_path, root):
    with pytest.raises(ConfigError, match="--mask: not for the detector"):
        apply(run, {"mask": tmp_path}, tmp_path / "x", [], CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image there"):
        image_places(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="is of another model"):
        load_inspector(run, ["network.name=resnet18"], CPU)
    with pytest.raises(ValueError, match="frozen statistics would normalise nothing"):
        NetworkConfig(norm="frozen")
    with pytest.raises(ValueError, match="must be none, backbone:FILE, coco:FILE or"):
        NetworkConfig(weights="imagenet")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="network.weights: of another network than resnet18, .*no 'bn1"):
        build(NetworkConfig(name="resnet18", weights=f"backbone:{tmp_path / 'w.pth'}"), 1, 4)
    with pytest.raises(CheckpointError, match="no such file of weights"):
        build(NetworkConfig(weights="coco:nowhere.pth"), 1, 4)


def test_the_threshold_is_that_of_val_or_the_one_that_is_given(run, root, tmp_path):
    kept, best = json.loads((run / "threshold.json").read_text())["threshold"], root / "checkpoints/best_model.pth"
    for source in (run, best):
        assert load_inspector(source, [], CPU).threshold == kept
        assert load_inspector(source, ["threshold.value=0.25"], CPU).threshold == 0.25
        with pytest.raises(CheckpointError, match="another (model|network)"):
            load_inspector(source, ["network.name=resnet18"], CPU)
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "threshold.json").write_text('{"threshold"')
    with pytest.raises(CheckpointError, match="threshold.json: cannot be read"):
        load_inspector(copied, [], CPU)


@pytest.mark.parametrize("box", [(10.2, 5.7, 40.4, 30.1), (-3.0, -2.0, 20.0, 61.5), (50.0, 40.0, 66.0, 70.0),
                                 (10.0, 10.0, 11.0, 11.0)])
def test_a_cut_mask_is_torchvisions_pasted_one(box):
    torch.manual_seed(1)
    mask = torch.rand(1, 1, 28, 28)
    boxes = torch.tensor([box])
    pasted = paste_masks_in_image(mask, boxes, (60, 64))[0, 0] > 0.5
    crop, x, y = mask_crop(mask[0, 0], box, (60, 64))
    drawn = np.zeros((60, 64), bool)
    drawn[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
    assert np.count_nonzero(drawn ^ pasted.numpy()) <= 1


def test_every_shipped_config_builds_its_network():
    for name in ("detect", "detect-small"):
        config = load(DetectConfig, Path(__file__).parents[2] / f"configs/{name}.yaml")
        network = settled(config, [made_of_one_defect()]).network
        with torch.device("meta"):
            assert sum(p.numel() for p in build(network, 2, 4).parameters()) > 1e6


def made_of_one_defect():
    items = (Instance(label="pit", box=(0, 0, 30, 30)),)
    return Record(image=Path("a.png"), name="a", size=(256, 256), instances=items)


def test_open_anchors_are_settled_by_the_data_and_kept_in_the_run(root, tmp_path, monkeypatch):
    arguments = ["train.py", "--model", "detect", "--checkpoints", str(tmp_path), "--device", "cpu", "--set",
                 f"data.root={root}", "--set", "loop.steps=1", "--set", "loop.evaluate_every=1"]
    for option in SMALL:
        arguments += ["--set", option.replace("anchors_px=[8,16,32,64,96]", "anchors_px=auto")]
    arguments += ["--set", "network.anchor_overlap=0.5"]
    for _ in range(2):                              # the second time the run goes on: it was the same configuration
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(Path(__file__).parents[2] / "train.py"), run_name="__main__")
        assert left.value.code == 0
    kept = yaml.safe_load((tmp_path / "detect" / "config.yaml").read_text())["network"]["anchors_px"]
    config = load(DetectConfig, None, [f"data.root={root}", "loop.steps=1", *SMALL, "network.anchors_px=auto"])
    records = open_data(config.data)[0].of_split("train")
    assert tuple(kept) == anchor_sides(records, config.data.crop_px, 64)
    network = load_inspector(tmp_path / "detect", [], CPU).detector.network
    assert [sizes[0] for sizes in network.rpn.anchor_generator.sizes] == kept
    assert network.rpn.proposal_matcher.high_threshold == 0.5


def test_the_inference_command(run, root, tmp_path, monkeypatch, capsys):
    def start(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["inference.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(Path(__file__).parents[2] / "scripts/inference.py"), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    usual = ("--model", root.name, "--output-root", root.parent, "--device", "cpu", "--set", "panels=0")
    patch = sorted((root / "images/test").glob("notok*.png"))[0]
    for way in ("--image", "--full-image"):
        code, text = start(*usual, way, patch, "--output", tmp_path / way)
        assert code == 0, text
        assert (tmp_path / way / "summary.csv").is_file()
    again = ("--full-image", patch, "--output", tmp_path / "--full-image")
    assert start(*usual, *again)[0] == 0                    # goes on, with nothing left to do
    code, text = start(*usual, *again, "--set", "frame.overlap_px=4")
    assert (code, "has files in it" in text) == (2, True)
    assert start(*usual, *again, "--set", "frame.overlap_px=4", "--overwrite")[0] == 0
    code, text = start(*usual, "--evaluate", "--output", tmp_path / "run")
    assert (code, re.search(r"image/escape: [\d.]+ \([\d.]+ to [\d.]+\)", text) is not None) == (0, True), text
    best = root / "checkpoints" / "best_model.pth"
    code, text = start(*usual, "--evaluate", "--checkpoint", best, "--output", tmp_path / "file")
    assert code == 0, text
    of_run, of_file = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "file"))
    assert {**of_run, "checkpoint": ""} == {**of_file, "checkpoint": ""}
    code, text = start(*usual, "--image", patch, "--evaluate")
    assert (code, "give exactly one of them, got 2" in text) == (2, True)
    code, text = start(*usual, "--evaluate", "--rules", tmp_path / "rules.yaml")
    assert (code, "--rules: not for --evaluate" in text) == (2, True)
    code, text = start("--model", "rong", "--output-root", root.parent, "--evaluate")
    assert (code, "Trained ones are m;" in text) == (2, True)
    shutil.copytree(run, root.parent / "wrong/runs/detect")
    code, text = start("--model", "wrong", "--output-root", root.parent, "--image", patch)
    assert (code, "a detector of product 'm', got --model wrong" in text) == (2, True)
    (root.parent / "other").mkdir()
    code, text = start("--model", "other", "--output-root", root.parent, "--evaluate", "--checkpoint", best)
    assert (code, "a detector of product 'm', got --model other" in text) == (2, True)


def test_the_products_folder_has_the_files_of_its_training(run, root, tmp_path):
    assert (root / "training_history.json").read_bytes() == (run / "training_history.json").read_bytes()
    latest = portable.read(root / "checkpoints" / "latest.pth")
    assert (latest.product, latest.classes, latest.step) == (root.name, ("pit",), 40)
    file = f"checkpoint:{root}/checkpoints/latest.pth"
    begun = build(latest.config.network.model_copy(update={"weights": file}), 3, 2).state_dict()
    assert torch.equal(begun["backbone.body.layer1.conv1.weight"], latest.weights["backbone.body.layer1.conv1.weight"])
    assert begun["roi_heads.box_predictor.cls_score.weight"].shape[0] == 4
    torch.save({"weights": torch.zeros(1)}, tmp_path / "strange.pth")
    with pytest.raises(CheckpointError, match="not a detector of this project, got a dict of weights"):
        portable.read(tmp_path / "strange.pth")


def test_train_understands_products(root, monkeypatch, capsys, tmp_path):
    def start(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["train.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(Path(__file__).parents[2] / "train.py"), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    small = [text for option in SMALL for text in ("--set", option) if "batch_size" not in option]
    product = tmp_path / "ring"
    shutil.copytree(root, product, ignore=shutil.ignore_patterns("runs", "checkpoints", "training_history.json"))
    code, text = start("--model", "ring", "--output-root", tmp_path, "--epochs", 1, "--batch-size", 8, "--lr", 0.004,
                       "--device", "cpu", *small)
    assert code == 0, text
    kept = yaml.safe_load((product / "runs/detect/config.yaml").read_text())
    assert (kept["loop"]["batch_size"], kept["optim"]["learning_rate"]) == (8, 0.004)
    assert kept["loop"]["steps"] == math.ceil(2 * len(DetectTask(load(
        DetectConfig, product / "runs/detect/config.yaml"), CPU).train_data.defective) / 8)
    assert (product / "checkpoints/best_model.pth").is_file()
    code, text = start("--product", "rings", "--output-root", tmp_path)
    assert (code, "Did you mean 'ring'?" in text) == (2, True)
    code, text = start("--model", "model1", "--output-root", tmp_path)
    assert (code, "preprocess_to_coco.py --model model1 first" in text) == (2, True)
