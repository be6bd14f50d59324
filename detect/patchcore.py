"""PatchCore (Roth et al. 2022): places of an image far from every place of the good ones are anomalous.

Learned in one pass over good images, with memory that does not grow with their number. Where we depart: vectors are
standardised by dimension; the score is the largest distance itself, as in the authors' code, not reweighted as in the
paper; maps are enlarged bilinearly.
"""
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from .anomaly import Batch, FromGood, ScoreConfig, nothing_to_learn, places
from .memory import Reservoir, nearest, spread_out


class PatchCoreConfig(ScoreConfig):
    """How much is remembered, and how distances become scores."""
    sampled: int = Field(200_000, ge=100, description="vectors of good images kept while learning, in half precision")
    share: float = Field(0.1, gt=0, le=1, description="of all vectors that the memory is to hold")
    most: int = Field(20_000, ge=10, description="vectors that the memory holds at most")
    seed: int = Field(0, ge=0)


class PatchCore(FromGood):
    Config = PatchCoreConfig
    kept = ("bank", "mean", "deviation")

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> "PatchCore":
        reservoir, device = Reservoir(self.config.sampled, self.config.seed), torch.device("cpu")
        for images, mask in batches:
            maps = self.features(images)
            rows, device = places(maps, mask), maps.device
            if len(rows):
                reservoir.add(rows)
        if not reservoir.count:
            raise nothing_to_learn()
        self.mean, self.deviation = (value.to(device) for value in reservoir.moments())
        rows = self._standard(reservoir.rows.float().to(device))
        count = max(1, min(int(self.config.share * reservoir.count), self.config.most, len(rows)))
        self.bank = rows[spread_out(rows, count, self.config.seed).to(device)].contiguous()
        return self

    def distances(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        count, _, height, width = maps.shape
        rows = self._standard(maps.permute(0, 2, 3, 1).flatten(0, 2))
        return nearest(rows, self.bank)[0].reshape(count, 1, height, width)

    def _standard(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation
