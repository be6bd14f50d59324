"""What MIDG learns from: regions and windows of a labelled set, their twins, edges and masks, and the earlier lists."""
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.feature import canny as reference_canny
from torch.utils.data import default_collate

from core.data import formats, images, shapes
from core.data.records import Dataset, Record
from core.errors import DataError
from core.seeding import rng
from midg.data import (
    BACKGROUND_EDGES,
    DEFECT,
    EDGES,
    OTHER,
    boxed,
    grown,
    held_out,
    read_dataset,
    read_scenes,
    region_of,
    without_defects,
)
from midg.edges import grey_of
from midg.maps import to_maps
from midg.settings import DataConfig, ListsConfig, SplitListsConfig
from midg.windows import Windows, held_out_windows, sample
from tests.midg import made

CLASS = ("exposed_copper",)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return made.fpc(tmp_path_factory.mktemp("set") / "fpc")


@pytest.fixture(scope="module")
def dataset(root) -> Dataset:
    return read_dataset(made.data(root))


def scenes_of(dataset, config, classes=CLASS, run=None, **options):
    return read_scenes(dataset, "train", classes, config, run, **options)


def one_image(folder, found, size=(96, 80), clean=None) -> Dataset:
    """A set of one grainy image with the given instances."""
    pixels = rng(3).integers(60, 200, (size[1], size[0], 3), dtype=np.uint8)
    images.write_image(folder / "a.png", pixels)
    record = Record(image=folder / "a.png", name="a", size=size, instances=tuple(found), split="train", clean=clean)
    return Dataset(root=folder, format="made", classes=("pit", "crack"), records=(record,))


def blot(x1, y1, x2, y2, size=(96, 80)) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_a_region_holds_the_images_own_pixels_its_twin_and_the_edges_of_both(dataset):
    """Where the region is the whole image, the edges are scikit-image's to the pixel."""
    config = made.data(dataset.root, size_px=112)
    scenes = scenes_of(dataset, config)
    scene = next(scene for scene in scenes.scenes if (scene.width, scene.height) == (112, 112))
    record = next(record for record in dataset.records if record.name == scene.name)
    planes = scenes.planes(scene)
    for at, path, flag in ((0, record.image, EDGES), (3, record.clean, BACKGROUND_EDGES)):
        pixels = images.read_image(path)
        assert np.array_equal(planes[at:at + 3].transpose(1, 2, 0), pixels)
        grey = grey_of(images.to_tensor(pixels))[0].double().numpy()
        assert np.array_equal(planes[6] & flag > 0, reference_canny(grey, config.sigma))


def test_one_scene_a_defect_and_no_learnt_defect_outside_its_window(dataset):
    scenes = scenes_of(dataset, made.data(dataset.root))
    train = [record for record in dataset.records if record.split == "train"]
    assert len(scenes) == sum(len(record.instances) for record in train) > 4
    for scene in scenes.scenes:
        assert min(scene.height, scene.width) >= made.SIDE_PX
        assert (scenes.planes(scene)[6] & DEFECT).any()


@pytest.mark.parametrize("masks", ["box", "shape"])
def test_masks_are_the_boxes_or_shapes_with_their_margin(tmp_path, masks):
    shape = blot(40, 30, 52, 38) & ~blot(40, 30, 44, 33)
    dataset = one_image(tmp_path, [shapes.mask_instance(shape, "pit")])
    config = made.data(tmp_path, masks=masks, margin_px=(3, 3), size_px=64)
    scenes = scenes_of(dataset, config, ("pit",))
    window = sample(scenes, scenes.scenes[0], config, rng(0), still=True)
    grown_px = 12 + 6, 8 + 6
    mask = window["mask"][0].numpy().astype(bool)
    if masks == "box":
        assert mask.sum() == grown_px[0] * grown_px[1]
    else:
        assert mask.sum() == grown(shape, 3).sum() < grown_px[0] * grown_px[1]


def test_equal_seed_and_draw_equal_windows_and_another_draw_another(dataset):
    windows = Windows(scenes_of(dataset, made.data(dataset.root)), made.data(dataset.root), seed=5)
    one, same, other = windows[2, 17], windows[2, 17], windows[2, 18]
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["noise"], other["noise"])
    assert len({tuple(windows[2, draw]["image"].flatten()[:500].tolist()) for draw in range(12)}) > 6


def test_geometry_is_one_for_all_maps(tmp_path):
    """Image, twin, mask and edges stay on each other however a window is moved and turned."""
    pixels = rng(3).integers(60, 200, (80, 96, 3), dtype=np.uint8)
    mask = blot(40, 30, 52, 38)
    images.write_image(tmp_path / "clean.png", pixels // 2)
    dataset = one_image(tmp_path, [shapes.mask_instance(mask, "pit")], clean=tmp_path / "clean.png")
    config = made.data(tmp_path, masks="shape", margin_px=(0, 0), size_px=48)
    marked = pixels.copy()
    marked[mask] = 255
    images.write_image(tmp_path / "a.png", marked)
    windows = Windows(scenes_of(dataset, config, ("pit",)), config, 0)
    for draw in range(16):
        item = windows[0, draw]
        white = (item["image"] == 255).all(0)
        assert torch.equal(white, item["mask"][0] > 0)
        assert torch.equal(item["background"][:, ~white], (item["image"] // 2)[:, ~white])


def test_a_defect_of_another_class_stays_in_the_picture(tmp_path):
    pit, crack = blot(30, 30, 42, 42), blot(60, 30, 66, 44)
    dataset = one_image(tmp_path, [shapes.mask_instance(pit, "pit"), shapes.mask_instance(crack, "crack")])
    images.write_image(tmp_path / "clean.png", np.full((80, 96, 3), 7, np.uint8))
    dataset = replace(dataset, records=(replace(dataset.records[0], clean=tmp_path / "clean.png"),))
    config = made.data(tmp_path, size_px=64, masks="shape", margin_px=(2, 2))
    scenes = scenes_of(dataset, config, ("pit", "crack"))
    assert [scene.label for scene in scenes.scenes] == [0, 1]
    window = sample(scenes, scenes.scenes[0], config, rng(0), still=True)
    other = scenes.planes(scenes.scenes[0])[6] & OTHER > 0
    assert other.sum() == crack.sum()
    stays = (window["background"] == window["image"]).all(0).numpy()
    assert crack.sum() < stays.sum() < 2.5 * crack.sum()
    assert not (stays & (window["mask"][0].numpy() > 0)).any()


def test_a_large_defect_is_shrunk_to_half_a_window_and_a_small_image_is_mirrored(tmp_path):
    config = made.data(tmp_path, size_px=64, margin_px=(2, 2))
    window, scale = region_of((10, 10, 90, 30), (400, 400), config)
    assert scale == pytest.approx(64 / 168)
    assert window[2] - window[0] >= 168
    dataset = one_image(tmp_path, [shapes.mask_instance(blot(10, 10, 30, 25, (40, 36)), "pit")], size=(40, 36))
    scenes = scenes_of(dataset, config, ("pit",))
    planes = scenes.planes(scenes.scenes[0])
    assert planes.shape == (7, 64, 64)
    assert np.array_equal(planes[:3, 14:50, 11], planes[:3, 14:50, 12])         # the column beside the border


def test_where_there_is_no_twin_the_defect_is_taken_out_once_and_kept(dataset, tmp_path):
    bare = replace(dataset, records=tuple(replace(record, clean=None) for record in dataset.records))
    config = made.data(dataset.root)
    first = scenes_of(bare, config, run=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "inpainted").iterdir()}
    assert len(files) == len({scene.name for scene in first.scenes})
    assert torch.equal(scenes_of(bare, config, run=tmp_path).pixels, first.pixels)
    assert torch.equal(scenes_of(bare, config).pixels, first.pixels)
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "inpainted").iterdir()}
    changed = first.planes(first.scenes[0])
    assert (changed[:3] != changed[3:6]).any()
    scenes_of(bare, config, run=tmp_path / "dry", keep=False)
    assert not (tmp_path / "dry").exists()


def test_another_model_of_the_engine_takes_defects_out_anew(dataset, tmp_path):
    record, model = replace(dataset.records[0], clean=None), tmp_path / "big-lama.pt"
    config, image = made.data(dataset.root, engine="lama", engine_model=model), images.read_image(record.image)
    filled = []
    for level in (10, 10, 200):
        model.write_bytes(bytes([level]))
        filled.append(without_defects(record, image, lambda part, hole, level=level: np.full_like(part, level), config,
                                      tmp_path, True))
    assert (filled[0] == filled[1]).all()
    assert (filled[0] != filled[2]).any()
    assert len(list((tmp_path / "inpainted").iterdir())) == 2


def test_the_split_is_kept_with_the_run(root, tmp_path):
    first = read_dataset(made.data(root), tmp_path)
    assert (tmp_path / "splits.json").is_file()
    assert held_out(first) == "val"
    again = read_dataset(made.data(root), tmp_path)
    assert [record.split for record in again.records] == [record.split for record in first.records]


def test_held_out_windows_are_the_same_every_time_and_spread_over_the_set(dataset):
    config = made.data(dataset.root)
    scenes = scenes_of(dataset, config)
    one, two = (held_out_windows(scenes, config, 3) for _ in range(2))
    assert len(one) == 3
    assert all(torch.equal(a[name], b[name]) for a, b in zip(one, two) for name in a)


def test_maps_merge_the_edges_as_in_use(dataset):
    config = made.data(dataset.root)
    windows = Windows(scenes_of(dataset, config), config, 0)
    maps = to_maps(default_collate([windows[0, 0], windows[1, 1]]))
    inside = maps.mask > 0
    assert torch.equal(maps.edges[~inside], maps.background_edges[~inside])
    assert torch.equal(maps.grey, grey_of(maps.background))
    assert maps.image.max() <= 1
    assert maps.noise.min() >= 0


def test_the_earlier_lists(dataset, tmp_path):
    for name in ("image", "mask", "inpaint"):
        (tmp_path / name).mkdir()
    record = dataset.records[0]
    for stem in ("one", "two with blanks"):
        images.write_image(tmp_path / "image" / f"{stem}.png", images.read_image(record.image))
        images.write_image(tmp_path / "inpaint" / f"{stem}.png", images.read_image(record.clean))
        images.write_image(tmp_path / "mask" / f"{stem}.png", blot(20, 30, 44, 50, (112, 112)).astype(np.uint8) * 255)
    lists = ListsConfig(**{name: tmp_path / name for name in ("image", "mask", "inpaint")})
    config = DataConfig(lists=SplitListsConfig(train=lists), size_px=64, fit="whole")
    found = read_dataset(config)
    assert [item.box for item in found.records[0].instances] == [(20, 30, 44, 50)]
    assert held_out(found) == "train"
    scenes = read_scenes(found, "train", found.classes, config)
    assert [(scene.width, scene.height) for scene in scenes.scenes] == [(64, 64)] * 2


def test_bad_data_are_named(dataset, tmp_path):
    with pytest.raises(DataError, match="data.root: no data, got nothing. Give the folder"):
        read_dataset(DataConfig())
    with pytest.raises(DataError, match="split 'train' has no defect of scratch"):
        scenes_of(dataset, made.data(dataset.root), ("scratch",))
    images.write_image(tmp_path / "small.png", np.zeros((10, 10, 3), np.uint8))
    record = replace(dataset.records[0], clean=tmp_path / "small.png", split="train")
    with pytest.raises(DataError, match="small.png: of another size than .*, got 10x10 px for 112x112. Make the twin"):
        scenes_of(replace(dataset, records=(record,)), made.data(dataset.root))
    covered = one_image(tmp_path, [shapes.mask_instance(np.ones((80, 96), bool), "pit")])
    with pytest.raises(DataError, match="a.png: its defects cover the whole picture"):
        scenes_of(covered, made.data(tmp_path), ("pit",))


def test_windows_come_faster_than_a_step_takes(dataset):
    """A window of 224 px costs a few ms at most: against a second of a step, it is not waited for."""
    config = made.data(dataset.root, size_px=96)
    windows = Windows(scenes_of(dataset, config), config, 0)
    began = time.process_time()
    for draw in range(50):
        windows[draw % len(windows), draw]
    assert (time.process_time() - began) / 50 < 0.01


def test_boxes_reach_no_farther_than_the_window():
    mask = boxed([(-8, 5, 4, 9), (30, 30, 60, 60)], (40, 40), 2)
    assert mask[3:11, :6].all()
    assert mask[28:, 28:].all()
    assert mask.sum() == 8 * 6 + 12 * 12


@pytest.mark.parametrize("name", ["deeppcb", "magnetic_tile", "midg_fpc"])
def test_real_sets(shared_data, name, tmp_path):
    dataset = formats.read(shared_data / name)
    few = tuple(replace(record, split="train") for record in dataset.defective[:2])
    config = DataConfig(root=shared_data / name, size_px=96)
    scenes = read_scenes(replace(dataset, records=few), "train", dataset.classes, config)
    for index in range(len(scenes)):
        window = Windows(scenes, config, 0)[index, index]
        assert 0 < window["mask"].float().mean() < 0.9
        assert (window["image"] != window["background"]).any()
