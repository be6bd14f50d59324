"""What all models have in common that learn from good images alone: maps of distances in, scores and verdicts out."""
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from core.errors import CheckpointError, DataError
from core.files import whole_file
from core.tiling import predict
from core.weight_files import read_weights

from .features import Features
from .products import Section

FORMAT = 3
# Images float [N, 3, H, W] as the features want them, and where the part is, bool [N, H, W]; None: everywhere.
Batch = tuple[Tensor, Tensor | None]
TOP = 0.01              # share of the pixels whose mean is the score "top"


class ScoreConfig(Section):
    """How a map of distances becomes the map that is shown, and one score an image."""
    score: Literal["max", "top", "blurred"] = Field("blurred", description="of the map: largest, mean of the top 1 %, "
                                                                           "or largest when blurred")
    blur_px: float = Field(4.0, ge=0, description="standard deviation of the blur")


class FromGood(nn.Module, ABC):
    """Good images in, then scores and maps of any; higher is more anomalous, without an upper bound.

    A kind of model says its Config, the tensors that it keeps (`kept`), how it is fitted and what distances are.
    """
    Config: type[ScoreConfig]
    kept: tuple[str, ...] = ()

    def __init__(self, features: Features, config: ScoreConfig | None = None):
        super().__init__()
        self.features, self.config = features, config or self.Config()
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0))

    @abstractmethod
    def fit(self, batches: Iterable[Batch]) -> "FromGood":
        """Learn from batches of good images. DataError: there is none, or none with a place on its part."""

    @abstractmethod
    def distances(self, images: Tensor) -> Tensor:
        """How far each place is from what is good, float [N, 1, h, w]."""

    @property
    def fitted(self) -> bool:
        return all(len(getattr(self, name)) > 0 for name in self.kept)

    @torch.no_grad()
    def forward(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores float [N] and maps float [N, H, W] of images [N, 3, H, W]; 0 outside `mask`, bool [N, H, W]."""
        return self._judged(self.enlarged(images), mask)

    @torch.no_grad()
    def whole(self, image: Tensor, mask: Tensor | None = None, tile_px: int = 1024) -> tuple[float, Tensor]:
        """Score and map [H, W] of one image [3, H, W] of any size; a larger one than a tile is looked at in tiles."""
        if max(image.shape[1:]) <= tile_px:
            spread = self.enlarged(image[None])
        else:
            spread = predict(self.enlarged, image, tile_px, tile_px // 8, 1)[None]
        scores, maps = self._judged(spread, None if mask is None else mask[None])
        return float(scores[0]), maps[0]

    def enlarged(self, images: Tensor) -> Tensor:
        """The distances, one a pixel: float [N, 1, H, W]."""
        if not self.fitted:
            raise RuntimeError(f"{type(self).__name__} must be fitted, or loaded, before it can score")
        return functional.interpolate(self.distances(images), images.shape[2:], mode="bilinear", align_corners=False)

    def _judged(self, spread: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if mask is not None:
            spread = spread * mask[:, None]
        full = blurred(spread, self.config.blur_px)
        full = full if mask is None else full * mask[:, None]
        values = (full if self.config.score == "blurred" else spread).flatten(1)
        if self.config.score == "top":
            return values.topk(max(1, int(values.shape[1] * TOP))).values.mean(1), full[:, 0]
        return values.amax(1), full[:, 0]

    def save(self, path: Path, **beside: Any) -> None:
        """Write what was learned, the config and the features' fingerprint; whole or not at all.

        beside  further numbers, texts, tensors, such as a threshold
        """
        state = {"format": FORMAT, "model": type(self).__name__,
                 "config": self.config.model_dump(mode="json", include=set(self.Config.model_fields)),
                 "learned": {name: value.cpu() for name, value in self.state_dict().items()
                             if not name.startswith("features.")},
                 "features": fingerprint(self.features), "beside": beside}
        with whole_file(path) as file:
            torch.save(state, file)

    @classmethod
    def load(cls, path: Path, features: Features) -> tuple["FromGood", dict[str, Any]]:
        """The model, and what was saved beside it. CheckpointError: not such a file, or made with other features."""
        state = read_weights(path)
        if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("model") != cls.__name__:
            raise CheckpointError(f"{path}: not a {cls.__name__} of good images, got other contents. Fit it again")
        if state["features"] != fingerprint(features):
            raise CheckpointError(f"{path}: was made with other features, got those of {fingerprint(features)[:8]} for "
                                  f"{state['features'][:8]}. Use the weights that it was fitted with, or fit it again")
        made = cls(features, cls.Config(**state["config"]))
        for name in cls.kept:
            setattr(made, name, state["learned"][name])
        made.load_state_dict(state["learned"], strict=False)
        return made, state["beside"]


def places(maps: Tensor, mask: Tensor | None) -> Tensor:
    """The vectors [M, D] of feature maps [N, D, h, w] that mostly lie on the mask, bool [N, H, W]."""
    rows = maps.permute(0, 2, 3, 1)
    return rows.flatten(0, 2) if mask is None else rows[shrunk(mask, maps.shape[2:])]


def nothing_to_learn() -> DataError:
    return DataError("anomaly: no good image to learn from, got none. Give at least one, with a part on it")


def conformal_threshold(good_scores: Sequence[float], share: float = 0.01) -> float:
    """The score that at most `share` of further good images will exceed, from held-out good ones (split-conformal).

    Images count as defective above it. DataError: too few of them for so small a share.
    """
    scores = np.sort(np.asarray(good_scores, np.float64))
    if not np.isfinite(scores).all():
        raise DataError(f"threshold: scores that are not finite, got {int((~np.isfinite(scores)).sum())} such. Look "
                        "for broken pictures")
    check_count(len(scores), share)
    place = math.ceil((len(scores) + 1) * (1 - share) - 1e-9)
    return float(scores[max(place, 1) - 1])


def check_count(count: int, share: float) -> None:
    """DataError: too few held-out good images for a threshold of so few false alarms."""
    if math.ceil((count + 1) * (1 - share) - 1e-9) > count:
        raise DataError(f"threshold: too few held-out good images for {share:.2%} false alarms, got {count}. "
                        f"Give at least {math.ceil(1 / share - 1 - 1e-9)}, or accept {1 / (count + 1):.2%}")


def fingerprint(features: Features) -> str:
    """SHA-256 of the features' kind and weights."""
    digest = hashlib.sha256(f"{type(features).__name__}{getattr(features, 'layers', '')}".encode())
    for name, value in sorted(features.state_dict().items()) if isinstance(features, nn.Module) else ():
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def shrunk(mask: Tensor, grid: Sequence[int]) -> Tensor:
    """Places that are mostly on the mask, bool [N, h, w]."""
    return functional.adaptive_avg_pool2d(mask.float()[:, None], tuple(grid))[:, 0] >= 0.5


def blurred(maps: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of [N, 1, H, W], continued at the border."""
    if sigma_px <= 0:
        return maps
    reach = int(3 * sigma_px + 0.5)
    bell = torch.exp(-torch.arange(-reach, reach + 1, device=maps.device).float().square() / (2 * sigma_px ** 2))
    bell = bell / bell.sum()
    padded = functional.pad(maps, (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, bell[None, None, :, None]), bell[None, None, None])
