"""Some channels of the features, each brought to mean 0 and deviation 1 on good images."""
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from core.seeding import rng

from .features import Features

LEAST_DEVIATION = 1e-6


class Standardised(nn.Module):
    """float [N, 3, H, W] -> [N, width, h, w]; which channels is drawn once, from the seed.

    dimensions  that the features have; None: found by a small image
    """

    def __init__(self, features: Features, dimensions: int | None, channels: int, seed: int):
        super().__init__()
        if dimensions is None:
            device = next(iter(features.state_dict().values())).device if isinstance(features, nn.Module) else "cpu"
            dimensions = features(torch.zeros(1, 3, 64, 64, device=device)).shape[1]
        self.held = [features]                              # not a part of this module: its weights are kept elsewhere
        self.width = min(channels, dimensions)
        order = rng(seed, dimensions).permutation(dimensions)[:self.width]
        self.register_buffer("chosen", torch.from_numpy(order.copy()))
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("deviation", torch.ones(self.width))

    @torch.no_grad()
    def learn(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        count, sums, squares = 0, 0.0, 0.0
        for images, _ in batches:
            rows = self.held[0](images)[:, self.chosen].transpose(0, 1).flatten(1).double()
            count, sums, squares = count + rows.shape[1], sums + rows.sum(1), squares + rows.square().sum(1)
        if count == 0:
            return
        mean = sums / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > LEAST_DEVIATION, deviation, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        found = self.held[0](images)[:, self.chosen]
        return (found - self.mean[:, None, None]) / self.deviation[:, None, None]
