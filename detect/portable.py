"""A detector in one file, best_model.pth or latest.pth: weights, classes, config and threshold, and no code."""
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from core import checkpoint
from core import config as configs
from core.errors import CheckpointError, ConfigError
from core.files import whole_file
from core.product import PREPARED
from core.weight_files import read_weights

from .history import HISTORY, read_kept
from .networks import fill
from .settings import DetectConfig

FORMAT = "defectforge-detect-1"
BEST, LATEST = "best_model.pth", "latest.pth"
RUNS, CHECKPOINTS = "runs", "checkpoints"       # in a product's folder


@dataclass(frozen=True)
class Portable:
    """What such a file holds; `product` is the folder's name of what it was trained on."""
    product: str
    config: DetectConfig
    classes: tuple[str, ...]
    threshold: float
    step: int
    weights: dict[str, torch.Tensor]


def write(run: Path, config: DetectConfig, classes: tuple[str, ...]) -> None:
    """Put both files, and the course of the training, where a product's folder has them; elsewhere do nothing.

    run     OUTPUT/PRODUCT/runs/MODEL; the files go to OUTPUT/PRODUCT/checkpoints, the course to OUTPUT/PRODUCT
    """
    product = run.parent.parent
    if run.parent.name != RUNS or config.data.root.resolve() != product.resolve():
        return
    (product / CHECKPOINTS).mkdir(exist_ok=True)
    with whole_file(product / HISTORY) as file:
        file.write((run / HISTORY).read_bytes())
    sources = {BEST: checkpoint.best_path(run), LATEST: checkpoint.found(run)[-1]}
    for name, source in sources.items():
        if source.is_file():
            state = checkpoint.load(source)
            content = {"format": FORMAT, "product": product.name, "step": state["step"], "classes": list(classes),
                       "config": config.model_dump(mode="json"),
                       "threshold": read_kept(run, "threshold", config.threshold.value),
                       "model": state["parts"]["module/network"]}
            with whole_file(product / CHECKPOINTS / name) as file:
                torch.save(content, file)


def read(path: Path) -> Portable:
    """Raises CheckpointError: not such a file, or of another release."""
    content = read_weights(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a detector of this project, got {_kind(content)}. It must be a "
                              f"{BEST} or {LATEST} of a training here; published weights are for network.weights")
    try:
        config = DetectConfig.model_validate(content["config"])
    except ValueError as error:
        raise CheckpointError(f"{path}: its config is of another release, got '{str(error).splitlines()[0]}'. Train "
                              "anew, or use the release that wrote it") from error
    return Portable(content["product"], config, tuple(content["classes"]), content["threshold"], content["step"],
                    content["model"])


def put_in(network: nn.Module, kept: Portable, path: Path) -> None:
    """Load its weights. CheckpointError: the network is another one than that which was trained."""
    try:
        fill(network, kept.weights)
    except ValueError as error:
        raise CheckpointError(f"{path}: weights of another network than the config says, got {error}. Leave network. "
                              "out of --set") from error


def learned_from(run: Path) -> Path | None:
    """The prepared product whose images a run has learned from; None: other images, or a folder that is gone."""
    root = configs.load(DetectConfig, run / "config.yaml").data.root.resolve()
    return root if (root / PREPARED).is_file() else None


def of_product(path: Path, name: str) -> Portable:
    """The same, of that product and no other. Raises ConfigError."""
    found = read(path)
    if found.product != name:
        raise ConfigError(f"{path}: a detector of product '{found.product}', got --model {name}. Its classes are "
                          f"{', '.join(found.classes)}; every product has its own")
    return found


def _kind(content: object) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    return f"format {content['format']}" if "format" in content else f"a dict of {', '.join(map(str, [*content][:3]))}"
