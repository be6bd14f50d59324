"""The training loss of a diffusion model with learned variances (Nichol and Dhariwal 2021, equations 14 to 16).

    parts = denoising(schedule, output, clean, noisy, noise, timesteps)     # {"noise": [N], "variance": [N]}
"""
import math

import torch
from torch import Tensor

from .diffusion import Schedule

HALF_GREY_LEVEL = 1 / 255       # half the distance of two grey levels of an 8-bit image in -1..1
EDGE = 0.999                    # beyond it a value is the darkest or the brightest: its bin has no end there


def denoising(schedule: Schedule, output: Tensor, clean: Tensor, noisy: Tensor, noise: Tensor,
              index: Tensor) -> dict[str, Tensor]:
    """Squared error of the predicted noise, and the variational bound in bits a value, each [N].

    output  [N, 6, H, W] of the network for `noisy`. The bound teaches the variance alone: it sees the noise detached
    """
    predicted, spread = output.float().chunk(2, dim=1)
    return {"noise": per_sample((noise - predicted) ** 2),
            "variance": bound(schedule, predicted.detach(), spread, clean, noisy, index)}


def bound(schedule: Schedule, predicted: Tensor, spread: Tensor, clean: Tensor, noisy: Tensor,
          index: Tensor) -> Tensor:
    """What the step costs, in bits a value [N]: a divergence, at index 0 the coding of the image itself."""
    smallest, largest = schedule.log_variance_bounds(index, noisy)
    share = (spread + 1) / 2
    log_variance = share * largest + (1 - share) * smallest
    mean = schedule.posterior_mean(schedule.clean_from(noisy, predicted, index), noisy, index)
    wanted = schedule.posterior_mean(clean, noisy, index)
    apart = per_sample(divergence(wanted, smallest, mean, log_variance))
    coded = per_sample(grey_level_cost(clean, mean, log_variance / 2))
    return torch.where(index == 0, coded, apart) / math.log(2)


def divergence(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """Kullback and Leibler's, of two normal distributions, in nats a value."""
    return 0.5 * (other_log_variance - log_variance - 1 + torch.exp(log_variance - other_log_variance)
                  + (mean - other_mean) ** 2 * torch.exp(-other_log_variance))


def grey_level_cost(image: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """-log of the probability of each value's grey level under a normal distribution, in nats."""
    scale = torch.exp(-log_deviation)
    above = normal_cdf((image - mean + HALF_GREY_LEVEL) * scale)
    below = normal_cdf((image - mean - HALF_GREY_LEVEL) * scale)
    chance = torch.where(image < -EDGE, above, torch.where(image > EDGE, 1 - below, above - below))
    return -chance.clamp(min=1e-12).log()


def normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation that the published models were trained with."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def per_sample(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1)


def index_quarters(index: Tensor, steps: int) -> Tensor:
    """0..3: in which quarter of the schedule each index lies, from the least noise to the most."""
    return index * 4 // steps
