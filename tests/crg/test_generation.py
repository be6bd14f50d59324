"""Painting points of a folder: files, labels, what goes on after a stop, other batches, rejections, and bad input."""
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from core.config import load
from core.data import formats, images
from core.errors import CheckpointError, ConfigError, DataError, DefectForgeError, OutputError, Stopped
from core.experiment import build
from core.loop import train
from core.runlog import open_run
from crg import generation
from crg.generation import paint_folder
from crg.legacy_weights import save_earlier
from crg.networks import Shape, UNet
from crg.points import choose_points, parse, read_points
from crg.settings import PaintConfig, PlacesConfig
from crg.task import ContextTask, DefectTask
from crg.views import faded, support, view_of
from tests.crg import made
from tests.crg.earlier_files import PCB_GEN
from tests.made_sets import grain

CPU, ROOT = torch.device("cpu"), Path(__file__).resolve().parents[2]
CLASSES = ("short", "spur")
CONTEXT = {"size_px": 32, "width": 32, "multipliers": [1, 1], "blocks": 1, "attention_px": [16], "head_channels": 16}
DEFECT = {**CONTEXT, "size_px": 16, "attention_px": [8]}


def run_command_file(monkeypatch, name: str, *given) -> int:
    """test.py or a script with these words, in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, given)])
    return runpy.run_path(str(ROOT / name), run_name="command")["main"]() or 0


def weights(path: Path, network: dict, classes: int, seed: int) -> Path:
    torch.manual_seed(seed)
    made_network = UNet(Shape(**{key: tuple(value) if isinstance(value, list) else value
                                 for key, value in network.items()}, classes=classes))
    torch.nn.init.normal_(made_network.out[2].weight, std=0.05)
    save_earlier(path, made_network)
    return path


@pytest.fixture(autouse=True)
def alone(one_thread):
    """One thread: the same numbers on every machine."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Models, class file and two pictures with three points; one picture without a text file."""
    weights(tmp_path / "context.pt", CONTEXT, 0, 0)
    weights(tmp_path / "defect.pt", DEFECT, 2, 1)
    (tmp_path / "classes.json").write_text('{"spur": 1, "short": 0}')
    pictures = tmp_path / "clean"
    pictures.mkdir()
    for number, name in enumerate(("a", "b_c", "without")):
        images.write_image(pictures / f"{name}.png", grain(number, (60, 40)))
    (pictures / "a.txt").write_text("0 0.5 0.5\n\nspur 0.01 0.9\n")
    (pictures / "b_c.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    return tmp_path


def config(folder: Path, output: str = "out", **changes) -> PaintConfig:
    values = {
        "images": folder / "clean", "classes": folder / "classes.json", "output": folder / output, "retries": 0,
        "context": {"weights": folder / "context.pt", "network": CONTEXT},
        "defect": {"weights": folder / "defect.pt", "network": DEFECT},
        "sampler": {"walk": {"start": 30, "time_travel": False, "stride": 15}}, **changes}
    return PaintConfig.model_validate(json.loads(json.dumps(values, default=str)), strict=False)


def files(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(output.rglob("*"))
            if path.is_file() and path.suffix == ".png" or path.name == "manifest.jsonl"}


def test_pictures_and_labels_of_every_point(folder, capsys):
    totals = paint_folder(config(folder), CPU)
    assert (totals.painted, totals.rejected) == (3, 0)
    out = folder / "out"
    names = {"a_short_cx30_cy20_1", "a_spur_cx0_cy36_1", "b_c_spur_cx30_cy20_1"}
    assert {path.stem for path in (out / "sample").iterdir()} == names
    assert (out / "crop" / "a_short_cx30_cy20_crop_1.png").is_file()
    assert images.read_image(out / "grid" / "a_short_cx30_cy20_grid.png").shape == (104, 36, 3)
    dataset = formats.read(out / "labelled", "coco")
    assert {record.name: record.instances[0].label for record in dataset.records} == {
        "a_short_cx30_cy20_1": "short", "a_spur_cx0_cy36_1": "spur", "b_c_spur_cx30_cy20_1": "spur"}
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    for line in lines:
        clean = images.read_image(Path(line["source"]))
        found = images.read_image(out / "sample" / f"{line['name']}.png")
        x1, y1, x2, y2 = map(int, line["box"])
        changed = (clean != found).any(axis=2)
        assert changed[y1:y2, x1:x2].any()
        middle = int(line["point"][0] * 60), int(line["point"][1] * 40)
        rows, columns = changed.nonzero()
        assert np.abs(columns - middle[0]).max() <= 8 + 10          # the patch and the feathered margin
        assert np.abs(rows - middle[1]).max() <= 8 + 10
        assert (line["outside"], line["seed"], line["attempts"]) == (0, 0, 1)
        assert line["contrast"] > 0
        assert line["config"] == lines[0]["config"]
    said = capsys.readouterr().out
    assert "without.png: has no without.txt beside it" in said
    assert re.search(r"3 of 3 points to paint on cpu: about \d+\.\d s each, \d+ s in all", said)
    assert said.splitlines()[-1] in (out / "log" / "generation.log").read_text()


def test_a_stopped_run_goes_on_with_the_same_bytes_and_a_batch_changes_rounding_alone(folder, monkeypatch):
    """One evaluation of a model for several samples at once may round otherwise; so pictures agree within 1 level."""
    paint_folder(config(folder, "one"), CPU)
    paint_folder(config(folder, "three", batch_size=3), CPU)
    one, three = files(folder / "one"), files(folder / "three")
    assert one.keys() == three.keys()
    for name in (name for name in one if name.startswith("sample/")):
        a, b = (images.read_image(folder / output / name).astype(int) for output in ("one", "three"))
        assert np.abs(a - b).max() <= 1
    finished = generation.finished

    def interrupted(*given):
        signal.raise_signal(signal.SIGTERM)
        return finished(*given)
    monkeypatch.setattr(generation, "finished", interrupted)
    with pytest.raises(Stopped) as stopped:
        paint_folder(config(folder, "parts"), CPU)
    assert stopped.value.exit_code == 143
    assert len((folder / "parts" / "manifest.jsonl").read_text().splitlines()) == 1
    monkeypatch.setattr(generation, "finished", finished)
    assert paint_folder(config(folder, "parts"), CPU).painted == 3
    assert files(folder / "parts") == one
    lost, harmed = sorted((folder / "parts" / "sample").iterdir())[:2]
    lost.unlink()
    harmed.write_bytes(harmed.read_bytes()[:50])
    assert paint_folder(config(folder, "parts"), CPU).painted == 3
    assert {name: data for name, data in files(folder / "parts").items() if name.endswith(".png")} == {
        name: data for name, data in one.items() if name.endswith(".png")}
    before = {path: path.stat().st_mtime_ns for path in (folder / "parts" / "sample").iterdir()}
    paint_folder(config(folder, "parts"), CPU)
    assert {path: path.stat().st_mtime_ns for path in (folder / "parts" / "sample").iterdir()} == before


def test_without_a_visible_defect_there_is_another_try_and_then_no_label(folder, monkeypatch):
    tries, tight = [], generation.tight_mask
    monkeypatch.setattr(generation, "tight_mask", lambda clean, made, alpha: tries.append(made) or tight(
        clean, made, alpha) & (len(tries) > 2))
    (folder / "clean" / "b_c.txt").unlink()
    (folder / "clean" / "a.txt").write_text("0 0.5 0.5\n")
    assert paint_folder(config(folder, retries=3), CPU).painted == 1
    assert json.loads((folder / "out" / "manifest.jsonl").read_text())["attempts"] == 3
    assert not np.array_equal(tries[0], tries[1])
    tries.clear()
    totals = paint_folder(config(folder, "none", retries=1), CPU)
    assert (totals.painted, totals.rejected) == (0, 1)
    assert not any((folder / "none" / "sample").iterdir())
    assert not (folder / "none" / "labelled").exists()


def test_the_earlier_file_paints_as_the_earlier_code_did(folder, monkeypatch, capsys):
    """Squeezed to the model's size, not put back, by the command."""
    text = PCB_GEN
    for old, new in (("checkpoint/checkpoint-256-defect-free.pt", folder / "context.pt"),
                     ("checkpoint/checkpoint-64-defect.pt", folder / "defect.pt"), ("data/sample/", folder / "clean"),
                     ("./images/", folder / "out"), ("./data/pcb.json", folder / "classes.json"),
                     ("use_timetravel: True", "use_timetravel: False"), ("start_step: 30", "start_step: 3"),
                     ("'1, 1, 2, 3, 4, 4'", "'1, 1'"), ("'16, 8'", "'16'"), ("image_size: 256", "image_size: 32"),
                     ("num_channels: 128", "num_channels: 32"), ("num_head_channels: 32", "num_head_channels: 16"),
                     ("num_res_blocks: 2", "num_res_blocks: 1"), ("  image_size: 64", "  image_size: 16"),
                     ("  num_channels: 64", "  num_channels: 32"), ('"1, 2, 3, 4"', '"1, 1"'),
                     ("attention_resolutions: 16, 8", "attention_resolutions: 8")):
        assert old in text, old
        text = text.replace(old, str(new))
    (folder / "pcb_gen.yml").write_text(text)
    assert run_command_file(monkeypatch, "scripts/sample_generation.py", "--conf_path", folder / "pcb_gen.yml") == 0
    assert "n_samples is not read" in capsys.readouterr().err
    assert {path.name for path in (folder / "out" / "sample").iterdir()} >= {"a_short_cx16_cy16_1.png"}
    assert images.read_size(folder / "out" / "sample" / "a_short_cx16_cy16_1.png") == (32, 32)
    lines = [json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines()]
    assert all(line["outside"] > 0 for line in lines)


def test_the_command_test_py_paints_what_a_configuration_says(folder, monkeypatch):
    path = folder / "paint.yaml"
    path.write_text(json.dumps(config(folder).model_dump(mode="json")))
    (folder / "clean" / "b_c.txt").unlink()
    assert run_command_file(monkeypatch, "test.py", "--model", "crg", "--config", path, "--output", folder / "other",
                            "--device", "cpu", "--set", "seed=3") == 0
    assert len(list((folder / "other" / "sample").iterdir())) == 2
    assert json.loads((folder / "other" / "settings.json").read_text())["seed"] == 3
    for words, problem in ((("--model", "crg"), "--config: missing"),
                           (("--model", "crg", "--config", path, "--checkpoints", folder), "--checkpoints: not for"),
                           (("--model", "5", "--config", path), "--config: only for crg")):
        with pytest.raises(ConfigError, match=problem):
            run_command_file(monkeypatch, "test.py", *words)


@pytest.fixture(scope="module")
def boards(tmp_path_factory) -> Path:
    return made.boards(tmp_path_factory.mktemp("boards") / "set", 16)


def test_points_are_chosen_where_defects_lie_without_text_files(boards, tmp_path):
    known = formats.read(boards)
    pictures = tmp_path / "clean"
    pictures.mkdir()
    for number in range(3):
        shutil.copy(known.good[number].image, pictures / f"{number}.png")
    places = PlacesConfig(data=boards, count=12)
    points, notes = choose_points(pictures, places, known.classes, 16, 0)
    assert len(points) + len(notes) == 12
    assert len(points) >= 9
    assert Counter(point.image.stem for point in points).most_common()[-1][1] >= 2
    assert len({point.label for point in points}) >= 4
    assert [point.number for point in points] == sorted(point.number for point in points)
    fewer, _ = choose_points(pictures, PlacesConfig(data=boards, count=5), known.classes, 16, 0)
    assert fewer == points[:len(fewer)]
    assert choose_points(pictures, places, known.classes, 16, 1)[0] != points
    holes = PlacesConfig(data=boards, count=2, classes=("missing_hole",))
    for point in choose_points(pictures, holes, known.classes, 16, 0)[0]:
        assert known.classes[point.label] == "missing_hole"


def test_chosen_points_are_painted_and_go_on(folder, boards):
    pictures = folder / "good"
    pictures.mkdir()
    known = formats.read(boards)
    shutil.copy(known.good[0].image, pictures / "board.png")
    (folder / "classes.json").write_text('{"short": 0, "spur": 1}')
    given = {"images": pictures, "places": {"data": boards, "count": 3}}
    totals = paint_folder(config(folder, **given), CPU)
    assert totals.painted + totals.rejected == 3
    before = files(folder / "out")
    assert paint_folder(config(folder, **given), CPU) == totals
    assert files(folder / "out") == before
    with pytest.raises(ConfigError, match="the defect model does not know it, got 'spurr'. Did you mean 'spur'"):
        paint_folder(config(folder, "a", **{**given, "places": {"data": boards, "classes": ["spurr"]}}), CPU)
    (folder / "classes.json").write_text('{"scratch": 0, "dent": 1}')
    with pytest.raises(ConfigError, match="shows no defect of the defect model's classes"):
        paint_folder(config(folder, "b", **given), CPU)


def test_models_trained_here_are_taken_from_their_runs(folder):
    root = made.boards(folder / "boards")
    for kind, found, name in ((ContextTask, made.context_config(root, loop=made.few_steps(1)), "crg-context"),
                              (DefectTask, made.defect_config(root, loop=made.few_steps(1)), "crg-defect")):
        run = folder / "experiment" / name
        task = build(kind, found, CPU, run)
        train(task, found.loop, open_run(run, found.model_dump(mode="json")), device=CPU)
    runs = {"context": {"run": folder / "experiment"}, "defect": {"run": folder / "experiment"}}
    (folder / "clean" / "a.txt").write_text("spur 0.5 0.5\n")
    totals = paint_folder(config(folder, classes=None, **runs), CPU)
    assert totals.painted + totals.rejected == 2
    with pytest.raises(ConfigError, match="names other classes"):
        paint_folder(config(folder, "other", **runs), CPU)


@pytest.mark.parametrize(("line", "problem"), [
    ("0 0.5", "must be `class x y`"), ("9 0.5 0.5", "no such class, got '9'. The model knows 0 short, 1 spur"),
    ("spurr 0.5 0.5", "Did you mean 'spur'?"), ("0 a 0.5", "x and y, width and height must be numbers"),
    ("0 1.0 0.5", "outside the image, got x 1, y 0.5"), ("0 0.5 -0.1", "outside the image"),
    ("0 0.5 0.5 0.1 0", "width and height must lie in 0..1, got 0.1 0"), ("-1 0.5 0.5", "no such")])
def test_a_line_that_cannot_be_used_is_named(folder, line, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse(line, CLASSES)
    (folder / "clean" / "a.txt").write_text(f"0 0.5 0.5\n{line}\n")
    with pytest.raises(DataError, match=re.escape(f"{folder / 'clean' / 'a.txt'}:2: ")):
        read_points(folder / "clean", CLASSES)


def bad_class_file(folder: Path) -> PaintConfig:
    (folder / "classes.json").write_text("{short: 0")
    return config(folder)


def gap_in_classes(folder: Path) -> PaintConfig:
    (folder / "classes.json").write_text('{"short": 0, "spur": 2}')
    return config(folder)


def other_files(folder: Path) -> PaintConfig:
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("")
    return config(folder)


def other_settings(folder: Path) -> PaintConfig:
    paint_folder(config(folder), CPU)
    return config(folder, seed=1)


def small_picture(folder: Path) -> PaintConfig:
    images.write_image(folder / "clean" / "a.png", grain(0, (12, 40)))
    return config(folder)


def no_pictures(folder: Path) -> PaintConfig:
    (folder / "empty").mkdir()
    return config(folder, images=folder / "empty")


def twice(folder: Path) -> PaintConfig:
    images.write_image(folder / "clean" / "a.jpg", grain(0, (60, 40)))
    return config(folder)


@pytest.mark.parametrize(("make", "error", "problem"), [
    (bad_class_file, DataError, "classes.json: cannot be read as JSON"),
    (gap_in_classes, DataError, "numbered from 0 on without gaps"),
    (other_files, OutputError, "has files in it that are not of such a run, got mine.txt"),
    (other_settings, OutputError, "made with other settings, got another 'seed'"),
    (small_picture, DataError, "a.png: smaller than the defect model's patch, got 12x40 px for 16"),
    (no_pictures, DataError, "no images"),
    (twice, DataError, "has the name of another image but for its suffix"),
    (lambda folder: config(folder, images=folder / "absent"), DataError, "no such folder of images"),
    (lambda folder: config(folder, classes=folder / "absent.json"), DataError, "no such file of classes"),
    (lambda folder: config(folder, classes=None), ConfigError, "weights do not name their classes"),
    (lambda folder: config(folder, context={"run": folder / "x"}), CheckpointError, "no trained crg-context here"),
    (lambda folder: config(folder, context={"weights": folder / "defect.pt", "network": CONTEXT}), CheckpointError,
     "2 classes, here 0"),
    (lambda folder: config(folder, defect={"weights": folder / "defect.pt", "network": {**DEFECT, "size_px": 64,
                                                                                        "attention_px": [32]}}),
     ConfigError, "its patches are larger"),
])
def test_bad_input_is_one_clear_line(folder, make, error, problem):
    given = make(folder)
    with pytest.raises(error, match=re.escape(problem)):
        paint_folder(given, CPU)


def test_a_view_goes_back_to_where_it_came_from(folder):
    for x, y in ((0.5, 0.5), (0.0, 0.0), (0.99, 0.99)):
        view = view_of(folder / "clean" / "a.png", x, y, 32, 16, "window")
        middle = int(x * 60), int(y * 40)
        assert np.array_equal(view.pixels[16, 16], view.image[middle[1], middle[0]])
        assert np.array_equal(view.put_back(view.pixels), view.image)
        mask = np.zeros((32, 32), bool)
        mask[16, 16] = True
        assert view.put_back_mask(mask).nonzero() == (middle[1], middle[0])
    whole = view_of(folder / "clean" / "a.png", 0.0, 0.99, 32, 16, "whole")
    assert (whole.pixels.shape, whole.corner) == ((32, 32, 3), (0, 16))


def test_a_box_is_where_its_row_says_in_the_patch(folder):
    """The image is 60 x 40 px: a box of 6 x 4 px in its middle, and one at a border, where a squeezed patch moves."""
    path = folder / "clean" / "a.png"
    assert view_of(path, 0.5, 0.5, 32, 16, "window").place_of(0.5, 0.5, 0.1, 0.1) == (5, 6, 11, 10)
    moved = view_of(path, 0.0, 0.5, 32, 16, "whole")
    assert moved.place_of(0.0, 0.5, 0.25, 0.25) == (-4, 4, 4, 12)
    allowed = generation.room(read_points(folder / "clean", CLASSES)[0][2], view_of(path, 0.5, 0.5, 32, 16, "window"))
    assert allowed.shape == (1, 16, 16)
    assert allowed[0, 8, 8] > 0.5
    assert allowed[0, 0].max() == 0
    assert generation.room(read_points(folder / "clean", CLASSES)[0][0], moved).max() > 0.9


def test_what_is_taken_over_lies_round_the_mask_and_fades(folder):
    view, mask = view_of(folder / "clean" / "a.png", 0.5, 0.5, 32, 16, "window"), np.zeros((16, 16), np.float32)
    mask[8, 8] = 1
    alpha = support(mask, view, paste=True)
    assert alpha[16, 16] == 1
    rows, _ = (alpha == 1).nonzero()
    assert (rows.min(), rows.max()) == (16 - 6, 16 + 6)
    assert 17 <= (alpha > 0).any(axis=1).sum() <= 21
    assert support(np.zeros((16, 16)), view, paste=True).max() == 0
    assert support(mask, view, paste=False).sum() == 256
    assert faded(np.ones((4, 4), bool)).min() == 1


def test_the_shipped_config_is_for_runs():
    found = load(PaintConfig, ROOT / "configs" / "crg-paint.yaml")
    assert found.context.run == found.defect.run == Path("checkpoints/board")


def test_two_processes_share_the_points_and_make_the_same_pictures(folder):
    paint_folder(config(folder, "one"), CPU)
    path = folder / "paint.yaml"
    path.write_text(json.dumps(config(folder, "both").model_dump(mode="json")))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", ROOT / "scripts" / "sample_generation.py",
         "--conf_path", path, "--device", "cpu"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert "3 of 3 points to paint on cpu and 1 more" in done.stdout
    assert done.stdout.count("3 images with a defect; 0 points") == 2
    lines = [len((folder / "both" / name).read_text().splitlines()) for name in ("manifest.jsonl", "manifest-1.jsonl")]
    assert lines == [2, 1]
    one, both = files(folder / "one"), files(folder / "both")
    assert {name: data for name, data in one.items() if name.endswith(".png")} == {
        name: data for name, data in both.items() if name.endswith(".png")}
    assert len(formats.read(folder / "both" / "labelled", "coco")) == 3


def test_memory_that_does_not_suffice_names_the_key(folder, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(generation.Sampler, "paint", full)
    with pytest.raises(DefectForgeError, match="batch_size: the device's memory does not suffice, got 2. Lower it"):
        paint_folder(config(folder, batch_size=2), CPU)
    with pytest.raises(DefectForgeError, match="Set precision to bfloat16, or sampler.kind to fast"):
        paint_folder(config(folder, "other"), CPU)
