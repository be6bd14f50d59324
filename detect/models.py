"""From a network's config to the network with its weights: none, a local file, or an asked-for download."""
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torchvision.models import get_weight

from core.errors import ConfigError
from core.weight_files import read_weights

from . import networks, portable
from .settings import NetworkConfig

PUBLISHED = {("resnet50", "coco"): "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
             ("resnet50-v2", "coco"): "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
             ("resnet50", "backbone"): "ResNet50_Weights.IMAGENET1K_V1",
             ("resnet50-v2", "backbone"): "ResNet50_Weights.IMAGENET1K_V1",
             ("resnet18", "backbone"): "ResNet18_Weights.IMAGENET1K_V1"}


def build(config: NetworkConfig, classes: int, batch_size: int) -> networks.Detector:
    """The network of a config, with its weights. Raises ConfigError, CheckpointError."""
    kind, _, place = config.weights.partition(":")
    options = config.model_dump(include={"anchors_px", "side_px", "proposals", "regions", "anchor_samples",
                                         "anchor_overlap", "detections"})
    state = None if kind == "none" else weights_of(config.name, kind, place)
    try:
        made = networks.build(
            config.name, classes, norm=norm_of(config),
            trainable_layers=5 if kind == "none" else config.trainable_layers,
            still_norms=batch_size < 8 and kind == "coco", backbone=state if kind == "backbone" else None, **options)
        if kind == "coco":
            networks.load_coco(made, state)
        if kind == "checkpoint":
            networks.fill(made, state, (), networks.REPLACED)
    except ValueError as error:
        raise ConfigError(f"network.weights: of another network than {config.name}, got {place}: {error}") from error
    return made


def norm_of(config: NetworkConfig) -> str:
    """The normalisation of a config: with published weights their own statistics, from scratch groups."""
    if config.norm != "auto":
        return config.norm
    return "group" if config.weights.partition(":")[0] in ("none", "checkpoint") else "frozen"


def weights_of(name: str, kind: str, place: str) -> Mapping[str, Tensor]:
    """The state dict of a file, or of torchvision's own weights where a download is asked for."""
    if kind == "checkpoint":
        return portable.read(Path(place)).weights
    if place != "download":
        return read_weights(Path(place))
    return get_weight(PUBLISHED[name, kind]).get_state_dict(check_hash=True)
