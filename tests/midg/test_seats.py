"""Shapes find the places that their class has, where it has some."""
import numpy as np
import pytest

from core.augment.bank import Crop
from midg.seats import seated, usual_seats

SIDE_PX = 80


def disc(middle, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    return np.hypot(rows - middle[1], columns - middle[0]) <= radius


def pad(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A pad with a hole somewhere, of some size: uint8 [S, S, 3], and the hole, bool [S, S]."""
    draw = np.random.default_rng(number)
    middle, radius = draw.uniform(34, 46, 2), draw.uniform(4, 9)
    picture = np.full((SIDE_PX, SIDE_PX, 3), (20, 90, 30), np.float64)
    picture[disc(middle, 2.2 * radius)] = 150, 140, 140
    hole = disc(middle, radius)
    picture[hole] = 30
    return np.clip(picture + draw.normal(0, 4, picture.shape), 0, 255).astype(np.uint8), hole


def crop(clean: np.ndarray, mask: np.ndarray, label: str) -> Crop:
    rows, columns = np.nonzero(mask)
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    return Crop(label=label, record="one", group="", box=box, origin=(0, 0), image_size=(SIDE_PX, SIDE_PX),
                pixels=np.where(mask[..., None], np.uint8(200), clean), mask=mask, clean=clean, mask_from="label",
                clean_from="twin")


@pytest.fixture(scope="module")
def seats() -> dict:
    draw = np.random.default_rng(5)
    filled = [crop(*pad(number), "filled") for number in range(12)]
    stains = [crop(pad(number)[0], disc(draw.uniform(12, 68, 2), 5), "stain") for number in range(12)]
    return usual_seats([*filled, *stains])


def test_only_classes_with_places_of_their_own_have_a_rule(seats):
    assert set(seats) == {"filled"}


def test_a_misplaced_shape_is_moved_into_the_hole_and_made_as_large(seats):
    seat, overlaps = seats["filled"], []
    for number in range(20, 26):
        clean, hole = pad(number)
        clean = clean.astype(np.float32) / 255
        rows, columns = np.nonzero(hole)
        misplaced = disc((columns.mean() + 4, rows.mean() - 3), 1.3 * np.sqrt(hole.sum() / np.pi))
        assert not seat.fits(clean, misplaced)
        found = seated(clean, misplaced, seat, np.random.default_rng(number))
        assert seat.score(clean, found) > seat.score(clean, misplaced)
        overlaps.append((found & hole).sum() / (found | hole).sum())
    assert np.median(overlaps) > 0.75
