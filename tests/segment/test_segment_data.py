"""The segmenter's data: crops repeat by (seed, draw), image and labels move together, shares hold, faults are named."""
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.data import formats, splits
from core.data.formats.label_image import ColourMap
from core.data.images import encode_png, read_image, read_mask, write_bytes, write_image
from core.errors import ConfigError, DataError
from core.seeding import rng
from core.visualise import encode_jpeg
from segment.augment import draw_geometry, draw_light, warped
from segment.data import Crops, network_input, open_data, read_labelled
from segment.losses import IGNORE
from segment.settings import AugmentConfig, DataConfig
from tests.segment.made import CLASSES, make_set

STILL = AugmentConfig(enabled=False)
BENT = AugmentConfig(warp_chance=1.0, rotate_deg=30, scale=(0.7, 1.4), perspective=0.1, elastic_px=3)
DARK = {"brightness": 0.0, "contrast": 0.0, "gamma": 0.0, "colour": 0.0, "blur_sigma_px": 0.0, "noise": 0.0,
        "jpeg_quality": None}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("set") / "made")


def crops(root, augment=STILL, seed=0, **changes):
    config = DataConfig(root=root, crop_px=changes.pop("crop_px", 32), **changes)
    dataset, _ = open_data(config)
    return Crops(dataset.records, dataset.classes, config, augment, seed)


def test_the_set_is_read_split_and_merged(root):
    dataset, found = open_data(DataConfig(root=root))
    assert dataset.classes == CLASSES
    assert {record.split for record in dataset.records} == {"train", "val", "test"}
    assert splits.apply(dataset, found) == dataset
    assert {record.name for split in splits.NAMES for record in dataset.of_split(split)} == {
        record.name for record in dataset.records}
    one, _ = open_data(DataConfig(root=root, merge=True))
    assert one.classes == ("defect",)
    assert read_labelled(one.records[0], one.classes)[1].max() == 1
    assert read_labelled(dataset.records[0], dataset.classes)[1].max() == 2


def test_given_splits_are_kept(root, tmp_path):
    _, first = open_data(DataConfig(root=root, split_seed=3))
    splits.save(tmp_path / "splits.json", first)
    _, again = open_data(DataConfig(root=root, splits=tmp_path / "splits.json"))
    assert again.groups == first.groups


def test_a_copy_of_an_image_under_another_name_stays_with_it(root, tmp_path):
    """As 132 and 339 of the aluminium set: the same file with two masks."""
    twice = make_set(tmp_path / "set")
    write_bytes(twice / "images" / "99.png", (twice / "images" / "03.png").read_bytes())
    mask = np.zeros((80, 96), np.uint8)
    mask[5:20, 5:20] = 1
    write_bytes(twice / "masks" / "99.png", encode_png(mask))
    for seed in range(4):
        dataset, _ = open_data(DataConfig(root=twice, split_seed=seed))
        place = {record.name: record.split for record in dataset.records}
        assert place["03"] == place["99"]


@pytest.mark.parametrize("augment", [STILL, AugmentConfig(), BENT], ids=["still", "usual", "bent"])
def test_a_crop_depends_on_the_seed_and_the_draw_alone(root, augment):
    first, again, other = crops(root, augment), crops(root, augment, cache_mib=0), crops(root, augment, seed=1)
    wanted = [first[1, draw] for draw in range(6)]
    for draw in (4, 0, 5):
        image, target = again[1, draw]
        assert torch.equal(image, wanted[draw][0])
        assert torch.equal(target, wanted[draw][1])
    assert image.shape == (3, 32, 32)
    assert (image.dtype, target.dtype) == (torch.float32, torch.int64)
    assert 0 <= image.min() < image.max() <= 1
    assert not torch.equal(other[1, 5][0], wanted[5][0])
    copied = pickle.loads(pickle.dumps(first))
    assert not copied.images.held
    assert torch.equal(copied[1, 3][0], wanted[3][0])


def test_half_of_the_crops_hold_a_defect_of_each_class_and_a_third_none(root):
    data = crops(root, epoch_crops=1000)
    assert len(data) == 1000
    targets = [data[draw, draw][1] for draw in range(400)]
    held = [set(target.unique().tolist()) - {0, IGNORE} for target in targets]
    assert 0.5 <= np.mean([bool(found) for found in held]) <= 0.7
    assert np.mean([not found for found in held]) >= 0.3
    counts = [sum(number in found for found in held) for number in (1, 2)]
    assert min(counts) > 0.7 * max(counts)


def test_crops_can_be_asked_for_on_defects_or_on_clean_area_alone(root):
    on, off = crops(root, defect_share=1.0, clean_share=0.0), crops(root, defect_share=0.0, clean_share=1.0)
    assert all((on[0, draw][1] > 0).any() for draw in range(40))
    assert not any((off[0, draw][1] > 0).any() for draw in range(40))


def test_without_a_change_a_crop_is_a_piece_of_the_image(root):
    data = crops(root)
    record = data.records[2]
    pixels, labels = read_labelled(record, data.classes)
    places = draw_geometry(rng(0), STILL, 32)
    crop, target = warped(pixels, labels, places, (15.5 + 7, 15.5 + 9))
    assert np.array_equal(crop, pixels[9:41, 7:39])
    assert np.array_equal(target, labels[9:41, 7:39])


def test_flips_and_turns_only_rearrange_and_move_image_and_labels_alike():
    augment = AugmentConfig(warp_chance=0.0)
    values = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40)
    seen = set()
    for draw in range(60):
        places = draw_geometry(rng(0, draw), augment, 32)
        crop, target = warped(values[..., None].repeat(3, 2), (values % 251).astype(np.uint8), places, (19.5, 19.5))
        assert np.array_equal(np.sort(crop[..., 0].ravel()), np.sort(values[4:36, 4:36].ravel()))
        assert np.array_equal(target, crop[..., 0] % 251)
        seen.add(tuple(crop[0, :2, 0]))
    assert len(seen) == 8


def test_a_warp_moves_image_and_labels_alike_and_makes_no_new_class():
    rows, columns = np.ogrid[:240, :240]
    labels = np.where((rows - 120) ** 2 + (columns - 110) ** 2 < 900, 5, 0).astype(np.uint8)
    pixels = np.where(labels == 5, 255, 0).astype(np.uint8)[..., None].repeat(3, 2)
    for draw in range(20):
        crop, target = warped(pixels, labels, draw_geometry(rng(1, draw), BENT, 64), (115.5, 120.5))
        assert set(np.unique(target)) <= {0, 5}
        unsure = (crop[..., 0] > 64) & (crop[..., 0] < 191)
        assert np.array_equal((crop[..., 0] > 127)[~unsure], (target == 5)[~unsure])


def test_beyond_the_border_labels_are_ignored_and_the_image_is_mirrored(tmp_path):
    root = make_set(tmp_path / "small", size=(50, 40))
    image, target = crops(root, crop_px=64)[0, 0]
    assert (target == IGNORE).sum() == 64 * 64 - 50 * 40
    inside = target != IGNORE
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    assert torch.equal(image[:, rows.min() - 1], image[:, rows.min() + 1])
    assert torch.equal(image[:, :, columns.max() + 1], image[:, :, columns.max() - 1])


def test_light_leaves_grey_grey_and_repeats():
    image = rng(0).random((1, 24, 24)).astype(np.float32).repeat(3, 0)
    hard = AugmentConfig(brightness=0.5, contrast=0.5, gamma=0.5, blur_sigma_px=2, noise=0.2, jpeg_quality=20)
    made = [draw_light(rng(0, draw), hard, image) for draw in range(40)]
    for draw, light in enumerate(made):
        assert (light[0] == light[1]).all()
        assert (light[0] == light[2]).all()
        assert light.min() >= 0
        assert light.max() <= 1
        assert light.dtype == np.float32
        assert np.array_equal(light, draw_light(rng(0, draw), hard, image))
    assert len({light.tobytes() for light in made}) == 40
    colour = rng(1).random((3, 24, 24)).astype(np.float32)
    assert np.allclose(draw_light(rng(0), AugmentConfig(**DARK), colour), colour, atol=1e-6)


def test_one_channel_is_the_mean(root):
    image, _ = crops(root, channels=1)[0, 0]
    assert image.shape == (1, 32, 32)
    pixels = rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    assert network_input(pixels, 1)[0, 2, 3].item() == pytest.approx(pixels[2, 3].mean() / 255)


def test_an_image_of_40000_px_on_a_side_can_be_cropped():
    wide = np.zeros((20, 40_000, 3), np.uint8)
    wide[:, 39_990] = 200
    crop, _ = warped(wide, np.zeros((20, 40_000), np.uint8), draw_geometry(rng(0), STILL, 16), (39_991.5, 9.5))
    assert (crop[:, 39_990 - 39_984] == 200).all()


@pytest.mark.parametrize(("break_it", "message"), [
    (lambda root: (root / "masks" / "03.png").unlink(), r"1 image without mask, got .*03\.png. Add it, "
     r"or say --unlabelled good \(train.py, test.py: --set data.unlabelled=good\)"),
    (lambda root: (root / "images" / "03.png").unlink(), r"03\.png"),
    (lambda root: write_image(root / "images" / "03.png", np.zeros((10, 10, 3), np.uint8)),
     r"masks/03\.png: mask of another size than its image, got 96x80 for 03\.png of 10x10"),
    (lambda root: write_bytes(root / "masks" / "03.png", encode_png(np.full((80, 96), 7, np.uint8) * np.eye(
        80, 96, dtype=np.uint8))), r"masks/03\.png: more mask values than classes, got 7 for 2 classes"),
    (lambda root: write_image(root / "masks" / "03.png", rng(0).integers(0, 256, (80, 96, 3)).astype(np.uint8)),
     r"03\.png: .*colour"),
], ids=["no mask", "no image", "sizes", "class beyond", "colours"])
def test_faults_of_a_set_are_named(tmp_path, break_it, message):
    root = make_set(tmp_path / "set")
    break_it(root)
    with pytest.raises(DataError, match=message):
        open_data(DataConfig(root=root))


def test_unknown_colours_are_refused_or_ignored(tmp_path):
    root = make_set(tmp_path / "set")
    for path in sorted((root / "masks").iterdir()):
        mask = formats.masks.image_files.read_mask(path)
        colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)[mask]
        colours[0, 0] = (130, 130, 130)
        write_image(path, colours)
    (root / "classes.json").unlink()
    given = {"square": (250, 0, 0), "disc": (0, 255, 0)}
    with pytest.raises(DataError, match=r"colours of no class, got \(130, 130, 130\) 1 px"):
        open_data(DataConfig(root=root, colours=given))
    dataset, _ = open_data(DataConfig(root=root, colours=given, unknown_colours="ignore"))
    labels = read_labelled(dataset.records[0], dataset.classes)[1]
    assert labels[0, 0] == IGNORE
    assert set(np.unique(labels)) == {0, 2, IGNORE}


def test_boxes_alone_and_sets_without_defects_are_refused(tmp_path):
    root = make_set(tmp_path / "set", count=8, good=2)
    dataset = formats.read(root)
    bare = replace(dataset, records=tuple(replace(record, instances=tuple(
        replace(item, rle=None) for item in record.instances)) for record in dataset.records))
    formats.write(bare, tmp_path / "yolo", "yolo")
    with pytest.raises(DataError, match="boxes alone, which say nothing of pixels"):
        open_data(DataConfig(root=tmp_path / "yolo"))
    with pytest.raises(ConfigError, match=r"data.clean_rings: for label images alone, got the format 'yolo'"):
        open_data(DataConfig(root=tmp_path / "yolo", clean_rings=True))
    good = tuple(record for record in dataset.records if record.is_good)
    with pytest.raises(DataError, match="no defect to learn from, got none in 2 training images"):
        Crops(good, dataset.classes, DataConfig(root=Path("x")), STILL, 0)


def test_a_picture_in_two_given_splits_is_a_leak(tmp_path):
    """As 132 and 339 of the aluminium set, had one been put into training and the other into test."""
    root = make_set(tmp_path / "set", 12)
    for number in range(12):
        split = "train" if number < 8 else "test"
        for name in ("images", "masks"):
            place = tmp_path / "split" / split / name / f"{number:02d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((root / name / f"{number:02d}.png").read_bytes())
    (tmp_path / "split" / "classes.json").write_bytes((root / "classes.json").read_bytes())
    assert {record.split for record in open_data(DataConfig(root=tmp_path / "split"))[0].records} == {"train", "test"}
    for name, source in (("images", "03"), ("masks", "05")):
        (tmp_path / "split" / "test" / name / "99.png").write_bytes((root / name / f"{source}.png").read_bytes())
    with pytest.raises(DataError, match=r"one picture, or nearly, in training and in evaluation, got .*03 \(train\)"):
        open_data(DataConfig(root=tmp_path / "split"))
    assert len(open_data(DataConfig(root=tmp_path / "split", duplicates="keep"))[0]) == 13


def test_a_coloured_mask_saved_as_jpeg_is_decoded_or_refused(tmp_path):
    colours = {"a": (255, 0, 0), "b": (0, 255, 0), "c": (0, 0, 255)}
    truth = np.zeros((256, 256), np.uint8)
    truth[20:120, 30:200], truth[140:220, 20:90], truth[130:240, 140:230] = 1, 2, 3
    table = np.array([(0, 0, 0), *colours.values()], np.uint8)
    path = tmp_path / "mask.jpg"
    path.write_bytes(encode_jpeg(table[truth], 75))
    with pytest.raises(DataError, match=r"mask.jpg: colours of no class, got"):
        ColourMap(colours).codes(read_image(path), path)
    codes = ColourMap(colours, "ignore").codes(read_image(path), path)
    assert (codes[codes != IGNORE] != truth[codes != IGNORE]).mean() < 1e-3
    assert (codes == IGNORE).mean() < 0.03


def test_index_masks_saved_as_jpeg_are_refused(tmp_path):
    root = make_set(tmp_path / "set", 4, good=1)
    for path in (root / "masks").iterdir():
        path.with_suffix(".jpg").write_bytes(encode_jpeg(read_mask(path)[..., None].repeat(3, 2) * 100, 75))
        path.unlink()
    with pytest.raises(DataError, match=r"01.jpg: a mask saved as JPEG, which changes its numbers, got \d+ of them"):
        open_data(DataConfig(root=root))


def test_images_and_masks_are_paired_by_name_whatever_the_order_of_their_files(tmp_path):
    root = make_set(tmp_path / "set", 6, good=0)
    before = {record.name: read_labelled(record, CLASSES) for record in open_data(DataConfig(root=root))[0].records}
    for number, path in enumerate(sorted((root / "images").iterdir(), reverse=True)):
        if number % 2:                          # a listing by suffix has other images than masks at each place
            path.rename(path.with_suffix(".bmp"))
            Image.open(path.with_suffix(".bmp")).save(path.with_suffix(".tif"))
            path.with_suffix(".bmp").unlink()
    after = {record.name: read_labelled(record, CLASSES) for record in open_data(DataConfig(root=root))[0].records}
    assert after.keys() == before.keys()
    for name, (pixels, labels) in before.items():
        assert np.array_equal(after[name][0], pixels)
        assert np.array_equal(after[name][1], labels)


def test_clean_crops_lie_on_false_alarms_where_they_are_given(root, tmp_path):
    data = crops(root, defect_share=0.0, clean_share=1.0)
    good = next(record for record in data.records if record.is_good)
    table = tmp_path / "false_alarms.csv"
    table.write_text(f"image,x,y,area_px\n{good.name},40,30,9\nother,1,1,1\n")
    mined = crops(root, defect_share=0.0, clean_share=1.0, hard=table)
    number = next(at for at, record in enumerate(mined.records) if record.name == good.name)
    assert mined.hard == [(number, (40, 30))]
    wanted = read_labelled(good, mined.classes)[0][15:47, 25:57]
    seen = [np.array_equal(np.rint(mined[0, draw][0].numpy().transpose(1, 2, 0) * 255), wanted) for draw in range(40)]
    assert 10 <= sum(seen) <= 30
    assert not any((mined[0, draw][1] > 0).any() for draw in range(40))
    for text, message in (("image,y\n00,1\n", "not a table of false alarms"),
                          ("image,x,y\nother,1,1\n", "of none of the training images, got 'other'")):
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            crops(root, hard=table)
