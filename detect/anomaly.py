"""PatchCore (Roth et al. 2022): places of an image far from every place of the good ones are anomalous.

Learned in one pass over good images, with memory that does not grow with their number. Where we depart: vectors are
standardised by dimension; the score is the largest distance itself, as in the authors' code, not reweighted as in the
paper; maps are enlarged bilinearly.
"""
import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from core.errors import CheckpointError, DataError
from core.files import whole_file
from core.weight_files import read_weights

from .features import Features
from .memory import Reservoir, nearest, spread_out
from .products import Section

FORMAT = 1


class PatchCoreConfig(Section):
    """How much is remembered, and how distances become scores."""
    sampled: int = Field(200_000, ge=100, description="vectors of good images kept while learning, in half precision")
    share: float = Field(0.1, gt=0, le=1, description="of all vectors that the memory is to hold")
    most: int = Field(20_000, ge=10, description="vectors that the memory holds at most")
    score: Literal["max", "top", "blurred"] = Field("max", description="of the distances: largest, mean of the top "
                                                                       "1 %, or largest of the blurred map")
    blur: float = Field(1.0, ge=0, description="of the map, in strides of the features")
    seed: int = Field(0, ge=0)


class PatchCore(nn.Module):
    """Good images in, then scores and maps of any; higher is more anomalous, without an upper bound."""

    def __init__(self, features: Features, config: PatchCoreConfig | None = None):
        super().__init__()
        self.features, self.config = features, config or PatchCoreConfig()
        for name in ("bank", "mean", "deviation"):
            self.register_buffer(name, torch.zeros(0))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], masks: Iterable[Tensor] | None = None) -> "PatchCore":
        """Learn from batches of good images, float [N, 3, H, W] in 0..1.

        masks  where the part is, bool [N, H, W] a batch; what lies outside is not remembered. DataError: no vector
        """
        reservoir = Reservoir(self.config.sampled, self.config.seed)
        for images, mask in zip(batches, _endless_none() if masks is None else masks):
            maps = self.features(images)
            rows = maps.permute(0, 2, 3, 1)
            kept = rows.flatten(0, 2) if mask is None else rows[_shrunk(mask, maps.shape[2:])]
            if len(kept):
                reservoir.add(kept)
        if not reservoir.count:
            raise DataError("anomaly: no good image to learn from, got none. Give at least one, with a part on it")
        self.mean, self.deviation = (value.to(maps.device) for value in reservoir.moments())
        rows = self._standard(reservoir.rows.float().to(maps.device))
        count = max(1, min(int(self.config.share * reservoir.count), self.config.most, len(rows)))
        self.bank = rows[spread_out(rows, count, self.config.seed).to(rows.device)].contiguous()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores float [N] and maps float [N, H, W] of images [N, 3, H, W]; 0 outside `mask`, bool [N, H, W]."""
        if not len(self.bank):
            raise RuntimeError("PatchCore must be fitted, or loaded, before it can score")
        maps = self.features(images)
        count, _, height, width = maps.shape
        rows = self._standard(maps.permute(0, 2, 3, 1).flatten(0, 2))
        distance = nearest(rows, self.bank)[0].reshape(count, 1, height, width)
        if mask is not None:
            distance = distance * _shrunk(mask, (height, width))[:, None]
        full = functional.interpolate(distance, images.shape[2:], mode="bilinear", align_corners=False)
        full = _blurred(full, self.config.blur * images.shape[2] / height)[:, 0]
        full = full if mask is None else full * mask
        places = distance.flatten(1)
        if self.config.score == "max":
            return places.amax(1), full
        if self.config.score == "blurred":
            return full.flatten(1).amax(1), full
        return places.topk(max(1, places.shape[1] // 100)).values.mean(1), full

    def save(self, path: Path, threshold: float | None = None) -> None:
        """Write memory, statistics, config and the features' fingerprint; whole or not at all."""
        state = {"format": FORMAT, "bank": self.bank.cpu(), "mean": self.mean.cpu(), "deviation": self.deviation.cpu(),
                 "config": self.config.model_dump(mode="json"), "features": fingerprint(self.features),
                 "threshold": threshold}
        with whole_file(path) as file:
            torch.save(state, file)

    @classmethod
    def load(cls, path: Path, features: Features) -> tuple["PatchCore", float | None]:
        """The model and its threshold. CheckpointError: not such a file, or made with other features."""
        state = read_weights(path)
        if not isinstance(state, dict) or state.get("format") != FORMAT or "bank" not in state:
            raise CheckpointError(f"{path}: not a memory of good images, got other contents. Fit it again")
        if state["features"] != fingerprint(features):
            raise CheckpointError(f"{path}: was made with other features, got those of {fingerprint(features)[:8]} for "
                                  f"{state['features'][:8]}. Use the weights that it was fitted with, or fit it again")
        made = cls(features, PatchCoreConfig(**state["config"]))
        made.bank, made.mean, made.deviation = state["bank"], state["mean"], state["deviation"]
        return made, state["threshold"]

    def _standard(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation


def conformal_threshold(good_scores: Sequence[float], share: float = 0.01) -> float:
    """The score that at most `share` of further good images will exceed, from held-out good ones (split-conformal).

    Images count as defective above it. DataError: too few of them for so small a share.
    """
    scores = np.sort(np.asarray(good_scores, np.float64))
    if not np.isfinite(scores).all():
        raise DataError(f"threshold: scores that are not finite, got {int((~np.isfinite(scores)).sum())} such. Look "
                        "for broken pictures")
    place = math.ceil((len(scores) + 1) * (1 - share) - 1e-9)
    if place > len(scores):
        raise DataError(f"threshold: too few held-out good images for {share:.2%} false alarms, got {len(scores)}. "
                        f"Give at least {math.ceil(1 / share - 1 - 1e-9)}, or accept {1 / (len(scores) + 1):.2%}")
    return float(scores[max(place, 1) - 1])


def fingerprint(features: Features) -> str:
    """SHA-256 of the features' kind and weights."""
    digest = hashlib.sha256(type(features).__name__.encode())
    for name, value in sorted(features.state_dict().items()) if isinstance(features, nn.Module) else ():
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shrunk(mask: Tensor, grid: Sequence[int]) -> Tensor:
    """Places that are mostly on the mask, bool [N, h, w]."""
    return functional.adaptive_avg_pool2d(mask.float()[:, None], tuple(grid))[:, 0] >= 0.5


def _blurred(maps: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of [N, 1, H, W], continued at the border."""
    if sigma_px <= 0:
        return maps
    reach = int(3 * sigma_px + 0.5)
    bell = torch.exp(-torch.arange(-reach, reach + 1, device=maps.device).float().square() / (2 * sigma_px ** 2))
    bell = bell / bell.sum()
    padded = functional.pad(maps, (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, bell[None, None, :, None]), bell[None, None, None])


def _endless_none():
    while True:
        yield None
