"""LPIPS (Zhang et al. 2018), version 0.1, from weights that the user gives: a backbone and the learned linear heads."""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError, did_you_mean
from .image import Picture, to_unit
from .pretrained import bare, filled, state_of

# torchvision's name; where each of the five parts of `features` ends; channels there
BACKBONES = {
    "alexnet": ((2, 5, 8, 10, 12), (64, 192, 384, 256, 256)),
    "vgg16": ((4, 9, 16, 23, 30), (64, 128, 256, 512, 512)),
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)      # of inputs in -1..1


class Lpips:
    """Distance of pictures, 0 for equal ones; `name` says which backbone, as the values of two cannot be compared.

    backbone     one of BACKBONES
    weights      torchvision's state dict of it: a local file, or "download"
    heads        the learned heads (`lin0.model.1.weight` ...): weights/v0.1/alex.pth or vgg.pth of the lpips package
    ConfigError: weights missing or of another network.
    """

    def __init__(self, weights: str | None, heads: str | None, *, backbone: str = "alexnet", device: str = "cpu"):
        if backbone not in BACKBONES:
            raise ConfigError(f"lpips: no such backbone, got '{backbone}'. {did_you_mean(backbone, BACKBONES)}One of "
                              f"{', '.join(BACKBONES)}")
        if heads is None:
            raise ConfigError("lpips: no heads, got none given. Name the file of learned heads, weights/v0.1/alex.pth "
                              "or vgg.pth of the lpips package; without it there is no LPIPS")
        ends, channels = BACKBONES[backbone]
        with torch.device("meta"):
            network = bare(backbone)
            lines = nn.ModuleDict({f"lin{k}": nn.ModuleDict({"model": nn.ModuleDict(
                {"1": nn.Conv2d(count, 1, 1, bias=False)})}) for k, count in enumerate(channels)})
        filled(network, state_of(backbone, weights)[0], f"lpips: {weights}", backbone).to(device).eval()
        filled(lines, state_of(backbone, heads)[0], f"lpips: {heads}", f"{backbone}'s heads").to(device)
        self.parts = [network.features[start:end] for start, end in zip((0, *ends), ends)]
        self.heads = [lines[f"lin{k}"]["model"]["1"] for k in range(len(channels))]
        self.name, self.device = f"LPIPS [{backbone}]", device

    def __call__(self, made: Picture, true: Picture) -> float | np.ndarray:
        """The distance, as in core/metrics/image.py: a float for single pictures, float64 [N] for batches."""
        with torch.no_grad():
            found = 0
            for a, b, head in zip(self._taps(made), self._taps(true), self.heads):
                found = found + head((_direction(a) - _direction(b)) ** 2).mean((1, 2, 3))
        return float(found[0]) if made.ndim < 4 else found.double().cpu().numpy()

    def _taps(self, picture: Picture) -> list[torch.Tensor]:
        planes = torch.from_numpy(to_unit(picture)).permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1).to(self.device)
        shift, scale = (torch.tensor(values, device=self.device)[:, None, None] for values in (SHIFT, SCALE))
        x, taps = (2 * planes - 1 - shift) / scale, []
        for part in self.parts:
            x = part(x)
            taps.append(x)
        return taps


def _direction(features: torch.Tensor) -> torch.Tensor:
    return F.normalize(features, dim=1, eps=1e-10)
