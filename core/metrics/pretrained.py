"""Networks of torchvision as feature extractors, their weights from a local file or an asked-for download."""
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import nn

from ..errors import ConfigError
from .inception import OUTPUTS, fid_inception

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)         # ImageNet, what torchvision's networks expect
FID_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"     # FID's weights of 2015-12-05
# name -> layer, length, input side in px
NETWORKS = {
    "vgg19": ("relu5_4", 512, 224),
    "resnet18": ("pool", 512, 224),
    "resnet50": ("pool", 2048, 224),
    "inception": ("pool", 2048, 299),
}
_TORCHVISION = {"inception": "inception_v3"}


@dataclass(frozen=True)
class Loaded:
    """A network with its weights: float [N, 3, side, side] in 0..1 -> [N, length]."""
    name: str
    length: int
    side_px: int
    network: Callable[[torch.Tensor], torch.Tensor]
    is_fid: bool


def load(name: str, weights: str | None, device: str = "cpu") -> Loaded:
    """Build one of NETWORKS, its features the mean over the picture of the layer named there.

    inception reads FID's own file (1008 outputs) and torchvision's ImageNet one; only the first, known by its hash, is
    FID. ConfigError: no weights, no such file, weights of another network.
    """
    layer, length, side = NETWORKS[name]
    state, digest = state_of(name, weights)
    tensorflow = name == "inception" and "fc.weight" in state and len(state["fc.weight"]) == OUTPUTS
    with torch.device("meta"):                                          # shapes alone: the file has the values
        network = fid_inception() if tensorflow else bare(name)
    body = filled(network, state, f"features: {weights}", name).to(device).eval()
    body = body.features[:36] if name == "vgg19" else body              # up to relu5_4
    ranges = ((128 / 255,) * 3,) * 2 if tensorflow else ((0.5,) * 3,) * 2 if name == "inception" else (MEAN, SPREAD)
    shift, scale = (torch.tensor(values, device=device)[:, None, None] for values in ranges)

    def run(pictures: torch.Tensor) -> torch.Tensor:
        found = body((pictures - shift) / scale)
        return found.mean((2, 3)) if found.ndim == 4 else found
    return Loaded(f"{name}-{layer}-{digest[:8]}", length, side, run, digest == FID_SHA256)


def state_of(name: str, weights: str | None) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a weights file and its SHA-256 in hex (8 digits for a download). Code in a file is never run."""
    known = _TORCHVISION.get(name, name)
    if weights is None:
        raise ConfigError(f"{name}: no weights, got none given. Name a local file of torchvision's {known}, or "
                          "'download'; nothing is downloaded by itself")
    if weights == "download":
        chosen = torchvision.models.get_model_weights(known).DEFAULT
        return chosen.get_state_dict(check_hash=True), Path(chosen.url).stem.rpartition("-")[2]
    path = Path(weights)
    if not path.is_file():
        raise ConfigError(f"{name}: no such weights file, got {weights}. Give a state dict of torchvision's {known} "
                          "(.pth)")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:          # torch's own errors here are of many classes: zip, pickle, key, runtime
        raise ConfigError(f"{name}: not a file of weights, got {weights} ({type(error).__name__}). Give a state dict "
                          f"of torchvision's {known} (.pth)") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConfigError(f"{name}: not a state dict, got {weights}. Give one of torchvision's {known} (.pth)")
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return state, digest.hexdigest()


def filled(network: nn.Module, state: dict[str, torch.Tensor], where: str, name: str) -> nn.Module:
    """The network, whose own values may be missing (meta), with those of the file. ConfigError: another network's."""
    wanted = network.state_dict()
    tops = {key.split(".")[0] for key in wanted}
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    shapes = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    over = [key for key in state if key.split(".")[0] in tops and key not in wanted]
    if missing or shapes or over:
        key = (missing or shapes or over)[0]
        first = f"no '{key}'" if missing else f"'{key}' of {list(state[key].shape)}"
        raise ConfigError(f"{where}: weights of another network than {name}, got {first} ({len(missing)} missing, "
                          f"{len(shapes)} of another shape, {len(over)} too many). Give the weights that belong to it")
    values = {key: state.get(key, torch.tensor(0)) for key in wanted}
    network.load_state_dict({key: value.float() if value.is_floating_point() else value
                             for key, value in values.items()}, assign=True)
    return network.requires_grad_(False)


def bare(name: str) -> nn.Module:
    """torchvision's network without its last layers, which classify."""
    if name == "inception":
        network = torchvision.models.Inception3(aux_logits=False, transform_input=False, init_weights=False)
    else:
        network = torchvision.models.get_model(name, weights=None)
    setattr(network, "fc" if hasattr(network, "fc") else "classifier", nn.Identity())
    return network
