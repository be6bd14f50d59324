"""Finished runs of MIDG's models: where they are, their config, and their networks with the averaged weights."""
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import nn

from core import checkpoint
from core import config as configs
from core.errors import CheckpointError, ConfigError
from core.experiment import tell

from .networks import DefectGenerator, Discriminator, EdgeGenerator
from .settings import DataConfig, DefectNetworkConfig, EdgeNetworkConfig


def edge_generator(network: EdgeNetworkConfig, classes: int) -> EdgeGenerator:
    return EdgeGenerator(network.width, mask_channel=network.mask_channel, classes=classes)


def defect_generator(network: DefectNetworkConfig, classes: int) -> DefectGenerator:
    return DefectGenerator(network.width, edge_threshold=network.edge_threshold, blend=network.blend,
                           attention_levels=network.attention_levels, noise_channel=network.noise_channel,
                           legacy_attention=network.legacy_attention, classes=classes)


def discriminator(width: int, classes: int) -> Discriminator:
    return Discriminator(3, width, classes=classes)


def find_run(folder: Path, name: str) -> Path:
    """The run of model `name`, given itself or as the experiment's folder. CheckpointError: it has no checkpoint."""
    for run in (folder / name, folder):
        if (run / "config.yaml").is_file() and checkpoint.found(run):
            return run
    raise CheckpointError(f"{folder / name}: no trained {name} here, got no config.yaml with a step-*.pt. Train it "
                          f"first: python train.py --model {name} --checkpoints {folder}")


def read_config(run: Path, model: type[BaseModel]) -> BaseModel:
    return configs.load(model, run / "config.yaml")


def check_alike(run: Path, edges: DataConfig, data: DataConfig) -> None:
    """ConfigError where the edges of a run of model 1 are not those that a defect model with `data` is made for."""
    for key in ("sigma", "fit"):
        theirs, ours = getattr(edges, key), getattr(data, key)
        if theirs != ours:
            raise ConfigError(f"{run}: its edges were learnt with data.{key} {theirs}, got {ours} for the model that "
                              f"paints on them. Train both with one (--set data.{key}={theirs})")
    if edges.size_px != data.size_px:
        tell([f"note: {run} learnt in windows of {edges.size_px} px; the model that paints on its edges has "
              f"{data.size_px} px"])


def read_classes(run: Path) -> tuple[str, ...]:
    """The classes that a run has learnt, in the order of their numbers. CheckpointError: classes.txt is missing."""
    path = run / "classes.txt"
    if not path.is_file():
        raise CheckpointError(f"{path}: missing, so that the network's classes have no names. Put it back; it holds a "
                              "name a line")
    return tuple(path.read_text(encoding="utf-8").splitlines())


def load_average(run: Path, name: str, network: nn.Module, device: torch.device) -> nn.Module:
    """The network with a run's newest averaged weights, on the device, in evaluation mode and frozen."""
    checkpoint.load_part(checkpoint.found(run)[-1], f"average/{name}", network)
    return network.to(device, memory_format=layout(device)).eval().requires_grad_(False)


def layout(device: torch.device) -> torch.memory_format:
    """How a generator's numbers lie: channels last is faster on a GPU; on a CPU every normalisation undoes it."""
    return torch.contiguous_format if device.type == "cpu" else torch.channels_last
