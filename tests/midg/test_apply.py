"""Models at work on image files: a folder a class, depth and size of the images kept, given edges taken."""
import numpy as np
import pytest
import torch

from core.data.images import encode_png, read_image, read_mask, write_bytes, write_image
from core.errors import ConfigError
from core.experiment import one_class
from midg import apply
from midg.task import DefectTask
from tests.midg.painters import untrained

CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two images of different sizes, one of 16 bits, with masks; a run with two classes and untrained networks."""
    draw = np.random.default_rng(0)
    for name, shape, depth in (("wide one", (40, 70), np.uint8), ("deep", (60, 50), np.uint16)):
        write_image(made(tmp_path / "in", name), draw.integers(0, np.iinfo(depth).max, (*shape, 3)).astype(depth))
        mask = np.zeros(shape, np.uint8)
        mask[10:25, 12:30] = 255
        write_image(made(tmp_path / "mask", name), mask)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("loop: {steps: 1, batch_size: 1, seed: 3}\n")
    monkeypatch.setattr(apply, "painter_of", lambda run, config, device: untrained())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder, name):
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.png"


def start(files, output="out", **inputs):
    paths = {"input": files / "in", "mask": files / "mask", **inputs}
    return DefectTask.apply(files / "run", paths, files / output, (), CPU)


def test_every_class_is_drawn_on_every_image_in_its_own_folder(files):
    assert start(files)["pictures"] == 4
    for label in ("pit", "crack"):
        for name in ("wide one", "deep"):
            before, after = read_image(files / "in" / f"{name}.png"), read_image(files / "out" / label / f"{name}.png")
            mask = read_mask(files / "mask" / f"{name}.png") > 0
            assert (before.shape, before.dtype) == (after.shape, after.dtype)
            assert (before[~mask] == after[~mask]).all()
            changed = read_mask(files / "out" / label / "labels" / f"{name}.png") > 0
            assert (before[changed] != after[changed]).any(-1).mean() > 0.9
            assert not changed[~mask].any()
    pit, crack = (read_image(files / "out" / label / "deep.png") for label in ("pit", "crack"))
    assert (pit != crack).any()


def test_one_class_may_be_chosen(files):
    paths = {"input": files / "in", "mask": files / "mask"}
    with pytest.raises(ConfigError, match="--class: only for a model that draws .*, got 'pit' without --input"):
        one_class(DefectTask, {}, "pit")
    assert one_class(DefectTask, paths, None) == []
    assert DefectTask.apply(files / "run", paths, files / "out", one_class(DefectTask, paths, "pit"), CPU)[
        "pictures"] == 2
    assert [path.name for path in (files / "out").iterdir()] == ["pit"]
    with pytest.raises(ConfigError, match="class: not learnt, got 'pitt'. Did you mean 'pit'?"):
        DefectTask.apply(files / "run", paths, files / "out", one_class(DefectTask, paths, "pitt"), CPU)


def test_equal_seeds_draw_the_same(files):
    start(files)
    start(files, "again")
    for path in (files / "out").rglob("*.png"):
        assert path.read_bytes() == (files / "again" / path.relative_to(files / "out")).read_bytes()


def test_given_edges_lie_in_the_mask_alone(files):
    for name, shape in (("wide one", (40, 70)), ("deep", (60, 50))):
        write_image(made(files / "edge", name), np.full(shape, 255, np.uint8))
    start(files, edge=files / "edge")
    edges, mask = (read_mask(files / folder / "wide one.png") for folder in ("out/pit/edges", "mask"))
    assert (edges[mask > 0] == 255).all()
    assert (edges[mask == 0] == 0).any()


@pytest.mark.parametrize("stored", ["palette", "colour", "deep"])
def test_given_edges_are_what_is_shown_white_however_they_are_stored(files, stored):
    for name, shape in (("wide one", (40, 70)), ("deep", (60, 50))):
        white, path = np.full(shape, 255, np.uint8), made(files / "edge", name)
        if stored == "palette":
            write_bytes(path, encode_png(white // 255, palette=np.array([[0, 0, 0], [255, 255, 255]], np.uint8)))
        else:
            write_image(path, white[..., None] * np.array([1, 0, 0], np.uint8) if stored == "colour" else
                        white.astype(np.uint16) * 257)
    start(files, edge=files / "edge")
    edges, mask = (read_mask(files / folder / "wide one.png") for folder in ("out/pit/edges", "mask"))
    assert (edges[mask > 0] == 255).all()
