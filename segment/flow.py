"""The default network on an image that flows through it in bands of rows: as at once, but nothing is computed twice.

Each layer takes bands of rows, one below the other, and keeps the few rows that it needs again with the next one. So
there are no tiles, no halos and no seams, the cost of a pixel does not depend on the image's size, and memory is that
of some bands. Only the layers of this package's Compact are known.
"""
import copy
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .networks import CELL_PX, Compact, Contrasted, Residual

Bands = Iterator[tuple[Tensor, bool]]       # [N, C, h, W], one below the other; and whether it is the last


def flows(network: nn.Module) -> bool:
    """Whether `flow` knows the network."""
    return isinstance(network, Compact)


def flow(network: Compact, bands: Bands) -> Bands:
    """Logits of an image whose sides are multiples of the stride; `network` is in evaluation mode."""
    levels, skips = through(network.encoder[0], through(network.stem, bands)), []
    for down, block in zip(network.down, network.encoder[1:]):
        levels, skip = forked(levels)
        skips.append(skip)
        levels = through(block, through(down, levels))
    for up, block, skip in reversed(list(zip(network.up, network.decoder, skips))):
        levels = through(block, added(levelled(through(up, levels)), skip))
    return through(network.head, levels)


def through(layer: nn.Module, bands: Bands) -> Bands:
    """What a layer makes of bands, as it would of the whole."""
    if isinstance(layer, nn.Sequential):
        for part in layer:
            bands = through(part, bands)
        return bands
    if isinstance(layer, Residual):
        straight, around = forked(bands)
        return through(nn.ReLU(inplace=True), added(through(layer.second, through(layer.first, around)), straight))
    if isinstance(layer, nn.Conv2d) and layer.padding[0]:
        return padded(layer, bands)
    if isinstance(layer, Contrasted):
        return in_windows(layer, in_multiples(bands, CELL_PX), layer.reach)
    if isinstance(layer, nn.Conv2d):
        bands = in_multiples(bands, layer.stride[0])
    elif isinstance(layer, nn.PixelUnshuffle):
        bands = in_multiples(bands, layer.downscale_factor)
    return changed(layer, bands)


def changed(layer: nn.Module, bands: Bands) -> Bands:
    """A layer that takes each row for itself."""
    for rows, last in bands:
        made = [layer(rows)]
        del rows                    # while it waits, a flow holds no more than it needs again
        yield made.pop(), last


def padded(conv: nn.Conv2d, bands: Bands) -> Bands:
    """A convolution of stride 1 with zeros around the whole."""
    (around, beside), kept = conv.padding, None
    for rows, last in bands:
        zeros = torch.zeros_like(rows[:, :, :around])
        rows = torch.cat([zeros if kept is None else kept, rows, *([zeros] if last else [])], 2)
        kept = rows[:, :, -2 * around:].clone()
        if rows.shape[2] > 2 * around:
            made = [F.conv2d(rows, conv.weight, conv.bias, padding=(0, beside))]
            del rows
            yield made.pop(), last


def in_windows(layer: nn.Module, bands: Bands, reach: int) -> Bands:
    """A layer that folds rows and looks `reach` far, with so many rows around each band, which are computed again."""
    held, above, fold = None, 0, layer.downscale_factor
    for rows, last in bands:
        held = rows if held is None else torch.cat([held, rows], 2)
        end = held.shape[2] - (0 if last else reach)
        if end > above:
            yield layer(held)[:, :, above // fold:end // fold], last
            start = max(0, end - reach)
            held, above = held[:, :, start:], end - start


def in_multiples(bands: Bands, of: int) -> Bands:
    """The same rows in bands whose heights are multiples."""
    rest = None
    for rows, last in bands:
        rows = rows if rest is None else torch.cat([rest, rows], 2)
        whole = rows.shape[2] // of * of
        rest = rows[:, :, whole:] if whole < rows.shape[2] else None
        if whole:
            yield rows[:, :, :whole], last


def levelled(bands: Bands) -> Bands:
    """The same rows with the last band cut to the height of those before: it brings all that was held back at once."""
    most = 0
    for rows, last in bands:
        most = most if last and most else max(most, rows.shape[2])
        pieces = rows.split(most, 2)
        for number, piece in enumerate(pieces, 1):
            yield piece, last and number == len(pieces)


def forked(bands: Bands) -> tuple[Bands, Bands]:
    """The same flow twice; holds what one has taken and the other has not (itertools.tee holds up to 57 bands more)."""
    waiting = deque(), deque()

    def branch(own: deque) -> Bands:
        while own or take():
            yield own.popleft()

    def take() -> bool:
        item = next(bands, None)
        for line in waiting if item is not None else ():
            line.append(item)
        return item is not None

    return branch(waiting[0]), branch(waiting[1])


def added(lagging: Bands, ahead: Bands) -> Bands:
    """The sum of two flows of the same rows, cut as the first is; takes the first one's memory."""
    rest = None
    for rows, last in lagging:
        while rest is None or rest.shape[2] < rows.shape[2]:
            rest = next(ahead)[0] if rest is None else torch.cat([rest, next(ahead)[0]], 2)
        yield rows.add_(rest[:, :, :rows.shape[2]]), last
        rest = rest[:, :, rows.shape[2]:]


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, each batch norm that follows a convolution made part of it."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for place in range(len(module) - 1 if isinstance(module, nn.Sequential) else 0):
            if isinstance(module[place], nn.Conv2d) and isinstance(module[place + 1], nn.BatchNorm2d):
                module[place] = fuse_conv_bn_eval(module[place], module[place + 1])
                module[place + 1] = nn.Identity()
    return network
