"""Randomness as a function of (seed, position), so that nothing random has to be saved."""

import numpy as np


def rng(seed: int, *position: int) -> np.random.Generator:
    """Return the generator of one position, such as (image number, defect number): equal arguments, equal numbers.

    Every argument is a whole number >= 0; the order counts, and (1, 2) is another stream than (1, 2, 0).
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(position), *position])))
