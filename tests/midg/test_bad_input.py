"""What a user gets wrong with MIDG's commands, or has otherwise than expected: one clear line, or it just works."""
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.data.images import read_image, read_mask, write_image
from midg.legacy_weights import EDGE_FILES
from tests.midg.earlier_experiment import DIR, KIND, TEST, TRAIN, role, write_config


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
def test_bad_weights_are_one_line(earlier_weights, fails, spoil, model, message):
    spoil()
    assert f"\n{message}" in f"\n{fails(*TEST, '--model', model)}"
    assert not Path("run").exists(), "code in a file was run"
    assert not Path(DIR, "midg-edge").exists() or model == "3"


def test_weights_of_another_width_are_one_line(earlier_weights, fails):
    message = fails(*TEST, "--model", "1", "--set", "network.width=8")
    assert "is of another model" in message
    assert "[4, 3, 3, 3], here [8, 3, 3, 3]" in message
    message = fails("train.py", "--model", "1", "--checkpoints", DIR, "--set", "network.width=8", "--device", "cpu")
    assert "'network.width' was 4 when this run was started, got 8" in message


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
def test_a_mistake_in_training_is_one_line(made_samples, fails, spoil, message):
    spoil()
    said = fails(*TRAIN, "--model", "1")
    assert message in said.replace(f"{made_samples}/", "")
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
def test_a_mistake_in_drawing_is_one_line(earlier_weights, fails, options, message):
    write_config(TEST_FLIST=None, TEST_MASK_FLIST=None)
    for name, shape in (("i.png", (96, 96)), ("flat.png", (40, 96)), ("small.png", (32, 32)), ("black.png", (96, 96))):
        write_image(Path(name), np.full(shape, 0 if name == "black.png" else 255, np.uint8))
    write_image(Path("m.png"), read_mask(role("mask2") / "0 a.png"))
    Path("text.flist").write_text("")
    assert message in fails(*TEST, "--model", "1", *options)
    assert not Path(DIR, "results-edge").exists()


def test_an_experiment_without_its_config_says_where_it_goes(made_samples, fails):
    Path(DIR, "config.yml").unlink()
    said = fails(*TRAIN, "--model", "1")
    assert "data.root: no data, got nothing. Give the folder of a labelled set: --set data.root=DIR; or" in said
    assert f"copy a published experiment's config.yml into {DIR}, which has none" in said


def test_an_image_of_ones_own_is_not_paired_with_the_masks_of_other_images(earlier_weights, fails):
    write_config(EDGE=2)
    write_image(Path("i.png"), np.full((96, 96), 255, np.uint8))
    for model in ("1", "3"):
        said = fails(*TEST, "--model", model, "--input", "i.png")
        assert "--mask: missing, got --input alone. Say where on them to draw" in said


def test_lists_of_one_line_and_blanks_in_names_are_read(made_samples, works):
    for folder in ("exposed_copper", "inpaint2", "mask2"):
        (role(folder) / "train.flist").write_text(f"{role(folder)}/1 a.png")        # no line break at its end
    works(*TRAIN, "--model", "1")
    assert Path(DIR, "midg-edge", "step-00000002.pt").is_file()


def test_images_smaller_than_the_window_are_enlarged_in_training_and_kept_in_use(made_samples, works):
    write_config(INPUT_SIZE=128)
    works(*TRAIN, "--model", "1")
    works(*TEST, "--model", "1")
    assert read_image(Path(DIR, "results-edge", "0 a.png")).shape == (96, 96, 3)


def test_soft_masks_are_cut_at_127_in_training_and_in_use(made_samples, works):
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
def test_a_mistake_in_inpainting_is_one_line(made_samples, fails, monkeypatch, engine, message):
    Path("text.pt").write_text("no TorchScript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)          # LaMa is a TorchScript file, whatever comes after it
        torch.jit.script(torch.nn.Linear(1, 1)).save("other.pt")
    monkeypatch.setenv("PATH", str(made_samples))
    monkeypatch.setattr("midg.lama.ROOT", made_samples)                 # where iopaint's environment would be
    said = fails("scripts/inpaint.py", "--images", role("exposed_copper"), "--masks", role("mask2"), "--output", "out",
                 *engine)
    assert message in said
    assert not list(Path().glob("out/*"))
