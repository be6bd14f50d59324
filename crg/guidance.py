"""What the defect model asks of the context model: a mask from the two patches, and the loss inside and outside of it.

Sample by sample: no number of one sample depends on another of the batch.
"""
import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .sampler_settings import GuidanceConfig, MaskConfig

TINY = 1e-8
GROW_CHECK = 8          # labels grow so many pixels between two looks at whether they still change
QUANTILE = 0.95         # of the mask, where no pixel exceeds the threshold


def update_mask(wanted: Tensor, clean: Tensor, past: Tensor | None, beta: float, config: MaskConfig) -> Tensor:
    """[N, 1, S, S] in 0..1: where the patch `wanted` [N, 3, S, S] differs from the clean one, averaged with `past`."""
    now = difference_mask(wanted, clean, config).clamp(0, 1)
    if past is None or not config.accumulate:
        return now
    return scaled(beta * past + (1 - beta) * now)


def beta_at(index: int, steps: int, config: MaskConfig) -> float:
    """How much the past mask counts at an index."""
    if not config.adaptive_beta:
        return config.accumulation_beta
    return config.beta_min + (config.accumulation_beta - config.beta_min) * index / steps


def background(mask: Tensor, config: MaskConfig) -> Tensor:
    """1 where the mask is next to nothing, 0 elsewhere."""
    return (mask < config.background_below).to(mask.dtype)


def difference_mask(wanted: Tensor, clean: Tensor, config: MaskConfig) -> Tensor:
    """The mask of one moment."""
    difference = (clean - wanted).abs().mean(dim=1, keepdim=True)
    mask = torch.sigmoid((scaled(difference) - 0.5) / config.temperature)
    side = mask.shape[-1]
    if config.center_weight > 0:
        u, v = grid(side, mask.device)
        radius = (u ** 2 + v ** 2).sqrt()
        middle = torch.exp(-(radius / radius.max()) ** 2 / (2 * config.radial_decay ** 2))
        mask = (mask * (1 + config.center_weight * middle)).clamp(0, 1)
    if config.blur_sigma_px > 0:
        mask = blurred(mask, config.blur_sigma_px)
    visible = blurred(difference, max(config.blur_sigma_px, 1.0)) >= config.min_difference
    return parts_in_the_middle(mask, visible, config) if config.components else mask * visible


def parts_in_the_middle(mask: Tensor, visible: Tensor, config: MaskConfig) -> Tensor:
    """The mask where a connected part of it is large enough and reaches the middle disc, 0 elsewhere.

    Where no part is, it is a disc in the middle, as published; of it, only what is `visible` is taken.
    """
    side = mask.shape[-1]
    u, v = grid(side, mask.device)
    disc = torch.exp(-(u ** 2 + v ** 2) / (2 * (config.center_region_ratio * math.sqrt(2) / config.disc_divisor) ** 2))
    inside = disc > 0.5
    above = (mask > threshold(mask, inside, config)) & visible
    labels = connected(above)
    sizes, touches = part_table(labels, torch.ones_like(inside)), part_table(labels, inside)
    kept = (sizes >= config.min_area_ratio * side * side) & (touches > 0) & (labels > 0)
    found = torch.where(kept, mask, 0)
    return torch.where(found.sum(dim=(2, 3), keepdim=True) == 0, mask * disc * visible, found)


def threshold(mask: Tensor, inside: Tensor, config: MaskConfig) -> Tensor:
    """[N, 1, 1, 1]: above it, a pixel belongs to a part."""
    if config.adaptive_threshold:
        level = (config.threshold_factor * mask[:, :, inside].mean(dim=2)[:, :, None, None]).clamp(
            *config.threshold_range)
    else:
        level = torch.full_like(mask[:, :, :1, :1], config.fixed_threshold)
    place = int(QUANTILE * mask[0].numel()) - 1
    high = mask.flatten(1).sort(dim=1).values[:, place].clamp(max=config.fixed_threshold).reshape(-1, 1, 1, 1)
    return torch.where(mask.amax(dim=(2, 3), keepdim=True) > level, level, high)


def connected(pixels: Tensor) -> Tensor:
    """bool [N, 1, H, W] -> int64 of that shape: a number above 0 for each 8-connected part, 0 elsewhere."""
    height, width = pixels.shape[-2:]
    # float32 holds whole numbers up to 2**24 exactly
    labels = torch.arange(1, height * width + 1, dtype=torch.float32, device=pixels.device).reshape(1, 1, height, width)
    labels = labels * pixels
    while True:
        grown = labels
        for _ in range(GROW_CHECK):
            grown = F.max_pool2d(grown, 3, stride=1, padding=1) * pixels
        if torch.equal(grown, labels):
            return labels.long()
        labels = grown


def part_table(labels: Tensor, pixels: Tensor) -> Tensor:
    """For every pixel: how many of `pixels` [H, W] its part holds, float32 [N, 1, H, W]."""
    flat = labels.flatten(1)
    counts = torch.zeros(len(flat), flat.shape[1] + 1, device=labels.device)
    counts.scatter_add_(1, flat, pixels.flatten().float().expand_as(flat))
    return counts.gather(1, flat).reshape(labels.shape)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """[N, 1, H, W] under a Gaussian of three sigma each way; the borders are mirrored."""
    reach = max(3, 2 * int(3 * sigma) + 1) // 2
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device) / sigma) ** 2)
    weights = weights / weights.sum()
    padded = F.pad(image, (reach,) * 4, mode="reflect")
    return F.conv2d(padded, (weights[:, None] * weights)[None, None])


@functools.lru_cache(maxsize=8)
def grid(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, -1..1."""
    line = torch.linspace(-1, 1, side, device=device)
    return torch.meshgrid(line, line, indexing="ij")


def scaled(values: Tensor) -> Tensor:
    """Each sample to 0..1."""
    low, high = values.amin(dim=(1, 2, 3), keepdim=True), values.amax(dim=(1, 2, 3), keepdim=True)
    return (values - low) / (high - low + TINY)


def agreement(image: Tensor, patch: Tensor, wanted: Tensor, clean: Tensor, clean_patch: Tensor, outside: Tensor,
              mask: Tensor | None, kept: Tensor | None, config: GuidanceConfig) -> Tensor:
    """The loss [N] of the context model's clean image.

    image, patch        what it predicts, whole [N, 3, H, W], and the patch of it [N, 3, S, S]
    wanted              the defect model's patch
    clean, clean_patch  the normal image
    outside             [N, 1, H, W], 1 outside the patch
    mask, kept          [N, 1, S, S]: where the defect is, where the patch must stay as it is; None: no mask
    """
    if mask is None:
        return (config.plain_patch_weight * ((patch - wanted) ** 2).flatten(1).sum(dim=1)
                + config.plain_outside_weight * ((outside * (image - clean)) ** 2).flatten(1).sum(dim=1))
    return (config.defect_weight * (mask * (patch - wanted) ** 2).flatten(1).mean(dim=1)
            + config.background_weight * (kept * (patch - clean_patch) ** 2).flatten(1).mean(dim=1)
            + config.outside_weight * (outside * (image - clean) ** 2).flatten(1).mean(dim=1))
