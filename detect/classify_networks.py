"""Networks that tell good patches from defective ones, each with a map of where the answer comes from."""
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import efficientnet, resnet

from .networks import SMALL_WIDTH, fill, group_norm, small_stages

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)      # of ImageNet, whose weights expect them
SHARPNESS = 4.0                 # of the pooling of "small": 0 would be the mean, without bound the maximum
FIRST_LOGIT = -2.0              # of every place of "small" before training: good


class PatchClassifier(nn.Module):
    """float [N, 3, H, W] in 0..1 -> logits [N], above 0 where a defect is likelier than not, and maps [N, h, w].

    The map is the head at each place; the logit is its mean (class activation mapping, Zhou et al. 2016), or with
    `peaks` a mean that leans towards the highest places, so that a pin-hole counts.
    """

    def __init__(self, body: nn.Module, channels: int, *, peaks: bool):
        super().__init__()
        self.body, self.head, self.peaks = body, nn.Conv2d(channels, 1, 1), peaks
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, FIRST_LOGIT if peaks else 0.0)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        places = self.head(self.body((images - self.mean) / self.deviation))[:, 0].float()
        flat = places.flatten(1)
        if not self.peaks:
            return flat.mean(1), places
        return (torch.logsumexp(SHARPNESS * flat, 1) - math.log(flat.shape[1])) / SHARPNESS, places


def build(name: str, weights: Mapping[str, Tensor] | None = None) -> PatchClassifier:
    """small, resnet18, resnet50, efficientnet_b0 or _b4; `weights` as torchvision names them, their last layer unused.

    ValueError: names the tensors of `weights` that do not fit.
    """
    if name == "small":
        return PatchClassifier(nn.Sequential(small_stages(group_norm, 3)), 4 * SMALL_WIDTH, peaks=True)
    if name.startswith("efficientnet"):
        plain = getattr(efficientnet, name)(weights=None)
        unneeded, channels = "classifier.", plain.classifier[1].in_features
    else:
        plain = {"resnet18": resnet.resnet18, "resnet50": resnet.resnet50}[name](weights=None)
        unneeded, channels = "fc.", plain.fc.in_features
    if weights is not None:
        fill(plain, weights, (unneeded,))
    body = plain.features if name.startswith("efficientnet") else nn.Sequential(*list(plain.children())[:-2])
    return PatchClassifier(body, channels, peaks=False)
