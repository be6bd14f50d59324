"""A second, cheap pass over the whole image made smaller; its probabilities are averaged with those at native scale.

It sees more of the image round each pixel. Only for networks that learned on crops of smaller images as well
(data.reduced_share), by the same factor. Off unless infer.context is above 0.
"""
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from core.data.bands import WholeRows

from .infer import Rows, predict
from .settings import InferConfig

BAND_ROWS = 64          # of the smaller image, read at a time
FAR_ROWS = 256          # yielded at a time where the second pass is the only one


def predict_in_context(network: nn.Module, image: Rows, again: Rows, config: InferConfig, channels: int,
                       finish: Callable[[Tensor], Tensor] = lambda chances: chances) -> Iterator[tuple[int, Tensor]]:
    """segment.infer.predict with the second pass, where it is asked for; `again` reads the same image.

    Memory is then that of the probabilities of a row of tiles, and of the whole smaller image in 255ths.
    """
    if not config.context:
        yield from predict(network, image, config, channels, finish)
        return
    far = overview(network, again, config, channels)
    if config.context == 1:             # the pass at native scale would not count
        width, height = image.size
        for top in range(0, height, FAR_ROWS):
            yield top, finish(enlarged(far, config.context_by, top, min(FAR_ROWS, height - top), width))
        return
    for top, near in predict(network, image, config, channels):
        yield top, finish(torch.lerp(near, enlarged(far, config.context_by, top, *near.shape[1:]), config.context))


def overview(network: nn.Module, image: Rows, config: InferConfig, channels: int) -> Tensor:
    """Probabilities of the smaller image in 255ths, uint8 [K, h, w]."""
    small = WholeRows(shrunk(image, config.context_by))
    bands = predict(network, small, config, channels, lambda chances: chances.mul(255).round().byte())
    return torch.cat([band for _, band in bands], 1)


def shrunk(image: Rows, by: int) -> np.ndarray:
    """Pixels [h, w, 3]: each the mean of by x by px. What is left over at the right and below is dropped."""
    width, height = image.size
    by_x, by_y = min(by, width), min(by, height)
    size, bands = (width // by_x, height // by_y), []
    for top in range(0, size[1], BAND_ROWS):
        bottom = min(top + BAND_ROWS, size[1])
        rows = image.rows(top * by_y, bottom * by_y)[:, :size[0] * by_x]
        bands.append(cv2.resize(rows, (size[0], bottom - top), interpolation=cv2.INTER_AREA))
    return np.concatenate(bands)


def enlarged(far: Tensor, by: int, top: int, height: int, width: int) -> Tensor:
    """Float32 [K, height, width]: the rows from `top` on of a smaller image's probabilities, interpolated."""
    values = far
    for axis, start, count in ((1, top, height), (2, 0, width)):
        place = ((torch.arange(start, start + count) + 0.5) / by - 0.5).clamp(0, far.shape[axis] - 1)
        low = place.long()
        high = (low + 1).clamp(max=far.shape[axis] - 1)
        share = (place - low)[:, None] if axis == 1 else place - low
        values = torch.lerp(values.index_select(axis, low).float(), values.index_select(axis, high).float(), share)
    return values / 255
