"""Two small trainable models that the tests of the loop use: a GAN of stripes and a segmenter of discs."""
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import Dataset

from core.ema import Average
from core.schedules import constant, cosine, warmup
from core.seeding import rng
from core.task import LoopConfig, Phase

SIZE = 8        # px, side of an image


class ToyConfig(BaseModel):
    """Configuration of both; every key but `loop` is for a test's needs."""
    model_config = ConfigDict(frozen=True, extra="forbid")

    loop: LoopConfig
    width: int = 4
    dtype: str = "float32"


def settings(steps: int = 20, **changes) -> LoopConfig:
    """A loop of few steps that saves, evaluates and reports often."""
    few = {"batch_size": 4, "workers": 0, "save_every": 4, "evaluate_every": 10, "report_every": 3}
    return LoopConfig(steps=steps, **few | changes)


class Stripes(Dataset):
    """12 images [1, 8, 8] in -1..1 of stripes, with noise of the draw; some of it from torch's global generator."""

    def __init__(self, dtype: str):
        self.dtype = getattr(torch, dtype)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index_and_draw: tuple[int, int]) -> Tensor:
        index, draw = index_and_draw
        wave = torch.sin(torch.arange(SIZE, dtype=self.dtype) * (index + 1) / 4).expand(1, SIZE, SIZE)
        noise = torch.from_numpy(rng(7, draw).normal(size=(1, SIZE, SIZE))).to(self.dtype)
        return wave + 0.1 * noise + 0.05 * torch.randn(1, SIZE, SIZE, dtype=self.dtype)


class Generator(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Conv2d(width, 1, 3, padding=1), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise)


class Discriminator(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(1, width, 3, stride=2)), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Flatten(),
            spectral_norm(nn.Linear(width * 9, 1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class ToyGan:
    """Batch norm, dropout, spectral norm, an average, and a discriminator that learns every other step."""
    Config = ToyConfig

    def __init__(self, config: ToyConfig, device: torch.device):
        torch.manual_seed(config.loop.seed)
        dtype = getattr(torch, config.dtype)
        self.generator = Generator(config.width).to(device, dtype)
        self.discriminator = Discriminator(config.width).to(device, dtype)
        self.modules = {"generator": self.generator, "discriminator": self.discriminator}
        self.averages = {"generator": Average(self.generator, half_life_steps=5)}
        self.phases = (
            Phase(name="discriminator", every=2, learning_rate=constant(2e-3),
                  optimizer=torch.optim.Adam(self.discriminator.parameters(), betas=(0.5, 0.9))),
            Phase(name="generator", learning_rate=warmup(cosine(2e-3, steps=40), steps=4),
                  optimizer=torch.optim.AdamW(self.generator.parameters(), betas=(0.5, 0.9))))
        self.train_data = Stripes(config.dtype)

    def losses(self, phase: str, batch: Tensor) -> dict[str, Tensor]:
        made = self.generator(torch.randn_like(batch))
        if phase == "discriminator":
            return {"real": F.softplus(-self.discriminator(batch)).mean(),
                    "made": F.softplus(self.discriminator(made)).mean()}
        return {"adversarial": F.softplus(-self.discriminator(made)).mean(), "l1": 0.1 * F.l1_loss(made, batch)}

    def evaluate(self, folder: Path) -> dict[str, float]:
        some = next(self.generator.parameters())
        noise = torch.randn(4, 1, SIZE, SIZE, dtype=some.dtype, device=some.device)
        (folder / "made.txt").write_text(repr(self.averages["generator"].module(noise).flatten()[:4].tolist()))
        return {"score": self.discriminator(self.generator(noise)).mean().item()}


class Discs(Dataset):
    """10 images [1, 8, 8] of a bright disc on noise with its mask [1, 8, 8], 0 or 1; the noise is the draw's."""

    def __init__(self, dtype: str):
        self.dtype = getattr(torch, dtype)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index_and_draw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, draw = index_and_draw
        row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        mask = ((row - 2 - index % 4) ** 2 + (column - 2 - index // 4) ** 2 < 5).to(self.dtype)[None]
        return mask + 0.3 * torch.from_numpy(rng(8, draw).normal(size=(1, SIZE, SIZE))).to(self.dtype), mask


class ToySegmenter:
    """Binary cross entropy and Dice of each image, with a frozen first layer and no batch norm."""
    Config = ToyConfig

    def __init__(self, config: ToyConfig, device: torch.device):
        torch.manual_seed(config.loop.seed)
        width = config.width
        self.network = nn.Sequential(
            nn.Conv2d(1, width, 1), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1))
        self.network.to(device, getattr(torch, config.dtype))
        self.network[0].requires_grad_(False)
        self.modules, self.averages = {"network": self.network}, {}
        optimizer = torch.optim.SGD(self.network.parameters(), momentum=0.9, weight_decay=0.01)
        self.phases = (Phase(name="network", optimizer=optimizer, learning_rate=constant(0.1)),)
        self.train_data = self.held_out = Discs(config.dtype)

    def losses(self, phase: str, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, masks = batch
        scores = self.network(images)
        chance = scores.sigmoid()
        dice = (2 * (chance * masks).sum((1, 2, 3)) + 1) / (chance.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
        return {"bce": F.binary_cross_entropy_with_logits(scores, masks), "dice": 1 - dice.mean()}

    def evaluate(self, folder: Path) -> dict[str, float]:
        some = next(self.network.parameters())
        images, masks = zip(*(self.held_out[index, index] for index in range(len(self.held_out))))
        found = self.network(torch.stack(images).to(some.device)) > 0
        wanted = torch.stack(masks).to(some.device) > 0.5
        return {"iou": ((found & wanted).sum() / (found | wanted).sum().clamp(min=1)).item()}
