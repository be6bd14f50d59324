"""Run a network over an image of any size in overlapping tiles; every pixel is covered, none is rescaled."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .errors import ConfigError

Network = Callable[[Tensor], Tensor]


@torch.inference_mode()
def predict(network: Network, image: Tensor, tile: int, overlap: int, batch: int = 4) -> Tensor:
    """Blend the network's answers for the tiles of one image.

    network: [N, C, tile, tile] -> [N, K, tile, tile]
    image:   float [C, H, W]; one smaller than a tile is continued by reflection
    tile:    side of a tile, px
    overlap: px that neighbours share at least, 0..tile-1
    batch:   tiles a call; halved where memory runs out, for tiles of another size would give another answer
    Returns float32 [K, H, W]. Raises ConfigError where even one tile does not fit into memory.
    """
    if image.ndim != 3 or not image.is_floating_point() or 0 in image.shape:
        raise ValueError(f"image must be float [C, H, W] and not empty, got {image.dtype} {list(image.shape)}")
    if batch < 1:
        raise ConfigError(f"batch: tiles a call must be at least 1, got {batch}")
    _, height, width = image.shape
    padded = reflected(image, max(tile, height), max(tile, width))
    spots = [(y, x) for y in starts(height, tile, overlap) for x in starts(width, tile, overlap)]
    total, mass, done = None, None, 0
    while done < len(spots):
        now = spots[done:done + batch]
        scores = answer(network, padded, now, tile)
        if scores is None:
            batch = smaller(len(now), tile)
            continue
        if total is None:
            weight = blend_weight(tile, overlap).to(scores.device)
            total = torch.zeros(scores.shape[1], *padded.shape[1:], device=scores.device)
            mass = torch.zeros(padded.shape[1:], device=scores.device)
        for (y, x), score in zip(now, scores, strict=True):
            total[:, y:y + tile, x:x + tile] += score * weight
            mass[y:y + tile, x:x + tile] += weight
        done += len(now)
    return (total / mass)[:, :height, :width]


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of the tiles along one axis: the first at 0, the last flush with the end, evenly spread between,
    rounded to whole ones."""
    if tile < 1:
        raise ConfigError(f"tile: must be at least 1 px, got {tile}")
    if not 0 <= overlap < tile:
        raise ConfigError(f"overlap: must be from 0 to {tile - 1} px for tiles of {tile} px, got {overlap}")
    gaps = max(0, -(-(length - tile) // (tile - overlap)))
    return [(2 * i * (length - tile) + gaps) // (2 * gaps) for i in range(gaps + 1)] if gaps else [0]


def blend_weight(tile: int, overlap: int) -> Tensor:
    """float32 [tile, tile]: 1 in the middle, falling towards the sides over `overlap` px, never 0."""
    from_side = torch.minimum(torch.arange(1, tile + 1), torch.arange(tile, 0, -1))
    ramp = from_side.clamp(max=overlap + 1) / (overlap + 1)
    return ramp[:, None] * ramp[None, :]


def reflected(image: Tensor, height: int, width: int) -> Tensor:
    """Continue an image [C, H, W] to the right and below by mirroring it, as often as it takes."""
    rows, columns = (mirror(old, new).to(image.device) for old, new in zip(image.shape[1:], (height, width)))
    return image.index_select(1, rows).index_select(2, columns)


def mirror(length: int, wanted: int) -> Tensor:
    """0 1 2 3 2 1 0 1 ... : positions in an axis of `length` px, the border pixel not doubled."""
    period = max(1, 2 * (length - 1))
    position = torch.arange(wanted) % period
    return torch.minimum(position, period - position) if length > 1 else torch.zeros_like(position)


def answer(network: Network, image: Tensor, spots: Sequence[tuple[int, int]], tile: int) -> Tensor | None:
    """The network's scores for the tiles at `spots`, in float32; None where memory ran out."""
    try:
        tiles = torch.stack([image[:, y:y + tile, x:x + tile] for y, x in spots])
        scores = network(tiles).float()
    except torch.OutOfMemoryError:
        return None         # leaving the handler lets go of what the failed call still held
    if scores.ndim != 4 or len(scores) != len(tiles) or scores.shape[2:] != tiles.shape[2:]:
        expected = f"[N, K, {tile}, {tile}] to {list(tiles.shape)}"
        raise ValueError(f"the network must answer {expected}, got {list(scores.shape)}")
    return scores


def smaller(batch: int, tile: int) -> int:
    if batch == 1:
        raise ConfigError(f"tile: not even one tile of {tile} x {tile} px fits into memory. Choose smaller tiles")
    return batch // 2
