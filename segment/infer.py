"""A whole image of any size through a network tile by tile, in bands of rows, without seams.

exact   what the whole image in one call gives, to rounding. The default network takes the image as a flow of rows
        (segment.flow). For others tiles overlap by the network's reach, lie on its stride's grid and are cut to their
        cores, and memory is that of a row of tiles.
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
from .flow import flow, flows, folded
from .losses import probabilities
from .settings import InferConfig

FLIPS = ((), (2,), (3,), (2, 3))
LEAST_WEIGHT = 1e-3
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3        # of mallopt, bytes
BAND_PX = 256           # a flow's bands have the area of a tile's longest side times so many rows
HALOS_A_TILE = 3        # an exact tile is at least so many halos long: one on either side, and a core


class Rows(Protocol):
    """An image that is read from top to bottom."""
    size: tuple[int, int]                   # width, height

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Pixels uint8 or uint16 [bottom - top, W, 3]. `top` never falls from call to call."""


@dataclass(frozen=True)
class Axis:
    """How tiles lie along one side of an image.

    starts  first px of each tile; spans: the px within it that count, from and up to
    weights what each of those px counts, float32; they add up to 1 over all tiles, and are 1 in exact mode
    """
    length: int
    padded: int
    tile: int
    starts: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    weights: tuple[Tensor, ...]

    @property
    def cuts(self) -> list[int]:
        """The lines between tiles: the first px that counts of each but the first."""
        return [start + low for start, (low, _) in zip(self.starts, self.spans)][1:]


def predict(network: nn.Module, image: Rows, config: InferConfig, channels: int,
            finish: Callable[[Tensor], Tensor] = lambda chances: chances) -> Iterator[tuple[int, Tensor]]:
    """Yield (top, probabilities float32 [K, h, W]) of bands of rows, one below the other; K = 1: of the defect.

    finish  makes of probabilities [K, h, w] what is kept of each pixel, [M, h, w]: less memory than K numbers
    The network is in evaluation mode. ConfigError: `exact` for a network of unknown reach; no memory for a tile.
    """
    keep_freed_memory()
    if flowing(network, config):
        yield from by_rows(network, image, config, channels, finish)
        return
    across, down = (axis(length, network, config) for length in image.size)
    scorer = Scorer(network, config, channels)
    waiting = None                              # blend: the sums of rows that a later tile still adds to
    ends = [start + span[0] for start, span in zip(down.starts[1:], down.spans[1:])]
    for start, (low, high), weight, end in zip(down.starts, down.spans, down.weights, [*ends, down.padded]):
        strip, top = read_strip(image, start, start + down.tile, across.padded), start + low
        if config.mode == "exact":
            band = exact_row(scorer, strip, across, low, high, finish)
        else:
            sums = blended_row(scorer, strip, across).mul_(weight[:, None])
            if waiting is not None:
                sums[:, :waiting.shape[1]] += waiting
            waiting, band = sums[:, end - top:], finish(sums[:, :end - top])
        if top < down.length:
            yield top, band[:, :min(end, down.length) - top, :across.length]


def predict_whole(network: nn.Module, pixels: np.ndarray, config: InferConfig, channels: int) -> Tensor:
    """Probabilities float32 [K, H, W] of an image uint8 or uint16 [H, W, 3] in memory."""
    return torch.cat([band for _, band in predict(network, WholeRows(pixels), config, channels)], 1)


def flowing(network: nn.Module, config: InferConfig) -> bool:
    """Whether `predict` takes an image as a flow of rows: the mirrored ones of `flips` come from below."""
    return config.mode == "exact" and flows(network) and not config.flips


def by_rows(network: nn.Module, image: Rows, config: InferConfig, channels: int,
            finish: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, Tensor]]:
    """`predict` for a network that `flow` knows."""
    (width, height), top = image.size, 0
    device, stride = next(network.parameters()).device, network.stride
    wide, high = up_to(width, stride), up_to(height, stride)
    band_px = up_to(max(1, config.tile_px * BAND_PX // wide), stride)

    def bands() -> Iterator[tuple[Tensor, bool]]:
        for start in range(0, high, band_px):
            end = min(start + band_px, high)
            rows = network_input(read_strip(image, start, end, wide), channels)
            yield rows[None].to(device, memory_format=torch.channels_last), end == high

    logits = flow(folded(network).to(memory_format=torch.channels_last), bands())
    while top < high:
        with torch.no_grad(), autocast(device, config.precision):
            band, _ = next(logits)
        if top < height:
            yield top, finish(probabilities(band)[0, :, :height - top, :width].cpu())
        top += band.shape[2]


def labels_of(chances: Tensor, threshold: float) -> np.ndarray:
    """Probabilities [K, H, W] -> uint8 [H, W]: the likeliest class, or where K = 1 those above the threshold."""
    if len(chances) == 1:
        return (chances[0] > threshold).to(torch.uint8).numpy()
    best, chosen = chances[0].clone(), torch.zeros(chances.shape[1:], dtype=torch.uint8)
    for number in range(1, len(chances)):               # six times as fast as argmax over the first axis
        better = (chances[number] > best).view(torch.uint8)
        torch.maximum(chosen, better.mul_(number), out=chosen)
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
    weights = tuple(ramp / mass[place:place + tile] for place, ramp in zip(at, ramps))
    return Axis(length, padded, tile, tuple(at), ((0, tile),) * len(at), weights)


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
    spans = tuple((low - place, high - place) for place, low, high in zip(at, borders, borders[1:]))
    return Axis(length, padded, tile, tuple(at), spans, tuple(torch.ones(high - low) for low, high in spans))


def window(tile: int, *, begins: bool, ends: bool) -> Tensor:
    """sin^2 over the tile, never 0; 1 in the half that lies at the image's border."""
    ramp = torch.sin(torch.pi * (torch.arange(tile) + 0.5) / tile).square().clamp(min=LEAST_WEIGHT)
    half = tile // 2
    if begins:
        ramp[:half] = 1
    if ends:
        ramp[half:] = 1
    return ramp


def read_strip(image: Rows, top: int, bottom: int, wide: int) -> np.ndarray:
    """Pixels [bottom - top, wide, 3], mirrored beyond the image's border."""
    width, height = image.size
    wanted = mirror(height, bottom)[top:].numpy()
    low, high = int(wanted.min()), int(wanted.max()) + 1
    strip = image.rows(low, high)
    if bottom > height:
        strip = strip[wanted - low]
    return strip if wide == width else strip[:, mirror(width, wide).numpy()]


def exact_row(scorer: "Scorer", strip: np.ndarray, across: Axis, low: int, high: int,
              finish: Callable[[Tensor], Tensor]) -> Tensor:
    """The cores of one row of tiles beside each other, finished, [M, high - low, W continued]."""
    row = None
    for place, (left, right), chances in scorer.tiles(strip, across):
        core = finish(chances[:, low:high, left:right])
        if row is None:
            row = torch.empty(len(core), high - low, across.padded, dtype=core.dtype)
        row[:, :, place + left:place + right] = core
    return row


def blended_row(scorer: "Scorer", strip: np.ndarray, across: Axis) -> Tensor:
    """Probabilities [K, tile, W continued] of one row of tiles, blended across."""
    weights, row = dict(zip(across.starts, across.weights)), None
    for place, _, chances in scorer.tiles(strip, across):
        if row is None:
            row = torch.zeros(len(chances), chances.shape[1], across.padded)
        row[:, :, place:place + across.tile] += chances * weights[place]
    return row


class Scorer:
    """A network on tiles: batches that fit into memory, half precision and mirrorings where they are asked for."""

    def __init__(self, network: nn.Module, config: InferConfig, channels: int):
        self.network, self.config, self.channels, self.batch = network, config, channels, config.batch
        self.device, self.turns = next(network.parameters()).device, FLIPS if config.flips else FLIPS[:1]

    def tiles(self, strip: np.ndarray, across: Axis) -> Iterator[tuple[int, tuple[int, int], Tensor]]:
        """(start, span, probabilities float32 [K, h, w] on the CPU) of each tile of a row."""
        done = 0
        while done < len(across.starts):
            now = across.starts[done:done + self.batch]
            found = self.score([network_input(strip[:, x:x + across.tile], self.channels) for x in now])
            if found is None:
                self.batch = smaller(len(now), across.tile)
                continue
            yield from zip(now, across.spans[done:], found)
            done += len(now)

    @torch.no_grad()
    def score(self, tiles: list[Tensor]) -> Tensor | None:
        """Probabilities [N, K, h, w]; None: memory ran out."""
        try:
            images = torch.stack(tiles).to(self.device, memory_format=torch.channels_last)
            with autocast(self.device, self.config.precision):
                logits = [self.network(images.flip(turn) if turn else images) for turn in self.turns]
            found = [probabilities(each).flip(turn) if turn else probabilities(each)
                     for each, turn in zip(logits, self.turns)]
        except torch.OutOfMemoryError:
            return None     # leaving the handler lets go of what the failed call still held
        return (sum(found) / len(found) if self.config.flips else found[0]).cpu()


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
