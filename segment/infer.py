"""A whole image of any size through a network tile by tile, in bands of rows, without seams.

exact   tiles overlap by the network's reach, lie on its stride's grid and are cut to their cores. What comes out is
        what the whole image in one call gives, to rounding, and memory is that of a row of tiles.
blend   tiles overlap by `overlap_px`; their probabilities are averaged with weights that fall towards a tile's sides,
        but not at the image's border. For networks that look farther than a tile.
An image whose sides are no multiples of the stride is continued to the right and below by mirroring.
"""
import ctypes
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from core.data.bands import WholeRows
from core.device import autocast
from core.errors import ConfigError
from core.tiling import mirror, smaller, starts

from .data import network_input
from .losses import probabilities
from .settings import InferConfig

FLIPS = ((), (2,), (3,), (2, 3))
LEAST_WEIGHT = 1e-3
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3        # of mallopt, bytes
HALOS_A_TILE = 3        # an exact tile is at least so many halos long: one on either side, and a core


class Rows(Protocol):
    """An image that is read from top to bottom."""
    size: tuple[int, int]                   # width, height

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Pixels uint8 or uint16 [bottom - top, W, 3]. `top` never falls from call to call."""


@dataclass(frozen=True)
class Axis:
    """How tiles lie along one side of an image: where each starts, and what each of its px weighs (float32 [tile])."""
    length: int
    padded: int
    tile: int
    starts: tuple[int, ...]
    weights: tuple[Tensor, ...]


def predict(network: nn.Module, image: Rows, config: InferConfig, channels: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (top, probabilities float32 [K, h, W]) of bands of rows, one below the other; K = 1: of the defect.

    The network is in evaluation mode. ConfigError: `exact` for a network of unknown reach; no memory for a tile.
    """
    keep_freed_memory()
    across, down = (axis(length, network, config) for length in image.size)
    score = scorer(network, config)
    waiting, batch = None, config.batch                     # the sums of rows that a later tile still adds to
    for top, weight, following in zip(down.starts, down.weights, [*down.starts[1:], down.padded]):
        strip = read_strip(image, top, down, across, channels)
        scores, batch = row_of_tiles(score, strip, across, batch)
        sums = scores.mul_(weight[:, None])
        if waiting is not None:
            sums[:, :waiting.shape[1]] += waiting
        done = following - top
        waiting = sums[:, done:]
        bottom = min(following, down.length)
        if bottom > top:
            yield top, sums[:, :bottom - top, :across.length]


def predict_whole(network: nn.Module, pixels: np.ndarray, config: InferConfig, channels: int) -> Tensor:
    """Probabilities float32 [K, H, W] of an image uint8 or uint16 [H, W, 3] in memory."""
    return torch.cat([band for _, band in predict(network, WholeRows(pixels), config, channels)], 1)


def labels_of(chances: Tensor, threshold: float) -> np.ndarray:
    """Probabilities [K, H, W] -> uint8 [H, W]: the likeliest class, or where K = 1 those above the threshold."""
    if len(chances) == 1:
        return (chances[0] > threshold).to(torch.uint8).numpy()
    best, chosen = chances[0].clone(), torch.zeros(chances.shape[1:], dtype=torch.uint8)
    for number in range(1, len(chances)):               # five times as fast as argmax over the first axis
        chosen.masked_fill_(chances[number] > best, number)
        torch.maximum(best, chances[number], out=best)
    return chosen.numpy()


def axis(length: int, network: nn.Module, config: InferConfig) -> Axis:
    """The tiles along a side of `length` px; where one tile holds it all, it is as long as the side."""
    stride = network.stride
    padded, tile = up_to(length, stride), up_to(config.tile_px, stride)
    if config.mode == "exact":
        return exact_axis(length, padded, tile, stride, network.reach)
    tile = min(tile, padded)
    if config.overlap_px >= tile < padded:
        raise ConfigError(f"infer.overlap_px: must be below the tile's {tile} px, got {config.overlap_px}. Lower it, "
                          "or raise infer.tile_px")
    at = [place // stride * stride for place in starts(padded, tile, min(config.overlap_px, tile - 1))]
    ramps = [window(tile, begins=place == 0, ends=place + tile == padded) for place in at]
    mass = torch.zeros(padded)
    for place, ramp in zip(at, ramps):
        mass[place:place + tile] += ramp
    return Axis(length, padded, tile, tuple(at), tuple(ramp / mass[place:place + tile]
                                                       for place, ramp in zip(at, ramps)))


def exact_axis(length: int, padded: int, tile: int, stride: int, reach: int | None) -> Axis:
    """The fewest tiles of at most `tile` px with a halo of the reach on either side, and those as short as they go."""
    if reach is None:
        raise ConfigError("infer.mode: 'exact' needs a network whose reach is known, got one that looks at the whole "
                          "image or is not of this project. Choose blend")
    halo = up_to(reach, stride)
    tile = max(tile, HALOS_A_TILE * halo)
    count = 1 if padded <= tile else -(-(padded - 2 * halo) // (tile - 2 * halo))
    tile = up_to(-(-(padded + 2 * halo * (count - 1)) // count), stride)
    at = [min(number * (tile - 2 * halo), padded - tile) for number in range(count)]
    borders = [0, *(place + tile - halo for place in at[:-1]), padded]
    cores = []
    for place, low, high in zip(at, borders, borders[1:]):
        core = torch.zeros(tile)
        core[low - place:high - place] = 1
        cores.append(core)
    return Axis(length, padded, tile, tuple(at), tuple(cores))


def window(tile: int, *, begins: bool, ends: bool) -> Tensor:
    """sin^2 over the tile, never 0; 1 in the half that lies at the image's border."""
    ramp = torch.sin(torch.pi * (torch.arange(tile) + 0.5) / tile).square().clamp(min=LEAST_WEIGHT)
    half = tile // 2
    if begins:
        ramp[:half] = 1
    if ends:
        ramp[half:] = 1
    return ramp


def read_strip(image: Rows, top: int, down: Axis, across: Axis, channels: int) -> Tensor:
    """float32 [C, tile, W continued]: the rows of the tiles that start at `top`, mirrored beyond the image's border."""
    wanted = mirror(down.length, top + down.tile)[top:]
    low, high = int(wanted.min()), int(wanted.max()) + 1
    strip = network_input(image.rows(low, high), channels)
    if high - low != down.tile:
        strip = strip[:, wanted - low]
    return strip if across.padded == across.length else strip[:, :, mirror(across.length, across.padded)]


def row_of_tiles(score: Callable[[Tensor], Tensor | None], strip: Tensor, across: Axis,
                 batch: int) -> tuple[Tensor, int]:
    """Weighted probabilities [K, tile, W continued] of one row of tiles, and how many tiles a call had room for."""
    done, total = 0, None
    while done < len(across.starts):
        now = across.starts[done:done + batch]
        found = score(torch.stack([strip[:, :, x:x + across.tile] for x in now]))
        if found is None:
            batch = smaller(len(now), across.tile)
            continue
        if total is None:
            total = torch.zeros(found.shape[1], *strip.shape[1:])
        for x, chances, weight in zip(now, found, across.weights[done:]):
            total[:, :, x:x + across.tile] += chances.mul_(weight)
        done += len(now)
    return total, batch


def scorer(network: nn.Module, config: InferConfig) -> Callable[[Tensor], Tensor | None]:
    """Tiles [N, C, h, w] -> probabilities on the CPU, averaged over mirrorings if asked; None: memory ran out."""
    device, turns = next(network.parameters()).device, FLIPS if config.flips else FLIPS[:1]

    @torch.no_grad()
    def score(tiles: Tensor) -> Tensor | None:
        try:
            tiles = tiles.to(device, memory_format=torch.channels_last)
            with autocast(device, config.precision):
                logits = [network(tiles.flip(turn) if turn else tiles) for turn in turns]
            found = [probabilities(each).flip(turn) if turn else probabilities(each)
                     for each, turn in zip(logits, turns)]
        except torch.OutOfMemoryError:
            return None     # leaving the handler lets go of what the failed call still held
        return (sum(found) / len(found) if config.flips else found[0]).cpu()
    return score


@functools.cache
def keep_freed_memory() -> None:
    """Have glibc reuse large blocks instead of returning each to the system, which clears it anew for the next layer:
    a third of the time of a large image. Elsewhere nothing is done."""
    if sys.platform.startswith("linux") and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, 2 ** 31 - 1)
        libc.mallopt(MMAP_THRESHOLD, 2 ** 30)


def up_to(length: int, stride: int) -> int:
    """The least multiple of the stride that is not below `length`."""
    return -(-length // stride) * stride
