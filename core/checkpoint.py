"""One file a checkpoint: complete or absent, checked when read, and never able to run code."""
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn, optim

from .errors import CheckpointError
from .files import partial_of, whole_file

FORMAT = 1


class Stateful(Protocol):
    """Modules, optimisers, averages: whatever can hand out its state and take it back."""
    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> Any: ...


def path_of(run: Path, step: int) -> Path:
    return run / f"step-{step:08d}.pt"


def best_path(run: Path) -> Path:
    """Where the checkpoint of the best evaluation is kept, for models that watch one (core.watch)."""
    return run / "best.pt"


def found(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first, by their step."""
    names = ((re.fullmatch(r"step-(\d+)\.pt", path.name), path) for path in run.glob("step-*.pt"))
    return [path for _, path in sorted((int(match[1]), path) for match, path in names if match)]


def save(path: Path, step: int, parts: Mapping[str, Stateful]) -> None:
    """Write the state of every part. Raises OutputError where there is no space or no right; then nothing is left."""
    state = {"format": FORMAT, "step": step, "parts": {name: part.state_dict() for name, part in parts.items()}}
    with whole_file(path) as file:
        torch.save(state, file)


def prune(run: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what a process that was killed while saving has left."""
    for path in found(run)[:-keep]:
        path.unlink(missing_ok=True)
    for path in run.glob(partial_of(run / "step-*.pt").name):
        path.unlink(missing_ok=True)


def restore(path: Path, parts: Mapping[str, Stateful], *, whole: bool = True) -> int:
    """Load the named parts from a checkpoint and return its step.

    whole   the file must hold these parts and no others; False: a few of them are wanted, such as one average
    Raises CheckpointError that names what does not fit; then no part has been changed.
    """
    state = load(path)
    problems = [f"it has no '{name}'" for name in parts if name not in state["parts"]]
    problems += [f"it has '{name}' too" for name in state["parts"] if whole and name not in parts]
    for name in parts:
        if name in state["parts"]:
            problems += [f"in '{name}' {problem}" for problem in _misfits(parts[name], state["parts"][name])]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{path}: is of another model: {'; '.join(problems[:5])}{more}. "
                              "Use the configuration it was made with, or another folder")
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return state["step"]


def load_part(path: Path, name: str, module: nn.Module) -> int:
    """Load one part, such as "average/generator" or "module/network", into a module; return the checkpoint's step."""
    return restore(path, {name: module}, whole=False)


def load(path: Path) -> dict:
    """Read {"format", "step", "parts": {name: state}}, every tensor on the CPU. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint. Check the name")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()         # torch.load checks no sums: it would take a flipped byte for a weight
        if damaged is None:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: holds more than tensors, numbers and text, got {_refused(error)}. It could run "
                              "code on this machine and was not read; use a file that this project wrote") from error
    except Exception as error:                  # damaged bytes can raise anything; all of it means the same
        raise CheckpointError(f"{path}: cannot be read, got '{_first_line(error)}'. {_way_out(path)}") from error
    if damaged is not None:
        raise CheckpointError(f"{path}: damaged, got a wrong checksum of its part '{damaged}'. {_way_out(path)}")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        got = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: not a checkpoint of this project, got format {got}. It must be {FORMAT}")
    return state


def _way_out(path: Path) -> str:
    """Which file to delete, and what is gone on from then."""
    siblings = found(path.parent)
    if path not in siblings:
        return "Fetch or make it again"
    before = siblings[:siblings.index(path)]
    return f"Delete {path.name} to go on from {before[-1].name}" if before else f"Delete {path.name} to start again"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refused(error: pickle.UnpicklingError) -> str:
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"'{name[1] if name else _first_line(error)}'"


def _misfits(part: Stateful, state: dict) -> list[str]:
    """What keeps `state` from being loaded into `part`."""
    if isinstance(part, optim.Optimizer):
        return _optimizer_misfits(part, state)
    mine = part.state_dict()
    if not all(isinstance(value, torch.Tensor) for value in mine.values()):
        return []
    problems = [f"'{key}' is missing" for key in mine if key not in state]
    problems += [f"'{key}' is unknown here" for key in state if key not in mine]
    return problems + [f"'{key}' is {list(state[key].shape)}, here {list(mine[key].shape)}"
                       for key in mine if key in state and state[key].shape != mine[key].shape]


def _optimizer_misfits(optimizer: optim.Optimizer, state: dict) -> list[str]:
    """Groups, and what torch does not check: the shapes of an optimiser's running averages."""
    there = [len(group["params"]) for group in state["param_groups"]]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if there != here:
        return [f"there are {there} parameters by group, here {here}"]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    mine = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [f"'{key}' of parameter {number} is {list(value.shape)}, here {list(parameter.shape)}"
            for number, parameter in zip(numbers, mine, strict=True)
            for key, value in state["state"].get(number, {}).items()
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape]
