"""Defects are put where the real ones lie, clear of what is there, inside the image."""
import numpy as np
import pytest

from core.augment.placement import Placement
from core.data import images
from core.seeding import rng
from tests.augment.boards import made


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    dataset, bank = made(tmp_path_factory.mktemp("placement"), count=40)
    return dataset, bank, Placement.learn(bank)


def test_boxes_lie_inside_and_clear_of_the_occupied(boards):
    dataset, bank, placement = boards
    image = images.read_image(dataset.good[0].image)
    occupied = [(40, 40, 120, 120), (150, 10, 190, 60)]
    for number in range(40):
        label = bank.labels[number % len(bank.labels)]
        x1, y1, x2, y2 = placement.draw(image, label, occupied, rng(0, number))
        assert 0 <= x1 < x2 <= 200
        assert 0 <= y1 < y2 <= 200
        for a in occupied:
            assert x2 <= a[0] or a[2] <= x1 or y2 <= a[1] or a[3] <= y1


def test_a_place_repeats_with_its_numbers(boards):
    dataset, _, placement = boards
    image = images.read_image(dataset.good[0].image)
    places = [placement.draw(image, "spur", [], rng(0, number)) for number in (1, 2, 1)]
    assert places[0] == places[2] != places[1]


def test_missing_holes_are_put_on_pads(boards):
    """Pads are the bright, pale rings of a made board: learned places lie on them, free ones hardly ever."""
    dataset, _, placement = boards
    on_pads = {True: [], False: []}
    for number, record in enumerate(dataset.records[:20]):
        image = images.read_image(record.clean or record.image)
        pale = image.min(axis=2) > 70
        for learned in on_pads:
            box = placement.draw(image, "missing_hole", [], rng(1, number), learned=learned)
            on_pads[learned].append(pale[box[1]:box[3], box[0]:box[2]].mean() > 0.3)
    assert np.mean(on_pads[True]) > 0.5
    assert np.mean(on_pads[True]) > np.mean(on_pads[False]) + 0.3


def test_sizes_follow_the_real_ones_and_the_limits(boards):
    _, bank, placement = boards
    real = sorted(max(crop.size_px) for crop in bank.of("spur"))
    drawn = [max(placement.draw_size("spur", rng(2, number), scale=(1, 1))) for number in range(60)]
    assert 0.85 * real[0] - 1 <= min(drawn)
    assert max(drawn) <= 1.15 * real[-1] + 1
    assert {max(placement.draw_size("spur", rng(3, n), limits_px=(30, 30))) for n in range(5)} == {30}


def test_no_room_is_none(boards):
    dataset, _, placement = boards
    image = images.read_image(dataset.good[0].image)
    assert placement.draw(image, "spur", [(0, 0, 200, 200)], rng(0, 0)) is None
