"""From a network's name to the network, and what it costs."""
import importlib
import pickle
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core import checkpoint
from core.errors import CheckpointError, ConfigError, did_you_mean

from .networks import Compact, FlexUNet, SmallUNet
from .settings import CompactConfig, LossConfig, NetworkConfig, SmallUNetConfig, SmpConfig

SMP = "segmentation_models_pytorch"
SMP_STRIDE = 32
MOST_OTHER_SHARE = 0.1      # of a network's tensors may be of another shape in the one that it starts from


def build(config: NetworkConfig, outputs: int, channels: int) -> nn.Module:
    """The network that a config names, with `stride` and `reach` (None: unbounded or unknown). Raises ConfigError."""
    if isinstance(config, CompactConfig):
        return Compact(outputs, channels, widths=config.widths, contrast=config.contrast, fold_px=config.fold_px)
    if isinstance(config, SmallUNetConfig):
        return SmallUNet(outputs, channels, filters=config.filters, batch_norm=config.batch_norm)
    if isinstance(config, SmpConfig):
        return _library_network(config, outputs, channels)
    return FlexUNet(outputs, channels, **config.model_dump(exclude={"name"}))


def output_count(loss: LossConfig, classes: int) -> int:
    """Outputs of the network: one with bce, else one a class and one for the background."""
    return 1 if loss.name.startswith("bce") else classes + 1


def load_start(network: nn.Module, path: Path) -> list[str]:
    """Begin with the weights of another run's checkpoint, averaged ones where it has some.

    Layers of another shape, such as a head for other classes, stay as they are: returns their names.
    CheckpointError: not a checkpoint of this network.
    """
    parts = checkpoint.load(path)["parts"]
    given = parts.get("average/network", parts.get("module/network", {}))
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    other = [name for name in own if name not in fitting]
    if len(other) > MOST_OTHER_SHARE * len(own):
        raise CheckpointError(f"{path}: is of another network, got {len(fitting)} of {len(own)} fitting tensors. Use "
                              "the section 'network' of its config.yaml")
    network.load_state_dict(fitting, strict=False)
    return other


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiplications(config: NetworkConfig, outputs: int, channels: int, size: tuple[int, int]) -> int:
    """Multiply-accumulates for one image of `size` (width, height), continued to the stride; nothing is computed."""
    with torch.device("meta"):
        network = build(config, outputs, channels).eval()
        sides = [-(-side // network.stride) * network.stride for side in size]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, channels, *sides[::-1]))
    return counter.get_total_flops() // 2


def _library_network(config: SmpConfig, outputs: int, channels: int) -> nn.Module:
    try:
        library = importlib.import_module(SMP)
    except ModuleNotFoundError as error:
        raise ConfigError(f"network.name: 'smp' needs a package that is not installed, got '{error}'. "
                          "pip install -r requirements-extras.txt, or choose compact") from error
    try:
        network = library.create_model(config.decoder, encoder_name=config.encoder, encoder_weights=None,
                                       in_channels=channels, classes=outputs)
    except (KeyError, ValueError) as error:
        known = getattr(getattr(library, "encoders", None), "encoders", ())
        reason = "" if config.encoder not in known else f" ({error})"
        raise ConfigError(f"network.encoder: not one that {config.decoder} takes, got '{config.encoder}'{reason}. "
                          f"{did_you_mean(config.encoder, known)}The library's documentation lists them") from error
    if config.weights:
        _load_encoder(network.encoder, config.weights)
    network.stride, network.reach = SMP_STRIDE, None
    return network


def _load_encoder(encoder: nn.Module, path: Path) -> None:
    """Weights of an encoder from a state dict in a file of one's own; never code, never a download."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        encoder.load_state_dict(state)
    except (OSError, pickle.UnpicklingError, RuntimeError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"network.weights: {path} cannot be loaded into the encoder, got '{reason}'. Give a state "
                          "dict of that encoder, or null") from error
