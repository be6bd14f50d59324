"""Paint takes the colour of a material near by where the real defects have it, and keeps its own where they do not."""
import cv2
import numpy as np

from midg.tones import material_of, toned, usual_tones
from tests.midg.test_seats import crop

GROUND, COPPER, RUST = (20, 60, 25), (40, 150, 60), (160, 70, 30)


def board(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Two traces on a ground, uint8 [80, 80, 3], and a bridge between them, bool."""
    picture = np.full((80, 80, 3), GROUND, np.float64)
    picture[:, 20:32] = picture[:, 46:58] = COPPER
    picture = cv2.GaussianBlur(picture, (0, 0), 0.7) + np.random.default_rng(number).normal(0, 3, picture.shape)
    bridge = np.zeros((80, 80), bool)
    bridge[30 + number % 10:42 + number % 10, 32:46] = True
    return np.clip(picture, 0, 255).astype(np.uint8), bridge


def painted(clean: np.ndarray, mask: np.ndarray, colour, opacity: float = 1.0) -> np.ndarray:
    soft = opacity * cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.7)[..., None]
    return (clean + soft * (np.array(colour) - clean)).astype(np.uint8)


def of_class(label: str, colour):
    crops = []
    for number in range(6):
        clean, mask = board(number)
        one = crop(clean, mask, label)
        crops.append(type(one)(**{**vars(one), "pixels": painted(clean, mask, colour)}))
    return crops


def test_classes_in_the_colour_of_a_material_are_told_from_those_with_their_own():
    assert usual_tones([*of_class("short", COPPER), *of_class("rust", RUST)]) == {"short"}


def test_faint_paint_gets_the_contrast_of_what_it_is_on_the_way_to():
    clean, mask = board(0)
    faint = painted(clean, mask, COPPER, 0.4)
    clean, faint = (picture.astype(np.float32) / 255 for picture in (clean, faint))
    assert np.abs(material_of(clean, faint, mask) - np.array(COPPER) / 255).max() < 0.03
    made = toned(clean, faint, mask)
    core = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert np.abs(made[core].mean(0) - np.array(COPPER) / 255).max() < 0.03
    assert 0.2 < made[core].std(0).mean() / clean[:, :16].std((0, 1)).mean() < 1.5         # grain, and no more
    assert np.abs(made - clean)[60:, :16].max() < 0.05


def test_a_solid_shape_is_covered_where_the_paint_is_thin():
    clean, mask = board(0)
    thin = painted(clean, mask, COPPER)
    thin[32:36, 36:42] = clean[32:36, 36:42]
    thin[38:42, 32:38] = clean[38:42, 32:38]            # at the rim
    clean, thin = (picture.astype(np.float32) / 255 for picture in (clean, thin))
    there, covered = (toned(clean, thin, mask, solid=solid)[39, 35, 1] for solid in (False, True))
    assert there < 0.35 < 0.5 < covered


def test_paint_on_the_way_to_nothing_near_has_no_material():
    clean, mask = board(0)
    clean, rusty = (picture.astype(np.float32) / 255 for picture in (clean, painted(clean, mask, RUST)))
    assert material_of(clean, rusty, mask) is None
    assert toned(clean, rusty, mask) is None


def test_no_sliver_is_left_between_a_defect_and_what_it_joins():
    clean, mask = board(0)
    short = mask.copy()
    short[:, 44:] = False                               # 2 px of ground are left beside the trace
    made = painted(clean, short, COPPER)
    clean, made = (picture.astype(np.float32) / 255 for picture in (clean, made))
    row = np.argwhere(mask)[:, 0].min() + 6
    open_, closed = (toned(clean, made, short, joined=joined)[row, 43:47, 1].min() for joined in (False, True))
    assert open_ < 0.42 < 0.5 < closed
