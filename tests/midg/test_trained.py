"""Which trained models `--method midg` uses, trains, trains anew or refuses, as a user meets it on the command line."""
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from core import checkpoint
from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig
from midg.legacy_weights import DEFECT_FILES, EDGE_FILES, save_earlier
from midg.networks import DefectGenerator, EdgeGenerator
from tests.outputs import manifest
from tests.sets import write_coco

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "augment.py"
TINY = ("steps=4", "width=2", "size_px=48", "batch_size=2")
NAMES = "midg-edge", "midg-defect"

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("trained") / "set")


@pytest.fixture
def road(data, tmp_path, monkeypatch, capsys):
    """road(*options) -> (exit code, stdout, stderr) of the main job with midg, after `--data` and `--output out`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def start(*options, settings=TINY, data=data, method="midg"):
        command = ["--data", data, "--output", "out", "--count", "1", "--workers", "1", "--device", "cpu", "--method",
                   method, "--set", "gate.enabled=false", *(f"--set=midg.{text}" for text in settings), *options]
        monkeypatch.setattr("sys.argv", ["scripts/augment.py", *map(str, command)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return left.value.code, said.out, said.err
    return start


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """Models as an earlier run of the main job left them."""
    folder = tmp_path_factory.mktemp("trained") / "first"
    augment(AugmentConfig(data=data, output=folder, count=1, method="midg", device="cpu", gate={"enabled": False},
                          midg={"steps": 4, "width": 2, "size_px": 48, "batch_size": 2}))
    return folder / "models"


@pytest.fixture
def given(trained, tmp_path) -> Path:
    """A copy of them that `train.py` might have made: without the main job's note."""
    folder = tmp_path / "given"
    shutil.copytree(trained, folder)
    for name in NAMES:
        (folder / name / "learned.json").unlink()
    return folder


def width(folder: Path, name: str) -> int:
    return yaml.safe_load((folder / name / "config.yaml").read_text())["network"]["width"]


def moved(folder: Path) -> None:
    """Other weights in the newest checkpoint of a run."""
    path = checkpoint.found(folder)[-1]
    state = torch.load(path, weights_only=True)
    for values in state["parts"]["average/generator"].values():
        if torch.is_floating_point(values):
            values += 0.1
    torch.save(state, path)


def test_overwrite_trains_anew_and_leaves_what_is_the_users(road, data, tmp_path):
    assert road()[0] == 0
    mine = [tmp_path / "out/models" / name for name in ("mine.txt", "midg-edge/mine.txt", "theirs/config.yaml")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    code, said, _ = road("--overwrite", settings=("steps=3", "width=3", *TINY[2:]))
    assert code == 0
    assert "midg-edge (model 1 of 2) learns" in said
    for name in NAMES:
        assert width(tmp_path / "out/models", name) == 3
        assert [path.name for path in checkpoint.found(tmp_path / "out/models" / name)][-1] == "step-00000003.pt"
    assert [path.read_text() for path in mine] == ["mine"] * 3
    other = shutil.copytree(data, tmp_path / "other")
    text = (other / "annotations.json").read_text()
    (other / "annotations.json").write_text(text.replace('"scratch"', '"dent"'))
    assert road("--overwrite", data=other)[0] == 0
    assert "dent" in (tmp_path / "out/models/midg-edge/classes.txt").read_text()


def test_own_models_of_other_settings_or_data_are_refused_where_the_run_is_not_known(road, trained, tmp_path):
    (tmp_path / "out").mkdir()
    shutil.copytree(trained, tmp_path / "out/models")
    code, _, said = road("--overwrite", settings=("steps=4", "width=3", *TINY[2:]))
    assert (code, "midg.width: was 2, is 3" in said, "--overwrite" in said) == (2, True, True)
    note = tmp_path / "out/models/midg-edge/learned.json"
    note.write_text(json.dumps({"defects": "0"}))
    (tmp_path / "out/run.json").unlink()
    assert "midg-edge: has learnt from other defects than these" in road("--overwrite")[2]


def test_going_on_with_models_that_changed_is_refused_and_moving_them_is_not(road, given, tmp_path):
    assert road("--checkpoints", "given")[0] == 0
    given.rename(tmp_path / "moved")
    assert road("--checkpoints", "moved", "--count", "2")[0] == 0
    moved(tmp_path / "moved" / "midg-defect")
    code, _, said = road("--checkpoints", "moved", "--count", "3")
    assert code == 2
    assert re.match(r"out: its 2 images were drawn by other models, got hash \w{16} for \w{16}\. Give the same", said)
    assert len(manifest(tmp_path / "out")) == 2


def test_models_that_are_used_are_named_and_settings_against_them_refused(road, given, tmp_path):
    code, said, _ = road("--checkpoints", "given", settings=())
    assert code == 0
    for name in NAMES:
        assert f"{name}: used as it is in given/{name}, step 4 (width 2, size_px 48)" in said
    code, _, said = road("--checkpoints", "given", "--overwrite", settings=("width=9", "steps=60"))
    assert code == 2
    assert said.splitlines()[:3] == ["given/midg-edge: trained with other settings:", "  midg.steps: was 4, is 60",
                                     "  midg.width: was 2, is 9"]
    assert (tmp_path / "given/midg-edge").is_dir()


def test_a_training_that_train_py_has_not_ended_is_used_as_it_is(road, given):
    checkpoint.found(given / "midg-defect")[-1].unlink()
    before = checkpoint.found(given / "midg-defect")
    code, said, _ = road("--checkpoints", "given", settings=())
    assert code == 0
    assert "note: midg-defect was stopped at step 3 of 4 and is used as it is. It goes on with python train.py" in said
    assert checkpoint.found(given / "midg-defect") == before
    for path in before:
        path.unlink()
    assert "given/midg-defect: begun by train.py, got no checkpoint yet" in road(
        "--checkpoints", "given", "--overwrite", settings=())[2]


@pytest.fixture
def published(tmp_path) -> Path:
    """A folder with the earlier code's weight files and nothing else."""
    folder = tmp_path / "published"
    folder.mkdir()
    torch.manual_seed(0)
    for files, generator in ((EDGE_FILES, EdgeGenerator(4)), (DEFECT_FILES, DefectGenerator(4))):
        save_earlier(folder / files[0], generator, 9500)
    return folder


@pytest.fixture(scope="module")
def spots(data, tmp_path_factory) -> Path:
    """The set with one of its classes alone."""
    folder = shutil.copytree(data, tmp_path_factory.mktemp("trained") / "spots")
    found = json.loads((folder / "annotations.json").read_text())
    found["categories"] = found["categories"][:1]
    found["annotations"] = [item for item in found["annotations"] if item["category_id"] == 1]
    (folder / "annotations.json").write_text(json.dumps(found))
    return folder


def test_published_weight_files_are_used_as_they_are_and_never_trained(road, published, spots):
    code, said, notes = road("--checkpoints", "published", data=spots, settings=())
    assert code == 0, notes
    assert "learns" not in said
    for name, file in zip(NAMES, (EDGE_FILES[0], DEFECT_FILES[0])):
        assert f"{name}: made of {file}, step 9500" in notes
        assert f"{name}: used as it is in published/{name}, step 9500" in said
        assert [path.name for path in checkpoint.found(published / name)] == ["step-00009500.pt"]
    mine, stored = EdgeGenerator(4), torch.load(published / EDGE_FILES[0], weights_only=True)["generator"]
    checkpoint.load_part(checkpoint.found(published / "midg-edge")[-1], "average/generator", mine)
    assert torch.equal(mine.down[0].first.conv.parametrizations.weight.original, stored["Conv1.conv.0.weight_orig"])


def test_published_weights_of_one_model_alone_and_for_several_classes_are_refused(road, published, spots):
    code, _, said = road("--checkpoints", "published", settings=())
    assert (code, "draw one kind of defect, without a name, got a set with spot, scratch." in said) == (2, True), said
    for name in NAMES:
        shutil.rmtree(published / name)
    (published / EDGE_FILES[0]).unlink()
    code, said, notes = road("--checkpoints", "published", "--overwrite", data=spots, settings=())
    assert (code, said) == (2, "")
    assert "EdgeModel_gen.pth: missing, got InpaintingModel_gen.pth alone" in notes


def test_checkpoints_go_to_the_method_and_are_refused_where_it_has_no_models(road):
    code, _, said = road("--checkpoints", "given", method="copypaste", settings=())
    assert (code, said) == (2, "--checkpoints: the method 'copypaste' has no models, got 'given'. Leave it out, or "
                               "choose --method midg or crg\n")
    script = runpy.run_path(str(SCRIPT))
    assert script["checkpoints_of"]("crg", "a: b")[0] == 'crg.checkpoints="a: b"'
    assert script["checkpoints_of"]("midg", "x")[0] == 'midg.checkpoints="x"'


def test_the_device_is_the_users(road):
    assert road("--device", "gpu")[2].startswith("device: unknown, got 'gpu'.")
    if not torch.cuda.is_available():
        assert road("--device", "cuda")[2].startswith("device: torch finds no CUDA GPU")
