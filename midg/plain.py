"""A plain build of MIDG's training, as one would write it first: the baseline of the bench, of no other use.

The networks and losses are those of midg/networks.py and midg/losses.py. Nothing is kept between steps: every sample is
read, resized and searched for edges anew, one by one with scikit-image; each of the two losses on features has an
extractor of its own, run to its end; numbers are float32 and lie contiguously.
"""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage import color, feature, io, transform
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .losses import Vgg19Features

SIGMA = 3.0
LR, BETAS = 1e-4, (0.0, 0.9)


class PlainEdgeTraining:
    """Model 1: `step(samples)` is one step on {"image", "mask", "inpaint"} files."""

    def __init__(self, width: int, size_px: int):
        self.size_px = size_px
        self.generator, self.discriminator = UNet(3, 1, width, spectral=True), discriminator(width)
        self.of_generator = torch.optim.Adam(self.generator.parameters(), LR, BETAS)
        self.of_discriminator = torch.optim.Adam(self.discriminator.parameters(), LR / 10, BETAS)

    def step(self, samples: Sequence[dict[str, Path]]) -> None:
        batch = loaded(samples, self.size_px)
        grey, edges, mask, noise = (batch[name] for name in ("grey", "edges", "mask", "noise"))
        made = self.generator(torch.cat([grey * (1 - mask) + noise, edges * (1 - mask) + noise, noise], 1))
        real = torch.cat([grey, edges, edges * mask], 1)
        fake = torch.cat([grey, made, made * mask], 1)
        self.of_discriminator.zero_grad()
        judged = layers(self.discriminator, real)
        (adversarial(judged[-1], True) / 2 + adversarial(layers(self.discriminator, fake.detach())[-1], False) / 2
         ).backward()
        self.of_discriminator.step()
        self.of_generator.zero_grad()
        judged, wanted = layers(self.discriminator, fake), layers(self.discriminator, real)
        matching = sum(F.l1_loss(mine, target.detach()) for mine, target in zip(judged, wanted))
        (adversarial(judged[-1], True) + 10 * matching).backward()
        self.of_generator.step()


class PlainDefectTraining:
    """Model 3, with edges predicted by a generator of edges that does not learn."""

    def __init__(self, width: int, size_px: int):
        self.size_px = size_px
        self.edges = UNet(3, 1, width, spectral=True)
        self.generator, self.discriminator = DefectUNet(width), discriminator(width)
        self.perceptual, self.style = Vgg19Features(), Vgg19Features()
        self.of_generator = torch.optim.Adam(self.generator.parameters(), LR, BETAS)
        self.of_discriminator = torch.optim.Adam(self.discriminator.parameters(), LR / 10, BETAS)

    def step(self, samples: Sequence[dict[str, Path]]) -> None:
        batch = loaded(samples, self.size_px)
        image, grey, edges, mask, noise = (batch[name] for name in ("image", "grey", "edges", "mask", "noise"))
        with torch.no_grad():
            found = self.edges(torch.cat([grey * (1 - mask) + noise, edges * (1 - mask) + noise, noise], 1))
        merged = found * mask + edges * (1 - mask)
        made = self.generator(torch.cat([batch["inpaint"], merged], 1), merged * mask)
        self.of_discriminator.zero_grad()
        (adversarial(layers(self.discriminator, image)[-1], True) / 2
         + adversarial(layers(self.discriminator, made.detach())[-1], False) / 2).backward()
        self.of_discriminator.step()
        self.of_generator.zero_grad()
        content = sum(F.l1_loss(a, b) for a, b in zip(self.perceptual(made).content, self.perceptual(image).content))
        texture = sum(F.l1_loss(gram(a), gram(b)) for a, b in
                      zip(self.style(made * mask).texture, self.style(image * mask).texture))
        loss = 0.1 * adversarial(layers(self.discriminator, made)[-1], True) + F.l1_loss(made, image) / mask.mean()
        (loss + 0.1 * content + 250 * texture).backward()
        self.of_generator.step()


def loaded(samples: Sequence[dict[str, Path]], size_px: int) -> dict[str, Tensor]:
    """A batch, read and worked out one by one."""
    items = []
    for sample in samples:
        image, inpaint = (resized(io.imread(sample[role])[..., :3], size_px) for role in ("image", "inpaint"))
        mask = (resized(io.imread(sample["mask"], as_gray=True)[..., None], size_px) > 0.5).astype(np.float64)
        grey = color.rgb2gray(image)
        noise = np.random.rand(size_px, size_px, 1) * mask
        edges = feature.canny(grey, sigma=SIGMA)
        items.append({"image": image, "inpaint": inpaint, "mask": mask, "noise": noise, "grey": grey[..., None],
                      "edges": edges[..., None]})
    return {name: torch.stack([torch.from_numpy(item[name]).permute(2, 0, 1).float().contiguous() for item in items])
            for name in items[0]}


def resized(pixels: np.ndarray, size_px: int) -> np.ndarray:
    return transform.resize(pixels, (size_px, size_px), anti_aliasing=True)


def adversarial(scores: Tensor, real: bool) -> Tensor:
    chance = scores.sigmoid()
    return F.binary_cross_entropy(chance, torch.full_like(chance, float(real)))


def gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def layers(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The outputs of all layers."""
    outputs = []
    for layer in network:
        x = layer(x)
        outputs.append(x)
    return outputs


def discriminator(width: int) -> nn.Sequential:
    channels, found = [3, width, 2 * width, 4 * width, 8 * width, 1], []
    for inner, outer, stride in zip(channels, channels[1:], (2, 2, 2, 1, 1)):
        convolution = spectral_norm(nn.Conv2d(inner, outer, 4, stride, 1, bias=False))
        found.append(convolution if outer == 1 else nn.Sequential(convolution, nn.LeakyReLU(0.2)))
    return nn.Sequential(*found)


def block(inner: int, outer: int, spectral: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(inner, outer, 3, padding=1, bias=not spectral)
    return [spectral_norm(convolution) if spectral else convolution, nn.InstanceNorm2d(outer), nn.ReLU()]


def double(inner: int, outer: int, spectral: bool) -> nn.Sequential:
    return nn.Sequential(*block(inner, outer, spectral), *block(outer, outer, spectral))


class UNet(nn.Module):
    """[N, in, H, W] -> [N, out, H, W] in 0..1."""

    def __init__(self, inner: int, outer: int, width: int, spectral: bool):
        super().__init__()
        wide = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(double(a, b, spectral) for a, b in zip([inner, *wide], wide))
        self.up = nn.ModuleList(nn.Sequential(nn.Upsample(scale_factor=2), *block(b, a, spectral))
                                for a, b in zip(wide, wide[1:]))
        self.merge = nn.ModuleList(double(b, a, spectral) for a, b in zip(wide, wide[1:]))
        self.output = nn.Conv2d(width, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, part in enumerate(self.down):
            x = self.fused(level, part(F.max_pool2d(x, 2) if level else x))
            skips.append(x)
        for level in reversed(range(4)):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], 1))
        return (self.output(x).tanh() + 1) / 2

    def fused(self, level: int, x: Tensor) -> Tensor:
        return x


class DefectUNet(UNet):
    """With edge attention at the two finest levels."""

    def __init__(self, width: int):
        super().__init__(4, 3, width, spectral=False)
        self.gate = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.fusion = nn.ModuleList([double(2 * width, width, False), double(4 * width, 2 * width, False)])

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        self.attention = attention
        return super().forward(x)

    def fused(self, level: int, x: Tensor) -> Tensor:
        if level >= len(self.fusion):
            return x
        lines = (F.max_pool2d(self.attention, 2**level) > 0.5).float()
        marked = lines * x
        strength = (marked + (1 - lines) * x.mean((2, 3), keepdim=True)).mean((2, 3))
        gate = self.gate(strength[:, None])[:, 0].sigmoid()
        return self.fusion[level](torch.cat([x, marked * gate[..., None, None]], 1))
