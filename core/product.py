"""What `--product NAME` and the options beside it mean: one folder a family of parts, for data, training, results.

    OUTPUT/NAME/            by scripts/preprocess_to_coco.py: annotations, images, splits.json, dataset_summary.json
    OUTPUT/NAME/runs/       the experiment's folder (`--checkpoints`); tensorboard --logdir reads it as it is
"""
import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import yaml

from . import registry
from .errors import ConfigError, did_you_mean

USUAL = "detect"                    # the model that `--model NAME` of a product trains
PREPARED = "dataset_summary.json"
RUNS = "runs"


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--product` and what it is used with."""
    parser.add_argument("--product", metavar="NAME", help="a product of scripts/preprocess_to_coco.py: its data and "
                                                          "folder; --model NAME alone is --model detect of it")
    parser.add_argument("--output-root", type=Path, default=Path("output"), metavar="DIR",
                        help="folder of the products (default: output)")
    parser.add_argument("--epochs", type=int, metavar="N", help="in place of loop.steps: passes through the samples")
    parser.add_argument("--batch-size", type=int, metavar="N", help="in place of loop.batch_size")
    parser.add_argument("--lr", type=float, metavar="RATE", help="in place of optim.learning_rate")


def take(given: argparse.Namespace) -> None:
    """Fill `given` in from the product: the model, the folder of the experiment, the data. Raises ConfigError."""
    known = {text for model in registry.MODELS for text in (model.name, str(model.number))}
    if given.product is None and given.model and given.model not in known and _prepared(given.output_root, given.model):
        given.model, given.product = USUAL, given.model
    if given.product is None:
        return
    folder = given.output_root / given.product
    if not (folder / PREPARED).is_file():
        there = sorted(path.parent.name for path in given.output_root.glob(f"*/{PREPARED}"))
        raise ConfigError(f"--product {given.product}: no such product in {given.output_root}. "
                          f"{did_you_mean(given.product, there)}Prepared are {', '.join(there) or 'none'}; "
                          "scripts/preprocess_to_coco.py prepares one")
    given.model = given.model or USUAL
    given.checkpoints = given.checkpoints or folder / RUNS
    given.set = [f"data.root={folder}", *given.set]


def overrides(given: argparse.Namespace, task_type: type, chosen: object) -> Sequence[str]:
    """What --epochs, --batch-size and --lr mean for a model, over its config `chosen`. Raises ConfigError.

    With epochs an evaluation, and a checkpoint, ends each of them.
    """
    found = []
    if given.lr is not None:
        if not hasattr(getattr(chosen, "optim", None), "learning_rate"):
            raise ConfigError(f"--lr: not for model '{given.model}', got {given.lr:g}. Set the rates of its own config")
        found.append(f"optim.learning_rate={given.lr!r}")
    if given.batch_size is not None:
        found.append(f"loop.batch_size={given.batch_size}")
    if given.epochs is not None:
        if not hasattr(task_type, "samples"):
            raise ConfigError(f"--epochs: not for model '{given.model}', got {given.epochs}. Use --set loop.steps=N")
        if given.epochs < 1:
            raise ConfigError(f"--epochs: must be at least 1, got {given.epochs}. Give how often all samples are seen")
        batch = max(1, given.batch_size or chosen.loop.batch_size)
        epoch = math.ceil(task_type.samples(chosen) / batch)
        found += [f"loop.steps={epoch * given.epochs}", f"loop.evaluate_every={epoch}", f"loop.save_every={epoch}"]
    return found


def _prepared(root: Path, name: str) -> bool:
    if (root / name / PREPARED).is_file():
        return True
    declared = Path(__file__).resolve().parents[1] / "configs" / "products.yaml"
    if name in yaml.safe_load(declared.read_text(encoding="utf-8"))["products"]:
        raise ConfigError(f"--model {name}: a product that is not prepared, got no {root / name / PREPARED}. "
                          f"Run scripts/preprocess_to_coco.py --model {name} first")
    return False
