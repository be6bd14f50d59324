"""FastFlow (Yu et al. 2021): a normalising flow that makes features of good places normal; others stay unlikely.

Where we depart: one flow on all layers at once, on the features' own grid, with statistics by channel in place of a
norm over the whole map, so that images may have any size; the map is the mean square itself, which has the order of the
published -exp(-square / 2) and does not run into its bound.
"""
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from core.seeding import rng

from .anomaly import Batch, FromGood, ScoreConfig
from .features import Features
from .statistics import Standardised

OUTPUT_SCALE = 0.1      # of a sub-network, so that a flow begins near the identity
LARGEST_LOG_SCALE = 2.0


class FastFlowConfig(ScoreConfig):
    """The flow, and how distances become scores."""
    channels: int = Field(64, ge=2, description="of the features, drawn once; even")
    steps: int = Field(8, ge=1, description="coupling layers, their kernels 3 and 1 in turn")
    seed: int = Field(0, ge=0)


class FastFlow(FromGood):
    """`trained` is what an optimiser trains, by `losses`, with what goes with it."""
    Config = FastFlowConfig

    def __init__(self, features: Features, config: FastFlowConfig | None = None, dimensions: int | None = None):
        super().__init__(features, config)
        self.standard = Standardised(features, dimensions, self.config.channels, self.config.seed)
        width = self.standard.width - self.standard.width % 2
        self.learning = nn.ModuleList(Coupling(width, 3 if step % 2 == 0 else 1, (self.config.seed, step))
                                      for step in range(self.config.steps))

    @property
    def trained(self) -> nn.Module:
        return nn.ModuleDict({"standard": self.standard, "learning": self.learning})

    def begin(self, batches: Iterable[Batch]) -> None:
        """Statistics of the features, before the first step."""
        self.standard.learn(batches)

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> "FastFlow":
        """Nothing is left to learn after training."""
        return self

    def losses(self, images: Tensor, defects: Tensor | None = None) -> dict[str, Tensor]:
        """Negative log-likelihood a dimension, but for a constant."""
        z, log_volume = self._flowed(images)
        return {"likelihood": (0.5 * z.square().sum(1) - log_volume).mean() / z.shape[1]}

    def distances(self, images: Tensor) -> Tensor:
        return self._flowed(images)[0].square().mean(1, keepdim=True)

    def _flowed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        z = self.standard(images)
        z = z[:, :z.shape[1] - z.shape[1] % 2]
        total = z.new_zeros(z.shape[0], *z.shape[2:])
        for step in self.learning:
            z, log_volume = step(z)
            total = total + log_volume
        return z, total


class Coupling(nn.Module):
    """An affine coupling layer (Dinh et al. 2017) after a fixed shuffling of the channels."""

    def __init__(self, width: int, kernel: int, seed: tuple[int, int]):
        super().__init__()
        self.register_buffer("order", torch.from_numpy(rng(*seed).permutation(width).copy()))
        half = width // 2
        self.net = nn.Sequential(nn.Conv2d(half, half, kernel, padding=kernel // 2), nn.ReLU(),
                                 nn.Conv2d(half, width, kernel, padding=kernel // 2))
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.5413))         # softplus of it is 1
        self.shift = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The changed maps, and the logarithm of the change of volume at each place, [N, h, w]."""
        scale = functional.softplus(self.scale)
        x = (x * scale + self.shift)[:, self.order]
        kept, moved = x.chunk(2, 1)
        log_scale, shift = (self.net(kept) * OUTPUT_SCALE).chunk(2, 1)
        log_scale = LARGEST_LOG_SCALE * torch.tanh(log_scale)
        return torch.cat([kept, moved * log_scale.exp() + shift], 1), log_scale.sum(1) + scale.log().sum()
