"""From a config to features: a network of synthetic defects, weights from a file, a run of one's own, or none."""
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision.models import resnet

from core import checkpoint, registry
from core.errors import CheckpointError, ConfigError, did_you_mean
from core.seeding import seed_step
from core.weight_files import read_weights

from .defect_network import DefectNetwork
from .features import FilterBank, LayerFeatures, Padded, Tapped
from .networks import fill
from .products import Section

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OWN_LAYERS = ("down.1", "down.2", "up.0", "up.1")
# What a run's features come from, by the model's name: what loads it, and layers that serve by the network's class.
RUNS = {"segment": "segment.apply:load", "detect": "detect.apply:load"}
LAYERS = {"Compact": ("encoder.1", "encoder.2"), "FlexUNet": ("encoder.2", "encoder.3"),
          "SmallUNet": ("down.1", "down.2")}


class FeaturesConfig(Section):
    """What places of images are compared by."""
    kind: Literal["synthetic-defect", "weights", "network", "random", "filters"] = Field(
        "synthetic-defect", description="synthetic-defect: a network trained on the good images themselves; weights: "
        "a file for torchvision's ResNet; network: a run of segment, detect or anomaly; random and filters: no "
        "detectors, for comparison and for trying things out")
    file: Path | None = Field(None, description="of weights: state dict of the ResNet; of network: the run's folder, "
                                                "such as checkpoints/tile/segment")
    backbone: Literal["resnet18", "resnet50", "wide_resnet50_2"] = Field("resnet18", description="of weights")
    layers: tuple[str, ...] | None = Field(None, min_length=1, description="of the network, the first gives the grid; "
                                                                           "null: a choice that serves")

    @model_validator(mode="after")
    def _file(self) -> "FeaturesConfig":
        if (self.kind in ("weights", "network")) != (self.file is not None):
            raise ValueError(f"'file' goes with kind weights or network, got {self.file} with {self.kind}")
        return self


def build(config: FeaturesConfig, device: torch.device, own: DefectNetwork | None, seed: int) -> nn.Module:
    """The features of a config; `own` is the network that the run trains itself. CheckpointError, ConfigError."""
    if config.kind == "filters":
        return FilterBank().to(device)
    if config.kind == "synthetic-defect":
        return layers_of(own, config.layers or OWN_LAYERS, device, "standard")
    if config.kind == "random":
        seed_step(seed, 0)
        made = layers_of(DefectNetwork(), config.layers or OWN_LAYERS, device, "standard")
    elif config.kind == "weights":
        names = config.layers or ("layer2", "layer3")
        made = layers_of(_resnet(config), tuple(f"network.{name}" for name in names), device, "plain")
    else:
        made = _of_run(config, device)
    return made.eval().requires_grad_(False)


def layers_of(network: nn.Module, layers: tuple[str, ...], device: torch.device, light: str,
              stride: int = 1) -> LayerFeatures:
    """Features of a network's layers by their names; it takes sides that are multiples of `stride`. ConfigError."""
    names = [name for name, _ in network.named_modules() if name]
    for name in layers:
        if name not in names:
            raise ConfigError(f"features.layers: the network has no layer '{name}'. {did_you_mean(name, names)}It has "
                              f"{', '.join(name for name in names if name.count('.') < 2)[:400]}")
    tapped = Tapped(network, layers).to(device)
    return LayerFeatures(tapped if stride == 1 else Padded(tapped, stride), layers, light)


def _resnet(config: FeaturesConfig) -> nn.Module:
    network = getattr(resnet, config.backbone)(weights=None)
    try:
        fill(network, read_weights(config.file), ("fc.",))
    except ValueError as error:
        raise ConfigError(f"features.file: of another network than {config.backbone}, got {config.file}: "
                          f"{error}") from error
    return Prepared(network, _imagenet)


def _of_run(config: FeaturesConfig, device: torch.device) -> nn.Module:
    run = config.file
    if run.name == "anomaly":
        network = load_own(run)
        return layers_of(network, config.layers or OWN_LAYERS, device, "standard")
    if run.name not in RUNS:
        raise ConfigError(f"features.file: must be the folder of a run of {', '.join(RUNS)} or anomaly, got '{run}'. "
                          "Give DIR/MODEL, such as checkpoints/tile/segment")
    loaded = registry.resolve(RUNS[run.name])(run, [], device)
    if run.name == "detect":
        body = loaded.detector.network.backbone
        names = config.layers or ("body.layer2", "body.layer3")
        return layers_of(Prepared(body, _imagenet), tuple(f"network.{name}" for name in names), device, "plain")
    kind = type(loaded.network).__name__
    names = config.layers or LAYERS.get(kind)
    if names is None:
        raise ConfigError(f"features.layers: must be named for the network {kind}, got none. Give two of its layers, "
                          "the finer one first")
    channels = loaded.config.data.channels
    prepared = Prepared(loaded.network, lambda images: images.mean(1, keepdim=True) if channels == 1 else images)
    return layers_of(prepared, tuple(f"network.{name}" for name in names), device, "plain", loaded.network.stride)


def load_own(run: Path) -> DefectNetwork:
    """The network of synthetic defects of an anomaly run, by its newest checkpoint."""
    paths = checkpoint.found(run)
    if not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    state = checkpoint.load(paths[-1])["parts"].get("module/features")
    if state is None:
        raise CheckpointError(f"{run}: trained no network of synthetic defects, got '{paths[-1].name}' without. Give "
                              "a run with features.kind synthetic-defect")
    widths = [value.shape[0] for name, value in state.items() if re.fullmatch(r"down\.\d+\.0\.weight", name)]
    network = DefectNetwork(widths)
    network.load_state_dict(state)
    return network


class Prepared(nn.Module):
    """A network behind what makes its input."""

    def __init__(self, network: nn.Module, prepare: Callable[[Tensor], Tensor]):
        super().__init__()
        self.network, self.prepare = network, prepare

    def forward(self, images: Tensor):
        return self.network(self.prepare(images))


def _imagenet(images: Tensor) -> Tensor:
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in IMAGENET)
    return (images - mean) / deviation
