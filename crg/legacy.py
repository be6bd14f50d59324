"""The earlier CRG code's YAML files (pcb_gen.yml, train-64.yml, train-256.yml), read as they are.

    earlier = read_config(Path("confs/pcb_gen.yml"))
    earlier.purpose         # "paint", "context" or "defect"
    earlier.values          # keys and values of PaintConfig, ContextConfig or DefectConfig
    earlier.notes           # a line for each key that has no effect, with the reason

What means something is translated; what does not is named; a key that nobody knows is an error where it is like one
that is known. Weights are read by crg/legacy_weights.py.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core import config as configs
from core.config_yaml import Entry, Problem, plain, read_file
from core.errors import ConfigError, did_you_mean

from .legacy_keys import DEAD, FIXED, MARKS, PAINT, SECTIONS, TRAIN
from .settings import PaintConfig

Purpose = Literal["paint", "context", "defect"]


@dataclass(frozen=True)
class Earlier:
    path: Path
    purpose: Purpose
    values: dict[str, Any]
    notes: tuple[str, ...]


def is_earlier(path: Path) -> bool:
    """Whether a YAML file is one of the earlier code's. Raises ConfigError where it cannot be read."""
    return flat(read_file(Path(path), [])).keys() >= MARKS


def read_config(path: Path) -> Earlier:
    """Read an earlier file. ConfigError names every wrong value and every probable misspelling by its line."""
    problems: list[Problem] = []
    entries = flat(read_file(Path(path), problems))
    purpose = purpose_of(entries)
    table = PAINT if purpose == "paint" else TRAIN
    values: dict[str, Any] = {}
    notes: list[str] = []
    for key, entry in entries.items():
        value = plain(entry)
        if key in table:
            new, convert = table[key] if isinstance(table[key], tuple) else (table[key], None)
            if value is None:
                notes.append(f"{entry.where}: {key} is empty and stands at its default")
                continue
            try:
                put(values, new, value if convert is None else convert(value))
            except ValueError as error:
                problems.append(Problem(entry.line, f"{entry.where}: '{key}' {error}, got '{entry.text or value}'"))
        elif key in FIXED:
            wanted, why = FIXED[key]
            if value not in wanted:
                problems.append(Problem(entry.line, f"{entry.where}: '{key}' must be {shown(wanted[0])}, got "
                                                    f"{shown(value)}: {why}"))
        elif (reason := dead(key)) is not None:
            notes.append(f"{entry.where}: {key} is not read: {reason}")
        elif hint := did_you_mean(key, [*table, *FIXED, *DEAD]):
            problems.append(Problem(entry.line, f"{entry.where}: unknown key '{key}'. {hint}The earlier code passed "
                                                "over it without a word"))
        else:
            notes.append(f"{entry.where}: {key} is not read: it meant nothing to the earlier code either")
    if not problems:
        problems += finish(purpose, entries, values, notes)
    if problems:
        raise ConfigError("\n".join(problem.text for problem in sorted(problems, key=lambda problem: problem.line)))
    return Earlier(Path(path), purpose, values, tuple(notes))


def paint_config(path: Path, overrides: Sequence[str] = ()) -> tuple[PaintConfig, tuple[str, ...]]:
    """The configuration of a painting run, from this project's file or an earlier one, and notes. Or ConfigError."""
    if not is_earlier(path):
        return configs.load(PaintConfig, path, overrides), ()
    earlier = read_config(path)
    if earlier.purpose != "paint":
        raise ConfigError(f"{path}: is for training, got a file for '{earlier.purpose}'. Give it to train.py --model "
                          f"crg-{earlier.purpose} --config {path}")
    return configs.load(PaintConfig, path, overrides, values=earlier.values), earlier.notes


def flat(root: Entry, prefix: str = "") -> dict[str, Entry]:
    """"ddim.schedule_params.start_step" -> its entry, for every single value and list."""
    found = {}
    for key, entry in root.value.items():
        found |= flat(entry, f"{prefix}{key}.") if isinstance(entry.value, dict) else {prefix + key: entry}
    return found


def purpose_of(entries: dict[str, Entry]) -> Purpose:
    if any(key.startswith(SECTIONS) for key in entries):
        return "paint"
    return "defect" if "class_cond" in entries and plain(entries["class_cond"]) is True else "context"


def put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *above, last = dotted.split(".")
    for key in above:
        values = values.setdefault(key, {})
    values[last] = value


def dead(key: str) -> str | None:
    """Why a key has no effect; None: it is not known to have none. Rows end in "*" for all keys that begin so."""
    return next((why for row, why in DEAD.items()
                 if key == row or (row.endswith("*") and key.startswith(row[:-1]))), None)


def finish(purpose: Purpose, entries: dict[str, Entry], values: dict[str, Any], notes: list[str]) -> list[Problem]:
    """What depends on several keys at once."""
    if purpose == "paint":
        return finish_paint(entries, values, notes)
    loop = values.setdefault("loop", {})
    steps = loop.get("steps", 0)
    if steps == 0:
        loop["steps"] = 500_000 if purpose == "context" else 200_000
        notes.append(f"lr_anneal_steps 0 trained for ever; here training ends after {loop['steps']} steps at a "
                     "constant rate. --set loop.steps=N for another number")
    else:
        put(values, "optimizer.decay_steps", steps)
    loop["evaluate_every"] = loop.get("save_every", 10_000)
    own = {"format": "named", "balance": False, "jitter_px": 0} if purpose == "defect" else {"fit": "whole"}
    values.setdefault("data", {}).update({"turns": False, **own})
    notes.append("no turned images, no jitter and no balance of the classes, as in the earlier code: see section data")
    return []


def finish_paint(entries: dict[str, Entry], values: dict[str, Any], notes: list[str]) -> list[Problem]:
    problems = []
    values.update(fit="whole", paste=False, retries=0, keep_unseen=True)
    notes.append("as in the earlier code, the image is squeezed to the context model's size, its background is not put "
                 "back, and pictures without a visible defect are kept; see keys fit, paste, retries and keep_unseen")
    kept, named = (entries.get(f"{key}") for key in ("timestep_respacing", "ddim.schedule_params.ddpm_num_steps"))
    if kept is not None and named is not None and str(plain(kept)) != str(plain(named)):
        problems.append(Problem(named.line, f"{named.where}: 'ddim.schedule_params.ddpm_num_steps' must be that of "
                                            f"timestep_respacing, {plain(kept)}, got {plain(named)}"))
    seed = entries.get("seed")
    if seed is None or not plain(seed):
        where = "seed" if seed is None else f"{seed.where}: seed"
        notes.append(f"{where} is empty or 0, which meant no seed at all; here it is seed 0, and repeatable")
    return problems


def shown(value: object) -> str:
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)
