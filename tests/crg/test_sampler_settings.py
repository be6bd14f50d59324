"""CRG's sampler settings: the walk over the noise levels, and settings that cannot be."""
import pytest
from pydantic import ValidationError

from crg.sampler_settings import GuidanceConfig, SamplerConfig, ScheduleConfig, WalkConfig, walk_indices


def down(first: int, last: int) -> list[int]:
    return list(range(first, last - 1, -1))


def test_the_default_walk_is_the_published_one():
    up_high, up_low = list(range(11, 21)), list(range(1, 11))
    wanted = [*down(29, 10), *up_high, *down(19, 10), *up_high, *down(19, 0), *up_low, *down(9, 0), *up_low,
              *down(9, 0)]
    assert walk_indices(WalkConfig(), 250) == wanted
    assert len(wanted) == 110


def test_straight_walks():
    assert walk_indices(WalkConfig(time_travel=False), 250) == down(30, 0)
    assert walk_indices(WalkConfig(passes=1), 250) == down(29, 0)
    assert walk_indices(WalkConfig(time_travel=False, steps=50), 250) == [30, 25, 20, 15, 10, 5, 0]
    assert walk_indices(WalkConfig(time_travel=False, stride=7), 250) == [30, 23, 16, 9, 2, 0]
    quad = walk_indices(WalkConfig(time_travel=False, spacing="quad"), 250)
    assert quad[0] <= 30
    assert quad[-1] == 0
    assert quad[0] - quad[1] <= 1
    assert walk_indices(WalkConfig(steps=125), 250)[:2] == [28, 26]


@pytest.mark.parametrize(("where", "feet"), [
    ("none", {0, 10}), ("firstn-245", {10}), ("lastn-5", {0}), ("firstp-97", {10}), ("lastp-2", {0})])
def test_jumps_may_be_left_out(where, feet):
    walk = walk_indices(WalkConfig(jumps_where=where), 250)
    turns = {here for before, here, after in zip(walk, walk[1:], walk[2:]) if here < before and here < after}
    assert turns == feet


@pytest.mark.parametrize(("change", "problem"), [
    ({"start": 250}, "must be below the 250 steps"), ({"steps": 120}, "must divide the 250 steps"),
    ({"start": 1}, "too small")])
def test_walks_that_cannot_be_are_named(change, problem):
    with pytest.raises(ValidationError, match=problem):
        SamplerConfig(walk=WalkConfig(**change))


def test_a_start_below_the_jump_works():
    """The published code stopped with an index error at 10 and below."""
    assert walk_indices(WalkConfig(start=8), 250) == down(7, 0)


def test_iterations_lie_on_a_line():
    line = GuidanceConfig(iterations_first=1, iterations_last=5, iterations_from=50)
    assert [line.iterations(index, 250) for index in (0, 49, 50, 150, 249)] == [0, 0, 1, 3, 5]
    assert {GuidanceConfig().iterations(index, 250) for index in range(250)} == {2}


def test_a_schedule_that_cannot_be_is_named():
    with pytest.raises(ValidationError, match="no whole number"):
        ScheduleConfig(respacing="some")
