"""What a sampler works on: jobs, many at a time, each with its own patch and its own noise."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Job:
    """One defect to be painted.

    clean       float32 [3, H, W] in -1..1; all jobs of a batch have the same size
    corner      x, y in px of the patch's top left pixel
    label       the defect model's class
    generator   of the CPU, the only source of randomness
    """
    clean: Tensor
    corner: tuple[int, int]
    label: int
    generator: torch.Generator


@dataclass(frozen=True, kw_only=True)
class Painted:
    """Image [N, 3, H, W] in about -1..1, the defect model's own patch [N, 3, S, S], the last mask [N, 1, S, S].

    noised      what it began with, like image
    """
    image: Tensor
    noised: Tensor
    patch: Tensor
    mask: Tensor | None


@dataclass
class Evaluations:
    """How many samples went through the models; a gradient with regard to the image alone counts as backward."""
    context_forward: int = 0
    context_backward: int = 0
    defect_forward: int = 0
    defect_backward: int = 0


@dataclass
class Batch:
    """The jobs' parts, on the device."""
    clean: Tensor
    corners: list[tuple[int, int]]
    labels: Tensor
    generators: list[torch.Generator]
    side: int
    clean_patch: Tensor = field(init=False)
    outside: Tensor = field(init=False)
    grey: Tensor = field(init=False)            # [N, 1, 1, 1]

    def __post_init__(self):
        rows = range(len(self.clean))
        self.clean_patch = self.patch(self.clean, rows)
        self.grey = (self.clean == self.clean[:, :1]).flatten(1).all(dim=1)[:, None, None, None]
        self.outside = torch.ones_like(self.clean[:, :1])
        for row, (x, y) in enumerate(self.corners):
            self.outside[row, :, y:y + self.side, x:x + self.side] = 0

    @classmethod
    def of(cls, jobs: Sequence[Job], side: int, device: torch.device | str) -> "Batch":
        return cls(torch.stack([job.clean for job in jobs]).to(device), [job.corner for job in jobs],
                   torch.tensor([job.label for job in jobs], device=device), [job.generator for job in jobs], side)

    def with_patch(self, patches: Tensor) -> Tensor:
        """The clean images with these patches in their regions."""
        images = self.clean.clone()
        for image, patch, (x, y) in zip(images, patches, self.corners, strict=True):
            image[:, y:y + self.side, x:x + self.side] = patch
        return images

    def patch(self, images: Tensor, rows: Sequence[int]) -> Tensor:
        """The jobs' regions of the images, which are those of `rows`."""
        return torch.stack([image[:, y:y + self.side, x:x + self.side]
                            for image, (x, y) in zip(images, (self.corners[row] for row in rows), strict=True)])

    def noise(self, like: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        generators = self.generators if rows is None else [self.generators[row] for row in rows]
        return torch.cat([torch.randn((1, *like.shape[1:]), generator=generator) for generator in generators]
                         ).to(like.device)
