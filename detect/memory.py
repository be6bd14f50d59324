"""A memory of feature vectors: a fair sample of a stream, its most spread-out part, and exact nearest neighbours."""
import numpy as np
import torch
from torch import Tensor

from core.seeding import rng

PROJECTED = 128         # dimensions in which vectors are chosen
LEADING = 256           # rows at least that a round of the choice goes on among
CHUNK = 4096            # rows a product of the choice
ROUNDING = 1e-5         # of a squared distance: closer ones are compared once more, exactly
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


def spread_out(rows: Tensor, count: int, seed: int = 0, dimensions: int = PROJECTED) -> Tensor:
    """Indices int64 [count] of a greedy k-centre cover (Sener and Savarese 2018), the first drawn at random and kept.

    Exact, but lazy: distances to the nearest centre only ever shrink, so old ones bound new ones. Each round brings all
    rows up to date in one product of matrices, then goes on among the farthest rows alone, as long as none of the
    others can be farther. Nothing of the size of all differences is made. Vectors of more than `dimensions` are
    chosen in a random projection.
    """
    if not 1 <= count <= len(rows):
        raise ValueError(f"count must be from 1 to {len(rows)}, got {count}")
    rows = projected(rows.float(), seed, dimensions)
    rows = rows - rows.mean(0)                              # far from 0, squares would round away what differs
    norms = rows.square().sum(1)
    chosen = torch.zeros(count, dtype=torch.int64, device=rows.device)
    chosen[0] = int(rng(seed, len(rows)).integers(len(rows)))
    nearest, owner = torch.full_like(norms, torch.inf), torch.zeros_like(chosen[:1]).expand(len(rows)).clone()
    leading, seen, done = min(len(rows), max(LEADING, len(rows) // 10)), 0, 1
    while True:
        _bring_up_to_date(nearest, owner, rows, norms, chosen[seen:done])
        seen = done
        if done == count:
            return chosen.cpu()
        farthest = nearest.topk(leading)
        bound = float(farthest.values[-1]) if leading < len(rows) else -torch.inf
        these = farthest.indices.sort().values              # of equal rows the first, whichever way it is found
        few, few_norms, few_nearest, few_owner = rows[these], norms[these], nearest[these], owner[these]
        while done < count:
            largest = float(few_nearest.max())
            if done > seen and largest <= bound:
                break
            ties = (few_nearest >= largest * (1 - ROUNDING)).nonzero()[:, 0]
            at = int(ties[0])
            if len(ties) > 1:                               # the difference itself, which squares have rounded
                gaps = few[ties].double() - rows[few_owner[ties]].double()
                at = int(ties[gaps.square().sum(1).argmax()])
            chosen[done] = these[at]
            done += 1
            distance = torch.addmv(few_norms, few, few[at], alpha=-2).add_(few_norms[at])
            few_owner[distance < few_nearest] = these[at]
            torch.minimum(few_nearest, distance, out=few_nearest)
            few_nearest[at] = -torch.inf                    # rounding must not choose a vector twice


def _bring_up_to_date(nearest: Tensor, owner: Tensor, rows: Tensor, norms: Tensor, centres: Tensor) -> None:
    """Squared distances to the nearest centre and which that is, in place, with these centres too."""
    bank, bank_norms = rows[centres].T, norms[centres]
    for start in range(0, len(rows), CHUNK):
        piece = slice(start, start + CHUNK)
        distance, which = torch.addmm(bank_norms, rows[piece], bank, alpha=-2).min(1)
        distance += norms[piece]
        owner[piece] = torch.where(distance < nearest[piece], centres[which], owner[piece])
        torch.minimum(nearest[piece], distance, out=nearest[piece])
    nearest[centres] = -torch.inf


def projected(rows: Tensor, seed: int = 0, dimensions: int = PROJECTED) -> Tensor:
    """Gaussian random projection to fewer dimensions (Johnson and Lindenstrauss 1984); fewer stay as they are."""
    if rows.shape[1] <= dimensions:
        return rows
    matrix = rng(seed, 1, rows.shape[1]).standard_normal((rows.shape[1], dimensions)) / np.sqrt(dimensions)
    return rows @ torch.from_numpy(matrix).to(rows)


def nearest(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Distance float32 [N] to the nearest row of the bank, and its index; exact, in chunks of queries."""
    middle = bank.mean(0)                                   # far from 0, squares would round away what differs
    centred = bank - middle
    norms = centred.square().sum(1)
    found = [torch.addmm(norms, chunk - middle, centred.T, alpha=-2).argmin(1) for chunk in queries.split(QUERIES)]
    index = torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=bank.device)
    return (queries - bank[index]).norm(dim=1), index
