"""PaDiM (Defard et al. 2021): one Gaussian of the features at each place of aligned images, learned in one pass.

Only sums are kept while learning, so that memory does not grow with the images. It compares a place with the same
place of other images: parts must lie alike on all of them.
"""
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from core.errors import ConfigError, DataError
from core.seeding import rng

from .anomaly import Batch, FromGood, ScoreConfig, nothing_to_learn

ROWS = 1024             # places whose covariances are inverted at a time


class PadimConfig(ScoreConfig):
    """What of the features is kept, and how distances become scores."""
    channels: int = Field(100, ge=1, description="of the features, drawn once; all where there are fewer")
    steadied: float = Field(0.01, gt=0, description="added to each variance, as published")
    seed: int = Field(0, ge=0)


class Padim(FromGood):
    Config = PadimConfig
    kept = ("mean", "whitening", "chosen", "grid")

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> "Padim":
        """At least two images; masks are heeded in scoring alone, for each place has its own Gaussian."""
        count, sums, squares, shape = 0, None, None, None
        for images, _ in batches:
            maps = self.features(images)
            if shape is None:
                shape = maps.shape[1:]
                wanted = min(self.config.channels, shape[0])
                chosen = torch.from_numpy(rng(self.config.seed, shape[0]).permutation(shape[0])[:wanted].copy())
                self.chosen, self.grid = chosen.to(maps.device), torch.tensor(shape[1:])
                sums = torch.zeros(shape[1] * shape[2], wanted, dtype=torch.float64, device=maps.device)
                squares = torch.zeros(*sums.shape, wanted, device=maps.device)
                first = None
            if maps.shape[1:] != shape:
                raise ConfigError("padim: images of one size, on which parts lie alike, got features "
                                  f"{list(maps.shape[1:])} after {list(shape)}. Set data.resize_px, or take patchcore")
            rows = maps[:, self.chosen].flatten(2).permute(2, 0, 1)
            first = rows[:, :1].clone() if first is None else first     # far from 0, squares would round away spread
            rows = rows - first
            count += rows.shape[1]
            sums += rows.sum(1)
            squares.baddbmm_(rows.transpose(1, 2), rows)
        if count == 0:
            raise nothing_to_learn()
        if count < 2:
            raise DataError("padim: at least two good images to learn a spread from, got one. Give more")
        mean = (sums / count).float()
        self.whitening = torch.cat([self._inverse_roots(piece, means, count) for piece, means in
                                    zip(squares.split(ROWS), mean.split(ROWS))])
        self.mean = mean + first[:, 0]
        return self

    def distances(self, images: Tensor) -> Tensor:
        """Mahalanobis' distance."""
        maps = self.features(images)
        if maps.shape[2:] != tuple(self.grid.tolist()):
            raise DataError(f"padim: an image of another size than those it was fitted on, got a grid of "
                            f"{list(maps.shape[2:])} for {self.grid.tolist()}. Set data.resize_px")
        rows = maps[:, self.chosen].flatten(2).permute(2, 0, 1) - self.mean[:, None]
        far = torch.bmm(rows, self.whitening).norm(dim=2)
        return far.T.reshape(len(images), 1, *maps.shape[2:])

    def _inverse_roots(self, squares: Tensor, mean: Tensor, count: int) -> Tensor:
        """W [P, D, D] with |x W| = Mahalanobis' distance, from sums of squares [P, D, D] and means [P, D]."""
        spread = (squares - count * mean[:, :, None] * mean[:, None]) / (count - 1)
        identity = torch.eye(spread.shape[1], device=spread.device)
        lower = torch.linalg.cholesky(spread + self.config.steadied * identity)
        return torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False).transpose(1, 2).contiguous()
