"""Which feature extractor the perceptual and style losses use: none, fixed filters, or VGG19 from a file."""
import hashlib
import re
from pathlib import Path

from torch import nn
from torchvision.models import VGG19_Weights

from core.errors import CheckpointError, ConfigError, did_you_mean
from core.weight_files import read_weights

from .losses import TextureFeatures, Vgg19Features

CHOICES = ("none", "texture", "download")


def feature_extractor(chosen: str) -> nn.Module | None:
    """The one extractor that both losses share, in evaluation mode and frozen; None: go without those losses.

    chosen  "none"; "texture": fixed filters, no weights needed; "download": torchvision's VGG19 of ImageNet, 548 MiB,
            checked by its hash and kept in torch's cache; or the path of such a file (vgg19-dcbb9e9d.pth)
    Raises ConfigError where there is no such choice or file, CheckpointError where the file is not one of VGG19.
    """
    if chosen == "none":
        return None
    if chosen == "texture":
        return TextureFeatures()
    source = "download" if chosen == "download" else Path(chosen)
    state = downloaded() if chosen == "download" else stored(Path(chosen))
    network = Vgg19Features()
    wanted = {key: value.shape for key, value in network.state_dict().items()}
    wrong = [key for key, shape in wanted.items() if getattr(state.get(key), "shape", None) != shape]
    if wrong:
        raise CheckpointError(f"{source}: not the weights of VGG19, got no '{wrong[0]}' of {list(wanted[wrong[0]])}. "
                              "Give torchvision's vgg19-dcbb9e9d.pth")
    network.load_state_dict({key: state[key] for key in wanted})
    return network


def stored(path: Path) -> dict:
    """The state_dict in a file. One that has its hash in its name, as torchvision's have, is held against it."""
    if not path.is_file():
        hint = did_you_mean(str(path), CHOICES)
        raise ConfigError(f"features: no such file, got '{path}'. {hint}Give the path of vgg19-dcbb9e9d.pth, or one of "
                          f"{', '.join(CHOICES)}")
    named = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    if named and not sha256(path).startswith(named[1]):
        raise CheckpointError(f"{path}: damaged or another file, got a sha256 of {sha256(path)[:8]}... where its name "
                              f"says {named[1]}. Fetch it again")
    state = read_weights(path)
    return state if isinstance(state, dict) else {}


def downloaded() -> dict:
    """torchvision's own download, from its cache where it is there already; its hash is checked when it is fetched."""
    try:
        return VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:        # no network, no space; a wrong hash
        raise ConfigError(f"features: VGG19 cannot be downloaded, got '{error}'. Fetch vgg19-dcbb9e9d.pth elsewhere "
                          "and give its path, or choose texture") from error


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
