"""The earlier code's commands as it writes them, from its folder layout, and its trained weights."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from core import checkpoint
from core.data.images import read_image, read_mask, to_tensor
from midg.edges import canny, grey_of
from midg.legacy_weights import DEFECT_FILES, EDGE_FILES
from midg.networks import EdgeGenerator
from tests.midg.earlier_experiment import DEAD, DIR, TEST, TRAIN, config_text, role, write_config

# Its own samples, its own commands

@pytest.fixture(scope="module")
def samples(shared_data, tmp_path_factory):
    """A working folder with the published samples and config."""
    folder = tmp_path_factory.mktemp("seed")
    shutil.copytree(shared_data / "midg_fpc" / "dataset", folder / "dataset")
    (folder / DIR).mkdir(parents=True)
    (folder / DIR / "config.yml").write_text(config_text())
    return folder


@pytest.fixture
def inside_samples(samples, monkeypatch):
    monkeypatch.chdir(samples)
    return samples


class TestPublished:
    """In the order of the published text; each goes on with what the one before has left."""

    def test_lists(self, inside_samples, works):
        out, _ = works("scripts/flist2.py", "--path", "./dataset/")
        assert "dataset/kinds/exposed_copper/mask2/train/train.flist: 2 images" in out

    def test_model_3_needs_model_1(self, inside_samples, fails):
        message = fails(*TRAIN, "--model", "3")
        for key in DEAD:
            assert message.count(f": {key} ") == 1, f"{key} must be named once\n{message}"
        assert f"\n{DIR}/midg-edge: no trained midg-edge here" in message
        assert "Train it first: python train.py --model midg-edge --checkpoints" in message
        assert not Path(DIR, "midg-defect").exists()

    def test_training(self, inside_samples, works):
        _, said = works(*TRAIN, "--model", "1")
        assert f"notes on it are in {DIR}/config-notes.txt" in said, "the command before has told them"
        lines = Path(DIR, "config-notes.txt").read_text().splitlines()
        assert any("read from dataset/kinds/exposed_copper/mask2/train/train.flist" in line for line in lines)
        assert not any(": LR " in line or ": SIGMA " in line for line in lines)
        config = Path(DIR, "midg-edge", "config.yaml").read_text()
        for line in ("learning_rate: 0.0001", "discriminator_factor: 0.1", "size_px: 224", "feature_matching: 10.0",
                     "seed: 10", "save_every: 500", "fit: whole"):
            assert f"{line}\n" in config
        works(*TRAIN, "--model", "3")
        assert "style: 250.0\n" in Path(DIR, "midg-defect", "config.yaml").read_text()
        assert Path(DIR, "midg-defect", "samples", "step-00000002", "sheet.png").is_file()

    def test_drawing(self, inside_samples, works):
        works(*TEST, "--model", "1")
        works(*TEST, "--model", "3")
        for name in ("000686_exposed_copper.png", "000759_exposed_copper.png"):
            clean, mask = (read(inside_samples / f"dataset/kinds/exposed_copper/{folder}/test/{name}")
                           for read, folder in ((read_image, "inpaint2"), (read_mask, "mask2")))
            made, edges = read_image(Path(DIR, "results", name)), read_mask(Path(DIR, "results-edge", name))
            assert (made[mask == 0] == clean[mask == 0]).all(), "nothing changes outside the mask"
            assert (made[mask > 0] != clean[mask > 0]).any()
            assert set(np.unique(edges[mask == 0])) == {0, 255}
            assert (read_mask(Path(DIR, "results", "edges", name))[mask == 0] == edges[mask == 0]).all()
            label = read_mask(Path(DIR, "results", "labels", name)) > 0
            assert (label == label & (mask > 0)).all()
        assert json.loads(Path(DIR, "results", "applied.json").read_text())["pictures"] == 2

    def test_drawing_again_writes_over_nothing(self, inside_samples, fails, works):
        assert "results: has files in it" in fails(*TEST, "--model", "3")
        before = read_image(Path(DIR, "results", "000686_exposed_copper.png"))
        works(*TEST, "--model", "3", "--overwrite")
        assert (read_image(Path(DIR, "results", "000686_exposed_copper.png")) == before).all(), "equal seeds"

    def test_figures(self, inside_samples, works):
        published = ("--data", "datasets/kind/exposed_copper/test", "--output", f"./{DIR}/result")
        out, _ = works("scripts/metrics.py", *published, "--legacy")
        assert "2 pairs" in out
        assert Path(DIR, "results", "metrics.txt").is_file()
        works("scripts/metrics.py", "--data", "dataset/kinds/exposed_copper/test", "--output", f"{DIR}/results-edge",
              "--edges")

    def test_options_of_test(self, inside_samples, works):
        kind = Path("dataset/kinds/exposed_copper")
        mask = kind / "mask2/test/000759_exposed_copper.png"
        works(*TEST, "--model", "3", "--input", kind / "inpaint2/test", "--mask", mask, "--output", "one")
        assert sorted(path.name for path in Path("one").glob("*.png")) == [
            "000686_exposed_copper.png", "000759_exposed_copper.png"]
        works(*TEST, "--model", "3", "--input", kind / "exposed_copper/test", "--mask", kind / "mask2/test",
              "--inpaint", kind / "inpaint2/test/test.flist", "--edge", mask, "--output", "given")
        edges = read_mask(Path("given/edges/000759_exposed_copper.png"))
        assert (edges[read_mask(mask) > 0] == 255).all(), "given edges are taken in place of predicted ones"
        name = "000686_exposed_copper.png"          # the defect that --input shows is gone: --inpaint lies below
        here = read_mask(kind / "mask2/test" / name) > 0
        below, defect, given = (read_image(folder / name)[here].astype(int) for folder in
                                (kind / "inpaint2/test", kind / "exposed_copper/test", Path("given")))
        assert abs(given - below).mean() < abs(given - defect).mean()


def test_notes_on_the_config_are_told_once_in_the_order_of_its_lines(made_samples, works):
    def notes(said):
        return [line for line in said.splitlines() if "config.yml" in line]
    _, first = works(*TRAIN, "--model", "1")
    _, again = works(*TRAIN, "--model", "1", "--set", "loop.steps=3")
    told = Path(DIR, "config-notes.txt").read_text().splitlines()
    numbers = [int(line.split(":")[1]) for line in told if line.startswith("config.yml:")]
    assert len(numbers) >= len(DEAD)
    assert numbers == sorted(numbers)
    assert [f"{DIR}/{line}" for line in told if line.startswith("config.yml:")] == [
        line for line in notes(first) if line.startswith(f"{DIR}/config.yml:") and line.split(":")[1].isdigit()]
    assert notes(again) == [f"{DIR}/config.yml: {len(told)} notes on it are in {DIR}/config-notes.txt"]
    write_config(SOMETHING=3)
    assert ": SOMETHING is not read" in "".join(notes(works(*TRAIN, "--model", "1", "--set", "loop.steps=3")[1]))


# Trained weights of the earlier code

def test_earlier_weights_are_used_as_they_are(earlier_weights, works):
    before = {path.name: path.read_bytes() for path in Path(DIR).iterdir()}
    _, said = works(*TEST, "--model", "3")
    assert "midg-edge: made of EdgeModel_gen.pth, step 9500" in said
    assert "midg-defect: made of InpaintingModel_gen.pth, step 9500" in said
    assert all(Path(DIR, name).read_bytes() == data for name, data in before.items()), "the files stay as they were"
    _, said = works(*TEST, "--model", "1")
    assert "made of" not in said
    mine, stored = EdgeGenerator(4), torch.load(Path(DIR, EDGE_FILES[0]), weights_only=True)["generator"]
    checkpoint.load_part(Path(DIR, "midg-edge", "step-00009500.pt"), "average/generator", mine)
    assert torch.equal(mine.down[0].first.conv.parametrizations.weight.original, stored["Conv1.conv.0.weight_orig"])


def test_training_goes_on_from_earlier_weights(earlier_weights, works):
    steps = ("--set", "loop.steps=9501", "--set", "loop.workers=0", "--device", "cpu", "--checkpoints", DIR)
    out, _ = works("train.py", "--model", "3", *steps)
    assert "step 9500 of 9501" in out
    assert Path(DIR, "midg-defect", "step-00009501.pt").is_file()


def test_weights_go_through_the_converter_and_back(earlier_weights, works, fails):
    works("scripts/midg_weights.py", "--checkpoints", DIR)
    out, _ = works("scripts/midg_weights.py", "--checkpoints", DIR, "--to-earlier", "back")
    assert out.split() == [f"back/{name}" for name in (*EDGE_FILES, *DEFECT_FILES)]
    for name in (*EDGE_FILES, *DEFECT_FILES):
        before, after = (torch.load(Path(folder, name), weights_only=True) for folder in (DIR, "back"))
        for part in ("generator", "discriminator"):
            assert before.get(part, {}).keys() == after.get(part, {}).keys()
            assert all(torch.equal(value, after[part][key]) for key, value in before.get(part, {}).items())
        assert before.get("iteration") == after.get("iteration")
    again = ("scripts/midg_weights.py", "--checkpoints", DIR)
    assert f"{DIR}: nothing to make a run of" in fails(*again)
    assert "back/EdgeModel_gen.pth: is there already" in fails(*again, "--to-earlier", "back")
    assert "none: no trained midg-edge or midg-defect here" in fails(*again[:2], "none", "--to-earlier", "back")


def test_networks_of_this_projects_form_are_not_written_for_the_earlier_code(made_samples, works, fails):
    works(*TRAIN, "--model", "1")
    message = fails("scripts/midg_weights.py", "--checkpoints", DIR, "--to-earlier", "back")
    assert "EdgeGenerator: cannot be written for the earlier code, got 4 input planes" in message


@pytest.mark.parametrize("model", ["2", "4"])
def test_models_2_and_4_take_earlier_weights_too(earlier_weights, works, model):
    edges = ("--edge", "dataset/kinds/exposed_copper/mask2/test") if model == "2" else ()
    works(*TEST, "--model", model, *edges)
    assert len(list(Path(DIR).glob("results-*/*.png"))) == 2


def test_model_2_takes_the_images_own_edges_where_none_are_given(earlier_weights, works):
    _, said = works(*TEST, "--model", "2")
    assert "no --edge: the images' own edges are drawn on" in said
    for path in sorted(Path(DIR, "results-inpaint").glob("*.png")):
        own = canny(grey_of(to_tensor(read_image(role("inpaint2", "test") / path.name))), 3)[0].numpy()
        assert (read_mask(path.parent / "edges" / path.name) == own * 255).all()
    images = role("exposed_copper", "test")         # of a defect: its edges are taken, though --inpaint lies below
    works(*TEST, "--model", "2", "--input", images, "--mask", role("mask2", "test"), "--inpaint",
          role("inpaint2", "test"), "--output", "again")
    assert any((read_mask(path) != read_mask(Path(DIR, "results-inpaint", "edges", path.name))).any()
               for path in Path("again", "edges").glob("*.png"))


def test_without_a_config_the_published_values_are_taken(earlier_weights, works):
    Path(DIR, "config.yml").unlink()
    kind = Path("dataset/kinds/exposed_copper")
    _, said = works(*TEST, "--model", "1", "--input", kind / "inpaint2/test", "--mask", kind / "mask2/test")
    assert "config.yml: was not there; written with" in said
