"""A fitted model of good images learns from further ones, and finds its thresholds again."""
from pathlib import Path

import torch

from core.data.images import image_places, read_size
from core.data.records import Record
from core.errors import ConfigError

from .anomaly_data import Images, good_of, open_data
from .anomaly_evaluate import limits_of
from .anomaly_task import SPLITS
from .patchcore import PatchCore
from .screen import MEMORY, load


def update(run: Path, folder: Path, device: torch.device) -> list[str]:
    """Rewrite the memory of a run; what changed, a line each. ConfigError: not a model that can be updated."""
    screen = load(run, (), device)
    model, config = screen.model, screen.config
    if not isinstance(model, PatchCore):
        raise ConfigError(f"{run}: only patchcore learns from further images alone, got {config.model.name}. Add the "
                          "images to the set, and run train.py again")
    records = [Record(image=path, name=name, size=read_size(path)) for name, path in image_places(folder).items()]
    dataset, _ = open_data(config.data, run / SPLITS)
    before = len(model.bank), int(model.seen[0]), screen.limits.image
    model.update(Images(records, config.data, model.features.light, device).tiles())
    limits = limits_of(model, good_of(dataset, "val"), config, device)
    model.save(run / MEMORY, **{**vars(limits), "scores": list(limits.scores)})
    return [f"{len(records)} images learned; places seen {before[1]}, now {int(model.seen[0])}; kept {before[0]}, now "
            f"{len(model.bank)}", f"threshold {before[2]:.4g}, now {limits.image:.4g}"]
