"""Measures anomaly detection: the choice of what is remembered against the usual one, and memory of a fit."""
import time
import tracemalloc

import torch
from torch import Tensor

from core.seeding import rng

from .memory import Reservoir, spread_out

ROWS, DIMENSIONS, SHARE = 20_000, 384, 10


def coreset() -> list[tuple[str, str, str]]:
    """Rows (what, figure, beside) of choosing a tenth of 20,000 vectors, on one thread, both in all dimensions."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = vectors(ROWS, DIMENSIONS)
        began = time.process_time()
        ours = spread_out(rows, ROWS // SHARE, dimensions=DIMENSIONS)
        middle = time.process_time()
        usual = by_differences(rows, ROWS // SHARE, int(ours[0]))
        end = time.process_time()
    finally:
        torch.set_num_threads(before)
    same, wrong = int((ours == usual).sum()), mistaken(rows.double(), ours, usual)
    what = f"coreset, {ROWS // SHARE} of {ROWS} x {DIMENSIONS}"
    return [(f"{what}, by a tensor of differences", f"{end - middle:.2f} s", "processor time, one thread"),
            (f"{what}, ours", f"{middle - began:.2f} s",
             f"{(end - middle) / (middle - began):.1f} times faster, reach >= 5; {same} of {len(ours)} indices equal, "
             f"{wrong} of the others nearer in float64 than the usual choice")]


def mistaken(rows: Tensor, ours: Tensor, usual: Tensor) -> int:
    """Where the choices differ by rounding: how often ours is not the farthest, by exact distances."""
    count = 0
    for place in (ours != usual).nonzero()[:, 0].tolist():
        before = rows[ours[:place]]
        mine, other = ((before - rows[chosen[place]]).norm(dim=1).min() for chosen in (ours, usual))
        count += bool(mine < other and usual[place] not in ours[:place])
    return count


def memory() -> list[tuple[str, str, str]]:
    """Rows of the most memory that a fit takes, at the cap and at ten times as many images."""
    found = []
    for images in (20, 200):
        reservoir = Reservoir(ROWS)
        tracemalloc.start()
        most = 0
        for number in range(images):
            reservoir.add(vectors(1024, 96, number))
            most = max(most, reservoir.rows.nbytes)
        own = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found.append((f"memory of a fit of {images} images, 1,024 vectors each, cap {ROWS}",
                      f"{(own + most) / 2 ** 20:.1f} MiB", "what is kept, and numpy's most beside it"))
    return found


def vectors(count: int, dimensions: int, number: int = 0) -> Tensor:
    """Rows as features are: most of their spread in some directions, and many alike."""
    random = rng(11, number)
    spread = torch.linspace(2, 0.1, dimensions)
    middles = random.standard_normal((64, dimensions), "float32")[random.integers(64, size=count)]
    return torch.from_numpy(middles + random.standard_normal((count, dimensions), "float32")) * spread


def by_differences(rows: Tensor, count: int, first: int) -> Tensor:
    """The same greedy choice as it is usually written: all differences to each new centre, then their norms."""
    chosen, near = [first], torch.full((len(rows),), torch.inf)
    for _ in range(count - 1):
        near = torch.minimum(near, (rows - rows[chosen[-1]]).norm(dim=1))
        near[chosen[-1]] = 0
        chosen.append(int(near.argmax()))
    return torch.tensor(chosen)
