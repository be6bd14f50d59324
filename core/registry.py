"""The table of models: what `--model` may name, and how a name becomes a class."""
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Model:
    """One row. A model outside the table has no number and no config of its own."""
    number: int | None
    name: str               # also the name of its run folder
    summary: str
    target: str             # "package.module:Class", imported when chosen: an unfinished package cannot break another
    config: str | None      # shipped config, relative to the checkout


def table(*models: Model) -> tuple[Model, ...]:
    """Rows in order of their number. Raises ValueError where two rows share a number, a name or a config."""
    for column in ("number", "name", "config"):
        seen: dict[object, Model] = {}
        for model in models:
            value = getattr(model, column)
            if value in seen:
                raise ValueError(f"models '{seen[value].name}' and '{model.name}' share the {column} {value}")
            seen[value] = model
    return tuple(sorted(models, key=lambda model: model.number))


# A row is added when its model works. Numbers are never reused, not even that of a model which is taken out.
MODELS = table(
    Model(1, "midg-edge", "edges of a defect inside a mask", "midg.task:EdgeTask", "configs/midg-edge.yaml"),
    Model(2, "midg-inpaint", "a defect from given edges: drawn shapes", "midg.task:GivenEdgesTask",
          "configs/midg-inpaint.yaml"),
    Model(3, "midg-defect", "a defect from the edges that model 1 predicts", "midg.task:DefectTask",
          "configs/midg-defect.yaml"),
    Model(4, "midg-joint", "models 1 and 3 at once", "midg.task:JointTask", "configs/midg-joint.yaml"),
    Model(5, "crg-context", "a diffusion model of defect-free images", "crg.task:ContextTask",
          "configs/crg-context.yaml"),
    Model(6, "crg-defect", "a diffusion model of defect patches, by class", "crg.task:DefectTask",
          "configs/crg-defect.yaml"),
    Model(7, "segment", "the class of every pixel, on images of any size", "segment.task:SegmentTask",
          "configs/segment.yaml"),
    Model(8, "detect", "each defect with its mask, by Mask R-CNN: patches or whole frames", "detect.task:DetectTask",
          "configs/detect.yaml"),
    Model(9, "anomaly", "what is unlike good images, learned from those alone", "detect.anomaly_task:AnomalyTask",
          "configs/anomaly.yaml"),
    Model(10, "classify", "good or defective, patch by patch, with a heat map", "detect.classify:ClassifyTask",
          "configs/classify.yaml"),
)

# What `test.py --model NAME --config FILE` does: models that work together, after a configuration of their own.
# name -> ("module:function", of the parsed options; what it does)
TOGETHER = {"crg": ("crg.command:main", "models 5 and 6 paint defects at points: test.py --model crg --config FILE")}

OWN_MODEL = "--model package.module:Class"


def find(chosen: str, models: Sequence[Model] = MODELS) -> Model:
    """The row of a number or a name; "package.module:Class" is a model of one's own. Raises ConfigError."""
    if ":" in chosen:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", chosen):
            raise ConfigError(f"--model {chosen}: cannot be read. Write it as package.module:Class")
        return Model(None, chosen.replace(":", "."), "a model of one's own", chosen, None)
    for model in models:
        if chosen in (model.name, str(model.number)):
            return model
    hint = did_you_mean(chosen, [model.name for model in models])
    raise ConfigError(f"--model {chosen}: no such model. {hint}Choose one of these.\n{listing(models)}")


def listing(models: Sequence[Model] = MODELS) -> str:
    """The table as text."""
    if not models:
        return f"No model is part of this release yet. Train one of your own with {OWN_MODEL} (see --help)."
    width = max(len(model.name) for model in models)
    rows = [(model.number, model.name, model.summary) for model in models]
    if models is MODELS:
        rows += [("", name, what) for name, (_, what) in TOGETHER.items()]
    return "\n".join(f"{number:>3}  {name:<{width}}  {what}" for number, name, what in rows)


def resolve(target: str) -> type:
    """Import "package.module:Class" (or "...:Class.Inner"); modules of the working folder are found too.

    Raises ConfigError where there is no such module or class. An error inside the module comes out as it is.
    """
    module_name, _, names = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"{target}: no module '{error.name}'. Start where its folder is, or install it") from error
    for name in names.split("."):
        if not hasattr(found, name):
            classes = [key for key, value in vars(found).items() if isinstance(value, type)]
            raise ConfigError(f"{target}: {module_name} has no class '{name}'. {did_you_mean(name, classes)}".rstrip())
        found = getattr(found, name)
    return found
