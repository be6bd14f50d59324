"""The published sampler written down straight, one image at a time: what the bench and a test compare with.

Nothing is reused: what the line search has accepted is evaluated once more, and the defect model runs, with its graph,
whenever the context model does. Only what the default settings need is here.
"""
import itertools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .batch import Evaluations, Job
from .guidance import agreement, background, beta_at, update_mask
from .sampler import Denoiser
from .sampler_settings import SamplerConfig, walk_indices


@dataclass
class PlainSampler:
    context: Denoiser
    defect: Denoiser
    config: SamplerConfig
    side: int
    evaluations: Evaluations = field(default_factory=Evaluations)

    def __post_init__(self):
        self.schedule = self.config.schedule.build()
        self.walk = walk_indices(self.config.walk, len(self.schedule))

    def paint(self, job: Job) -> tuple[Tensor, Tensor]:
        """Image [1, 3, H, W] and patch [1, 3, S, S]."""
        self.job, self.clean = job, job.clean[None]
        self.outside = torch.ones_like(self.clean[:, :1])
        self.crop(self.outside)[...] = 0
        guidance = self.config.guidance
        x = self.schedule.noised(self.clean, self.config.walk.start, self.noise(self.clean))
        z, mask = self.crop(x).clone(), None
        rate, pull, went_down = guidance.learning_rate, guidance.regulariser, False
        for index, target in itertools.pairwise(self.walk):
            if target < index:
                _, _, x, z, mask = self.guided(x, z, index, target, rate, pull, mask)
                rate, pull, went_down = rate * guidance.learning_rate_growth, pull * guidance.regulariser_growth, True
                continue
            if went_down and guidance.before_jumps:
                x, z, _, _, _ = self.guided(x, z, index, 0, rate, pull, mask)
            x = self.schedule.noised_further(x, target, self.noise(x))
            z = self.schedule.noised_further(z, target, self.noise(z))
            rate, pull, went_down = rate / guidance.learning_rate_growth, pull / guidance.regulariser_growth, False
        return x, z

    def guided(self, x: Tensor, z: Tensor, index: int, target: int, rate: float, pull: float, past: Tensor | None):
        guidance, keep = self.config.guidance, self.schedule.alpha_bar
        rate *= math.sqrt(keep[index] / keep[0])
        start, x, z = x, x.detach().requires_grad_(), z.detach().requires_grad_()
        noise, clean, patch_noise, wanted = self.evaluate(x, z, index)
        clean_patch = self.crop(self.clean)
        mask = update_mask(wanted.detach(), clean_patch, past, beta_at(index, len(self.schedule), self.config.mask),
                           self.config.mask)
        kept = background(mask, self.config.mask)

        def loss_of(image: Tensor, found: Tensor, proposal: Tensor) -> Tensor:
            return (agreement(found, self.crop(found), proposal, self.clean, clean_patch, self.outside, mask, kept,
                              guidance) + pull * (start - image).square().flatten(1).sum(dim=1))
        for _ in range(guidance.iterations(index, len(self.schedule))):
            loss = loss_of(x, clean, wanted)
            slope, _ = torch.autograd.grad(loss.sum(), (x, z))
            self.evaluations.context_backward += 1
            self.evaluations.defect_backward += 1
            while True:
                trial = (x - rate * slope).detach()
                _, found, _, proposal = self.evaluate(trial, z, index)
                if loss_of(trial, found, proposal).item() <= loss.item():
                    break
                rate *= guidance.shrink
            x = trial.requires_grad_()
            noise, clean, patch_noise, wanted = self.evaluate(x, z, index)
        with torch.no_grad():
            if index == 0:
                z = self.schedule.noised(self.crop(clean), 0, self.noise(z))
                _, _, patch_noise, wanted = self.evaluate(None, z, 0)
            self.noise(x), self.noise(z)                # drawn for eta above 0, and unused
            return (x.detach(), z.detach(), self.schedule.ddim_step(clean, noise, index, target),
                    self.schedule.ddim_step(wanted, patch_noise, index, target), mask)

    def evaluate(self, x: Tensor | None, z: Tensor, index: int) -> tuple:
        """Noise and clean image of the context model, then of the defect model."""
        time, found = self.schedule.original(index, 1, z.device), []
        for image, model, rest in ((x, self.context, ()), (z, self.defect, (torch.tensor([self.job.label]),))):
            if image is None:
                found += [None, None]
                continue
            noise = model(image, time, *rest)[:, :3].float()
            found += [noise, self.schedule.clean_from(image, noise, index).clamp(-1, 1)]
        self.evaluations.context_forward += x is not None
        self.evaluations.defect_forward += 1
        return tuple(found)

    def crop(self, images: Tensor) -> Tensor:
        x, y = self.job.corner
        return images[..., y:y + self.side, x:x + self.side]

    def noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.job.generator)
