"""The fast sampler: a few steps down, and where the published one descends a gradient, the prediction is corrected.

At every step the context model's clean image is drawn to the defect model's patch inside the mask and to the clean
image outside of it; at first the mask is all of the place where a defect may be, so that one can begin. That is what
the published loss asks for, met at once: the loss is a weighted sum of squares of the clean image, so its minimum needs
no gradient through the network (as in DDNM, Wang et al. 2023).
"""
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from core.errors import DefectForgeError

from .batch import Batch, Evaluations, Job, Painted
from .guidance import difference_mask
from .sampler import Denoiser
from .sampler_settings import SamplerConfig


class FastSampler:
    """Paints like `crg.sampler.Sampler`, in some ten evaluations of either model.

    `allowed`, [N, 1, S, S] in 0..1 of the patch, says where a defect may be; None: in its middle.
    """

    def __init__(self, context: Denoiser, defect: Denoiser, config: SamplerConfig, patch_px: int):
        self.context, self.defect, self.config, self.side = context, defect, config, patch_px
        self.classes = len(getattr(defect, "classes", ()))          # a plain function names none
        self.schedule = config.schedule.build()
        self.indices = spread(config.fast.start, config.fast.steps)
        self.evaluations = Evaluations()

    @torch.no_grad()
    def paint(self, jobs: Sequence[Job], device: torch.device | str = "cpu", allowed: Tensor | None = None) -> Painted:
        batch = Batch.of(jobs, self.side, device)
        rows, config = range(len(jobs)), self.config.fast
        limits = (in_the_middle(self.side) if allowed is None else allowed).to(batch.clean)
        limits = limits.expand(len(jobs), -1, -1, -1)
        begun = batch.with_patch(self.drawn_alone(batch, limits)) if config.defect_steps else batch.clean
        image = self.schedule.noised(begun, config.start, batch.noise(batch.clean))
        noised, patch, mask = image, batch.patch(image, rows), limits
        for number, (index, target) in enumerate(itertools.pairwise([*self.indices, -1])):
            clean = self.predict(batch, image, index)
            wanted = self.propose(batch, patch, index, limits)
            mask = limits
            if number >= config.open_share * len(self.indices):
                mask = full_strength(difference_mask(wanted, batch.clean_patch, self.config.mask) * limits)
            clean = torch.lerp(clean, batch.with_patch(torch.lerp(batch.clean_patch, wanted, mask)), config.strength)
            if target < 0:
                image = clean
            else:
                noise = self.schedule.noise_in(image, clean, index)         # else the pull adds up over the steps
                image = self.schedule.ddim_step(clean, noise, index, target)
                patch = self.schedule.ddim_step(wanted, self.schedule.noise_in(patch, wanted, index), index, target)
        if not image.isfinite().all():
            raise DefectForgeError("sampler: a model gives values that are not finite. Take other weights, or float32")
        return Painted(image=image, noised=noised, patch=patch, mask=mask)

    def drawn_alone(self, batch: Batch, limits: Tensor) -> Tensor:
        """A patch by the defect model alone: a defect where one may be, the clean patch round it at every step."""
        config = self.config.fast
        patch = self.schedule.noised(batch.clean_patch, config.defect_start, batch.noise(batch.clean_patch))
        for index, target in itertools.pairwise(spread(config.defect_start, config.defect_steps + 1, config.start)):
            wanted = self.propose(batch, patch, index, limits)
            patch = self.schedule.ddim_step(wanted, self.schedule.noise_in(patch, wanted, index), index, target)
        return wanted

    def predict(self, batch: Batch, image: Tensor, index: int) -> Tensor:
        """The clean image that the context model sees in a noisy one."""
        self.evaluations.context_forward += len(image)
        noise = self.context(image, self.schedule.original(index, len(image), image.device))[:, :3].float()
        return self.clean_of(batch, image, noise, index)

    def propose(self, batch: Batch, patch: Tensor, index: int, limits: Tensor) -> Tensor:
        """The clean patch that the defect model sees in a noisy one, the class as strong as asked for.

        Where no defect may be it is the clean one, so that a defect grows out of what is round it. The class is weighed
        against the mean of all classes, which stands in for a model that knows none (classifier-free guidance, Ho and
        Salimans 2022): nothing has to be learnt for it.
        """
        pull = self.config.fast.class_pull
        count = self.classes if pull != 1 else 1
        patches, classes = patch, batch.labels
        if count > 1:
            patches = patch.repeat_interleave(count, 0)
            classes = torch.arange(count, device=patch.device).repeat(len(patch))
        self.evaluations.defect_forward += len(patches)
        noise = self.defect(patches, self.schedule.original(index, len(patches), patch.device), classes)[:, :3].float()
        if count > 1:
            each = noise.unflatten(0, (len(patch), count))
            mean, told = each.mean(dim=1), each[torch.arange(len(patch), device=patch.device), batch.labels]
            noise = mean + pull * (told - mean)
        return torch.lerp(batch.clean_patch, self.clean_of(batch, patch, noise, index), limits)

    def clean_of(self, batch: Batch, image: Tensor, noise: Tensor, index: int) -> Tensor:
        """The image without its noise; of a grey picture it is grey."""
        clean = self.schedule.clean_from(image, noise, index).clamp(-1, 1)
        return torch.where(batch.grey, clean.mean(dim=1, keepdim=True), clean)


def spread(start: int, count: int, end: int = 0) -> list[int]:
    """`count` indices from `start` down to `end`, evenly."""
    steps = {round(start - (start - end) * number / max(count - 1, 1)) for number in range(count)}
    return sorted(steps, reverse=True)


def in_the_middle(side: int) -> Tensor:
    """[1, 1, S, S]: 1 in a disc of half the side, falling to 0 at the patch's border."""
    line = torch.linspace(-1, 1, side)
    radius = (line[:, None] ** 2 + line ** 2).sqrt()
    return ((1 - radius) / 0.5).clamp(0, 1)[None, None]


def full_strength(mask: Tensor) -> Tensor:
    """Scaled so that its highest value is 1, where there is one above 0."""
    highest = mask.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(highest > 0, mask / highest.clamp(min=1e-8), mask)
