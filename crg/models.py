"""Trained diffusion models for the sampler: from a run of this project or from weights of the published form."""
import json
from pathlib import Path

import torch
from torch import Tensor

from core import checkpoint
from core import config as configs
from core.device import autocast
from core.errors import CheckpointError, ConfigError, DataError

from .legacy_weights import load_earlier
from .networks import Shape, UNet
from .settings import ContextConfig, DefectConfig, SourceConfig

NAMES = {ContextConfig: "crg-context", DefectConfig: "crg-defect"}


class Model:
    """A frozen network as the sampler calls it.

    classes     names of its classes, in the order of their numbers; () where it knows none
    """

    def __init__(self, network: UNet, classes: tuple[str, ...], device: torch.device, precision: str = "float32",
                 compiled: bool = False):
        self.shape, self.classes, self.device, self.precision = network.shape, classes, device, precision
        self.network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.run = torch.compile(self.network) if compiled else self.network

    def __call__(self, images: Tensor, timesteps: Tensor, classes: Tensor | None = None) -> Tensor:
        with autocast(self.device, self.precision):
            return self.run(images.contiguous(memory_format=torch.channels_last), timesteps, classes)


def load_context(source: SourceConfig) -> UNet:
    """Model 5. CheckpointError, ConfigError: as the file or the run says."""
    if source.weights is not None:
        return load_earlier(source.weights, source.network.shape(0))
    return from_run(find_run(source.run, ContextConfig), ContextConfig, 0)


def load_defect(source: SourceConfig, class_file: Path | None) -> tuple[UNet, tuple[str, ...]]:
    """Model 6 and the names of its classes, which a run knows and weights have from `class_file`."""
    if source.weights is None:
        run = find_run(source.run, DefectConfig)
        path = run / "classes.txt"
        if not path.is_file():
            raise CheckpointError(f"{path}: missing, so that the network's classes have no names. Put it back; it "
                                  "holds a name a line")
        names = tuple(path.read_text(encoding="utf-8").splitlines())
        if class_file is not None and read_classes(class_file) != names:
            raise ConfigError(f"{class_file}: names other classes than {run} has learnt, got "
                              f"{', '.join(read_classes(class_file))} for {', '.join(names)}. Leave `classes` out")
        return from_run(run, DefectConfig, len(names)), names
    if class_file is None:
        raise ConfigError("classes: weights do not name their classes, got nothing. Give a JSON file "
                          "{\"name\": number, ...}")
    names = read_classes(class_file)
    return load_earlier(source.weights, source.network.shape(len(names))), names


def read_classes(path: Path) -> tuple[str, ...]:
    """Names in the order of their numbers, from a JSON file {"name": number}. DataError: anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of classes. Check `classes`") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON, got '{error}'. Write {{\"name\": number, ...}}") from error
    if not isinstance(found, dict) or not found or sorted(map(str, found.values())) != sorted(
            map(str, range(len(found)))):
        raise DataError(f"{path}: classes must be numbered from 0 on without gaps, got {json.dumps(found)[:80]}. Write "
                        "{\"name\": number, ...}")
    return tuple(sorted(found, key=lambda name: int(found[name])))


def find_run(folder: Path, model: type) -> Path:
    """The run of a model, given itself or as the experiment's folder. CheckpointError: it has no checkpoint."""
    name = NAMES[model]
    for run in (folder / name, folder):
        if (run / "config.yaml").is_file() and checkpoint.found(run):
            return run
    raise CheckpointError(f"{folder / name}: no trained {name} here, got no config.yaml with a step-*.pt. Train it "
                          f"first: python train.py --model {name} --checkpoints {folder}")


def from_run(run: Path, model: type, classes: int) -> UNet:
    """The averaged network of a run's newest checkpoint."""
    shape: Shape = configs.load(model, run / "config.yaml").network.shape(classes)
    network = UNet(shape)
    checkpoint.load_part(checkpoint.found(run)[-1], "average/network", network)
    return network.eval().requires_grad_(False)
