"""What stands in for the material under a defect."""
import numpy as np

from core.augment.removal import same_scene, spread, without_defect

WINDOW = (40, 40, 80, 80)


def _stripes() -> np.ndarray:
    """Conductors eight px wide on a pitch of twenty, with a little grain."""
    columns = np.where(np.arange(200) % 20 < 8, 180, 60)
    grain = np.random.default_rng(0).normal(0, 2, (200, 200))
    return np.repeat((columns + grain).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _broken() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stripes with one conductor cut: (image, hole in WINDOW, defects of the image)."""
    image, defects = _stripes(), np.zeros((200, 200), bool)
    defects[56:64, 58:70] = True
    image[defects] = 60
    return image, defects[40:80, 40:80], defects


def test_the_next_conductor_stands_in_for_the_cut_one():
    image, hole, defects = _broken()
    clean, how = without_defect(image, WINDOW, hole, defects)
    assert how == "exemplar"
    assert np.abs(clean[hole].astype(int) - _stripes()[40:80, 40:80][hole]).mean() < 8


def test_nothing_is_taken_from_where_another_defect_lies():
    image, hole, defects = _broken()
    image[:, :30] = image[:, 100:] = 0
    defects[:, :30] = defects[:, 100:] = True
    clean, _ = without_defect(image, WINDOW, hole, defects)
    assert clean[hole].min() > 30


def test_another_picture_of_the_scene_is_the_twin_unless_it_is_marked_there():
    image, hole, defects = _broken()
    none = np.zeros_like(defects)
    assert (same_scene(image, WINDOW, hole, defects, [(_stripes(), none)]) == _stripes()[40:80, 40:80]).all()
    assert same_scene(image, WINDOW, hole, defects, [(_stripes(), defects)]) is None
    assert same_scene(image, WINDOW, hole, defects, [(np.roll(_stripes(), 5, axis=1), none)]) is None


def test_spreading_keeps_a_constant_and_lies_between_what_is_known():
    known = np.zeros((30, 50), bool)
    known[:, :5] = known[:, -5:] = True
    values = np.zeros((30, 50, 3), np.float32)
    values[:, 25:] = 1
    field = spread(values, known)
    assert field.min() > -1e-4
    assert field.max() < 1 + 1e-4
    assert (np.diff(field[15, :, 0]) > -1e-3).all()
    assert np.allclose(spread(np.full_like(values, 0.3), known), 0.3, atol=1e-4)
