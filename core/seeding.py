"""Randomness as a function of (seed, position), so that nothing random has to be saved."""
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

SAMPLE, STEP, ORDER = 2**40, 2**40 + 1, 2**40 + 2     # keep these streams apart from each other and from positions


def rng(seed: int, *position: int) -> np.random.Generator:
    """Return the generator of one position, such as (image number, defect number): equal arguments, equal numbers.

    Every argument is a whole number >= 0; the order counts, and (1, 2) is another stream than (1, 2, 0).
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(position), *position])))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set every global generator from (seed, step): what a step draws never depends on the steps before it.

    rank    number of the process in data-parallel training: each draws its own noise.
    """
    torch.manual_seed(_seed_numpy(seed, STEP, step, rank))


def seed_sample(seed: int, draw: int) -> None:
    """Set the global generators of the CPU from (seed, draw), for data sets whose transforms draw from those."""
    torch.default_generator.manual_seed(_seed_numpy(seed, SAMPLE, draw))


def _seed_numpy(*words: int) -> int:
    """Seed `random` and numpy; return 64 bits for torch."""
    state = np.random.SeedSequence(words).generate_state(4, np.uint32)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    return int(state[2]) << 32 | int(state[3])


class EndlessSampler(Sampler):
    """Yields (index, draw) for ever: epoch e is a permutation from (seed, e), draw counts the samples of the run.

    start_step      the step at which to begin: draw = start_step * batch_size
    rank, processes of each step's batch this process takes the rank-th of `processes` equal parts
    """

    def __init__(self, length: int, seed: int, *, batch_size: int = 1, start_step: int = 0, rank: int = 0,
                 processes: int = 1):
        if length < 1:
            raise ValueError(f"there must be at least one sample, got {length}")
        if batch_size % processes:
            raise ValueError(f"batch_size must be divisible by the number of processes {processes}, got {batch_size}")
        self.length, self.seed, self.batch_size, self.start_step = length, seed, batch_size, start_step
        self.rank, self.processes = rank, processes

    def __iter__(self) -> Iterator[tuple[int, int]]:
        share, step, epoch = self.batch_size // self.processes, self.start_step, -1
        while True:
            first = step * self.batch_size + self.rank * share
            for draw in range(first, first + share):
                if draw // self.length != epoch:
                    epoch = draw // self.length
                    order = rng(self.seed, ORDER, epoch).permutation(self.length)
                yield int(order[draw % self.length]), draw
            step += 1
