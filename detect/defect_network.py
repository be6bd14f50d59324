"""A small U-Net that tells synthetic defects from good surface; what it has learned to see serves as features."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2              # of its answer
COARSE_PX = 4           # grid on which the surroundings' level and contrast are taken
REACH = 7               # of that grid: 28 px
LEAST_CONTRAST = 0.1    # of the surroundings, in deviations of the image


class DefectNetwork(nn.Module):
    """float [N, 3, H, W] of median 0 and deviation about 1 -> logits [N, 1, ceil(H / 2), ceil(W / 2)].

    Beside the image it sees each pixel against its surroundings, so that a mark in the shade looks as one in the light.
    Parts for features: down.0, down.1, ... at strides 2, 4, ..., and on the way up again up.0, up.1, ..., the last at
    stride 2.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96)):
        super().__init__()
        self.down = nn.ModuleList(_block(before, after, 2) for before, after in zip((4, *widths), widths))
        self.up = nn.ModuleList(_block(before + after, after, 1) for before, after in
                                zip(widths[:0:-1], widths[-2::-1]))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x, beside = torch.cat([images, local_contrast(images)], 1), []
        for block in self.down:
            x = block(x)
            beside.append(x)
        for block, finer in zip(self.up, beside[-2::-1]):
            x = functional.interpolate(x, finer.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([finer, x], 1))
        return self.head(x)


def local_contrast(images: Tensor) -> Tensor:
    """Grey levels less their surroundings' mean, in deviations of these: [N, 1, H, W]."""
    grey = images.mean(1, keepdim=True)
    coarse = functional.avg_pool2d(torch.cat([grey, grey.square()], 1), COARSE_PX, ceil_mode=True)
    coarse = functional.avg_pool2d(coarse, REACH, 1, REACH // 2, count_include_pad=False)
    mean, square = functional.interpolate(coarse, grey.shape[2:], mode="bilinear", align_corners=False).chunk(2, 1)
    return (grey - mean) / (square - mean.square()).clamp(min=LEAST_CONTRAST ** 2).sqrt()


def _block(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after),
                         nn.LeakyReLU(0.1, inplace=True),
                         nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
                         nn.LeakyReLU(0.1, inplace=True))
