"""The segmenter trains: it learns made defects in seconds, goes on exactly, keeps its course, and is applied."""
import csv
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from core import checkpoint, experiment, registry
from core.config import load
from core.data import formats
from core.data.images import image_places, read_image, read_mask, write_image
from core.device import Processes
from core.errors import CheckpointError, ConfigError, DataError
from core.feeding import batches
from core.loop import train
from core.phase import Turn
from core.runlog import open_run
from segment import history
from segment.apply import Segmenter, without_small
from segment.apply import load as load_segmenter
from segment.evaluate import false_alarms
from segment.losses import IGNORE
from segment.parts import Parts
from segment.settings import SegmentConfig
from segment.task import SegmentTask, clip_elements
from tests import golden
from tests.segment.made import CLASSES, make_set, picture

ROOT, CPU = Path(__file__).resolve().parents[2], torch.device("cpu")
SMALL = ["network.widths=[8, 16, 32]", "loop.batch_size=8", "loop.workers=0", "data.crop_px=48",
         "optim.learning_rate=0.01", "optim.warmup_steps=5", "optim.ema_half_life_steps=10", "loop.report_every=5"]


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("set") / "made", 24)


def settings(root, *options, steps=20):
    small = [option for option in SMALL if "network.name" not in str(options) or "widths" not in option]
    return load(SegmentConfig, None, [f"data.root={root}", f"loop.steps={steps}", *small, *options])


def run_of(config, folder):
    torch.manual_seed(0)
    run = open_run(folder, config.model_dump(mode="json"))
    return experiment.build(SegmentTask, config, CPU, run), run


def trained(root, folder, *options, steps=20):
    config = settings(root, *options, steps=steps)
    task, run = run_of(config, folder)
    assert train(task, config.loop, run, device=CPU) == 0
    return task


@pytest.fixture(scope="module")
def experiment_folder(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    trained(root, folder / "segment", "loop.evaluate_every=50", steps=150)
    return folder


def test_it_learns_made_defects_and_keeps_its_course(experiment_folder):
    run = experiment_folder / "segment"
    values = json.loads((run / "history.json").read_text())
    assert values["step"] == [0, 50, 100, 150]
    assert values["epoch"][-1] == pytest.approx(150 * 8 / 16, rel=0.2)
    assert values["miou_defects"][0] < 0.2
    assert values["miou_defects"][-1] > 0.7
    assert values["loss"][0] is None
    assert values["val_loss"][-1] < values["val_loss"][0]
    losses = table(run / "train_losses.csv")
    assert list(losses[0]) == ["epoch", "step", "loss", "val_loss"]
    assert float(losses[-1]["val_loss"]) == pytest.approx(values["val_loss"][-1], rel=1e-4)
    metrics = table(run / "train_metrics.csv")
    assert [float(row["defect_iou"]) for row in metrics] == pytest.approx(values["defect_iou"], rel=1e-4)
    page = (run / "history.html").read_text()
    assert page.count("<svg") >= 5
    best = checkpoint.load(checkpoint.best_path(run))["step"]
    assert best == values["step"][int(np.argmax(values["miou_defects"]))]


def test_an_evaluation_leaves_tables_and_panels(experiment_folder, root):
    folder = experiment_folder / "segment" / "samples" / "step-00000150"
    values = {row["figure"]: row for row in table(folder / "evaluation.csv")}
    assert float(values["miou_defects"]["low"]) <= float(values["miou_defects"]["value"]) <= 1
    rows = csv.reader((folder / "confusion.csv").read_text().splitlines()[1:])
    matrix = [[int(cell) for cell in row[1:]] for row in rows]
    images = table(folder / "per_image.csv")
    missed = [row["hit"] == "0" for row in images if int(row["defects"])]
    assert float(values["images_missed"]["value"]) == pytest.approx(sum(missed) / len(missed))
    assert sum(map(sum, matrix)) == len(images) * 96 * 80
    classes = table(folder / "per_class.csv")
    assert [row["class"] for row in classes] == ["background", *CLASSES]
    assert float(classes[1]["iou"]) == pytest.approx(float(values["iou/square"]["value"]))
    hit, true, found = matrix[1][1], sum(matrix[1]), sum(row[1] for row in matrix)
    assert float(classes[1]["iou"]) == pytest.approx(hit / (true + found - hit), rel=1e-4)
    page = (folder / "evaluation.html").read_text()
    assert page.count("data:image/jpeg") == min(4, len(images))
    assert "mean IoU of the defect classes" in page
    worst = min(images, key=lambda row: float(row["defect_iou"] or 1))
    assert worst["image"] in page
    panels = sorted(folder.glob("*.png"))
    assert 1 <= len(panels) <= 4
    assert read_image(panels[0]).shape[1] > 4 * 96


def test_a_run_that_goes_on_equals_one_that_was_not_interrupted(root, tmp_path):
    options = ("loop.evaluate_every=4", "loop.save_every=4", "loop.report_every=2", "optim.schedule=constant")
    for steps in (4, 8):
        trained(root, tmp_path / "parts", *options, steps=steps)
    trained(root, tmp_path / "whole", *options, steps=8)
    ends = [checkpoint.load(checkpoint.path_of(tmp_path / name, 8))["parts"] for name in ("parts", "whole")]
    for part in ("module/network", "average/network"):
        assert all(torch.equal(ends[0][part][name], ends[1][part][name]) for name in ends[0][part])
    assert (tmp_path / "parts" / "history.json").read_bytes() == (tmp_path / "whole" / "history.json").read_bytes()


def test_the_splits_of_a_run_are_kept_when_images_come_in(tmp_path):
    root = make_set(tmp_path / "set", 16)
    first, _ = run_of(settings(root), tmp_path / "run")
    held = {record.name for record in first.held_out}
    for number in range(30, 34):
        for name in ("images", "masks"):
            data = read_mask(root / name / "01.png") if name == "masks" else read_image(root / name / "01.png")
            write_image(root / name / f"{number}.png", np.roll(data, number, 1))
    second, _ = run_of(settings(root), tmp_path / "run")
    assert held <= {record.name for record in second.held_out}


def test_another_set_is_evaluated_as_a_whole_but_never_what_was_learned_from(experiment_folder, root, tmp_path):
    run = experiment_folder / "segment"
    other = make_set(tmp_path / "other", 7, size=(80, 64), good=2)
    for number in (0, 2, 4):                    # none of the class disc is left
        for folder in ("images", "masks"):
            (other / folder / f"{number:02d}.png").unlink()
    (other / "classes.json").unlink()

    def held_out(data, *options):
        config = load(SegmentConfig, run / "config.yaml", [f"data.root={data}", *options])
        return SegmentTask(config, CPU, run, keep=False)
    task = held_out(other, "data.evaluate_on=all", "data.format=masks")
    assert [record.name for record in task.held_out] == ["01", "03", "05", "06"]
    assert task.classes == CLASSES
    assert len(held_out(root, "data.evaluate_on=val").held_out) == 4
    with pytest.raises(DataError, match=r"pictures that the network learns from, got 16 such as .*png. Give another"):
        held_out(root, "data.evaluate_on=all")
    learned = held_out(root, "data.evaluate_on=train").held_out[0]
    (other / "images" / "05.png").write_bytes(learned.image.read_bytes())
    write_image(other / "masks" / "05.png", np.zeros(learned.size[::-1], np.uint8))
    with pytest.raises(DataError, match="pictures that the network learns from, got 1 such as .*05.png"):
        held_out(other, "data.evaluate_on=all", "data.format=masks")


def test_panels_show_the_image_at_once_where_it_is_asked_for(root, tmp_path):
    sizes = []
    for whole in ("false", "true"):
        task = SegmentTask(settings(root, f"panels_whole={whole}", "panels=1"), CPU)
        task.network.eval()
        (tmp_path / whole).mkdir()
        task.evaluate(tmp_path / whole)
        (picture,) = (tmp_path / whole).glob("*.png")
        sizes.append(read_image(picture).shape)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] == pytest.approx(sizes[0][1] * 5 / 4, abs=8)


def test_the_first_losses_are_as_stored(root):
    config = settings(root, "augment.warp_chance=1.0", "loss.name=focal+dice", "loop.clip_norm=1.0")
    task = experiment.build(SegmentTask, config, CPU)
    golden.check("segment", golden.losses_of(task, config.loop), "tests/segment/test_segment_task.py", 1e-3)


def test_elements_of_the_gradient_are_cut(root):
    config = settings(root, "optim.optimizer=adam", "optim.clip_value=1e-4", "optim.ema_half_life_steps=null")
    task = experiment.build(SegmentTask, config, CPU)
    assert not task.averages
    turn = Turn.of(task, config.loop, CPU, Processes())[0]
    turn.take(next(batches(task.train_data, config.loop, 0, CPU, Processes())), 0)
    assert max(p.grad.abs().max() for p in task.network.parameters()) == pytest.approx(1e-4)
    assert callable(clip_elements(1.0))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "poly"])
def test_rates_start_and_end_where_they_should(root, schedule):
    task = experiment.build(SegmentTask, settings(root, f"optim.schedule={schedule}", steps=100), CPU)
    rate = task.phases[0].learning_rate
    assert rate(0) == pytest.approx(0.01 / 5, rel=0.05)
    assert rate(100) == pytest.approx(0.01 if schedule == "constant" else 0)


def test_one_class_with_one_output(root, tmp_path):
    task = trained(root, tmp_path / "run", "data.merge=true", "loss.name=bce+dice", "data.channels=1",
                   "network.name=small-unet", "network.filters=4", "loop.evaluate_every=20", "watch=null")
    assert task.classes == ("defect",)
    assert task.network.head.out_channels == 1
    assert json.loads((tmp_path / "run" / "history.json").read_text())["val_loss"][-1] > 0
    assert not checkpoint.best_path(tmp_path / "run").exists()


@pytest.mark.parametrize(("options", "message"), [
    (["loss.name=bce"], r"loss.name: 'bce' is for one class, got 2 \(square, disc\). Take ce\+dice, or data.merge"),
    (["loss.class_weights=[1, 2]"], "loss.class_weights: one for the background and one a class, got 2 for 3"),
    (["data.ratios=[1, 0, 0]"], "no image to evaluate on, got none in 'val'"),
    (["data.format=masked"], "no such format, got 'masked'. Did you mean 'masks'"),
    (["watch.metric=miou_defect"], "watch.metric: no such figure, got 'miou_defect'. Did you mean 'miou_defects'"),
    (["watch.metric=iou/disk"], "watch.metric: no such figure, got 'iou/disk'. Did you mean 'iou/disc'"),
    (["data.crop_px=52"], "data.crop_px: must be a multiple of 8 for this network, got 52. Take 48 or 56"),
    (["data.crop_px=52", "network.name=flexunet", "network.base_filters=1"],
     "data.crop_px: must be a multiple of 128 for this network, got 52. Take 128"),
    (["data.defect_share=0.9"], "'defect_share' and 'clean_share' must be at most 1 together"),
])
def test_settings_that_do_not_fit_the_data_are_named(root, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        SegmentTask(settings(root, *options), CPU)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no labelled data set that is known here, got an empty folder"):
        SegmentTask(settings(tmp_path / "empty"), CPU)


def test_it_is_applied_to_files_and_unreadable_ones_are_listed(experiment_folder, root, tmp_path):
    given, output = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    for name in ("00", "01", "02"):
        (given / f"{name}.png").write_bytes((root / "images" / f"{name}.png").read_bytes())
    (given / "02.bmp").write_bytes(b"no image")
    command = [sys.executable, ROOT / "test.py", "--model", "segment", "--checkpoints", experiment_folder, "--input",
               given, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "02.bmp: not a readable image" in done.stderr
    assert "1 of 4 images could not be read" in done.stderr
    assert sorted(path.name for path in (output / "labels").iterdir()) == ["00.png", "01.png", "02.png.png"]
    truth, found = read_mask(root / "masks" / "00.png"), read_mask(output / "labels" / "00.png")
    assert (truth == found).mean() > 0.98
    rows = table(output / "objects.csv")
    assert {row["class"] for row in rows} <= set(CLASSES)
    assert all(0.3 < float(row["confidence"]) <= 1 for row in rows)
    dataset = formats.read(output, "coco")
    assert len(dataset) == 3
    assert sum(len(record.instances) for record in dataset.records) == len(rows)
    assert read_image(output / "overlays" / "00.jpg").shape == (80, 96, 3)


def test_best_weights_alone_can_be_applied_and_are_not_trained_over(experiment_folder, root, tmp_path, monkeypatch,
                                                                    capsys):
    run = shutil.copytree(experiment_folder / "segment", tmp_path / "kept" / "segment",
                          ignore=shutil.ignore_patterns("step-*.pt"))
    before = checkpoint.best_path(run).read_bytes()
    for script, options, code in (
            ("test.py", ["--input", root / "images" / "00.png", "--output", tmp_path / "out"], 0),
            ("train.py", ["--set", "loop.steps=1", "--set", "optim.learning_rate=0.1"], 2)):
        command = [script, "--model", "7", "--checkpoints", run.parent, *options]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        assert ended.value.code == code
    assert (tmp_path / "out" / "labels" / "00.png").is_file()
    assert "best.pt: best weights of a training whose step-*.pt are gone" in capsys.readouterr().err
    assert checkpoint.best_path(run).read_bytes() == before


def test_names_of_results_are_those_of_the_images(tmp_path):
    for name in ("a.png", "b/a.png", "b/c.jpg", "b/c.bmp"):
        write_image((tmp_path / name).parent.mkdir(exist_ok=True) or tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert list(image_places(tmp_path)) == ["a", "b/a", "b/c.bmp", "b/c.jpg"]
    assert list(image_places(tmp_path / "a.png")) == ["a"]
    lines = tmp_path / "list.txt"
    lines.write_text("a.png\n\nb/c.jpg\n")
    assert list(image_places(lines)) == ["a", "c"]
    lines.write_text("a.png\nb/a.png\n")
    with pytest.raises(DataError, match="two images of one name, got 'a.png' twice"):
        image_places(lines)
    (tmp_path / "b" / "c.gif").write_bytes(b"GIF89a\xff\xfe")
    for name, message in (("b/c.gif", "neither an image of a known kind nor a text file of paths, got '.gif'"),
                          ("nowhere", "nowhere: no such image or folder, got nothing there")):
        with pytest.raises(DataError, match=message):
            image_places(tmp_path / name)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no image there, got none in the folder"):
        image_places(tmp_path / "none")


def test_small_parts_are_dropped_whatever_their_class():
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :3], labels[5:8, 5:8] = 1, 2
    labels[8, 8] = 1                            # touches the large part
    kept = without_small(labels, 4)
    assert kept[0].sum() == 0
    assert (kept[5:] == labels[5:]).all()
    assert without_small(labels, 0) is labels


def test_a_run_is_a_segmenter_with_its_averaged_weights(experiment_folder, root):
    run = experiment_folder / "segment"
    segmenter = load_segmenter(run, ["infer.tile_px=32"], CPU)
    assert isinstance(segmenter, Segmenter)
    assert not segmenter.network.training
    pixels = read_image(root / "images" / "00.png")
    labels, sure = segmenter(pixels)
    whole, _ = load_segmenter(run, [], CPU)(pixels)
    assert (labels == whole).all()
    assert sure.min() >= 84                     # 255 / 3
    (best,) = [checkpoint.load(checkpoint.best_path(run))["parts"]]
    name, value = next(iter(segmenter.network.state_dict().items()))
    assert torch.equal(best["average/network"][name], value)


def test_the_row_of_the_table():
    assert registry.find("7").name == "segment"
    assert registry.resolve(registry.find("segment").target) is SegmentTask


def test_the_course_takes_the_mean_of_losses_between_evaluations(tmp_path):
    record = tmp_path / "metrics.jsonl"
    entries = [{"step": 0, "kind": "evaluate", "loss": 3.0, "miou": None}, {"step": 1, "kind": "train",
               "network/total": 2.0, "network/learning_rate": 0.1}, {"step": 2, "kind": "train", "network/total": 1.0,
               "network/learning_rate": 0.05}, {"step": 2, "kind": "evaluate", "loss": 1.5, "miou": 0.5}]
    record.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    course = history.course(record, epoch_steps=4)
    assert course["epoch"] == [0, 0.5]
    assert course["loss"][1] == 1.5
    assert course["learning_rate"][1] == 0.05
    assert course["miou"][1] == 0.5
    assert course["miou"][0] != course["miou"][0]


def test_large_images_are_worked_on_in_bands_with_the_same_result(experiment_folder, tmp_path):
    run = experiment_folder / "segment"
    pixels = np.concatenate([np.concatenate([picture(number, (200, 150))[0] for number in range(row, row + 6)], 1)
                             for row in range(0, 36, 6)])
    assert pixels.shape == (900, 1200, 3)
    given = tmp_path / "in"
    given.mkdir()
    Image.fromarray(pixels).save(given / "large.tif")
    options = ["infer.tile_px=128", "infer.bands_above_mpx=1"]
    figures = SegmentTask.apply(run, {"input": given}, tmp_path / "bands", options, CPU)
    whole = SegmentTask.apply(run, {"input": given}, tmp_path / "whole", [], CPU)
    assert figures == whole
    assert figures["objects"] > 20
    for name in ("labels/large.png", "objects.csv"):
        read = read_mask if name.endswith("png") else Path.read_bytes
        assert np.array_equal(read(tmp_path / "bands" / name), read(tmp_path / "whole" / name))
    assert read_image(tmp_path / "bands" / "overlays" / "large.jpg").shape == (900, 1200, 3)
    assert not (tmp_path / "bands" / "annotations.json").exists()
    data = bytearray((given / "large.tif").read_bytes())
    (given / "large.tif").write_bytes(data[:1_000_000])
    assert len(data) > 3_000_000
    with pytest.raises(DataError, match="1 of 1 images could not be read"):
        SegmentTask.apply(run, {"input": given}, tmp_path / "cut", options, CPU)
    assert not list((tmp_path / "cut" / "labels").iterdir())


def test_parts_that_reach_over_bands_are_one():
    random = np.random.default_rng(1)
    labels = (cv2.GaussianBlur(random.random((90, 80)).astype(np.float32), (0, 0), 1.5) > 0.51).astype(np.uint8)
    labels[:, 40:] *= 2
    sure = random.integers(100, 256, labels.shape).astype(np.uint8)
    whole, bands = Parts(), Parts()
    whole.add(labels, sure)
    for top in range(0, 90, 7):
        bands.add(labels[top:top + 7], sure[top:top + 7])
    assert len(whole.finished()) > 15
    for one, other in zip(whole.finished(), bands.finished(), strict=True):
        assert (one.number, one.area_px, one.box) == (other.number, other.area_px, other.box)
        assert one.confidence == pytest.approx(other.confidence)
    assert sum(part.area_px for part in bands.finished()) == np.count_nonzero(labels)


def test_a_run_begins_with_the_weights_of_another(experiment_folder, root, tmp_path):
    path = checkpoint.best_path(experiment_folder / "segment")
    wanted = checkpoint.load(path)["parts"]["average/network"]
    task = SegmentTask(settings(root, f"start={path}"), CPU)
    assert all(torch.equal(wanted[name], value) for name, value in task.network.state_dict().items())
    assert torch.equal(task.averages["network"].module.head[1].bias, wanted["head.1.bias"])
    one = SegmentTask(settings(root, f"start={path}", "data.merge=true"), CPU)
    state = one.network.state_dict()
    assert [name for name in state if state[name].shape != wanted[name].shape] == ["head.1.weight", "head.1.bias"]
    assert torch.equal(state["stem.1.0.weight"], wanted["stem.1.0.weight"])
    with pytest.raises(CheckpointError, match="best.pt: is of another network, got .* fitting tensors"):
        SegmentTask(settings(root, f"start={path}", "network.widths=[4, 8]"), CPU)


def test_false_alarms_are_the_parts_that_touch_no_defect():
    truth, labels = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    truth[0:5, 0:5], truth[10:20, 20:30] = 1, IGNORE
    labels[3:8, 3:8] = 2                # touches one
    labels[12:15, 2:7] = 1
    labels[0, 20:22] = 2
    labels[12:14, 22:25] = 1            # where nothing counts
    assert [spot[2] for spot in false_alarms(truth, labels)] == [15, 2]
    for x, y, _ in false_alarms(truth, labels):
        assert labels[y, x] > 0
