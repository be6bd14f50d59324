"""PatchCore (Roth et al. 2022): places of an image far from every place of the good ones are anomalous.

Learned in one pass over good images, with memory that does not grow with their number. Where we depart: vectors are
standardised by dimension; the score is the largest distance itself, as in the authors' code, not reweighted as in the
paper; maps are enlarged bilinearly.
"""
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from core.errors import ConfigError

from .anomaly import Batch, FromGood, ScoreConfig, fingerprint, nothing_to_learn, places
from .memory import Reservoir, nearest, spread_out


class PatchCoreConfig(ScoreConfig):
    """How much is remembered, and how distances become scores."""
    sampled: int = Field(200_000, ge=100, description="vectors of good images kept while learning, in half precision")
    share: float = Field(0.1, gt=0, le=1, description="of all vectors that the memory is to hold")
    most: int = Field(20_000, ge=10, description="vectors that the memory holds at most")
    seed: int = Field(0, ge=0)


class PatchCore(FromGood):
    """bank [M, D] holds vectors of good places, standardised by mean and deviation; seen: how many it stands for."""
    Config = PatchCoreConfig
    kept = ("bank", "mean", "deviation", "seen")

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
        mean, deviation = (value.to(device) for value in reservoir.moments())
        return self._remember(reservoir.rows.float().to(device), mean, deviation, reservoir.count)

    def update(self, batches: Iterable[Batch]) -> "PatchCore":
        """Learn from further good images, without those that it has learned from."""
        return self.merge(PatchCore(self.features, self.config).fit(batches))

    @torch.no_grad()
    def merge(self, other: "PatchCore") -> "PatchCore":
        """Remember what another one of the same features does as well; the memory is spread out anew over both."""
        if fingerprint(self.features) != fingerprint(other.features):
            raise ConfigError("patchcore: memories of different features cannot be merged, got "
                              f"{fingerprint(other.features)[:8]} for {fingerprint(self.features)[:8]}. Fit both with "
                              "the same weights")
        parts = self, other
        counts = [int(part.seen[0]) for part in parts]
        shares = [count / sum(counts) for count in counts]
        mean = sum(share * part.mean.double() for share, part in zip(shares, parts))
        square = sum(share * (part.deviation.double().square() + (part.mean.double() - mean).square())
                     for share, part in zip(shares, parts))
        rows = torch.cat([part.bank * part.deviation + part.mean for part in parts])
        return self._remember(rows, mean.float(), square.sqrt().float(), sum(counts))

    def _remember(self, rows: Tensor, mean: Tensor, deviation: Tensor, seen: int) -> "PatchCore":
        self.mean, self.deviation, self.seen = mean, deviation, torch.tensor([seen])
        rows = self._standard(rows)
        count = max(1, min(int(self.config.share * seen), self.config.most, len(rows)))
        self.bank = rows[spread_out(rows, count, self.config.seed).to(rows.device)].contiguous()
        return self

    def distances(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        count, _, height, width = maps.shape
        rows = self._standard(maps.permute(0, 2, 3, 1).flatten(0, 2))
        return nearest(rows, self.bank)[0].reshape(count, 1, height, width)

    def _standard(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation
