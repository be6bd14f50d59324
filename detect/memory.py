"""A memory of feature vectors: a fair sample of a stream, its most spread-out part, and exact nearest neighbours."""
import numpy as np
import torch
from torch import Tensor

from core.seeding import rng

PROJECTED = 128         # dimensions in which vectors are chosen
QUERIES = 1024          # vectors a chunk of the search


class Reservoir:
    """At most `cap` of all vectors added, each with the same chance; memory does not grow beyond that.

    mean and deviation of each dimension are those of all vectors, not of the sample.
    """

    def __init__(self, cap: int, seed: int = 0):
        self.cap, self.seed, self.batches, self.count = cap, seed, 0, 0
        self.rows: Tensor | None = None
        self.keys = np.zeros(0)
        self.sums: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Add vectors, float [N, D]."""
        rows = rows.detach().cpu()
        keys = rng(self.seed, self.batches).random(len(rows))
        self.batches += 1
        self.count += len(rows)
        wide = rows.double()
        sums = torch.stack([wide.sum(0), wide.square().sum(0)])
        self.sums = sums if self.sums is None else self.sums + sums
        if len(self.keys) == self.cap:                      # only a key below the largest kept one can enter
            enters = keys < self.keys.max()
            rows, keys = rows[torch.from_numpy(enters)], keys[enters]
        rows = rows.half()
        rows = rows if self.rows is None else torch.cat([self.rows, rows])
        keys = np.concatenate([self.keys, keys])
        if len(keys) > self.cap:
            kept = np.sort(np.argpartition(keys, self.cap)[:self.cap])
            rows, keys = rows[torch.from_numpy(kept)], keys[kept]
        self.rows, self.keys = rows, keys

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each dimension, float32 [D]; a constant dimension has deviation 1."""
        mean, square = self.sums / self.count
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        return mean.float(), torch.where(deviation > 1e-6, deviation, 1.0).float()


def spread_out(rows: Tensor, count: int, seed: int = 0) -> Tensor:
    """Indices int64 [count] of a greedy k-centre cover (Sener and Savarese 2018), the first drawn at random and kept.

    Each step costs one product of the matrix with a vector: squared distances are |g|^2 - 2 g.g_j + |g_j|^2, with
    nothing of the matrix's size made. Vectors of more than PROJECTED dimensions are chosen in a random projection.
    """
    if not 1 <= count <= len(rows):
        raise ValueError(f"count must be from 1 to {len(rows)}, got {count}")
    rows = projected(rows.float(), seed)
    norms = rows.square().sum(1)
    chosen = torch.empty(count, dtype=torch.int64)
    chosen[0] = int(rng(seed, len(rows)).integers(len(rows)))
    nearest = torch.full_like(norms, torch.inf)
    for number in range(count):
        if number:
            chosen[number] = nearest.argmax()
        at = chosen[number]
        distance = torch.addmv(norms, rows, rows[at], alpha=-2).add_(norms[at])
        torch.minimum(nearest, distance, out=nearest)
        nearest[at] = -torch.inf                            # rounding must not choose a vector twice
    return chosen


def projected(rows: Tensor, seed: int = 0) -> Tensor:
    """Gaussian random projection to PROJECTED dimensions (Johnson and Lindenstrauss 1984); fewer stay as they are."""
    if rows.shape[1] <= PROJECTED:
        return rows
    matrix = rng(seed, 1, rows.shape[1]).standard_normal((rows.shape[1], PROJECTED)) / np.sqrt(PROJECTED)
    return rows @ torch.from_numpy(matrix).to(rows)


def nearest(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Distance float32 [N] to the nearest row of the bank, and its index; exact, in chunks of queries."""
    middle = bank.mean(0)                                   # far from 0, squares would round away what differs
    centred = bank - middle
    norms = centred.square().sum(1)
    found = [torch.addmm(norms, chunk - middle, centred.T, alpha=-2).argmin(1) for chunk in queries.split(QUERIES)]
    index = torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=bank.device)
    return (queries - bank[index]).norm(dim=1), index
