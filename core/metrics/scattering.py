"""Picture statistics without weights: colour and two layers of fixed wavelets, after Bruna and Mallat (2013).

The default extractor: the same numbers on every machine, nothing to download. A crop is brought to 64 x 64 px; its
luminance passes wavelets of 4 sizes and 4 directions; the strength of each response, and of the wavelets of larger size
on that strength (what the texture is made of, and how it is laid out), is averaged over the middle, where the defect
is, and over the rim. Colour is added as means and spreads, and as strength of the two colour differences at each size.
The constants below bring every group of numbers to a spread of the order of 1 over made crops of several kinds.
"""
import math

import torch
import torch.nn.functional as F

SIDE_PX, SCALES, DIRECTIONS, KERNEL_PX = 64, 4, 4, 9
LEAST = 0.01                     # a response of one hundredth of full scale counts as half seen
LENGTH = 252


def scattering(pictures: torch.Tensor) -> torch.Tensor:
    """float [N, 3, 64, 64] in 0..1 -> float32 [N, 252]."""
    red, green, blue = pictures.float().unbind(1)
    planes = torch.stack([(red + green + blue) / 3, red - green, blue - (red + green) / 2], 1)
    levels = [planes]
    for _ in range(SCALES - 1):
        levels.append(_halved(levels[-1]))
    features = _colour(levels)
    strengths = [_strength(level[:, :1]) for level in levels]
    for scale, first in enumerate(strengths):
        mean = _regions(first)
        features.append(2.5 * (_logarithm(mean) - 1))
        larger = first
        for _ in range(scale + 1, SCALES):
            larger = _halved(larger)
            second = _regions(_strength(larger)) / (mean + LEAST).repeat_interleave(DIRECTIONS, 1)
            features.append(8 * (second - 0.1))
    return torch.cat([part.flatten(1) for part in features], 1)


def _colour(levels: list[torch.Tensor]) -> list[torch.Tensor]:
    """Means and spreads of the three planes, and strength of the two colour differences at each size."""
    planes = levels[0]
    mean = _regions(planes)
    spread = (_regions(planes ** 2) - mean ** 2).clamp(min=0).sqrt()
    differences = [_regions(_strength(level[:, 1:])).unflatten(1, (2, DIRECTIONS)).mean(2) for level in levels]
    return [12 * (mean - 0.1), 12 * (spread - 0.1), *(2.5 * (_logarithm(found) - 1) for found in differences)]


def _strength(planes: torch.Tensor) -> torch.Tensor:
    """Modulus of the responses to DIRECTIONS complex wavelets: [N, C, H, W] -> [N, C * DIRECTIONS, H, W]."""
    count, channels, height, width = planes.shape
    edge = KERNEL_PX // 2
    filters = _wavelets().to(planes)
    mode = "reflect" if min(height, width) > edge else "replicate"
    padded = F.pad(planes.reshape(-1, 1, height, width), (edge,) * 4, mode=mode)
    real, imaginary = F.conv2d(padded, filters).chunk(2, 1)
    return (real ** 2 + imaginary ** 2 + 1e-12).sqrt().reshape(count, channels * DIRECTIONS, height, width)


def _wavelets() -> torch.Tensor:
    """Morlet wavelets, [2 * DIRECTIONS, 1, KERNEL_PX, KERNEL_PX]: real parts, then imaginary; zero mean, gain 1."""
    axis = torch.arange(KERNEL_PX, dtype=torch.float64) - KERNEL_PX // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    parts = ([], [])
    for direction in range(DIRECTIONS):
        angle = math.pi * direction / DIRECTIONS
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        window = torch.exp(-(along ** 2 + across ** 2 / 2) / (2 * 1.3 ** 2))
        phase = 0.6 * math.pi * along
        for part, wave in zip(parts, (torch.cos(phase), torch.sin(phase))):
            kernel = window * (wave - (window * wave).sum() / window.sum())
            part.append(kernel / (kernel * wave).sum())
    return torch.stack([*parts[0], *parts[1]])[:, None].float()


def _regions(maps: torch.Tensor) -> torch.Tensor:
    """Means over the middle and over the rim, weighted softly: [N, C, H, W] -> [N, C, 2]."""
    height, width = maps.shape[-2:]
    bells = [torch.exp(-(((torch.arange(length, device=maps.device) + 0.5) / length - 0.5) / 0.25) ** 2 / 2)
             for length in (height, width)]
    middle = bells[0][:, None] * bells[1]
    weights = torch.stack([middle / middle.sum(), (1 - middle) / (1 - middle).sum()])
    return torch.einsum("nchw,rhw->ncr", maps, weights)


def _halved(maps: torch.Tensor) -> torch.Tensor:
    """Half the size, smoothed before: binomial filter of 5 px."""
    kernel = torch.tensor([1.0, 4, 6, 4, 1], device=maps.device) / 16
    flat = F.pad(maps.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="reflect")
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 5, 1), stride=(2, 1)), kernel.view(1, 1, 1, 5), stride=(1, 2))
    return flat[:, 0].unflatten(0, maps.shape[:2])


def _logarithm(strength: torch.Tensor) -> torch.Tensor:
    return torch.log1p(strength / LEAST)
