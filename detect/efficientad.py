"""EfficientAD (Batzner et al. 2024): a student that imitates a teacher on good images alone, beside an autoencoder.

Where the student fails to imitate, a place is unlike the good ones; where student and autoencoder disagree, the whole
is. The published teacher and its pictures have to be fetched. Here any features are the teacher, and in place of other
pictures the student is told apart from it on synthetic defects; maps are padded, so that images may have any size.
"""
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .anomaly import Batch, FromGood, ScoreConfig, nothing_to_learn
from .features import Features, on_grid
from .statistics import Standardised

LOW, HIGH = 0.9, 0.995          # quantiles of good maps: the span between them is the unit of each
SAMPLED = 2_000                 # places of an image that those are taken from


class EfficientADConfig(ScoreConfig):
    """Student and autoencoder, and how distances become scores."""
    channels: int = Field(64, ge=1, description="of the features, drawn once, that are imitated")
    width: int = Field(64, ge=8, description="channels of student and autoencoder")
    hardest: float = Field(0.999, ge=0, lt=1, description="the loss counts what lies above this quantile")
    seed: int = Field(0, ge=0)


class EfficientAD(FromGood):
    """`trained` is what an optimiser trains, by `losses`, with what goes with it."""
    Config = EfficientADConfig
    kept = ("spans",)

    def __init__(self, features: Features, config: EfficientADConfig | None = None, dimensions: int | None = None):
        super().__init__(features, config)
        self.teacher = Standardised(features, dimensions, self.config.channels, self.config.seed)
        made, width = self.teacher.width, self.config.width
        self.learning = nn.ModuleDict({"student": student(2 * made, width), "autoencoder": Autoencoder(made, width)})

    @property
    def trained(self) -> nn.Module:
        return nn.ModuleDict({"teacher": self.teacher, "learning": self.learning})

    def begin(self, batches: Iterable[Batch]) -> None:
        """Statistics of the teacher, before the first step."""
        self.teacher.learn(batches)

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> "EfficientAD":
        """The scale of both maps, from good images."""
        found: list[list[Tensor]] = [[], []]
        for images, _ in batches:
            for values, one in zip(found, self._maps(images)):
                flat = one.flatten()
                values.append(flat[::max(1, len(flat) // SAMPLED)])
        if not found[0]:
            raise nothing_to_learn()
        ends = torch.tensor([LOW, HIGH], device=found[0][0].device)
        low, high = torch.stack([torch.quantile(torch.cat(values)[:2 ** 23], ends) for values in found], 1)
        self.spans = (high - low).clamp(min=1e-9)
        return self

    def losses(self, images: Tensor, defects: Tensor | None = None) -> dict[str, Tensor]:
        """imitation: of the hardest good places; apart: on defects, float [N, 1, H, W], the student is to answer 0;
        autoencoder and disagreement: on whole images without a defect."""
        taught = self.teacher(images)
        grid = taught.shape[2:]
        first, second = on_grid(self.learning["student"](images), grid).chunk(2, 1)
        bad = torch.zeros_like(taught[:, :1]) if defects is None else functional.adaptive_max_pool2d(defects, grid)
        good, clean = (1 - bad).expand_as(taught) > 0.5, bad.flatten(1).amax(1) < 0.5
        gap = (taught - first).square()[good]
        hard = gap[gap >= self._hard(gap.detach())] if len(gap) else gap
        made = self.learning["autoencoder"](images, grid)
        none = first.sum() * 0
        return {"imitation": hard.mean() if len(hard) else none,
                "apart": (first.square() * bad).sum() / (bad.sum() * first.shape[1]).clamp(min=1),
                "autoencoder": (taught - made)[clean].square().mean() if clean.any() else none,
                "disagreement": (made.detach() - second)[clean].square().mean() if clean.any() else none}

    def _hard(self, gap: Tensor) -> Tensor:
        """What the hardest share lies above; of very many, by a part of them."""
        return torch.quantile(gap[::max(1, len(gap) // 1_000_000)], self.config.hardest)

    def distances(self, images: Tensor) -> Tensor:
        first, second = (one / span for one, span in zip(self._maps(images), self.spans))
        return (first + second) / 2

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Student against teacher, and against autoencoder, [N, 1, h, w] each."""
        taught = self.teacher(images)
        grid = taught.shape[2:]
        first, second = on_grid(self.learning["student"](images), grid).chunk(2, 1)
        made = self.learning["autoencoder"](images, grid)
        return ((taught - first).square().mean(1, keepdim=True),
                (made - second).square().mean(1, keepdim=True))


def student(made: int, width: int) -> nn.Sequential:
    """Four convolutions at strides 1, 2, 4, 4 that see some 30 px."""
    return nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 4, 2, 1), nn.ReLU(),
                         nn.Conv2d(width, 2 * width, 3, 1, 1), nn.ReLU(),
                         nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.ReLU(), nn.Conv2d(2 * width, made, 1))


class Autoencoder(nn.Module):
    """Through 64 channels at stride 32, and back up to the teacher's grid."""

    def __init__(self, made: int, width: int):
        super().__init__()
        widths = (3, width // 2, width // 2, width, width, 64)
        self.down = nn.Sequential(*(layer for before, after in zip(widths, widths[1:])
                                    for layer in (nn.Conv2d(before, after, 4, 2, 1), nn.ReLU())))
        self.up = nn.ModuleList(nn.Conv2d(64 if number == 0 else width, width, 3, 1, 1) for number in range(4))
        self.head = nn.Conv2d(width, made, 3, 1, 1)

    def forward(self, images: Tensor, grid: torch.Size) -> Tensor:
        size = [max(length, 32) for length in images.shape[2:]]
        x = self.down(functional.interpolate(images, size))
        for number, layer in enumerate(self.up):
            size = [max(1, length >> (3 - number)) for length in grid]
            x = functional.relu(layer(functional.interpolate(x, size, mode="bilinear", align_corners=False)))
        return self.head(x)
