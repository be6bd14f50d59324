"""What a class's real defects have in common decides which made ones suit it."""
import numpy as np

from midg.habits import Habits
from tests.midg.test_tones import COPPER, board, of_class, painted


def test_a_bridge_must_reach_both_traces_at_once():
    habits = Habits.of(of_class("short", COPPER))
    assert habits.is_joined("short")
    clean, whole = board(3)
    near = whole.copy()
    near[:, 42:] = False                            # 4 px of ground are left
    assert habits.joins(clean, painted(clean, whole, COPPER), whole, "short")
    assert not habits.joins(clean, painted(clean, near, COPPER), near, "short")


def test_a_speck_is_no_defect_of_a_class_of_large_ones():
    habits = Habits.of(of_class("short", COPPER))
    _, mask = board(0)
    assert habits.is_seen(mask, "short")
    assert not habits.is_seen(mask & (np.arange(80) < 36), "short")
    assert habits.is_seen(np.zeros_like(mask), "another class")
