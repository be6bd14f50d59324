"""Surfaces from real pictures: their material without their defects, drawn anew, the same for the same seed."""
import numpy as np
import pytest

from core.data.images import read_mask, write_image
from core.errors import ConfigError, DataError
from core.seeding import rng
from core.synthetic import make
from core.synthetic.quilting import behind_seam, clean_material, quilt
from core.synthetic.write import Recipe, make_set


def striped(folder, colour=(1.0, 0.9, 0.6), count=2, size=(200, 160)):
    """Pictures of a coloured surface with vertical lines."""
    folder.mkdir(parents=True)
    for number in range(count):
        lines = 120 + 25 * rng(1, number).standard_normal((1, size[0])) + 4 * rng(2, number).standard_normal(size[::-1])
        write_image(folder / f"{number}.png", (lines[..., None] * colour).clip(0, 255).astype(np.uint8))
    return folder


def test_it_has_the_colour_and_the_lines_of_the_pictures(tmp_path):
    folder = striped(tmp_path / "good")
    made = quilt(rng(0), (230, 150), folder)
    assert made.shape == (150, 230, 3)
    assert made.dtype == np.float32
    assert made.mean((0, 1)) / made.mean() == pytest.approx(np.array([1.0, 0.9, 0.6]) / (2.5 / 3), abs=0.02)
    along, across = (np.abs(np.diff(made.mean(2), axis=axis)).mean() for axis in (0, 1))
    assert across > 3 * along
    assert np.array_equal(made, quilt(rng(0), (230, 150), folder))
    assert not np.array_equal(made, quilt(rng(1), (230, 150), folder))


def test_labelled_defects_are_not_taken(tmp_path):
    striped(tmp_path / "images", count=1)
    pixels, mask = np.full((160, 200, 3), 100, np.uint8), np.zeros((160, 200), np.uint8)
    pixels[:, 70:90], mask[:, 70:90] = 255, 255
    write_image(tmp_path / "images" / "0.png", pixels)
    (tmp_path / "masks").mkdir()
    write_image(tmp_path / "masks" / "0.png", mask)
    for number in range(4):
        assert quilt(rng(number), (100, 100), tmp_path).max() < 0.7
    assert read_mask(tmp_path / "masks" / "0.png").max() == 255


def test_the_seam_runs_where_both_are_alike():
    apart = np.ones((6, 8))
    path = [2, 3, 4, 4, 5, 4]
    apart[np.arange(6), path] = 0
    shown = behind_seam(apart)
    assert [int(row.argmax()) for row in shown] == path
    assert (np.diff(shown, axis=1) >= 0).all()


def test_edges_of_a_part_are_left_out():
    pixels = np.full((256, 256, 3), 0.3, np.float32)
    pixels[:, 200:] = 0.8
    corners = clean_material(pixels, np.zeros((256, 256), bool)).corners
    assert len(corners) > 100
    assert (corners[:, 1] + 64 <= 200).all()


def test_metal_with_textures_has_exact_masks_and_colour(tmp_path):
    folder = striped(tmp_path / "good")
    sample = make("metal", 3, 0, (160, 128), textures=folder, defects=2)
    assert sample.image.shape == (128, 160, 3)
    assert (sample.image[..., 0] > sample.image[..., 2]).mean() > 0.9
    near = np.any([defect.mask for defect in sample.defects], axis=0)
    changed = (sample.image != sample.clean).any(2)
    assert changed[near].mean() > 0.3
    grey = make("metal", 3, 0, (160, 128), textures=folder, colour=False)
    assert (grey.image[..., 0] == grey.image[..., 2]).all()


def test_the_set_repeats_and_mistakes_are_named(tmp_path):
    folder = striped(tmp_path / "good")
    recipe = Recipe(kind="metal", count=2, size=(96, 96), options={"textures": str(folder)})
    for name in ("a", "b"):
        make_set(recipe, tmp_path / name)
    for path in sorted((tmp_path / "a" / "images").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / "images" / path.name).read_bytes()
    with pytest.raises(ConfigError, match="textures: they are the surface, got style 'tile' as well"):
        make("metal", 0, 0, textures=folder, style="tile")
    with pytest.raises(ConfigError, match="textures: not for pcb"):
        make("pcb", 0, 0, textures=folder)
    striped(tmp_path / "small", size=(40, 40))
    with pytest.raises(DataError, match="no defect-free patch of 64 px, got 2 pictures"):
        make("metal", 0, 0, textures=tmp_path / "small")
