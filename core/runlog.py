"""The folder of a run: its configuration, where it was made, and a log that a killed run takes up again."""
import datetime
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from . import checkpoint, config_yaml
from .errors import ConfigError, OutputError
from .files import append, whole_file, writing
from .lock import lock, unlock
from .progress import Progress

# Keys that do not change what is learnt in a step, so that a run may go on with another value.
FREE = frozenset({"device", "loop.steps", "loop.save_every", "loop.evaluate_every", "loop.report_every",
                  "loop.workers", "loop.keep"})
PICTURE_PX = 1280       # longest side of a picture in TensorBoard; its file has it whole
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "opencv-python", "scikit-image", "pillow",
            "pydantic")


def open_run(folder: Path, config: Mapping, *, command: Sequence[str] = tuple(sys.argv), rank: int = 0) -> Path:
    """Make the folder of a run, or check that the run in it can go on with `config`; return it.

    Writes config.yaml (`config` resolved: nested dicts of plain values), environment.json (versions, revision, command)
    and a line in log.txt. Raises ConfigError naming key, old and new value where a key that alters results differs,
    OutputError where another process trains here, or where best weights would be lost. This one keeps others out until
    its RunLog is closed (core.lock).
    rank    number of the process in data-parallel training: only process 0 looks and writes
    """
    if rank != 0:
        return folder
    path, text = folder / "config.yaml", config_yaml.write(dict(config))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock(folder)
    if checkpoint.found(folder):
        _check_same(path, yaml.safe_load(text))
    elif (best := checkpoint.best_path(folder)).is_file():
        raise OutputError(f"{best}: best weights of a training whose step-*.pt are gone, got a run that would replace "
                          "them. Move them elsewhere, or choose another folder")
    environment = _environment(command)
    for name, content in ((path, text), (folder / "environment.json", json.dumps(environment, indent=2) + "\n")):
        with whole_file(name) as file:
            file.write(content.encode())
    with writing(folder / "log.txt"), open(folder / "log.txt", "ab", buffering=0) as file:
        append(file, _dated(f"{environment['command']} (revision {environment['revision']})"))
    return folder


def _check_same(path: Path, config: dict) -> None:
    """Compare with the configuration that a run was started with."""
    if not path.is_file():
        raise ConfigError(f"{path}: missing, so that the checkpoints beside it cannot be told from another model's. "
                          "Put it back or choose another folder")
    try:
        old = _flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read, got '{error}'. Put it back or choose another folder") from error
    new = _flat(config)
    differing = [key for key in {**old, **new} if key not in FREE and old.get(key, "absent") != new.get(key, "absent")]
    if differing:
        lines = [f"{path}: '{key}' was {old.get(key, 'absent')!r} when this run was started, got "
                 f"{new.get(key, 'absent')!r}. It alters the result: put it back, or choose another folder"
                 for key in differing]
        raise ConfigError("\n".join(lines))


def _flat(tree: Mapping, prefix: str = "") -> dict[str, object]:
    """{"loop": {"seed": 1}} -> {"loop.seed": 1}."""
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _environment(command: Sequence[str]) -> dict:
    installed = {distribution.metadata["Name"].lower() for distribution in metadata.distributions()}
    return {
        "command": shlex.join(command),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "revision": _revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: metadata.version(name) for name in PACKAGES if name in installed},
    }


def _revision() -> str:
    """Git's hash of this checkout, with "-dirty" where files differ from it; "unknown" without git."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() if answer.returncode == 0 else "unknown"


def _dated(text: str) -> bytes:
    return f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n".encode()


class RunLog:
    """metrics.jsonl, which is the record: one JSON object a report; TensorBoard events beside it; log.txt, a diary.

    step    where the run goes on: later lines, which a killed run has left, are cut off
    steps   where it will end
    writes  False in all processes but the first: every method does nothing then
    A context manager. Raises OutputError where a file cannot be written.
    """

    def __init__(self, run: Path, step: int, steps: int, *, writes: bool = True):
        self.run, self.writes, self.evaluated = run, writes, None
        if not writes:
            return
        self.path = run / "metrics.jsonl"
        with writing(self.path):
            run.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self.evaluated = cut(self.path, step)       # the step of the last evaluation on record
            self.record = self.path.open("ab", buffering=0)
            self.diary = (run / "log.txt").open("ab", buffering=0)
            self.events = SummaryWriter(str(run), purge_step=step + 1)
            if step == 0 and (run / "config.yaml").is_file():
                self.events.add_text("config", indented((run / "config.yaml").read_text(encoding="utf-8")), 0)
        self.progress = Progress(steps, "steps", done=step, every_s=float("inf"))

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind, *_) -> None:
        if self.writes:
            self.progress.__exit__()
            self.record.close()
            self.diary.close()
            unlock(self.run)
            if kind is None:                            # after an error it might raise another in its place
                self.events.close()

    def say(self, text: str) -> None:
        """To the screen and the diary."""
        if self.writes:
            tqdm.write(text)
            sys.stdout.flush()
            with writing(self.run / "log.txt"):
                append(self.diary, _dated(text))

    def write(self, kind: str, step: int, values: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """One line of the record. A value that is not finite is null; `timing`, never the same twice, is kept apart."""
        if not self.writes:
            return
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = {"step": step, "kind": kind, **finite, "timing": dict(timing)}
        with writing(self.path):
            append(self.record, json.dumps(line).encode() + b"\n")
            for name, value in {**values, **{f"timing/{name}": value for name, value in timing.items()}}.items():
                self.events.add_scalar(f"{kind}/{name}", value, step)

    def pictures(self, step: int, folder: Path) -> None:
        """Show the PNG files that a task has left in a folder, in TensorBoard too."""
        for path in sorted(folder.glob("*.png")) if self.writes else ():
            with Image.open(path) as picture:
                picture.thumbnail((PICTURE_PX, PICTURE_PX))
                self.events.add_image(path.stem, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def evaluations(self, name: str) -> list[tuple[int, float | None]]:
        """(step, value) of one figure in every evaluation on record, oldest first; None where it is not finite."""
        if not self.writes:
            return []
        entries = (json.loads(line) for line in self.path.read_bytes().splitlines())
        return [(entry["step"], entry.get(name)) for entry in entries if entry["kind"] == "evaluate"]

    def advance(self) -> None:
        """One step is done."""
        if self.writes:
            self.progress.step()

    def time_left(self) -> str:
        return self.progress.line() if self.writes else ""

    def sync(self) -> None:
        """Have all lines reach the disk: a checkpoint must not be newer than the record."""
        if self.writes:
            with writing(self.path):
                os.fsync(self.record.fileno())
                self.events.flush()


def cut(path: Path, step: int) -> int | None:
    """Cut a record off after `step`, and at a line that a kill has left unfinished; return its last evaluated step."""
    evaluated, end = None, 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else {}
        except ValueError:
            break
        if entry.get("step", step + 1) > step:
            break
        evaluated = entry["step"] if entry["kind"] == "evaluate" else evaluated
        end += len(line)
    os.truncate(path, end)
    return evaluated


def indented(text: str) -> str:
    """As TensorBoard shows text unchanged."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def shown(values: Mapping[str, float]) -> str:
    """Values in one line: "loss 0.6931, iou 0.5"."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


class Means:
    """Mean of each value since the last report; part of a checkpoint, so that a resumed run reports the same."""

    def __init__(self):
        self.sums: dict[str, list] = {}                 # name: [sum, count]

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = [total + value, count + 1]

    def take(self) -> dict[str, float]:
        """The means, and begin anew."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means

    def state_dict(self) -> dict:
        return {"sums": {name: list(pair) for name, pair in self.sums.items()}}

    def load_state_dict(self, state: dict) -> None:
        self.sums = {name: list(pair) for name, pair in state["sums"].items()}
