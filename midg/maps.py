"""A batch as the maps that the networks take, and the networks at work on them, in training and in use alike."""
from typing import NamedTuple

from torch import Tensor

from .edges import grey_of, merged_edges
from .networks import DefectGenerator, EdgeGenerator, defect_input, edge_input


class Maps(NamedTuple):
    """A batch on the device, float32 in 0..1, but for the label.

    image               RGB [N, 3, H, W] with the defects; background: the same without those in the mask
    grey                of the background, [N, 1, H, W]
    edges               of the defect image inside the mask, of the background outside: what is to be painted
    background_edges    of the background
    mask, noise         0 or 1; uniform
    label               int64 [N]
    chance              float32 [N], uniform: for what a model draws a sample
    """
    image: Tensor
    background: Tensor
    grey: Tensor
    edges: Tensor
    background_edges: Tensor
    mask: Tensor
    noise: Tensor
    label: Tensor
    chance: Tensor


def to_maps(batch: dict[str, Tensor]) -> Maps:
    """A batch of samples on its device as Maps."""
    image, background, noise = (batch[name].float() / 255 for name in ("image", "background", "noise"))
    edges, background_edges, mask = (batch[name].float() for name in ("edges", "background_edges", "mask"))
    return Maps(image, background, grey_of(background), merged_edges(edges, background_edges, mask), background_edges,
                mask, noise, batch["label"], batch["chance"])


def edge_map(generator: EdgeGenerator, maps: Maps, label: Tensor | None) -> Tensor:
    """Logits [N, 1, H, W] of the defect's edges."""
    mask_channel = generator.down[0].first.conv.weight.shape[1] == 4
    return generator(edge_input(maps.grey, maps.background_edges, maps.mask, maps.noise, mask_channel=mask_channel),
                     label)


def painted(generator: DefectGenerator, maps: Maps, edges: Tensor, label: Tensor | None) -> Tensor:
    """The generator's picture [N, 3, H, W], not yet pasted."""
    noisy = generator.down[0].first.conv.weight.shape[1] == 5
    return generator(*defect_input(maps.background, edges, maps.mask, maps.noise if noisy else None), label)
