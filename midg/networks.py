"""MIDG's three networks, with what goes into them: edge generator, defect generator with edge attention, discriminator.

Weights are those of the published networks in number and form (width 64, no classes); midg/legacy_weights.py reads and
writes the earlier files. All maps are float [N, C, H, W] in 0..1; masks and attention are 0 or 1.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

LEVELS = 5
SIZE_STEP_PX, LEAST_SIZE_PX = 16, 32
INIT_STD = 0.02


# What goes in and what comes out, the same in training and in use.

def edge_input(grey: Tensor, edges: Tensor, mask: Tensor, noise: Tensor, *, mask_channel: bool = False) -> Tensor:
    """EdgeGenerator's input [N, 3, H, W]: grey and edges with noise in the mask's place, and the noise itself.

    All [N, 1, H, W]; `noise` is uniform in 0..1 and counts inside the mask alone. `mask_channel` adds the mask as a
    fourth plane: without it a noise value of 0 looks like no mask.
    """
    noise = noise * mask
    planes = [grey * (1 - mask) + noise, edges * (1 - mask) + noise, noise]
    return torch.cat([*planes, mask] if mask_channel else planes, 1)


def defect_input(background: Tensor, edges: Tensor, mask: Tensor, noise: Tensor | None = None,
                 ) -> tuple[Tensor, Tensor]:
    """DefectGenerator's x [N, 4, H, W] and attention [N, 1, H, W], from RGB without the defect and merged edges.

    noise   for a generator with `noise_channel`: a fifth plane, uniform in 0..1, that counts inside the mask alone
    """
    planes = [background, edges] if noise is None else [background, edges, noise * mask]
    return torch.cat(planes, 1), edges * mask


def edge_judged(grey: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
    """What the discriminator of edges sees, [N, 3, H, W]: grey of the defect image, its edges, those in the mask."""
    return torch.cat([grey, edges, edges * mask], 1)


def paste(made: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """The made picture inside the mask, the image outside; RGB [N, 3, H, W]. A soft mask blends."""
    return made * mask + image * (1 - mask)


class UNet(nn.Module):
    """Five levels of double blocks, skip connections first in every concatenation; no output activation.

    width       channels of the first level; each further level has twice as many
    spectral    weights are divided by their largest singular value, and have no bias
    classes     above 1, each has a gain and an offset of its own after every normalisation
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, *, spectral: bool, classes: int):
        super().__init__()
        self.classes = classes if classes > 1 else 0
        self.channels = [width * 2**level for level in range(LEVELS)]
        options = {"spectral": spectral, "classes": self.classes}
        below = [in_channels, *self.channels]
        self.down = nn.ModuleList(DoubleBlock(below[level], below[level + 1], **options) for level in range(LEVELS))
        rising = list(reversed(self.channels))
        self.up = nn.ModuleList(Block(wide, slim, **options) for wide, slim in zip(rising, rising[1:]))
        self.merge = nn.ModuleList(DoubleBlock(wide, slim, **options) for wide, slim in zip(rising, rising[1:]))
        self.output = initialised(nn.Conv2d(width, out_channels, 1))

    def paint(self, x: Tensor, label: Tensor | None, fuse: Callable[[int, Tensor], Tensor] | None = None) -> Tensor:
        """float32 [N, out, H, W]. `fuse` (level, features) -> features is applied on the way down."""
        check_size(x)
        check_label(label, self.classes)
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x, label)
            if fuse is not None:
                x = fuse(level, x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge):
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"), label)
            x = merge(torch.cat([skips.pop(), x], 1), label)
        with torch.autocast(x.device.type, enabled=False):      # 8 bits of a picture need more than bfloat16 has
            return self.output(x.float())


class EdgeGenerator(UNet):
    """Paints a defect's edges where the mask is: 34,506,497 weights at width 64.

    forward(x [N, 3, H, W] of `edge_input`, label int64 [N]) -> logits float32 [N, 1, H, W]; their sigmoid is the map.
    mask_channel    x has the mask as a fourth plane
    classes         number of defect classes; a label is needed above 1
    """

    def __init__(self, width: int = 64, *, mask_channel: bool = False, classes: int = 0):
        super().__init__(4 if mask_channel else 3, 1, width, spectral=True, classes=classes)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return 2 * self.paint(x, label)         # the published (tanh z + 1) / 2 is sigmoid(2 z)


class DefectGenerator(UNet):
    """Paints a defect from background and edges, 35,067,398 weights at width 64.

    forward(x [N, 4, H, W], attention [N, 1, H, W], label int64 [N]) -> RGB float32 [N, 3, H, W] in 0..1
    `x` and `attention` are those of `defect_input`.
    edge_threshold      attention is paid where the map is above it
    attention_levels    levels with edge attention, from the finest; the published networks use 2; 0 leaves it out
    noise_channel       x has a fifth plane of noise: what grain is made of, and another picture from the same edges
    blend               a fourth output plane is the paint's opacity over the background: 35,067,463 weights. Train it
                        on what `paste` makes of it. Without it every pixel is painted anew, by a network whose
                        normalisations hide how bright the picture is, and the mask's rectangle shows in many. Off for
                        earlier weights
    legacy_attention    reproduction only: every value but an exact 0 is an edge, and the map is shrunk by sampling,
                        which loses lines of 1 px
    """

    def __init__(self, width: int = 64, *, edge_threshold: float = 0.5, attention_levels: int = 2,
                 noise_channel: bool = False, blend: bool = False, legacy_attention: bool = False, classes: int = 0):
        if not 0 <= attention_levels < LEVELS:
            raise ValueError(f"attention_levels must be 0 to {LEVELS - 1}, got {attention_levels}")
        super().__init__(5 if noise_channel else 4, 4 if blend else 3, width, spectral=False, classes=classes)
        self.edge_threshold, self.blend, self.legacy_attention = edge_threshold, blend, legacy_attention
        self.attention = EdgeAttention()
        self.fusion = nn.ModuleList(
            DoubleBlock(2 * channels, channels, spectral=False, classes=self.classes)
            for channels in self.channels[:attention_levels])

    def forward(self, x: Tensor, attention: Tensor, label: Tensor | None = None) -> Tensor:
        colour, opacity = self.paint_over(x, attention, label)
        return colour if opacity is None else torch.lerp(x[:, :3].float(), colour, opacity)

    def paint_over(self, x: Tensor, attention: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The paint's colour [N, 3, H, W] and, with `blend`, its opacity [N, 1, H, W]: a soft mask of the defect."""
        def fuse(level: int, features: Tensor) -> Tensor:
            if level >= len(self.fusion):
                return features
            attended = self.attention(features, self.lines(attention, level).to(features.dtype))
            return self.fusion[level](torch.cat([features, attended], 1), label)
        planes = (2 * self.paint(x, label, fuse)).sigmoid()
        return planes[:, :3], planes[:, 3:] if self.blend else None

    def lines(self, attention: Tensor, level: int) -> Tensor:
        """bool [N, 1, H / 2^level, W / 2^level]: where attention is paid."""
        attention = attention.float()
        if self.legacy_attention:
            size = (attention.shape[2] >> level, attention.shape[3] >> level)
            return F.interpolate(attention, size, mode="bilinear", align_corners=True) != 0
        return F.max_pool2d(attention, 2**level) > self.edge_threshold      # a line of 1 px stays whole


class Discriminator(nn.Module):
    """PatchGAN of 70 px patches with spectral norm: 2,763,776 weights at width 64 and 3 input channels.

    forward(x [N, C, H, W], label int64 [N]) -> the five layers' outputs; the last is the logit map, above 0 for real:
    [N, 1, H / 8 - 2, W / 8 - 2]
    """

    def __init__(self, in_channels: int = 3, width: int = 64, *, classes: int = 0):
        super().__init__()
        self.classes = classes if classes > 1 else 0
        channels = [in_channels + self.classes, width, 2 * width, 4 * width, 8 * width, 1]
        self.layers = nn.ModuleList(
            normalised(nn.Conv2d(inner, outer, 4, stride, 1, bias=False))
            for inner, outer, stride in zip(channels, channels[1:], (2, 2, 2, 1, 1)))

    def forward(self, x: Tensor, label: Tensor | None = None) -> list[Tensor]:
        check_label(label, self.classes)
        if self.classes:
            planes = F.one_hot(label, self.classes).to(x.dtype)[:, :, None, None]
            x = torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            if layer is not self.layers[-1]:
                x = F.leaky_relu(x, 0.2, inplace=True)
            outputs.append(x)
        return outputs


class EdgeAttention(nn.Module):
    """Features on the edges alone, each channel weighted by how strong it is there (an ECA gate driven by edges).

    forward(features [N, C, H, W], lines 0 or 1 [N, 1, H, W]) -> [N, C, H, W]
    """

    def __init__(self):
        super().__init__()
        self.gate = initialised(nn.Conv1d(1, 1, 3, padding=1, bias=False))

    def forward(self, features: Tensor, lines: Tensor) -> Tensor:
        marked = features * lines
        with torch.autocast(features.device.type, enabled=False):
            everywhere, on_lines, share = (t.mean((2, 3), dtype=torch.float32) for t in (features, marked, lines))
            strength = on_lines + (1 - share) * everywhere
            gate = self.gate(strength[:, None])[:, 0].sigmoid()
        return marked * gate[:, :, None, None].to(features.dtype)


class DoubleBlock(nn.Module):
    """Two blocks, in -> out -> out channels."""

    def __init__(self, in_channels: int, out_channels: int, **options):
        super().__init__()
        self.first = Block(in_channels, out_channels, **options)
        self.second = Block(out_channels, out_channels, **options)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        return self.second(self.first(x, label), label)


class Block(nn.Module):
    """Convolution 3x3, instance normalisation without weights (but a class's), ReLU.

    The published defect generator has a bias in every convolution. It is kept, for the files' sake, and never added:
    the normalisation would take it out again.
    """

    def __init__(self, in_channels: int, out_channels: int, *, spectral: bool, classes: int):
        super().__init__()
        make = normalised if spectral else initialised
        self.conv = make(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not spectral))
        self.look = ClassLook(classes, out_channels) if classes else None

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        x = F.instance_norm(F.conv2d(x, self.conv.weight, padding=1))
        if self.look is not None:
            x = self.look(x, label)
        return F.relu(x, inplace=True)


class ClassLook(nn.Module):
    """A gain and an offset a class and channel. Planes of a constant would not do: the normalisation takes them out."""

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.table = nn.Embedding(classes, 2 * channels)
        nn.init.zeros_(self.table.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        gain, offset = self.table(label)[:, :, None, None].to(x.dtype).chunk(2, 1)
        return x * (1 + gain) + offset


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value (Miyato et al. 2018), one power iteration a forward in training.

    In float32 under autocast too, which torch's own is not on every device.
    """

    def __init__(self, weight: Tensor, first_iterations: int = 15):
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(matrix.shape[1]), dim=0))
        for _ in range(first_iterations):
            self.iterate(matrix)

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=1e-12))
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0, eps=1e-12))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                self.iterate(matrix)
            u, v = self.u.clone(), self.v.clone()       # a second forward changes them before the first's gradient
            return weight / torch.dot(u, matrix @ v)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def normalised(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with first weights and spectral norm: its weight is `layer.parametrizations.weight.original`."""
    parametrize.register_parametrization(initialised(layer), "weight", SpectralNorm(layer.weight))
    return layer


def initialised(layer: nn.Module) -> nn.Module:
    nn.init.normal_(layer.weight, 0, INIT_STD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def check_size(x: Tensor) -> None:
    """ValueError unless height and width are multiples of 16 and at least 32 px."""
    if any(side % SIZE_STEP_PX or side < LEAST_SIZE_PX for side in x.shape[2:]):
        raise ValueError(f"height and width must be multiples of {SIZE_STEP_PX} px and at least {LEAST_SIZE_PX} px, "
                         f"got {x.shape[2]}x{x.shape[3]}")


def check_label(label: Tensor | None, classes: int) -> None:
    if (label is None) != (classes == 0):
        raise ValueError(f"a network of {classes} classes {'needs' if classes else 'takes no'} label")
