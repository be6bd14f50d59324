"""Randomness is a function of the seed and the position."""
import random

import numpy as np
import pytest
import torch

from core.seeding import EndlessSampler, rng, seed_sample, seed_step


def draws() -> tuple:
    return random.random(), np.random.rand(), torch.rand(1).item()


def take(sampler: EndlessSampler, count: int) -> list[tuple[int, int]]:
    return [pair for pair, _ in zip(sampler, range(count))]


def test_rng_depends_on_every_argument():
    streams = [(0,), (1,), (0, 0), (0, 1), (0, 1, 0), (1, 0)]
    numbers = [rng(*stream).integers(2**60) for stream in streams]
    assert len(set(numbers)) == len(streams)
    assert numbers == [rng(*stream).integers(2**60) for stream in streams]


@pytest.mark.parametrize("seeder", [seed_step, seed_sample])
def test_all_three_global_generators_are_set(seeder):
    seeder(3, 5)
    first = draws()
    seeder(3, 6)
    other = draws()
    seeder(3, 5)
    assert draws() == first
    assert all(a != b for a, b in zip(first, other))


def test_processes_and_purposes_draw_apart():
    numbers = []
    for seeder, arguments in ((seed_step, (3, 5)), (seed_step, (3, 5, 1)), (seed_sample, (3, 5)), (seed_step, (4, 5))):
        seeder(*arguments)
        numbers.append(draws())
    assert len(set(numbers)) == 4


def test_sampler_shows_every_sample_once_an_epoch_in_changing_order():
    pairs = take(EndlessSampler(7, seed=1, batch_size=3), 21)
    assert [draw for _, draw in pairs] == list(range(21))
    epochs = [[index for index, _ in pairs[start:start + 7]] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_sampler_started_later_goes_on_where_the_other_would_be():
    whole = take(EndlessSampler(7, seed=1, batch_size=3), 60)
    assert take(EndlessSampler(7, seed=1, batch_size=3, start_step=11), 27) == whole[33:]


def test_processes_share_each_batch_without_overlap():
    whole = take(EndlessSampler(7, seed=1, batch_size=4, start_step=2), 12)
    parts = [take(EndlessSampler(7, seed=1, batch_size=4, start_step=2, rank=rank, processes=2), 6) for rank in (0, 1)]
    assert [parts[0][i:i + 2] + parts[1][i:i + 2] for i in (0, 2, 4)] == [whole[i:i + 4] for i in (0, 4, 8)]


def test_sampler_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="at least one sample, got 0"):
        EndlessSampler(0, seed=1)
    with pytest.raises(ValueError, match="divisible by the number of processes 2, got 3"):
        EndlessSampler(5, seed=1, batch_size=3, processes=2)
