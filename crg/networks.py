"""The U-Net of both diffusion models: guided diffusion's ("ADM", Dhariwal and Nichol 2021), its keys and its numbers.

    network = UNet(DEFECT)
    noise_and_variance = network(images, timesteps, classes)      # [N, 6, H, W]

The names of the parts are those of the published state dicts, so that these load strictly and need no translation.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32             # of every normalisation
TIME_FACTOR = 4         # width of the time embedding over that of the network


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What defines the network's weights and what they mean.

    size_px                 side of the images it is trained on; with `attention_px` it fixes where attention is
    width                   channels of the first level
    multipliers             channels of each level over `width`
    blocks                  residual blocks of a level on the way down; one more on the way up
    attention_px            sides of the levels with attention when the image has `size_px`
    head_channels           channels of an attention head
    classes                 0: the model knows no class
    dropout                 0..1, in training alone
    """
    size_px: int
    width: int
    multipliers: tuple[int, ...]
    blocks: int = 2
    attention_px: tuple[int, ...] = (16, 8)
    head_channels: int = 32
    classes: int = 0
    dropout: float = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.width * factor for factor in self.multipliers)

    @property
    def multiple_px(self) -> int:
        """Sides of images must be divisible by this."""
        return 2 ** (len(self.multipliers) - 1)

    def problems(self) -> list[str]:
        """Why no network can have this shape; empty where one can."""
        found = [f"a level has {width} channels, which {GROUPS} groups do not divide" for width in self.widths
                 if width % GROUPS]
        found += [f"{self.size_px} px cannot be halved {len(self.multipliers) - 1} times"
                  ] * (self.size_px % self.multiple_px > 0)
        levels = [self.size_px // 2 ** level for level in range(len(self.multipliers))]
        found += [f"attention_px {side} is the side of no level; the levels have {levels}" for side in self.attention_px
                  if side not in levels]
        with_heads = {self.widths[-1], *(self.widths[levels.index(side)] for side in self.attention_px
                                         if side in levels)}
        return found + [f"{width} channels cannot be cut into heads of {self.head_channels}"
                        for width in sorted(with_heads) if width % self.head_channels]


CONTEXT = Shape(size_px=256, width=128, multipliers=(1, 1, 2, 3, 4, 4), head_channels=32)
DEFECT = Shape(size_px=64, width=64, multipliers=(1, 2, 3, 4), head_channels=16, classes=6)


class UNet(nn.Module):
    """Noisy image [N, 3, H, W] in about -1..1, original timestep [N], class [N] -> [N, 6, H, W].

    Channels 0-2 are the noise in the image; 3-5 say where the variance lies between its two bounds, -1..1.
    H and W may be any multiple of `shape.multiple_px`: nothing in the network knows its size.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        if problems := shape.problems():
            raise ValueError(f"no network has this shape: {'; '.join(problems)}")
        self.shape, embedding = shape, TIME_FACTOR * shape.width
        self.time_embed = nn.Sequential(nn.Linear(shape.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if shape.classes:
            self.label_emb = nn.Embedding(shape.classes, embedding)
        first, last = shape.widths[0], shape.widths[-1]

        def block(inputs: int, outputs: int, resize: str = "same") -> Residual:
            return Residual(inputs, outputs, embedding, shape.dropout, resize)

        def attention(level: int, channels: int) -> list[nn.Module]:
            there = shape.size_px // 2 ** level in shape.attention_px
            return [Attention(channels, shape.head_channels)] if there else []

        self.input_blocks = nn.ModuleList([Block(nn.Conv2d(3, first, 3, padding=1))])
        kept, channels = [first], first             # channels of what the way up takes over
        for level, wide in enumerate(shape.widths):
            for _ in range(shape.blocks):
                self.input_blocks.append(Block(block(channels, wide), *attention(level, wide)))
                kept.append(channels := wide)
            if level < len(shape.widths) - 1:
                self.input_blocks.append(Block(block(wide, wide, "down")))
                kept.append(wide)

        self.middle_block = Block(block(last, last), Attention(last, shape.head_channels), block(last, last))

        self.output_blocks = nn.ModuleList()
        for level, wide in reversed(list(enumerate(shape.widths))):
            for number in range(shape.blocks + 1):
                up = [block(wide, wide, "up")] if level and number == shape.blocks else []
                self.output_blocks.append(Block(block(channels + kept.pop(), wide), *attention(level, wide), *up))
                channels = wide
        self.out = nn.Sequential(Norm(GROUPS, first), nn.SiLU(), zeroed(nn.Conv2d(first, 6, 3, padding=1)))

    def forward(self, images: Tensor, timesteps: Tensor, classes: Tensor | None = None) -> Tensor:
        if (classes is None) != (self.shape.classes == 0):
            raise ValueError(f"a model of {self.shape.classes} classes was called with classes {classes}")
        embedding = self.time_embed(wave_features(timesteps, self.shape.width).to(self.time_embed[0].weight.dtype))
        if classes is not None:
            embedding = embedding + self.label_emb(classes)
        passed = []
        for part in self.input_blocks:
            images = part(images, embedding)
            passed.append(images)
        images = self.middle_block(images, embedding)
        for part in self.output_blocks:
            images = part(torch.cat([images, passed.pop()], dim=1), embedding)
        return self.out(images)


class Block(nn.Sequential):
    """Parts in a row, of which the residual ones see the time and the class."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for part in self:
            x = part(x, embedding) if isinstance(part, Residual) else part(x)
        return x


class Norm(nn.GroupNorm):
    """Computed in float32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class Residual(nn.Module):
    """Two convolutions beside a shortcut; the embedding scales and shifts between them; both ways may be resized."""

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float, resize: str = "same"):
        super().__init__()
        self.resize = {"same": nn.Identity(), "down": nn.AvgPool2d(2), "up": nn.Upsample(scale_factor=2)}[resize]
        self.in_layers = nn.Sequential(Norm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * outputs))
        self.out_layers = nn.Sequential(Norm(GROUPS, outputs), nn.SiLU(), nn.Dropout(dropout),
                                        zeroed(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        norm, activation, convolution = self.in_layers
        inner = convolution(self.resize(activation(norm(x))))
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        norm, *rest = self.out_layers
        inner = norm(inner) * (1 + scale) + shift
        for part in rest:
            inner = part(inner)
        return self.skip_connection(self.resize(x)) + inner


class Attention(nn.Module):
    """Self-attention over all places; `qkv` holds query, key and value of one head, then those of the next."""

    def __init__(self, channels: int, head_channels: int):
        super().__init__()
        self.heads = channels // head_channels
        self.norm = Norm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        parts = self.qkv(self.norm(flat)).unflatten(1, (self.heads, 3, -1))        # [N, heads, 3, channels, places]
        query, key, value = parts.transpose(-1, -2).unbind(2)
        found = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2).flatten(1, 2)
        return (flat + self.proj_out(found)).unflatten(2, x.shape[2:])


def wave_features(timesteps: Tensor, width: int) -> Tensor:
    """[N] -> float32 [N, width]: cosines, then sines, of the timestep at frequencies from 1 down to 1 / 10000."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half)
    angles = timesteps.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def zeroed(layer: nn.Conv1d | nn.Conv2d) -> nn.Module:
    """A residual way begins as nothing, so that a new network begins as nearly linear."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
