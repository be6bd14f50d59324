"""Models that a generator needs: which of them to train or to go on with, and which are used as they are."""
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from pydantic import BaseModel

from .. import checkpoint
from .. import config as configs
from ..data import images
from ..errors import ConfigError, Stopped
from ..files import writing
from ..loop import train
from ..runlog import open_run
from ..seeding import seed_step
from ..task import Task
from .bank import DefectBank
from .settings import flat

FOLDER = "models"                   # of the run's output, where models are trained that are not given
BEGUN = "learned.json"              # in a run that the main job began: a hash of the defects that it learns from
# What a run of a model leaves in its folder, beside what its user may have put there.
FILES = ("config.yaml", "environment.json", "log.txt", "metrics.jsonl", "classes.txt", "splits.json", "grain.npz",
         "best.pt", "step-*.pt", "events.out.tfevents.*", ".*.partial", ".lock", BEGUN)
FOLDERS = ("inpainted", "samples")
# Keys that say how fast and how safely a model is trained; the machine has a say in them.
UNCOMPARED = ("loop.workers", "loop.precision", "loop.save_every", "loop.evaluate_every", "loop.report_every",
              "loop.keep", "loop.deterministic")

Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a generator's models are, and what the user asked for.

    method      whose section of the configuration `settings` is
    keys        what the settings are called in a model's configuration: {"steps": "loop.steps"}
    learned     hash of the training defects
    own         the folder is the output's own: its models are trained for these images alone
    """
    folder: Path
    method: str
    settings: BaseModel
    keys: Mapping[str, str]
    learned: str
    own: bool

    @classmethod
    def of(cls, method: str, settings: BaseModel, keys: Mapping[str, str], bank: DefectBank, output: Path) -> "Place":
        return cls(folder=settings.checkpoints or output / FOLDER, method=method, settings=settings, keys=keys,
                   learned=defects_hash(bank), own=settings.checkpoints is None)

    def train(self, wanted: Mapping[str, Config], task_of: Callable[[str, Config, Path], Task],
              device: torch.device) -> None:
        """Train the models that are not trained yet, in this order; those that are, are used, which is said.

        wanted      by name, the configuration that a model is trained with where there is none
        task_of     (name, configuration, run) -> what is trained
        ConfigError: see `to_train`. Stopped: a signal came; the same call goes on.
        """
        configs = {name: self.to_train(name, config) for name, config in wanted.items()}
        for number, (name, config) in enumerate(configs.items(), 1):
            if config is None:
                continue
            run = self.folder / name
            self.begin(name)
            print(f"{name} (model {number} of {len(configs)}) learns in {run}", flush=True)
            seed_step(config.loop.seed, 0)
            task = task_of(name, config, run)
            log = open_run(run, config.model_dump(mode="json"), command=sys.argv)
            code = train(task, config.loop, log, device=device)
            if code:
                raise Stopped(f"stopped while {name} was learning; the same command goes on", code - 128)

    def check_classes(self, learnt: Iterable[str], wanted: Iterable[str]) -> None:
        """ConfigError names a class that is to be made and that the models have not learnt."""
        for label in wanted:
            if label not in learnt:
                raise ConfigError(f"{self.folder}: its models have not learnt class '{label}', got "
                                  f"{', '.join(learnt)}. Give an experiment trained on these classes")

    def to_train(self, name: str, wanted: Config) -> Config | None:
        """The configuration to train a model with; None: it is there, and is used as it is, which is said.

        A run that the main job began goes on, as it was begun. One that train.py began is never trained on here.
        wanted      the configuration that it is trained with where there is none
        ConfigError: what is there contradicts the settings, or has learnt, where it matters, from other defects.
        """
        run = self.folder / name
        if not (run / "config.yaml").is_file():
            return wanted
        found = configs.load(type(wanted), run / "config.yaml")
        self._compare(run, flat(found.model_dump(mode="json")), flat(wanted.model_dump(mode="json")))
        before, paths = learned_before(run), checkpoint.found(run)
        finished = checkpoint.path_of(run, found.loop.steps) in paths
        if before not in (None, self.learned) and (self.own or not finished):
            raise ConfigError(f"{run}: {'has learnt' if finished else 'was learning'} from other defects than these, "
                              f"got models of other data. {self._way_out(run)}")
        if not finished and (self.own or before is not None):
            return found
        if not paths:
            raise ConfigError(f"{run}: begun by train.py, got no checkpoint yet. Train it to its end (python train.py "
                              f"--model {name} --checkpoints {self.folder}), or give another folder")
        self._say(name, run, int(paths[-1].stem.partition("-")[2]), found)
        return None

    def begin(self, name: str) -> None:
        """Note in a model's folder what it is about to learn from."""
        run = self.folder / name
        with writing(run):
            run.mkdir(parents=True, exist_ok=True)
        images.write_bytes(run / BEGUN, f"{json.dumps({'defects': self.learned})}\n".encode())

    def _compare(self, run: Path, found: dict, wanted: dict) -> None:
        """In a folder of our own all settings, elsewhere those that the user changed from their defaults."""
        defaults = type(self.settings)()
        changed = {key: setting for setting, key in self.keys.items()
                   if getattr(self.settings, setting) != getattr(defaults, setting)}
        compared = [key for key in wanted if key not in UNCOMPARED] if self.own else list(changed)
        other = [key for setting, key in self.keys.items() if getattr(self.settings, setting) != wanted[key]]
        names = {key: f"{self.method}.{setting}{f' ({key})' if key in other else ''}"
                 for setting, key in self.keys.items()}
        lines = [f"  {names.get(key, key)}: was {found.get(key)!r}, is {wanted[key]!r}" for key in compared
                 if found.get(key) != wanted[key]]
        if lines:
            listed = "\n".join(lines)
            raise ConfigError(f"{run}: trained with other settings:\n{listed}\n{self._way_out(run)}")

    def _way_out(self, run: Path) -> str:
        if self.own:
            return "Say --overwrite to train anew" if learned_before(run) else "Choose another output"
        return "Leave the settings out to use the models as they are, or give another folder with --checkpoints"

    def _say(self, name: str, run: Path, step: int, found: BaseModel) -> None:
        values = flat(found.model_dump(mode="json"))
        shown = ", ".join(f"{setting} {values[key]}" for setting, key in self.keys.items()
                          if setting not in ("steps", "batch_size"))
        print(f"{name}: used as it is in {run}, step {step} ({shown})", flush=True)
        if step < found.loop.steps:
            print(f"note: {name} was stopped at step {step} of {found.loop.steps} and is used as it is. It "
                  f"goes on with python train.py --model {name} --checkpoints {self.folder}", flush=True)


def learned_before(run: Path) -> str | None:
    """The hash of the defects that a run of the main job's learns from; None: it is not one."""
    path = run / BEGUN
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))["defects"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be read, got '{error}'. Delete its folder to train anew") from error


def forget(folder: Path) -> None:
    """Remove the models that the main job trained in a folder; files that are none of theirs stay."""
    for run in sorted(path.parent for path in folder.glob(f"*/{BEGUN}")):
        for path in [path for pattern in FILES for path in run.glob(pattern)]:
            path.unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(run / name, ignore_errors=True)
        if not any(run.iterdir()):
            run.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def defects_hash(bank: DefectBank) -> str:
    """Changes when a training defect, its label or its surroundings do."""
    found = hashlib.sha256()
    for crop in bank.crops:
        found.update(repr((crop.label, crop.record, crop.box, crop.pixels.shape)).encode())
        for plane in (crop.pixels, crop.mask):
            found.update(np.ascontiguousarray(plane).tobytes())
    return found.hexdigest()[:16]


def weights_hash(parts: Iterable[Mapping[str, np.ndarray]]) -> str:
    """Of the networks that draw: equal weights, equal hash, wherever their files lie."""
    found = hashlib.sha256()
    for weights in parts:
        for name in sorted(weights):
            found.update(f"{name}{weights[name].shape}".encode())
            found.update(np.ascontiguousarray(weights[name]).tobytes())
    return found.hexdigest()[:16]
