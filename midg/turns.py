"""What each turn of a step minimises: the discriminator's, the edge generator's, the defect generator's losses."""
import torch
from torch import Tensor, nn

from .edges import grey_of, merged_edges
from .losses import (
    discriminator_loss,
    edge_loss,
    feature_matching,
    generator_loss,
    masked_l1,
    perceptual_and_style,
)
from .maps import Maps, edge_map, painted
from .networks import DefectGenerator, Discriminator, EdgeGenerator, edge_judged, paste
from .settings import DefectLossConfig, EdgeLossConfig, GanConfig

Losses = dict[str, Tensor]
Pair = tuple[Tensor, Tensor]        # what the discriminator is to tell apart: real and made, without gradient


def judge_losses(judge: Discriminator, real: Tensor, made: Tensor, label: Tensor | None, config: GanConfig,
                 ) -> Losses:
    """The discriminator's loss. `legacy`: the generator's too, whose gradient the published code added to it."""
    together = judge(torch.cat([real, made]), None if label is None else torch.cat([label, label]))
    real_seen, made_seen = zip(*(output.chunk(2) for output in together))
    losses = {"judging": discriminator_loss(config.gan, real_seen[-1], made_seen[-1])}
    if config.update == "legacy":
        losses["leak_adversarial"] = config.adversarial * generator_loss(config.gan, made_seen[-1])
        if isinstance(config, EdgeLossConfig):
            losses["leak_matching"] = config.feature_matching * feature_matching(
                made_seen, [output.detach() for output in real_seen])
    return losses


def edge_losses(generator: EdgeGenerator, judge: Discriminator | None, maps: Maps, label: Tensor | None,
                config: EdgeLossConfig) -> tuple[Losses, Pair]:
    """Of the edges drawn in the mask, from the background's grey and edges."""
    logits = edge_map(generator, maps, label)
    predicted = logits.sigmoid()
    if config.judged == "pasted":
        predicted = merged_edges(predicted, maps.background_edges, maps.mask)
    grey = grey_of(maps.image)
    real, made = edge_judged(grey, maps.edges, maps.mask), edge_judged(grey, predicted, maps.mask)
    losses = {}
    if judge is not None:
        with torch.no_grad():
            target = judge(real, label)
        seen = judge(made, label)
        losses = {"adversarial": config.adversarial * generator_loss(config.gan, seen[-1]),
                  "matching": config.feature_matching * feature_matching(seen, target)}
    if config.edges:
        losses["edges"] = config.edges * edge_loss(logits, maps.edges, maps.mask, kind=config.edges_kind,
                                                   tolerance_px=config.tolerance_px)
    return losses, (real.detach(), made.detach())


def defect_losses(generator: DefectGenerator, judge: Discriminator | None, features: nn.Module | None, maps: Maps,
                  edges: Tensor, label: Tensor | None, config: DefectLossConfig,
                  ) -> tuple[Losses, Pair]:
    """Of the picture painted from merged edges; `pasted`: inside the mask alone."""
    made = painted(generator, maps, edges, label)
    if config.judged == "pasted":
        made = paste(made, maps.image, maps.mask)
    losses = {"l1": config.l1 * masked_l1(made, maps.image, maps.mask, legacy=config.legacy_l1)}
    if judge is not None:
        losses["adversarial"] = config.adversarial * generator_loss(config.gan, judge(made, label)[-1])
    if features is not None:
        perceptual, style = perceptual_and_style(features, made, maps.image, maps.mask)
        losses |= {"perceptual": config.perceptual * perceptual, "style": config.style * style}
    return losses, (maps.image, made.detach())
