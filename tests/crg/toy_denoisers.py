"""Two denoisers in closed form: the context model knows the clean image, the defect model a bump in the patch."""
import torch
import torch.nn.functional as F
from torch import Tensor

from crg.batch import Job
from crg.diffusion import Schedule

CORNER, LABEL = (80, 103), 2


def wave(height: int = 256, width: int = 256) -> Tensor:
    """The clean image [3, H, W]."""
    row, column = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    rows = torch.stack([torch.sin(2 * torch.pi * (row + 10 * channel) / 64) for channel in range(3)])
    return (0.5 * rows[:, :, None] * torch.cos(2 * torch.pi * column / 48)).float()


def bump(side: int = 64) -> Tensor:
    """[S, S], 0.8 in the middle."""
    line = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return (0.8 * torch.exp(-(line[:, None] ** 2 + line ** 2) / 50)).float()


def job(seed: int = 0, corner: tuple[int, int] = CORNER, label: int = LABEL, clean: Tensor | None = None) -> Job:
    return Job(clean=wave() if clean is None else clean, corner=corner, label=label,
               generator=torch.Generator().manual_seed(seed))


class Toys:
    """`context` and `defect`, which find each sample's mean by its row: one job's, or the same for all."""

    def __init__(self, clean: Tensor, corner: tuple[int, int] = CORNER, side: int = 64):
        self.alpha_bar = Schedule.build().alpha_bar.float()
        self.clean = clean
        x, y = corner
        self.patch = clean[:, y:y + side, x:x + side]
        self.bump, self.calls = bump(side), 0

    def context(self, image: Tensor, timesteps: Tensor) -> Tensor:
        self.calls += len(image)
        return self.noise(image, timesteps, self.clean)

    def defect(self, image: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        sign = (1 - 2 * (labels % 2))[:, None, None, None]
        return self.noise(image, timesteps, self.patch + sign * self.bump)

    def noise(self, image: Tensor, timesteps: Tensor, mean: Tensor) -> Tensor:
        kept = self.alpha_bar[timesteps][:, None, None, None]
        return ((1 - kept).sqrt() / (0.01 * kept + 1 - kept) * (image - kept.sqrt() * mean)
                 + 0.02 * torch.sin(3 * F.avg_pool2d(image, 3, 1, 1)))
