"""The earlier code's commands as it writes them, from its folder layout; what a user gets wrong there is one line."""
import json
import os
import runpy
import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core import checkpoint
from core.data.images import read_image, read_mask, write_image
from midg.legacy_weights import DEFECT_FILES, EDGE_FILES, save_earlier
from midg.networks import DefectGenerator, Discriminator, EdgeGenerator

ROOT = Path(__file__).resolve().parents[2]
DIR = "checkpoints/exposed_copper"
KIND = "./datasets/kinds/exposed_copper"        # as the published config has it; the folders are under dataset
LISTS = {"FLIST": "exposed_copper", "MASK_FLIST": "mask", "INPAINTING_FLIST": "inpaint", "EDGE_FLIST": "edge"}
DEAD = ("MODE", "MODEL", "MASK", "NMS", "GPU", "VERBOSE", "DEBUG", "GAN_POOL_SIZE", "SAMPLE_INTERVAL", "EVAL_INTERVAL",
        "TRAIN_EDGE_FLIST", "VAL_EDGE_FLIST", "TEST_EDGE_FLIST")
CONFIG = {
    "MODE": 1, "MODEL": 1, "MASK": 6, "EDGE": 1, "NMS": 1, "SEED": 10, "GPU": "[0]", "DEBUG": 0, "VERBOSE": 0,
    **{f"{split}_{key}": f"{KIND}/{folder}/{'train/train' if split == 'TRAIN' else 'test/test'}.flist"
       for split in ("TRAIN", "VAL", "TEST") for key, folder in LISTS.items()},
    "TEST_FLIST": f"{KIND}/inpaint/test/test.flist",
    "LR": 0.0001, "D2G_LR": 0.1, "BETA1": 0.0, "BETA2": 0.9, "BATCH_SIZE": 2, "INPUT_SIZE": 224, "SIGMA": 3,
    "MAX_ITERS": "1e4", "EDGE_THRESHOLD": 0.5, "L1_LOSS_WEIGHT": 1, "FM_LOSS_WEIGHT": 10, "STYLE_LOSS_WEIGHT": 250,
    "CONTENT_LOSS_WEIGHT": 0.1, "INPAINT_ADV_LOSS_WEIGHT": 0.1, "GAN_LOSS": "nsgan", "GAN_POOL_SIZE": 0,
    "SAVE_INTERVAL": 500, "SAMPLE_INTERVAL": 500, "SAMPLE_SIZE": 12, "EVAL_INTERVAL": 500, "LOG_INTERVAL": 10,
}
TINY = ("--set", "network.width=4", "--set", "loop.steps=2", "--set", "loop.workers=0", "--device", "cpu")
TRAIN, TEST = ("train.py", *TINY, "--checkpoints", DIR), ("test.py", "--device", "cpu", "--checkpoints", DIR)


def config_text(**changes) -> str:
    """The published config.yml with some keys changed; None takes a key out."""
    return "".join(f"{key}: {value}\n" for key, value in {**CONFIG, **changes}.items() if value is not None)


@pytest.fixture
def command(monkeypatch, capsys):
    """command("train.py", ...) -> (exit code, printed, said on stderr), run within this process."""
    def start(script, *arguments):
        monkeypatch.setattr("sys.argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err
    return start


@pytest.fixture
def works(command):
    def start(*words):
        code, out, said = command(*words)
        assert code == 0, out + said
        return out, said
    return start


@pytest.fixture
def fails(command):
    """What a mistake brings on stderr, with exit code 2: notes perhaps, then the line that says what is wrong."""
    def start(*words):
        code, out, said = command(*words)
        assert code == 2, out + said
        assert "Traceback" not in said
        return said
    return start


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
        assert f"\n{DIR}/midg-edge: no trained midg-edge here" in message
        assert "Train it first: python train.py --model midg-edge --checkpoints" in message
        assert not Path(DIR, "midg-defect").exists()

    def test_training(self, inside_samples, works):
        _, said = works(*TRAIN, "--model", "1")
        lines = said.splitlines()
        for key in DEAD:
            assert sum(f": {key} " in line for line in lines) == 1, f"{key} must be named once\n{said}"
        assert "read from dataset/kinds/exposed_copper/mask2/train/train.flist" in said
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


# Trained weights of the earlier code

@pytest.fixture
def made(tmp_path, monkeypatch):
    """The layout with two made samples a split, 96 px, in which everything is quick."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(2):
            image = np.full((96, 96, 3), 120, np.uint8) + draw.integers(0, 20, (96, 96, 3), np.uint8)
            mask = np.zeros((96, 96), np.uint8)
            x, y = draw.integers(10, 50, 2)
            mask[y:y + 30, x:x + 30] = 255
            defect = image.copy()
            defect[y + 8:y + 22, x + 8:x + 22] //= 3
            for folder, pixels in (("exposed_copper", defect), ("inpaint2", image), ("mask2", mask)):
                place = tmp_path / "dataset/kinds/exposed_copper" / folder / split
                place.mkdir(parents=True, exist_ok=True)
                write_image(place / f"{number} a.png", pixels)          # names with blanks
            for folder in ("exposed_copper", "inpaint2", "mask2"):
                place = tmp_path / "dataset/kinds/exposed_copper" / folder / split
                names = "".join(f"./{(place / f'{n} a.png').relative_to(tmp_path)}\n" for n in range(number + 1))
                (place / f"{split}.flist").write_text(names)
    Path(DIR).mkdir(parents=True)
    Path(DIR, "config.yml").write_text(config_text(INPUT_SIZE=96))
    return tmp_path


@pytest.fixture
def trained(made):
    """Weight files of the earlier code in the experiment's folder."""
    torch.manual_seed(0)
    for files, generator in ((EDGE_FILES, EdgeGenerator(4)), (DEFECT_FILES, DefectGenerator(4))):
        save_earlier(Path(DIR, files[0]), generator, 9500)
        save_earlier(Path(DIR, files[1]), Discriminator(3, 4))
    return made


def test_earlier_weights_are_used_as_they_are(trained, works):
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


def test_training_goes_on_from_earlier_weights(trained, works):
    steps = ("--set", "loop.steps=9501", "--set", "loop.workers=0", "--device", "cpu", "--checkpoints", DIR)
    out, _ = works("train.py", "--model", "3", *steps)
    assert "step 9500 of 9501" in out
    assert Path(DIR, "midg-defect", "step-00009501.pt").is_file()


def test_weights_go_through_the_converter_and_back(trained, works, fails):
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


def test_networks_of_this_projects_form_are_not_written_for_the_earlier_code(made, works, fails):
    works(*TRAIN, "--model", "1")
    message = fails("scripts/midg_weights.py", "--checkpoints", DIR, "--to-earlier", "back")
    assert "EdgeGenerator: cannot be written for the earlier code, got 4 input planes" in message


@pytest.mark.parametrize("model", ["2", "4"])
def test_models_2_and_4_take_earlier_weights_too(trained, works, model):
    edges = ("--edge", "dataset/kinds/exposed_copper/mask2/test") if model == "2" else ()
    works(*TEST, "--model", model, *edges)
    assert len(list(Path(DIR).glob("results-*/*.png"))) == 2


def test_without_a_config_the_published_values_are_taken(trained, works):
    Path(DIR, "config.yml").unlink()
    kind = Path("dataset/kinds/exposed_copper")
    _, said = works(*TEST, "--model", "1", "--input", kind / "inpaint2/test", "--mask", kind / "mask2/test")
    assert "config.yml: was not there; written with" in said


def replaced(part):
    def spoil():
        torch.save({"iteration": 1, "generator": {"Conv1.conv.0.weight_orig": torch.zeros(4, 3, 3, 3), **part}},
                   Path(DIR, EDGE_FILES[0]))
    return spoil


class Payload:
    def __reduce__(self):
        return os.system, ("touch run",)


@pytest.mark.parametrize(("spoil", "model", "message"), [
    (lambda: Path(DIR, EDGE_FILES[0]).unlink(), "3",
     f"{DIR}/EdgeModel_gen.pth: missing, got InpaintingModel_gen.pth alone"),
    (replaced({"more": Payload()}), "1", f"{DIR}/EdgeModel_gen.pth: holds more than tensors, numbers and text"),
    (replaced({}), "1", f"{DIR}/EdgeModel_gen.pth: does not fit this EdgeGenerator: 'Conv1.conv.0"),
    (lambda: Path(DIR, EDGE_FILES[0]).write_bytes(b"no weights"), "1", f"{DIR}/EdgeModel_gen.pth: cannot be read"),
])
def test_bad_weights_are_one_line(trained, fails, spoil, model, message):
    spoil()
    assert f"\n{message}" in f"\n{fails(*TEST, '--model', model)}"
    assert not Path("run").exists(), "code in a file was run"
    assert not Path(DIR, "midg-edge").exists() or model == "3"


def test_weights_of_another_width_are_one_line(trained, fails):
    message = fails(*TEST, "--model", "1", "--set", "network.width=8")
    assert "is of another model" in message
    assert "[4, 3, 3, 3], here [8, 3, 3, 3]" in message
    message = fails("train.py", "--model", "1", "--checkpoints", DIR, "--set", "network.width=8", "--device", "cpu")
    assert "'network.width' was 4 when this run was started, got 8" in message


# What a user gets wrong

def write_config(**changes):
    Path(DIR, "config.yml").write_text(config_text(**{"INPUT_SIZE": 96, **changes}))


def role(folder: str, split: str = "train") -> Path:
    return Path("dataset/kinds/exposed_copper", folder, split)


def empty_list():
    (role("mask2") / "train.flist").write_text("\n \n")


def squeezed_mask():
    write_image(role("mask2") / "0 a.png", np.zeros((96, 60), np.uint8))


def mask_of_ones():
    write_image(role("mask2") / "0 a.png", (read_mask(role("mask2") / "0 a.png") > 0).astype(np.uint8))


def black_mask():
    write_image(role("mask2") / "0 a.png", np.zeros((96, 96), np.uint8))


def other_background():
    write_image(role("inpaint2") / "0 a.png", np.zeros((90, 96, 3), np.uint8))


def lost_partner():
    (role("mask2") / "1 a.png").rename(role("mask2") / "2 a.png")
    (role("mask2") / "train.flist").unlink()
    write_config(TRAIN_MASK_FLIST=f"{KIND}/mask/train")


def broken_image():
    (role("exposed_copper") / "1 a.png").write_bytes(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda: write_config(INPUT_SIZE=250), "'INPUT_SIZE': must be 0 or a multiple of 16 px from 32 on, got 250. Write "
                                           "256"),
    (lambda: write_config(STYLE_LOS_WEIGHT=3), "unknown key 'STYLE_LOS_WEIGHT'. Did you mean 'STYLE_LOSS_WEIGHT'? The "
                                               "earlier code passed over it without a word"),
    (lambda: write_config(GAN_LOSS="wgan"), "'GAN_LOSS' must be one of nsgan, lsgan, hinge, got 'wgan'"),
    (lambda: write_config(SIGMA=-1), "SIGMA -1 (no edges) has no counterpart here"),
    (lambda: write_config(EDGE_THRESHOLD=1), "config.yml: 'loss.threshold' must be a number, above 0, below 1, got 1"),
    (lambda: write_config(TRAIN_MASK_FLIST=None), "TRAIN_MASK_FLIST is needed beside TRAIN_FLIST, got nothing"),
    (lambda: write_config(TRAIN_FLIST=None), "data.root: no data, got nothing"),
    (lambda: write_config(TRAIN_FLIST="nowhere.flist"), "nowhere.flist: no such folder, list or image"),
    (empty_list, "train.flist: names no image, got an empty list"),
    (squeezed_mask, "mask2/train/0 a.png: of another shape than"),
    (mask_of_ones, "mask2/train/0 a.png: not a black and white mask, got levels of 0 and 1"),
    (black_mask, "mask2/train/0 a.png: marks nothing"),
    (other_background, "inpaint2/train/0 a.png: of another size than"),
    (lost_partner, "2 a.png: mask without image, got no '2 a' among 2 files"),
    (broken_image, "exposed_copper/train/1 a.png: "),
])
def test_a_mistake_in_training_is_one_line(made, fails, spoil, message):
    spoil()
    said = fails(*TRAIN, "--model", "1")
    assert message in said.replace(f"{made}/", "")
    assert not Path(DIR, "midg-edge", "step-00000000.pt").exists()


@pytest.mark.parametrize(("options", "message"), [
    (("--mask", "m.png"), "--input: missing, got --mask alone. Give the images to draw on"),
    (("--input", "i.png"), "--mask: missing, got --input alone. Say where on them to draw"),
    (("--input", "i.png", "--mask", "none"), "none: no such folder, list or image"),
    (("--input", "i.png", "--mask", "flat.png"), "flat.png: of another shape than i.png, got 96x40 px for 96x96"),
    (("--input", "i.png", "--mask", "black.png"), "black.png: marks nothing, got no white pixel"),
    (("--input", "i.png", "--mask", "m.png", "--inpaint", "flat.png"), "flat.png: of another size than i.png"),
    (("--input", "i.png", "--mask", "m.png", "--edge", "small.png"), "small.png: of another size than i.png"),
    (("--input", "i.png", "--mask", "m.png", "--set", "data.size_px=100"), "must be a multiple of 16 px, got 100"),
    (("--input", "text.flist", "--mask", "m.png"), "text.flist: names no image, got an empty list"),
])
def test_a_mistake_in_drawing_is_one_line(trained, fails, options, message):
    write_config(TEST_FLIST=None, TEST_MASK_FLIST=None)
    for name, shape in (("i.png", (96, 96)), ("flat.png", (40, 96)), ("small.png", (32, 32)), ("black.png", (96, 96))):
        write_image(Path(name), np.full(shape, 0 if name == "black.png" else 255, np.uint8))
    write_image(Path("m.png"), read_mask(role("mask2") / "0 a.png"))
    Path("text.flist").write_text("")
    assert message in fails(*TEST, "--model", "1", *options)
    assert not Path(DIR, "results-edge").exists()


def test_model_2_without_edges_says_so(trained, fails):
    assert "Give a drawn shape or edges" in fails(*TEST, "--model", "2")


def test_lists_of_one_line_and_blanks_in_names_are_read(made, works):
    for folder in ("exposed_copper", "inpaint2", "mask2"):
        (role(folder) / "train.flist").write_text(f"{role(folder)}/1 a.png")        # no line break at its end
    works(*TRAIN, "--model", "1")
    assert Path(DIR, "midg-edge", "step-00000002.pt").is_file()


def test_images_smaller_than_the_window_are_enlarged_in_training_and_kept_in_use(made, works):
    write_config(INPUT_SIZE=128)
    works(*TRAIN, "--model", "1")
    works(*TEST, "--model", "1")
    assert read_image(Path(DIR, "results-edge", "0 a.png")).shape == (96, 96, 3)


def test_soft_masks_are_cut_at_127_in_training_and_in_use(made, works):
    hard = read_mask(role("mask2", "test") / "0 a.png")
    for split in ("train", "test"):
        for number in range(2):
            path = role("mask2", split) / f"{number} a.png"
            soft = cv2.GaussianBlur(read_mask(path), (5, 5), 0)
            cv2.imwrite(str(path.with_suffix(".jpg")), soft, [cv2.IMWRITE_JPEG_QUALITY, 60])
            path.unlink()
    write_config(TRAIN_MASK_FLIST=f"{KIND}/mask/train", VAL_MASK_FLIST=f"{KIND}/mask/test",
                 TEST_MASK_FLIST=f"{KIND}/mask/test")
    works(*TRAIN, "--model", "1", "--set", "network.line_threshold=null")
    works(*TEST, "--model", "1")
    edges = read_mask(Path(DIR, "results-edge", "0 a.png"))
    soft = (edges > 0) & (edges < 255)          # predicted ones; Canny's are 0 or 255
    assert 0.95 < (soft & (hard > 0)).sum() / soft.sum() <= 1
    assert soft.sum() > 0.9 * (hard > 0).sum()


@pytest.mark.parametrize(("engine", "message"), [
    (("--engine", "lama", "--model", "text.pt"), "text.pt"),
    (("--engine", "lama", "--model", "other.pt"), "other.pt"),
    (("--engine", "lama", "--model", "none.pt"), "none.pt"),
    (("--engine", "iopaint", "--model", "other.pt"), "make iopaint"),
    (("--engine", "lamma"), "Did you mean 'lama'?"),
])
def test_a_mistake_in_inpainting_is_one_line(made, fails, monkeypatch, engine, message):
    Path("text.pt").write_text("no TorchScript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)          # LaMa is a TorchScript file, whatever comes after it
        torch.jit.script(torch.nn.Linear(1, 1)).save("other.pt")
    monkeypatch.setenv("PATH", str(made))
    monkeypatch.setattr("midg.lama.ROOT", made)                 # where iopaint's environment would be
    said = fails("scripts/inpaint.py", "--images", role("exposed_copper"), "--masks", role("mask2"), "--output", "out",
                 *engine)
    assert message in said
    assert not list(Path().glob("out/*"))
