"""The networks of the segmenter: FlexUNet as published, the small two-level UNet, and a fast default.

Each takes float [N, C, H, W] in 0..1 with sides that are multiples of `stride` and returns logits [N, K, H, W]. `reach`
is how far, at most, an output pixel looks along one axis (px): tiles that overlap so far give what the whole image
gives. None of them uses statistics of the image at hand, which would differ from tile to tile.
"""
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

CELL_PX, NEAR_CELLS, WIDE_CELLS = 8, 3, 5       # of Contrasted
LEAST_CHANGE = 0.02     # standard deviation of grey levels, full scale 1: smoother places are not made rough
SMALL = 0.3             # of the usual weights, before batch norm: their direction alone counts, and turns sooner
RARE = -3.0             # logit of a defect to begin with: at small rates it takes many steps to learn that most is none
TRUNCATED = 0.87962566103423978     # standard deviation of a normal distribution cut off at two of its own
ACTIVATIONS = {"relu": nn.ReLU, "mish": nn.Mish, "elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU, "tanh": nn.Tanh,
               "leaky_relu": nn.LeakyReLU}

# What an output pixel looks at, layer by layer from the input on: ("conv", px to either side), ("down",), ("up",).
Layers = Sequence[tuple]


class FlexUNet(nn.Module):
    """The U-Net of the tiled aluminium segmenter, layer by layer (Keras, "same" padding, logits instead of softmax).

    levels          encoder levels with the bridge; level i has base_filters * 2**i channels
    base_kernel     odd; level i has kernels of max(3, base_kernel - 2 i) px and dilation max(1, dilation - i)
    dropout         level i drops single elements at the rate dropout * i, once a block
    batch_norm      after each activation
    input_scale     255 for weights that were trained on grey levels 0..255
    """

    def __init__(self, outputs: int, channels: int = 3, *, base_filters: int = 16, base_kernel: int = 11,
                 levels: int = 8, dilation: int = 1, dropout: float = 0.05, activation: str = "relu",
                 batch_norm: bool = False, input_scale: float = 1.0):
        super().__init__()
        if base_kernel % 2 == 0:
            raise ValueError(f"base_kernel must be odd, got {base_kernel}")
        self.input_scale = input_scale
        filters = [base_filters * 2 ** i for i in range(levels)]
        kernels = [max(3, base_kernel - 2 * i) for i in range(levels)]
        dilations = [max(1, dilation - i) for i in range(levels)]

        def block(level: int, given: int) -> nn.Sequential:
            return FlexBlock(given, filters[level], kernels[level], dilations[level], dropout * level, activation,
                             batch_norm)

        self.encoder = nn.ModuleList(block(i, filters[i - 1] if i else channels) for i in range(levels))
        self.up = nn.ModuleList(nn.ConvTranspose2d(filters[i + 1], filters[i], 2, stride=2) for i in range(levels - 1))
        self.decoder = nn.ModuleList(block(i, 2 * filters[i]) for i in range(levels - 1))
        self.head = nn.Conv2d(filters[0], outputs, 1)
        self.stride = 2 ** (levels - 1)
        halves = [(kernel // 2) * spread for kernel, spread in zip(kernels, dilations)]
        self.reach = reach(unet_layers(halves), self.stride)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Keras: he_normal for the blocks' convolutions, glorot_uniform for the others, biases 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for block in [*self.encoder, *self.decoder]:
            for module in block:
                if isinstance(module, nn.Conv2d):
                    he_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = images * self.input_scale if self.input_scale != 1 else images, []
        for level, block in enumerate(self.encoder):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], 1))
        return self.head(x)


class FlexBlock(nn.Sequential):
    """conv, activation, [batch norm,] dropout, conv, activation[, batch norm]."""

    def __init__(self, given: int, filters: int, kernel: int, dilation: int, dropout: float, activation: str,
                 batch_norm: bool):
        def conv(channels: int) -> list[nn.Module]:
            layers = [nn.Conv2d(channels, filters, kernel, padding=dilation * (kernel // 2), dilation=dilation),
                      ACTIVATIONS[activation]()]
            return [*layers, nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)] if batch_norm else layers

        super().__init__(*conv(given), nn.Dropout(dropout), *conv(filters))


class SmallUNet(nn.Module):
    """U-Net of two down and two up blocks and a bottleneck, for grey 256 px images and one class.

    Each block is twice conv 3x3, [batch norm,] ReLU. 466,625 parameters at 32 filters without batch norm.
    """

    def __init__(self, outputs: int = 1, channels: int = 1, *, filters: int = 32, batch_norm: bool = True):
        super().__init__()
        f = filters

        def block(given: int, made: int) -> nn.Sequential:
            return nn.Sequential(*(layer for before in (given, made) for layer in (
                nn.Conv2d(before, made, 3, padding=1, bias=not batch_norm),
                *([nn.BatchNorm2d(made)] if batch_norm else []), nn.ReLU(inplace=True))))

        self.down = nn.ModuleList([block(channels, f), block(f, 2 * f), block(2 * f, 4 * f)])
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * made, made, 2, stride=2) for made in (2 * f, f))
        self.merge = nn.ModuleList([block(4 * f, 2 * f), block(2 * f, f)])
        self.head = nn.Conv2d(f, outputs, 1)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.constant_(self.head.bias, RARE if outputs == 1 else 0.0)
        for conv in self.modules() if batch_norm else ():
            if isinstance(conv, nn.Conv2d) and conv.bias is None and conv.in_channels > channels:
                nn.init.uniform_(conv.weight, -SMALL * conv.weight[0].numel() ** -0.5,
                                 SMALL * conv.weight[0].numel() ** -0.5)
        self.stride, self.reach = 4, reach(unet_layers([1, 1, 1]), 4)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down[0](images)
        second = self.down[1](nn.functional.max_pool2d(first, 2))
        x = self.down[2](nn.functional.max_pool2d(second, 2))
        x = self.merge[0](torch.cat([self.up[0](x), second], 1))
        x = self.merge[1](torch.cat([self.up[1](x), first], 1))
        return self.head(x)


class Compact(nn.Module):
    """The default: a residual U-Net on a coarser grid, with logits at full resolution.

    Blocks of fold_px x fold_px become one with all their channels, so nothing is lost on the way in, and the last layer
    gives each pixel of a block its own logits. Skips are added, not concatenated. `widths` are the channels on the grid
    and on coarser ones, each of half the resolution; `contrast` gives it a channel more, see Contrasted.
    """

    def __init__(self, outputs: int, channels: int = 3, *, widths: Sequence[int] = (16, 32, 64, 128, 256),
                 contrast: bool = True, fold_px: int = 2):
        super().__init__()
        block = fold_px ** 2
        self.stem = nn.Sequential(Contrasted(fold_px) if contrast else nn.PixelUnshuffle(fold_px),
                                  ConvNorm(block * channels + contrast, widths[0], 3))
        self.encoder = nn.ModuleList(Residual(width) for width in widths)
        self.down = nn.ModuleList(ConvNorm(a, b, 2, stride=2) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(nn.Sequential(ConvNorm(b, a, 1), nn.Upsample(scale_factor=2))
                                for a, b in zip(widths, widths[1:]))
        self.decoder = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.head = nn.Sequential(ConvNorm(widths[0], 2 * widths[0], 3), nn.Conv2d(2 * widths[0], block * outputs, 1),
                                  nn.PixelShuffle(fold_px))
        with torch.no_grad():           # equal answers to begin with, or a block would learn a chequered pattern
            for values in self.head[1].parameters():
                values.copy_(values[::block].repeat_interleave(block, 0))
        self.stride = max(fold_px * 2 ** (len(widths) - 1), CELL_PX if contrast else 0)
        inner = [("conv", 1), ("conv", 1)]
        steps, folds = len(widths) - 1, fold_px.bit_length() - 1
        first = [("conv", Contrasted.reach if contrast else 0), *[("down",)] * folds, ("conv", 1), *inner]
        last = [*[("up",), *inner] * steps, ("conv", 1), *[("up",)] * folds]
        self.reach = reach([*first, *[("down",), *inner] * steps, *last], self.stride)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.encoder[0](self.stem(images)), []
        for down, block in zip(self.down, self.encoder[1:]):
            skips.append(x)
            x = block(down(x))
        for up, block, skip in reversed(list(zip(self.up, self.decoder, skips))):
            x = block(up(x) + skip)
        return self.head(x)


class Contrasted(nn.PixelUnshuffle):
    """Blocks of fold_px x fold_px as one with all their channels, and one channel more: local contrast.

    That is the grey level against that around it, in units of how much it changes there. Dark and bright, smooth and
    rough surfaces look alike in it: with few images the network learns much faster. Means are over cells on a fixed
    grid and their neighbours, so tiles on that grid see what the whole image shows.
    """
    reach = (NEAR_CELLS // 2 + 1 + WIDE_CELLS // 2 + 1 + 1) * CELL_PX

    def __init__(self, fold_px: int = 2):
        super().__init__(fold_px)
        self.side = CELL_PX // fold_px          # of a cell, on the coarser grid

    def forward(self, images: Tensor) -> Tensor:
        grey = nn.functional.avg_pool2d(images, self.downscale_factor).mean(1, keepdim=True)
        change = grey - around(grey, NEAR_CELLS, self.side)
        contrast = change / (around(change.square(), WIDE_CELLS, self.side).sqrt() + LEAST_CHANGE)
        return torch.cat([super().forward(images), contrast], 1)


def around(values: Tensor, cells: int, side: int) -> Tensor:
    """The mean over so many cells of `side` to each side, less at the border, smoothly from cell to cell."""
    means = nn.functional.avg_pool2d(values, side)
    means = nn.functional.avg_pool2d(means, cells, 1, cells // 2, count_include_pad=False)
    return nn.functional.interpolate(means, scale_factor=side, mode="bilinear")


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU; padded to keep the size, but for stride 2."""

    def __init__(self, given: int, made: int, kernel: int, stride: int = 1):
        super().__init__(nn.Conv2d(given, made, kernel, stride, 0 if stride > 1 else kernel // 2, bias=False),
                         nn.BatchNorm2d(made), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions whose sum with the input goes through ReLU (He et al. 2016)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = ConvNorm(width, width, 3)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def unet_layers(halves: Sequence[int]) -> Layers:
    """The longest way through a U-Net of two convolutions a block, `halves` px to either side at each level."""
    first = [("conv", halves[0])] * 2
    inner = [[("conv", half)] * 2 for half in halves[1:]]
    down = [layer for block in inner for layer in (("down",), *block)]
    up = [layer for block in reversed([first, *inner[:-1]]) for layer in (("up",), *block)]
    return [*first, *down, *up]


def reach(layers: Layers, stride: int) -> int:
    """The farthest input pixel, along one axis, on which an output pixel depends; over all places of the grid."""
    farthest = 0
    for place in range(stride):
        low = high = place
        for kind, *size in reversed(layers):
            if kind == "conv":
                low, high = low - size[0], high + size[0]
            elif kind == "down":            # 2x2 px became one
                low, high = 2 * low, 2 * high + 1
            else:                           # one px became 2x2
                low, high = low // 2, high // 2
        farthest = max(farthest, place - low, high - place)
    return farthest


def he_normal_(weight: Tensor) -> None:
    """Normal of standard deviation sqrt(2 / fan_in), cut off at twice that of the uncut one (Keras)."""
    spread = math.sqrt(2 / weight[0].numel()) / TRUNCATED
    nn.init.trunc_normal_(weight, 0.0, spread, -2 * spread, 2 * spread)
