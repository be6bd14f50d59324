"""Label images: index, colours, black and white; rims of interpolation; what is refused and what is ignored."""
import json

import numpy as np
import pytest

from core.data import formats, shapes
from core.data.formats.label_image import without_rings
from core.errors import ConfigError, DataError
from tests.made_sets import SIZE, blob, facts, picture, save_mask

COLOURS = {"background": (0, 0, 0), "pit": (255, 0, 0), "crack": (0, 255, 0)}


def one(root, values: np.ndarray, name: str = "a"):
    picture(root / "images" / f"{name}.png", 1)
    save_mask(root / "masks" / f"{name}.png", values)
    return root


def index(*parts: tuple[np.ndarray, int]) -> np.ndarray:
    values = np.zeros(SIZE[::-1], np.uint8)
    for mask, value in parts:
        values[mask] = value
    return values


def coloured(*parts: tuple[np.ndarray, tuple]) -> np.ndarray:
    values = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for mask, colour in parts:
        values[mask] = colour
    return values


def test_black_and_white_is_one_class(tmp_path):
    one(tmp_path, index((blob(10, 10), 255), (blob(35, 25), 255)))
    dataset = formats.read(tmp_path)
    assert dataset.classes == ("defect",)
    assert len(dataset.records[0].instances) == 2
    assert formats.read(tmp_path, classes=["pit"]).classes == ("pit",)


def test_index_values_and_their_names(tmp_path):
    one(tmp_path, index((blob(10, 10), 1), (blob(35, 25), 2)))
    assert formats.read(tmp_path).classes == ("1", "2")
    assert formats.read(tmp_path, classes=["pit", "crack"]).classes == ("pit", "crack")
    for stored in (["pit", "crack"], {"1": "pit", "2": "crack"}, {"0": "background", "1": "pit", "2": "crack"},
                   {"pit": 1, "crack": 2, "background": 0}):
        (tmp_path / "classes.json").write_text(json.dumps(stored))
        dataset = formats.read(tmp_path)
        assert dataset.classes == ("pit", "crack")
        assert [item.label for item in dataset.records[0].instances] == ["pit", "crack"]
    (tmp_path / "classes.json").write_text('["pit"]')
    with pytest.raises(DataError, match="more mask values than classes, got 2 for 1 classes"):
        formats.read(tmp_path)
    for broken in ('{"pit": "red"}', "3", '{"1": '):
        (tmp_path / "classes.json").write_text(broken)
        with pytest.raises(DataError, match=r"classes\.json: not"):
            formats.read(tmp_path)


def test_255_beside_others_is_to_be_ignored(tmp_path):
    one(tmp_path, index((blob(10, 10), 1), (blob(35, 25), 255)))
    assert [item.ignore for item in formats.read(tmp_path).records[0].instances] == [False, True]


def test_colours_from_an_option_and_from_a_file(tmp_path):
    one(tmp_path, coloured((blob(10, 10), (255, 0, 0)), (blob(35, 25), (20, 230, 38))))
    dataset = formats.read(tmp_path, colours=COLOURS)
    assert dataset.classes == ("pit", "crack")
    assert np.array_equal(shapes.instance_mask(dataset.records[0].instances[1], SIZE), blob(35, 25))
    with pytest.raises(DataError, match="a coloured mask without a colour map, got 3 colours"):
        formats.read(tmp_path)
    (tmp_path / "colours.json").write_text(json.dumps(COLOURS))
    assert formats.read(tmp_path).records[0].instances == dataset.records[0].instances


def test_strange_colours_are_counted_or_ignored(tmp_path):
    one(tmp_path, coloured((blob(10, 10), (255, 0, 0)), (blob(35, 25), (200, 60, 0))))
    with pytest.raises(DataError, match=r"colours of no class, got \(200, 60, 0\) 112 px"):
        formats.read(tmp_path, colours=COLOURS)
    instances = formats.read(tmp_path, colours=COLOURS, unknown_colours="ignore").records[0].instances
    assert [(item.label, item.ignore) for item in instances] == [("pit", False), ("pit", True)]
    with pytest.raises(ConfigError, match="One of error, ignore"):
        formats.read(tmp_path, colours=COLOURS, unknown_colours="drop")


def test_saturated_colours_are_classes_named_after_themselves(tmp_path):
    one(tmp_path, coloured((blob(10, 10), (255, 0, 0)), (blob(35, 25), (0, 255, 255))))
    assert formats.read(tmp_path).classes == ("#00ffff", "#ff0000")


def test_rims_of_other_classes_are_cleaned_on_request(tmp_path):
    values = index((blob(20, 20), 3))
    values[14, 18:22] = 1
    values[25, 18:22] = 2
    one(tmp_path, values)
    dataset = formats.read(tmp_path)
    assert len(dataset.records[0].instances) == 3
    assert any("smaller than 10 px" in note for note in dataset.notes)
    cleaned = formats.read(tmp_path, clean_rings=True).records[0].instances
    assert [item.label for item in cleaned] == ["3"]
    assert np.array_equal(shapes.instance_mask(cleaned[0], SIZE), blob(20, 20))
    assert np.array_equal(without_rings(values) > 0, values > 0)
    assert len(formats.read(tmp_path, minimum_px=5).records[0].instances) == 1


def test_grey_fringes_need_a_threshold(tmp_path):
    values = index((blob(20, 20), 255))
    values[:4] = np.arange(4 * SIZE[0]).reshape(4, -1) % 100
    one(tmp_path, values)
    with pytest.raises(DataError, match="not an index image, got 101 grey levels. .*--threshold 127"):
        formats.read(tmp_path)
    instances = formats.read(tmp_path, threshold=127).records[0].instances
    assert np.array_equal(shapes.instance_mask(instances[0], SIZE), blob(20, 20))


def test_an_empty_mask_is_a_good_image_and_a_full_one_an_error(tmp_path):
    one(tmp_path, index())
    one(tmp_path, index((blob(20, 20), 255)), "b")
    assert [record.is_good for record in formats.read(tmp_path).records] == [True, False]
    one(tmp_path, np.full(SIZE[::-1], 255, np.uint8), "full")
    with pytest.raises(DataError, match=r"full\.png: .* the whole image, got 1920 px.*out; scripts/convert.py --full"):
        formats.read(tmp_path)
    assert formats.read(tmp_path, full_masks="keep").records[2].instances[0].box == (0, 0, 48, 40)


def test_missing_mask_and_mask_without_image(tmp_path):
    one(tmp_path, index((blob(20, 20), 255)))
    picture(tmp_path / "images" / "bare.png", 2)
    with pytest.raises(DataError, match=r"1 image without mask, got .*bare\.png. Add it, or say --unlabelled good"):
        formats.read(tmp_path)
    assert len(formats.read(tmp_path, unlabelled="good").good) == 1
    save_mask(tmp_path / "masks" / "lost.png", index())
    for number in range(8):
        save_mask(tmp_path / "masks" / f"lost{number}.png", index())
    with pytest.raises(DataError, match=r"9 mask without an image, got .*lost\.png.* and 4 more"):
        formats.read(tmp_path, unlabelled="good")


def test_mask_of_another_size(tmp_path):
    one(tmp_path, np.zeros((SIZE[0], SIZE[1]), np.uint8))
    with pytest.raises(DataError, match=r"masks.a\.png: mask of another size .*, got 40x48 for a\.png of 48x40"):
        formats.read(tmp_path)


def test_folders_a_split_and_mask_endings(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "x.png", 1)
        save_mask(tmp_path / split / "masks" / "x_mask.png", index((blob(20, 20), 255)))
    assert facts(formats.read(tmp_path), "name", "split") == [("train/x", "train"), ("valid/x", "val")]


def test_class_folders_with_masks_beside_their_images(tmp_path):
    for kind, values in (("Crack", index((blob(20, 20), 200))), ("Free", index()), ("Crack", index())):
        number = len(list(tmp_path.rglob("*.jpg")))
        folder = tmp_path / kind / "Imgs"
        picture(folder / f"{number}.png", number).rename(folder / f"{number}.jpg")
        save_mask(folder / f"{number}.png", values + np.uint8(20))
    dataset = formats.read(tmp_path)
    assert dataset.classes == ("Crack",)
    assert facts(dataset, "name", "is_good", "verified") == [
        ("Crack/0", False, True), ("Crack/2", False, False), ("Free/1", True, True)]
    with pytest.raises(DataError, match="an empty mask in a folder of defects, got 'Crack'"):
        formats.read(tmp_path, unlabelled="error")
