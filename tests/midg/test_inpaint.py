"""Inpainting of defects: what every engine owes, LaMa's file good and bad, and iopaint beside it."""
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from core.data.images import read_image, read_mask, write_image
from core.errors import CheckpointError, ConfigError, DataError, OutputError
from core.seeding import rng
from midg import inpaint, lama

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]


class Blur(torch.nn.Module):
    """A network of LaMa's signature: the mean round the hole, above white in places, other in crops of other width."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.avg_pool2d(image * (1 - mask), 31, 1, 15)
        return mask * (around * 1.3 + 0.01 * (image.shape[3] % 13)) + (1 - mask) * image


class OneInput(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


class Smaller(torch.nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image[..., ::2, ::2] + mask[..., ::2, ::2]


class Refuses(torch.nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if mask.shape[1] == 1:
            raise ValueError("needs three channels of mask")
        return image


def scripted(module: torch.nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return scripted(Blur(), tmp_path_factory.mktemp("weights") / "big lama.pt")


def picture(height: int, width: int, index: int = 0) -> np.ndarray:
    """Bright and dark stripes with grain, uint8 [H, W, 3]."""
    stripes = 90 + 120 * (np.arange(width) // 12 % 2)
    grain = rng(3, index).integers(-20, 21, (height, width, 3))
    return (stripes[None, :, None] + grain).clip(0, 255).astype(np.uint8)


def hole_in(image: np.ndarray, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    hole = np.zeros(image.shape[:2], bool)
    for x1, y1, x2, y2 in boxes:
        hole[y1:y2, x1:x2] = True
    return hole


class Folders:
    """A set of images and masks on disk."""

    def __init__(self, root: Path):
        self.images, self.masks, self.output = root / "the images", root / "their masks", root / "out put"
        self.images.mkdir(parents=True)
        self.masks.mkdir()

    def add(self, name: str, image: np.ndarray, *boxes, suffix: str = ".png") -> np.ndarray:
        hole = hole_in(image, *boxes)
        write_image(self.images / f"{name}.png", image)
        Image.fromarray(hole.astype(np.uint8) * 255).save(self.masks / f"{name}{suffix}")
        return hole

    def run(self, **options) -> tuple[int, list[str]]:
        return inpaint.inpaint_files(self.images, self.masks, self.output, **options)

    def result(self, name: str) -> np.ndarray:
        return read_image(self.output / f"{name}.png")


@pytest.fixture
def folders(tmp_path) -> Folders:
    return Folders(tmp_path / "Prüf satz")


@pytest.mark.parametrize("engine", ["patch", "telea", "ns", "lama"])
def test_only_the_hole_changes_whatever_the_size(folders, network, engine):
    cases = {"a 1": (67, 93, (20, 20, 40, 41), (70, 50, 93, 67)), "b.c": (21, 19, (5, 5, 12, 12)),
             "ü": (60, 61, (30, 10, 31, 11))}
    holes = {}
    for number, (name, (height, width, *boxes)) in enumerate(cases.items()):
        image = picture(height, width, number)
        image[hole_in(image, *boxes)] = (160, 0, 255)
        holes[name] = folders.add(name, image, *boxes)
    assert folders.run(engine=engine, model=network) == (3, [])
    for name, hole in holes.items():
        before, after = read_image(folders.images / f"{name}.png"), folders.result(name)
        assert (after[~hole] == before[~hole]).all()
        assert (after[hole] != before[hole]).any(axis=1).all()
    assert sorted(path.name for path in folders.output.iterdir()) == ["a 1.png", "b.c.png", "ü.png"]


def test_16_bit_images_keep_their_depth(folders):
    image = picture(64, 64).astype(np.uint16) * 257 + 3
    hole = folders.add("deep", image, (20, 20, 36, 36))
    folders.run()
    after = folders.result("deep")
    assert after.dtype == np.uint16
    assert (after[~hole] == image[~hole]).all()
    assert abs(after[hole].mean() / image[hole].mean() - 1) < 0.2


def test_soft_masks_are_cut_at_127_and_jpeg_masks_do_not_leak(folders):
    image = picture(64, 64)
    hole = folders.add("jpeg", image, (16, 16, 40, 40), suffix=".jpg")
    folders.add("soft", image)
    ramp = np.tile(np.arange(96, 160, dtype=np.uint8), (64, 1))
    Image.fromarray(ramp).save(folders.masks / "soft.png")
    found = {pair.image.stem: inpaint.read_hole(pair)
             for pair in inpaint.pair_files(folders.images, folders.masks)[0]}
    assert (found["jpeg"] == hole).all()
    assert (found["soft"] == (ramp >= 127)).all()


def test_masks_of_another_size_are_stretched_without_soft_borders(folders):
    folders.add("x", picture(90, 120))
    small = np.zeros((30, 40), np.uint8)
    small[10, 10] = 255
    Image.fromarray(small).save(folders.masks / "x.png")
    pair = inpaint.Pair(folders.images / "x.png", folders.masks / "x.png")
    assert (inpaint.read_hole(pair) == hole_in(picture(90, 120), (30, 30, 33, 33))).all()


def test_masks_of_another_aspect_are_an_error_that_names_all(folders):
    for name in ("one", "two"):
        folders.add(name, picture(60, 90))
        Image.new("L", (60, 60)).save(folders.masks / f"{name}.png")
    with pytest.raises(DataError, match="(?s)one.png.*got 60x60 px for 90x60.*two.png"):
        folders.run()
    assert not folders.output.exists()


def test_coloured_and_palette_masks_count_by_their_brightness(folders):
    folders.add("p", picture(40, 40))
    mask = Image.new("P", (40, 40), 0)
    mask.putpalette([0, 0, 0, 255, 255, 255] + [0] * 762)
    mask.paste(1, (10, 10, 20, 20))
    mask.save(folders.masks / "p.png")
    hole = inpaint.read_hole(inpaint.Pair(folders.images / "p.png", folders.masks / "p.png"))
    assert (hole == hole_in(picture(40, 40), (10, 10, 20, 20))).all()


def test_masks_of_zeros_and_ones_and_full_masks_are_errors(folders):
    folders.add("x", picture(40, 40))
    Image.fromarray(hole_in(picture(40, 40), (3, 3, 9, 9)).astype(np.uint8)).save(folders.masks / "x.png")
    with pytest.raises(DataError, match="x.png: not a black and white mask, got levels of 0 and 1"):
        folders.run()
    Image.new("L", (40, 40), 255).save(folders.masks / "x.png")
    with pytest.raises(DataError, match="x.png: the mask covers the whole picture"):
        folders.run()


def test_one_mask_serves_all_images_and_an_empty_one_copies(folders):
    for name in ("one", "two"):
        folders.add(name, picture(60, 60))
    mask = folders.masks / "one.png"
    count, notes = inpaint.inpaint_files(folders.images, mask, folders.output)
    assert count == 2
    assert len(notes) == 2
    assert "nothing to fill" in notes[0]
    assert (folders.result("two") == picture(60, 60)).all()


def test_images_without_a_mask_are_skipped_with_a_note(folders):
    for name in ("both", "lonely"):
        folders.add(name, picture(40, 40), (9, 9, 15, 15))
    (folders.masks / "lonely.png").rename(folders.masks / "nobody.png")
    count, notes = folders.run()
    assert count == 1
    assert notes == ["1 images have no mask and are skipped: lonely", "1 masks have no image: nobody"]
    (folders.masks / "both.png").unlink()
    with pytest.raises(DataError, match="no mask has the name of an image, got nobody for both, lonely"):
        folders.run(overwrite=True)


def test_lists_and_single_images_work_as_folders_do(folders, tmp_path):
    for name in ("a b", "c"):
        folders.add(name, picture(40, 40), (9, 9, 15, 15))
    listed = tmp_path / "one line.flist"
    listed.write_text(f"{folders.images / 'a b.png'}\n", encoding="utf-8")
    assert inpaint.inpaint_files(listed, folders.masks, folders.output)[0] == 1
    assert [path.name for path in folders.output.iterdir()] == ["a b.png"]
    assert inpaint.inpaint_files(folders.images / "c.png", folders.masks / "a b.png", tmp_path / "c")[0] == 1


def test_outputs_in_the_way_are_refused(folders):
    folders.add("x", picture(40, 40), (9, 9, 15, 15))
    folders.run()
    with pytest.raises(OutputError, match=r"has files in it, got x\.png"):
        folders.run()
    folders.run(overwrite=True)
    for folder in (folders.images, folders.masks):
        with pytest.raises(OutputError, match="holds the images or masks that are read"):
            inpaint.inpaint_files(folders.images, folders.masks, folder, overwrite=True)


def test_patch_carries_lines_on_and_takes_no_other_defect(folders):
    image = picture(200, 200)
    damaged = image.copy()
    holes = hole_in(image, (60, 60, 95, 90), (120, 20, 150, 45))
    damaged[holes] = (120, 20, 20)
    damaged[120:140, 60:90] = 0                             # a defect that nobody marked
    filled = inpaint.inpaint(damaged, holes, inpaint.filler("patch"))
    smooth = inpaint.inpaint(damaged, holes, inpaint.filler("telea"))
    errors = [np.abs(result[holes].astype(int) - image[holes]).mean() for result in (filled, smooth)]
    assert errors[0] < 16                                   # two independent grains differ by 13.7 on average
    assert errors[0] < 0.6 * errors[1]
    assert filled[holes].std() > 0.95 * image[holes].std()  # nor is it blurred


def cloudy(height: int, width: int) -> np.ndarray:
    """Soft irregular texture, uint8 [H, W, 3]: no place of it is like another."""
    grain = rng(4).standard_normal((height, width, 3))
    soft = ndimage.gaussian_filter(grain, (4, 4, 0)) * 12 + grain * 0.3
    return (128 + 40 * soft).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", [30, 130])
def test_patch_finds_the_one_place_that_fits_also_mirrored_and_for_large_holes(side, mirrored):
    texture = cloudy(200, 60 + side)
    image = np.concatenate([texture, texture[:, ::-1] if mirrored else texture], axis=1)
    hole = hole_in(image, (30, 33, 30 + side, 33 + side))
    filled = inpaint.inpaint(image, hole, inpaint.filler("patch"))
    assert (filled == image).mean() > 0.999


def test_patch_fills_what_has_no_place_at_all():
    image = picture(40, 40)
    hole = hole_in(image, (4, 4, 36, 36))
    filled = inpaint.inpaint(image, hole, inpaint.filler("patch"))
    assert (filled[~hole] == image[~hole]).all()
    assert np.abs(filled[hole].mean() - image.mean()) < 40


def test_patch_is_nearer_to_the_published_inpainting_than_opencv(shared_data):
    folder = shared_data / "midg_fpc/dataset/kinds/exposed_copper"
    errors = {engine: [] for engine in ("patch", "telea", "ns")}
    for path in sorted((folder / "exposed_copper").rglob("*.png")):
        part = path.relative_to(folder / "exposed_copper")
        image, hole, published = read_image(path), read_mask(folder / "mask2" / part) > 127, read_image(
            folder / "inpaint2" / part)
        for engine, values in errors.items():
            filled = inpaint.inpaint(image, hole, inpaint.filler(engine))
            values.append(np.abs(filled[hole].astype(int) - published[hole]).mean())
    means = {engine: np.mean(values) for engine, values in errors.items()}
    assert inpaint.DEFAULT_ENGINE == min(means, key=means.get) == "patch"
    assert means["patch"] < 27


def test_lama_sees_padded_pictures_and_cuts_its_result_to_whole_levels(network):
    image = picture(21, 30)
    hole = hole_in(image, (20, 10, 30, 21))
    seen = []

    def stub(pixels, mask):
        seen.append((pixels, mask))
        return torch.full_like(pixels, 0.9999) + mask       # 254.97, and above 255 in the hole

    filled = lama.fill_with(stub)(image, hole)
    pixels, mask = seen[0]
    assert pixels.shape == (1, 3, 24, 32)
    assert mask.shape == (1, 1, 24, 32)
    assert pixels.dtype == torch.float32
    assert set(mask.unique().tolist()) == {0, 1}
    expected = np.concatenate([image, image[:-4:-1]]).astype(np.float32) / 255
    assert (pixels[0, :, :, :30].permute(1, 2, 0).numpy() == expected).all()
    assert filled.shape == image.shape
    assert (filled[~hole] == 254).all()
    assert (filled[hole] == 255).all()


def test_large_pictures_are_filled_in_crops_that_stay_within_them():
    image = picture(300, 900)
    hole = hole_in(image, (10, 20, 40, 50), (600, 100, 640, 160), (880, 290, 900, 300))
    sizes = []

    def stub(pixels, mask):
        sizes.append(tuple(pixels.shape[2:]))
        return pixels * (1 - mask) + 0.5 * mask

    filled = lama.fill_with(stub)(image, hole)
    assert sorted(sizes) == [(272, 280), (288, 288), (304, 296)]
    assert (filled[hole] == 127).all()
    assert (filled[~hole] == image[~hole]).all()
    lama.fill_with(stub)(image[:, :800], hole[:, :800])
    assert sizes[-1] == (304, 800)                          # up to 800 px at once


def wrong_files(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    torch.save({"weight": torch.zeros(3)}, folder / "weights.pt")
    (folder / "page.pt").write_text("<html>not found</html>")
    scripted(OneInput(), folder / "one input.pt")
    scripted(Smaller(), folder / "smaller.pt")
    scripted(Refuses(), folder / "refuses.pt")
    return {path.stem: path for path in folder.iterdir()}


def test_wrong_lama_files_are_named_for_what_they_are(tmp_path, folders):
    folders.add("x", picture(40, 40), (9, 9, 15, 15))
    said = {"weights": "not a TorchScript file, got weights alone", "page": "not a TorchScript file, got 22 bytes",
            "one input": r"another kind \(md5 [0-9a-f]{32}\), got forward\(.*image\)",
            "smaller": r"into \[1, 3, 32, 32\]", "refuses": "another kind"}
    for name, path in wrong_files(tmp_path / "wrong").items():
        with pytest.raises(CheckpointError, match=f"(?s){said[name]}.*{lama.MD5}") as caught:
            folders.run(engine="lama", model=path)
        assert str(path) in str(caught.value)
    assert not folders.output.exists()


def test_without_a_file_the_message_says_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="no LaMa model there, got no file") as caught:
        lama.model_file(None)
    assert str(tmp_path / "hub" / "checkpoints" / "big-lama.pt") in str(caught.value)
    lama.cached().parent.mkdir(parents=True)
    lama.cached().write_bytes(b"x")
    assert lama.model_file(None) == lama.cached()


def test_download_keeps_only_the_file_that_was_published(tmp_path, monkeypatch, network):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(lama, "URL", network.as_uri())
    with pytest.raises(CheckpointError, match="not the file that was published"):
        lama.model_file("download")
    assert list(lama.cached().parent.iterdir()) == []
    monkeypatch.setattr(lama, "MD5", lama._md5(network))
    assert lama.model_file("download").read_bytes() == network.read_bytes()
    monkeypatch.setattr(lama, "URL", (tmp_path / "gone").as_uri())
    assert lama.model_file("download") == lama.cached()     # what is there is not fetched again
    lama.cached().unlink()
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        lama.model_file("download")


def test_unknown_engines_get_the_nearest_one():
    with pytest.raises(ConfigError, match="got 'tellea'. Did you mean 'telea'"):
        inpaint.filler("tellea")


def test_without_iopaint_one_line_says_make_iopaint(folders, network, monkeypatch, tmp_path):
    folders.add("x", picture(40, 40), (9, 9, 15, 15))
    monkeypatch.setattr(lama, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="make iopaint") as caught:
        folders.run(engine="iopaint", model=network)
    assert "\n" not in str(caught.value)


def test_iopaint_and_lama_give_the_same_pixels(folders, network, tmp_path):
    try:
        lama.iopaint_command()
    except ConfigError:
        pytest.skip("iopaint is not installed beside this checkout (make iopaint)")
    for number, (height, width) in enumerate(((61, 83), (420, 1100), (1000, 810))):
        folders.add(f"number {number}", picture(height, width, number), (5, 7, 30, 31), (60, 40, 80, 61))
    folders.add("overlapping", picture(900, 500), (40, 40, 80, 90), (140, 60, 200, 100), (100, 180, 130, 260),
                (470, 860, 500, 900))
    folders.add("empty", picture(30, 30))
    folders.run(engine="iopaint", model=network)
    inpaint.inpaint_files(folders.images, folders.masks, tmp_path / "lama", engine="lama", model=network)
    for path in folders.output.iterdir():
        assert (read_image(path) == read_image(tmp_path / "lama" / path.name)).all(), path.name
    assert len(list(folders.output.iterdir())) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the command is a shell script")
def test_a_failing_iopaint_is_one_line(folders, network, tmp_path, monkeypatch):
    folders.add("x", picture(40, 40), (9, 9, 15, 15))
    command = tmp_path / ".venv-iopaint" / "bin" / "iopaint"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\necho out of memory\nexit 7\n")
    command.chmod(0o755)
    monkeypatch.setattr(lama, "ROOT", tmp_path)
    with pytest.raises(Exception, match="iopaint: the command failed, got exit code 7"):
        folders.run(engine="iopaint", model=network)


def test_the_command_line(folders):
    folders.add("a b", picture(40, 40), (9, 9, 15, 15))
    command = [sys.executable, str(ROOT / "scripts" / "inpaint.py"), "--images", str(folders.images), "--masks",
               str(folders.masks), "--output", str(folders.output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1 images without defects in {folders.output}\n"
    assert folders.result("a b").shape == (40, 40, 3)
