"""What anomaly detection compares: features of every place of an image, hand-made or of a network."""
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Features = Callable[[Tensor], Tensor]           # float [N, 3, H, W] -> [N, D, h, w]

# Features say by `light` how images are made ready for them: "plain", in 0..1, or "standard", each image of median 0
# and of 1 for half the span of its middle 68 %, over pixels and channels: a large defect hardly moves these.


class FilterBank(nn.Module):
    """Derivatives of Gaussians of the grey image at four scales, 36 dimensions a place of `stride` px.

    Nothing is learned and nothing has to be fetched; about as good as a network with random weights, so a test of the
    machinery and no detector to rely on.
    """

    light = "plain"

    def __init__(self, stride: int = 4, sigmas_px: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)):
        super().__init__()
        self.stride, self.sigmas_px = stride, sigmas_px
        for number, sigma in enumerate(sigmas_px):
            self.register_buffer(f"kernels{number}", derivatives(sigma))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        grey = images.mean(1, keepdim=True)
        found = []
        for number in range(len(self.sigmas_px)):
            kernels = getattr(self, f"kernels{number}")
            reach = kernels.shape[1] // 2
            padded = functional.pad(grey, (reach,) * 4, mode="replicate")
            smooth, first, second = kernels

            def along(down: Tensor, across: Tensor, padded: Tensor = padded) -> Tensor:
                return functional.conv2d(functional.conv2d(padded, down[None, None, :, None]),
                                         across[None, None, None])
            x, y = along(smooth, first), along(first, smooth)
            xx, xy, yy = along(smooth, second), along(first, first), along(second, smooth)
            level = along(smooth, smooth)
            found += [level, x, y, xx, xy, yy, torch.hypot(x, y), xx + yy, (xx * yy - xy * xy)]
        return functional.avg_pool2d(torch.cat(found, 1), self.stride)


class LayerFeatures(nn.Module):
    """Layers of a backbone, each averaged over 3 x 3 places, at the first one's grid (Roth et al. 2022, PatchCore).

    backbone  float [N, 3, H, W] -> dict of maps, such as Tapped gives
    """

    def __init__(self, backbone: nn.Module, layers: tuple[str, ...], light: str = "plain"):
        super().__init__()
        self.backbone, self.layers, self.light = backbone, layers, light

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        modes = [part for part in self.backbone.modules() if part.training]
        for part in modes:                                      # a network may be learning meanwhile
            part.training = False
        maps = self.backbone(images)
        for part in modes:
            part.training = True
        averaged = [functional.avg_pool2d(maps[name], 3, 1, 1, count_include_pad=False) for name in self.layers]
        grid = averaged[0].shape[2:]
        return torch.cat([averaged[0], *(on_grid(one, grid) for one in averaged[1:])], 1)


class Tapped(nn.Module):
    """A network's inner maps by the names of its parts (torch's named_modules)."""

    def __init__(self, network: nn.Module, layers: tuple[str, ...]):
        super().__init__()
        self.network, self.layers = network, layers

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found, hooks = {}, []
        for name in self.layers:
            def keep(part: nn.Module, given: tuple, made: Tensor, name: str = name) -> None:
                found[name] = made
            hooks.append(self.network.get_submodule(name).register_forward_hook(keep))
        try:
            self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return found


class Padded(nn.Module):
    """Maps of a network that takes sides which are multiples of `stride`: what was added for it is cut off again."""

    def __init__(self, backbone: nn.Module, stride: int):
        super().__init__()
        self.backbone, self.stride = backbone, stride

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = images.shape[2:]
        below, right = -height % self.stride, -width % self.stride
        maps = self.backbone(functional.pad(images, (0, right, 0, below), mode="replicate"))
        return {name: one[:, :, :-(-height * one.shape[2] // (height + below)),
                          :-(-width * one.shape[3] // (width + right))] for name, one in maps.items()}


def on_grid(maps: Tensor, grid: torch.Size) -> Tensor:
    """Coarser maps interpolated, finer ones averaged."""
    if maps.shape[2] > grid[0]:
        return functional.adaptive_avg_pool2d(maps, grid)
    return functional.interpolate(maps, grid, mode="bilinear", align_corners=False)


def derivatives(sigma_px: float) -> Tensor:
    """A Gaussian and its first and second derivative, each times sigma to its order, float32 [3, K]."""
    reach = int(3 * sigma_px + 0.5)
    x = torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma_px
    bell = torch.exp(-x * x / 2)
    bell = bell / bell.sum()
    second = (x * x - 1) * bell
    return torch.stack([bell, x * bell, second - second.mean()]).float()
