"""Shapes are moved to where they join what is there, as the real defects of their class do."""
import numpy as np
import torch

from core.augment.contacts import Joint, contacts
from core.augment.generator import Request
from core.seeding import rng
from midg import generator
from midg.generator import MidgGenerator, moved
from midg.habits import Habits

DARK, BRIGHT = (0.1, 0.3, 0.15), (0.7, 0.65, 0.35)


def near_a_trace() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A conductor, and 3 px below it a patch of its colour: the window, the patch's pixels and where it lies."""
    window = np.full((64, 64, 3), DARK, np.float32)
    window[20:32] = BRIGHT
    mask = np.zeros((64, 64), np.float32)
    mask[35:45, 28:38] = 1
    return window, np.full_like(window, BRIGHT), mask


def test_a_spur_is_moved_to_its_trace_and_an_island_is_left(monkeypatch):
    window, pixels, mask = near_a_trace()
    monkeypatch.setattr(generator, "laid", lambda fit, shape: (pixels, window, mask))
    made = MidgGenerator(None, None, habits=Habits({"spur": Joint(1, 1, 0.15), "island": Joint(0, 0)}))
    touching = {"spur": 0, "island": 0}
    for label in touching:
        for seed in range(10):
            request = Request(image=torch.from_numpy(window.transpose(2, 0, 1).copy()), box=(28, 35, 38, 45),
                              label=label, rng=rng(seed))
            shape = made._shape(window, None, request)
            assert shape.sum() > 50
            touching[label] += contacts(window, np.where(shape[..., None], pixels, window), shape) == 1
    assert touching["spur"] >= 8
    assert touching["island"] <= 3


def test_a_mask_is_moved_by_whole_px_and_never_out_of_the_window():
    mask = np.zeros((20, 30), bool)
    mask[3:6, 4:9] = True
    assert np.argwhere(moved(mask, np.array([2, -1]))).min(0).tolist() == [2, 6]
    assert np.array_equal(moved(mask, np.array([-6, 0])), mask)
