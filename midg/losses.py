"""MIDG's losses: adversarial ones on logits, feature matching, L1, perceptual, style, and edges inside the mask.

Pictures are float RGB [N, 3, H, W] in 0..1, masks [N, 1, H, W] of 0 and 1. Every loss is a float32 scalar without its
weight. DEFAULT_WEIGHTS are those of the published experiment.
"""
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Adversarial = Literal["nsgan", "lsgan", "hinge"]
DEFAULT_WEIGHTS = {"feature_matching": 10.0, "adversarial": 0.1, "l1": 1.0, "perceptual": 0.1, "style": 250.0}
LEAST_COVERAGE = 0.01
VGG19_BLOCKS = (2, 2, 4, 4, 2)          # convolutions before each pooling, up to relu5_2


# Adversarial

def discriminator_loss(kind: Adversarial, real: Tensor, made: Tensor) -> Tensor:
    """Half the sum of both errors, from logit maps; `made` must be of a picture without gradient."""
    real, made = real.float(), made.float()
    if kind == "nsgan":
        return (F.softplus(-real).mean() + F.softplus(made).mean()) / 2
    if kind == "lsgan":         # on probabilities, as published; the paper of lsgan takes bare scores
        return ((real.sigmoid() - 1).square().mean() + made.sigmoid().square().mean()) / 2
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + made).mean()) / 2
    raise ValueError(f"adversarial loss must be nsgan, lsgan or hinge, got {kind!r}")


def generator_loss(kind: Adversarial, made: Tensor) -> Tensor:
    """How far the discriminator is from taking the made picture for a real one, from its logit map."""
    made = made.float()
    if kind == "nsgan":
        return F.softplus(-made).mean()
    if kind == "lsgan":
        return (made.sigmoid() - 1).square().mean()
    if kind == "hinge":
        return -made.mean()
    raise ValueError(f"adversarial loss must be nsgan, lsgan or hinge, got {kind!r}")


def feature_matching(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Sum over the discriminator's outputs of the mean |made - real|; the real ones are targets, without gradient."""
    return sum((mine.float() - target.detach().float()).abs().mean() for mine, target in zip(made, real, strict=True))


# Pictures

def masked_l1(made: Tensor, real: Tensor, mask: Tensor, *, legacy: bool = False) -> Tensor:
    """Mean |made - real| over the whole picture, divided by the share of it that the mask covers, picture by picture.

    A share below 1 % counts as 1 %; a picture with an empty mask is not scaled.
    legacy      reproduction only: one share for the batch, infinite where all masks are empty
    """
    error, share = (made.float() - real.float()).abs().mean((1, 2, 3)), mask.float().mean((1, 2, 3))
    if legacy:
        return error.mean() / share.mean()
    return (error / torch.where(share > 0, share.clamp(min=LEAST_COVERAGE), 1.0)).mean()


class Features(NamedTuple):
    """What an extractor sees in a picture."""
    content: list[Tensor]       # compared pixel by pixel: where things are
    texture: list[Tensor]       # compared by their Gram matrices: what they are made of


def perceptual_and_style(extractor: nn.Module, made: Tensor, real: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(perceptual loss of the whole picture, style loss of what lies in the mask), from one shared extractor.

    extractor   pictures [N, 3, H, W] in 0..1 -> Features: Vgg19Features or TextureFeatures
    """
    with torch.no_grad():
        target, marked_target = halves(extractor(torch.cat([real, real * mask])))
    mine, marked = halves(extractor(torch.cat([made, made * mask])))
    perceptual = sum(F.l1_loss(a.float(), b.float()) for a, b in zip(mine.content, target.content))
    style = sum(F.l1_loss(gram(a), gram(b)) for a, b in zip(marked.texture, marked_target.texture))
    return perceptual, style


def halves(features: Features) -> tuple[Features, Features]:
    """The features of the first and of the second half of a batch."""
    parts = [[tensor.chunk(2) for tensor in kind] for kind in features]
    return tuple(Features(*([pair[half] for pair in kind] for kind in parts)) for half in (0, 1))


def gram(features: Tensor) -> Tensor:
    """[N, C, C] float32: products of the channels, their sum over the pixels divided by C H W."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.mT / (flat.shape[1] * flat.shape[2])


class Vgg19Features(nn.Module):
    """VGG19 up to relu5_2, on pictures as they are: in 0..1 without ImageNet's normalisation, as published.

    Its weights are not here: midg/features.py loads them. Keys are torchvision's, `features.N.weight` and `.bias`.
    """
    CONTENT = (1, 6, 11, 20, 29)        # relu1_1, 2_1, 3_1, 4_1, 5_1
    TEXTURE = (8, 17, 26, 31)           # relu2_2, 3_4, 4_4, 5_2

    def __init__(self):
        super().__init__()
        layers, inner = [], 3
        for block, count in enumerate(VGG19_BLOCKS):
            outer = min(64 * 2**block, 512)
            layers += [nn.MaxPool2d(2)] if block else []
            for _ in range(count):
                layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(inplace=True)]
                inner = outer
        self.features = nn.Sequential(*layers)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Features:
        seen = {}
        for number, layer in enumerate(self.features):
            pictures = layer(pictures)
            if number in (*self.CONTENT, *self.TEXTURE):
                seen[number] = pictures
        return Features([seen[number] for number in self.CONTENT], [seen[number] for number in self.TEXTURE])


class TextureFeatures(nn.Module):
    """Needs no weights: eight convolutions 3x3 of fixed random filters at four scales, the same for everybody.

    Random filters tell textures apart well (Ustyuzhaninov et al. 2016). The gains are for DEFAULT_WEIGHTS: they bring a
    blurred defect's losses to 0.3 (perceptual) and 1 (style) of its L1. CHANNELS are those of the scales, two
    convolutions each.
    """
    CHANNELS = (16, 32, 64, 64)
    MEAN, CONTRAST = 0.4, 4.0           # of pictures, before the first filter
    CONTENT_GAIN, TEXTURE_GAIN = 2.7, 0.87

    def __init__(self, seed: int = 0):
        super().__init__()
        generator, inner = torch.Generator().manual_seed(seed), 3
        filters = []
        for outer in self.CHANNELS:
            for count in (inner, outer):
                weight = torch.randn(outer, count, 3, 3, generator=generator)
                if count == 3:
                    weight -= weight.mean((2, 3), keepdim=True)         # light and colour cast say nothing of texture
                filters.append(nn.Parameter(weight * (2 / (count * 9)) ** 0.5, requires_grad=False))
            inner = outer
        self.filters = nn.ParameterList(filters)

    def forward(self, pictures: Tensor) -> Features:
        x, content, texture = (pictures - self.MEAN) * self.CONTRAST, [], []
        for scale in range(len(self.CHANNELS)):
            x = F.relu(F.conv2d(F.avg_pool2d(x, 2) if scale else x, self.filters[2 * scale], padding=1))
            content.append(x * self.CONTENT_GAIN)
            x = F.relu(F.conv2d(x, self.filters[2 * scale + 1], padding=1))
            texture.append(x * self.TEXTURE_GAIN)
        return Features(content, texture)


# Edges

def edge_loss(logits: Tensor, edges: Tensor, mask: Tensor, *, kind: Literal["dice", "bce"] = "dice",
              tolerance_px: int = 1) -> Tensor:
    """How badly the edges in the mask are met; logits, edges (0 or 1) and mask are [N, 1, H, W].

    Every true edge has to be found; what is found is wrong only farther than `tolerance_px` from every true edge.
    dice: 1 - F score of the soft precision and recall, picture by picture. bce: cross entropy, with the edges and what
    is far from them counting half each, picture by picture.
    """
    logits, mask = logits.float(), mask.float()
    edges = edges.float() * mask
    near = F.max_pool2d(edges, 2 * tolerance_px + 1, 1, tolerance_px)
    if kind == "bce":
        far = mask * (1 - near)
        missed = (F.softplus(-logits) * edges).sum((1, 2, 3)) / edges.sum((1, 2, 3)).clamp(min=1)
        wrong = (F.softplus(logits) * far).sum((1, 2, 3)) / far.sum((1, 2, 3)).clamp(min=1)
        return ((missed + wrong) / 2).mean()
    if kind != "dice":
        raise ValueError(f"edge loss must be dice or bce, got {kind!r}")
    chance = logits.sigmoid() * mask
    precision = ((chance * near).sum((1, 2, 3)) + 1) / (chance.sum((1, 2, 3)) + 1)
    recall = ((chance * edges).sum((1, 2, 3)) + 1) / (edges.sum((1, 2, 3)) + 1)
    return (1 - 2 * precision * recall / (precision + recall)).mean()
