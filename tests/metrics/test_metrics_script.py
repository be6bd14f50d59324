"""scripts/metrics.py: pairs by stem, files and table, the earlier script's figures on its own pictures, bad input."""
import json
import math
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.feature import canny

from core.data.images import encode_png, write_bytes, write_image
from core.errors import DataError
from core.metrics import folders
from core.metrics.image import l1, psnr, ssim
from core.seeding import rng

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = {"000686_exposed_copper": ("29.72", "0.9906", "0.0079"),
             "000759_exposed_copper": ("30.41", "0.9911", "0.0048")}


@pytest.fixture
def script(monkeypatch, capsys, tmp_path):
    """script("--data", ...) -> (exit code, what it prints), within this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def start(*arguments):
        monkeypatch.setattr("sys.argv", ["metrics.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts" / "metrics.py"), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    return start


def picture(number, size=(64, 80)):
    return rng(number).integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def noisy(pixels, number, spread=15):
    return (pixels + rng(9, number).normal(0, spread, pixels.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def sets(tmp_path):
    """Folders `true`, `made` and `mask` of six pictures each; the last made one is equal to its true one."""
    for number in range(6):
        true = picture(number)
        mask = np.zeros(true.shape[:2], np.uint8)
        mask[10:30, 10 + number:40] = 255
        name = f"prüf bild.{number}.png"
        made = noisy(true, number) if number < 5 else true
        for folder, pixels in (("true", true), ("made", made), ("mask", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(tmp_path / folder / name, pixels)
    return tmp_path


def test_masks_with_a_palette_mark_what_is_shown_white(sets):
    before, palette = {}, np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    for pair in folders.find_pairs(sets / "true", sets / "made", sets / "mask"):
        before[pair.name] = pair.read()[2]
        write_bytes(pair.mask, encode_png(before[pair.name].astype(np.uint8), palette=palette))
    for pair in folders.find_pairs(sets / "true", sets / "made", sets / "mask"):
        assert np.array_equal(pair.read()[2], before[pair.name])


def test_figures_files_and_table(script, sets):
    code, printed = script("--data", "true", "--output", "made", "--mask", "mask")
    assert code == 0, printed
    found = json.loads((sets / "made" / "metrics.json").read_text(encoding="utf-8"))
    assert (found["pairs"], found["identical"]) == (6, 1)
    first = found["pictures"][0]
    true, made, mask = folders.find_pairs(Path("true"), Path("made"), Path("mask"))[0].read()
    assert first == {"name": "prüf bild.0", "psnr": psnr(made, true), "ssim": ssim(made, true), "l1": l1(made, true),
                     "psnr_in_mask": psnr(made, true, mask), "ssim_in_mask": ssim(made, true, mask),
                     "l1_in_mask": l1(made, true, mask)}
    assert found["pictures"][5]["psnr"] == "inf"
    assert found["means"]["psnr"] == pytest.approx(np.mean([row["psnr"] for row in found["pictures"][:5]]))
    assert found["means"]["l1"] == pytest.approx(np.mean([row["l1"] for row in found["pictures"]]))
    assert found["compared"] == "6 defect crops of each set"
    assert isinstance(found["sets"]["kernel distance [scattering-clean]"], float)
    with np.load(sets / "made" / "metrics.npz") as stored:
        arrays = dict(stored)
    assert arrays["psnr"].tolist()[:5] == [row["psnr"] for row in found["pictures"][:5]]
    assert arrays["psnr"][5] == math.inf
    assert arrays["names"].tolist() == [row["name"] for row in found["pictures"]]
    text = (sets / "made" / "metrics.txt").read_text(encoding="utf-8")
    for line in ("6 pairs: made against true", "1 pairs are identical: their PSNR is infinite and not in the mean",
                 f"prüf bild.0  {first['psnr']:8.2f}  {first['ssim']:8.4f}", "kernel distance [scattering-clean]"):
        assert line in text
        assert line in printed


def test_again_gives_the_same_and_leaves_the_pictures(script, sets):
    before = {path.name: path.read_bytes() for path in (sets / "made").iterdir()}
    options = ("--data", "true", "--output", "made")
    assert script(*options)[0] == 0
    once = (sets / "made" / "metrics.json").read_bytes()
    assert script(*options, "--results", "elsewhere")[0] == 0
    assert script(*options)[0] == 0
    assert once == (sets / "made" / "metrics.json").read_bytes() == (sets / "elsewhere" / "metrics.json").read_bytes()
    assert all((sets / "made" / name).read_bytes() == data for name, data in before.items())
    assert json.loads(once)["compared"] == "6 whole pictures of each set"


def test_legacy_gives_the_published_figures(script, shared_data, tmp_path):
    kinds = tmp_path / "datasets" / "kind" / "exposed_copper"
    shutil.copytree(shared_data / "midg_fpc" / "dataset" / "kinds" / "exposed_copper", kinds)
    shutil.copytree(shared_data / "midg_fpc" / "published_results", tmp_path / "checkpoints/exposed_copper/results")
    command = ("--data", "datasets/kind/exposed_copper/test", "--output", "./checkpoints/exposed_copper/result")
    code, printed = script(*command, "--legacy")
    assert code == 0, printed
    rows = {line.split()[0]: tuple(line.split()[1:]) for line in printed.splitlines() if line.startswith("000")}
    assert rows == PUBLISHED
    with np.load(tmp_path / "checkpoints/exposed_copper/results/metrics.npz") as stored:
        arrays = dict(stored)
    assert {"psnr", "ssim", "mae", "names"} == set(arrays)

    code, printed = script(*command)                            # today's figures; the masks are found in the layout
    assert code == 0, printed
    found = json.loads((tmp_path / "checkpoints/exposed_copper/results/metrics.json").read_text())
    assert found["mask"].endswith("mask2/test")
    assert found["means"]["psnr_in_mask"] < found["means"]["psnr"] - 10, "all the difference is in the mask"


def test_edge_maps(script, tmp_path):
    edges = np.zeros((40, 40), np.uint8)
    edges[5:35, 10] = 255
    for folder, moved in (("true", 0), ("made", 1)):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "a.png", np.roll(edges, moved, 1))
    code, printed = script("--data", "true", "--output", "made", "--edges", 0)
    assert code == 0, printed
    found = json.loads((tmp_path / "made" / "metrics.json").read_text())
    assert (found["means"]["precision at 0 px"], found["means"]["recall at 2 px"]) == (0, 1)
    photo = picture(5, (40, 40))[..., 0]
    write_image(tmp_path / "true" / "a.png", photo)
    write_image(tmp_path / "made" / "a.png", canny(photo / 255, 1.5) * np.uint8(255))
    figures = []
    for sigma in ("1.5", "3"):
        assert script("--data", "true", "--output", "made", "--edges", sigma)[0] == 0
        figures.append(json.loads((tmp_path / "made" / "metrics.json").read_text())["means"]["f1 at 0 px"])
    assert figures[0] == 1 > figures[1]
    write_image(tmp_path / "made" / "a.png", picture(0, (40, 40)))
    code, printed = script("--data", "true", "--output", "made", "--edges")
    assert (code, "not an edge map, got a picture in colour" in printed) == (2, True)


def test_gaps_are_named_or_passed_over(script, sets):
    (sets / "made" / "prüf bild.2.png").rename(sets / "made" / "other.png")
    code, printed = script("--data", "true", "--output", "made")
    assert code == 2
    assert printed.startswith("made: no made picture for 1 of true, got none named prüf bild.2. Make them, or --part")
    shutil.copy(sets / "made" / "other.png", sets / "made" / "prüf bild.2.png")
    code, printed = script("--data", "true", "--output", "made")
    assert code == 2
    assert printed.startswith("true: no true picture for 1 of made, got none named other.")
    code, printed = script("--data", "true", "--output", "made", "--partial")
    assert (code, printed.splitlines()[0]) == (0, "6 pairs: made against true")
    (sets / "mask" / "prüf bild.0.png").unlink()
    code, printed = script("--data", "true", "--output", "made", "--partial", "--mask", "mask")
    assert code == 2
    assert printed.startswith("mask: no mask for 1 of true, got none named prüf bild.0.")


def spoil_size(sets):
    write_image(sets / "made" / "prüf bild.3.png", picture(3)[:-8])


def spoil_mask(sets):
    write_image(sets / "mask" / "prüf bild.1.png", np.full((64, 80), 100, np.uint8))


def spoil_mask_size(sets):
    write_image(sets / "mask" / "prüf bild.1.png", np.full((64, 64), 255, np.uint8))


def spoil_file(sets):
    (sets / "made" / "prüf bild.4.png").write_bytes(b"no picture")


def spoil_names(sets):
    shutil.copy(sets / "made" / "prüf bild.4.png", sets / "made" / "prüf bild.4.bmp")


def small(sets):
    for folder in ("true", "made", "mask"):
        write_image(sets / folder / "prüf bild.0.png", np.full((9, 40, 3), 255, np.uint8))


@pytest.mark.parametrize(("spoil", "message"), [
    (spoil_size, "made/prüf bild.3.png: of another size than prüf bild.3.png, got 80x56 for 80x64 px."),
    (spoil_mask, "mask/prüf bild.1.png: an empty mask, got no white pixel."),
    (spoil_mask_size, "mask/prüf bild.1.png: of another size than prüf bild.1.png, got 64x64 for 80x64 px."),
    (spoil_file, "made/prüf bild.4.png: not a readable image"),
    (spoil_names, "made/prüf bild.4.png: two files of one name, got prüf bild.4.bmp as well."),
    (small, "made/prüf bild.0.png: ssim: picture smaller than the window of mode 'gaussian', got 40x9 px."),
])
def test_bad_pictures_are_named(script, sets, spoil, message):
    spoil(sets)
    code, printed = script("--data", "true", "--output", "made", "--mask", "mask")
    assert code == 2
    assert printed.startswith(message), printed
    assert len(printed.splitlines()) == 1
    assert not (sets / "made" / "metrics.json").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (("--output", "mode"), "mode: no such folder, got nothing there. . has the folders made, mask, true."),
    (("--output", "true/prüf bild.0.png"), "true/prüf bild.0.png: no such folder, got a file."),
    (("--output", "."), ".: no picture in this folder, got 0. Its folders are made, mask, true: give the folder"),
    (("--output", "made", "--features", "vgg"), "features: no such extractor, got 'vgg'. Did you mean 'vgg19'?"),
    (("--output", "made", "--features", "inception"), "inception: no weights, got none given."),
    (("--output", "made", "--legacy", "--mask", "mask"), "--legacy: whole pictures alone, got --mask"),
    (("--output", "made", "--lpips", "a.pth", "b.pth"), "alexnet: no such weights file, got a.pth."),
    (("--output", "made", "--edges", "-1"), "--edges: a negative sigma, got -1."),
    (("--output", "made", "--results", "true/prüf bild.0.png"), "--results: not a folder, got true/prüf bild.0.png."),
])
def test_a_mistake_is_one_clear_line(script, sets, arguments, message):
    code, printed = script("--data", "true", *arguments)
    assert code == 2
    assert printed.startswith(message), printed
    assert len(printed.splitlines()) == 1


def test_sixteen_bit_pairs(sets):
    write_image(sets / "made" / "prüf bild.0.png", picture(0).astype(np.uint16) * 257)
    pair = folders.find_pairs(sets / "true", sets / "made")[0]
    assert folders.pair_figures(pair, *pair.read())["psnr"] == math.inf


def test_the_folders_of_midgs_layout(tmp_path):
    for inside in ("images/test", "mask2/test", "own/train"):
        (tmp_path / "own" / inside).mkdir(parents=True)
    assert folders.picture_folder(tmp_path / "own" / "test") == tmp_path / "own" / "images" / "test"
    assert folders.picture_folder(tmp_path / "own" / "train") == tmp_path / "own" / "own" / "train"
    assert folders.picture_folder(tmp_path / "own" / "images") == tmp_path / "own" / "images"
    (tmp_path / "dataset" / "kinds" / "copper" / "copper" / "test").mkdir(parents=True)
    published = tmp_path / "datasets" / "kind" / "copper" / "test"      # as MIDG's text has it, beside its folders
    assert folders.picture_folder(published) == tmp_path / "dataset" / "kinds" / "copper" / "copper" / "test"
    assert folders.mask_folder(tmp_path / "own" / "images" / "test") == tmp_path / "own" / "mask2" / "test"
    assert folders.mask_folder(tmp_path / "own" / "own" / "train") is None
    with pytest.raises(DataError, match="no such folder, got nothing there"):
        folders.find_pairs(tmp_path / "own" / "absent", tmp_path)
