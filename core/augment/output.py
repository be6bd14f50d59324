"""The folder of a new set: pictures and manifest lines that a killed run left whole, and the label files at the end."""
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import yaml

from .. import config_yaml
from ..data import formats, images
from ..data.records import Dataset, Instance, Record
from ..errors import ConfigError, OutputError
from ..files import append, whole_lines, writing
from .margins import widened
from .settings import FREE_KEYS, AugmentConfig, plain
from .trained import FOLDER, forget

try:
    import fcntl
except ImportError:             # Windows
    fcntl = None

CONFIG, RUN, MANIFEST, WRITTEN = "config.yaml", "run.json", "manifest.jsonl", "written.txt"
FROM_PYTHON = "called from Python, as core.augment.pipeline.augment(AugmentConfig(...)), with the configuration below"


class Output:
    """Holds the manifest open. A picture is whole on disk before its line is written; a line is whole or is dropped."""

    def __init__(self, folder: Path, config: AugmentConfig, data_hash: str, *, overwrite: bool,
                 command: str | None = None):
        """Open a new or an unfinished folder; `command` is the line that started this run, None: it came from Python.

        settings    the configuration in plain values, with whole paths, as config.yaml holds it for --config
        commands    the different lines that have made this folder's images, as run.json holds them
        ConfigError: the folder's earlier run had other settings. OutputError: files in the way that are not a run's.
        """
        self.folder, self.data_hash = folder, data_hash
        self.settings = plain(config)
        before = check_settings(folder, config, overwrite=overwrite)
        going_on = before is not None and not overwrite
        if going_on:
            _compare(folder, before, self.settings, data_hash)
        earlier = before if going_on else {"write": (), "commands": (), "models": None}
        self.settings["write"] = sorted({*config.write, *earlier["write"]})     # every format keeps up with the images
        self.commands = list(dict.fromkeys([*earlier["commands"], command or FROM_PYTHON]))
        self.models = earlier["models"]             # hash of those that drew what is here; None: not known yet
        given = [section.checkpoints for section in (config.midg, config.crg) if section is not None]
        self.own_models = all(place is None or place.resolve() != (folder / FOLDER).resolve() for place in given)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.file = open(folder / MANIFEST, "ab", buffering=0)          # noqa: SIM115
        try:
            self._begin(forget=before is not None and overwrite)
            _check_count(folder, len(self.lines), config.count)
        except BaseException:
            self.close()
            raise

    def _begin(self, *, forget: bool) -> None:
        """Lock the folder, tidy it, and read what is there."""
        with writing(self.folder):
            _lock(self.file, self.folder)
            self._clear_partials()
            if forget:
                self._forget()
            images.write_bytes(self.folder / CONFIG, config_yaml.write(self.settings).encode())
            self._write_facts()
            (self.folder / "images").mkdir(exist_ok=True)
        self.lines = self._whole_lines()

    def _write_facts(self) -> None:
        facts = {"data_hash": self.data_hash, "commands": self.commands, "models": self.models}
        images.write_bytes(self.folder / RUN, f"{json.dumps(facts, ensure_ascii=False, indent=1)}\n".encode())

    def note_models(self, models: str) -> None:
        """Note the hash of the models that draw, "" for none. ConfigError: others drew the images that are here."""
        if self.lines and self.models not in (None, models):
            raise ConfigError(f"{self.folder}: its {len(self.lines)} images were drawn by other models, got hash "
                              f"{models} for {self.models}. Give the same models to go on, choose another output, or "
                              "say --overwrite")
        self.models = models
        self._write_facts()

    def add(self, line: dict) -> None:
        """Append one manifest line; it is on disk when this returns."""
        with writing(self.folder / MANIFEST):
            append(self.file, (json.dumps(line, ensure_ascii=False) + "\n").encode())
            os.fsync(self.file.fileno())
        self.lines.append(line)

    def close(self) -> None:
        self.file.close()

    def _whole_lines(self) -> list[dict]:
        """The manifest's lines, without a last one that a kill cut short."""
        path = self.folder / MANIFEST
        return [_read_line(line, number, path) for number, line in enumerate(whole_lines(path))]

    def write_labels(self, dataset: Dataset) -> None:
        """Write annotations.json and the further formats round the images, and note which files are the run's."""
        for name in ("coco", *self.settings["write"]):
            before = _files(self.folder)
            formats.write(dataset, self.folder, name, images="keep")
            new = {path.relative_to(self.folder).as_posix() for path in _files(self.folder) - before}
            listed = "".join(f"{path}\n" for path in sorted({*self._noted(), *new} - {WRITTEN}))
            images.write_bytes(self.folder / WRITTEN, listed.encode())

    def _noted(self) -> list[str]:
        """The label files that runs in this folder have written."""
        path = self.folder / WRITTEN
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def _clear_partials(self) -> None:
        """Remove the halves of files that a killed run was writing."""
        for folder in (self.folder, self.folder / "images"):
            for path in folder.glob(".*.partial"):
                path.unlink()

    def _forget(self) -> None:
        """Remove the images, label files and models that earlier runs made here; other files stay."""
        if self.own_models:
            forget(self.folder / FOLDER)
        for path in [*self._noted(), WRITTEN]:
            (self.folder / path).unlink(missing_ok=True)
        for path in (self.folder / "images").glob("[0-9]" * 6 + ".png"):
            path.unlink()
        os.truncate(self.folder / MANIFEST, 0)


def check_apart(folder: Path, config: AugmentConfig) -> None:
    """OutputError where the output and the data lie in each other: the run would read what it writes."""
    for name in ("data", "good"):
        given = getattr(config, name)
        if given is None:
            continue
        inside, outside = folder.resolve(), Path(given).resolve()
        if inside == outside or inside in outside.parents or outside in inside.parents:
            raise OutputError(f"{folder}: the output must lie apart from the {name} folder, got '{given}'. "
                              f"Choose a folder beside it")


def check_settings(folder: Path, config: AugmentConfig, *, overwrite: bool) -> dict | None:
    """What can be told of the output before the data are read: the earlier run in it; None: there is none.

    OutputError: its place, or files in the way. ConfigError: the earlier run had other settings, or made more images.
    """
    check_apart(folder, config)
    before = _read_before(folder)
    if before is None:
        _check_free(folder, overwrite)
    elif not overwrite:
        _compare(folder, before, plain(config), before["data_hash"])
        path = folder / MANIFEST
        _check_count(folder, path.read_bytes().count(b"\n") if path.is_file() else 0, config.count)
    return before


def new_dataset(folder: Path, lines: list[dict], classes: tuple[str, ...], sources: dict,
                margins: Mapping[str, float] | None = None) -> Dataset:
    """The made images as a Dataset: defects as run-length codes, `clean` the normal image each was drawn on.

    margins     class -> px by which boxes are drawn wider than the defects; shapes are left out then
    """
    records = []
    for line in lines:
        if line["image"] is None:
            continue
        source, size = sources[line["source"]], tuple(line["size"])
        found = [_instance(item) for item in line["carried"]]
        found += [_instance(item) if margins is None else _drawn(item, margins, size) for item in line["defects"]]
        records.append(Record(
            image=folder / line["image"], name=Path(line["image"]).stem, size=size, instances=tuple(found),
            clean=Path(source.path) if not source.carried else None, group=source.group or source.name, split="train"))
    return Dataset(root=folder, format="coco", classes=classes, records=tuple(records))


def _instance(item: dict) -> Instance:
    return Instance(label=item["label"], box=tuple(map(float, item["box"])), rle=item["rle"],
                    ignore=item.get("ignore", False))


def _drawn(item: dict, margins: Mapping[str, float], size: tuple[int, int]) -> Instance:
    return Instance(label=item["label"], box=widened(item["box"], margins.get(item["label"], 0.0), size))


def _check_count(folder: Path, made: int, count: int) -> None:
    if made > count:
        raise ConfigError(f"{folder}: an earlier run has made {made} images, got count {count}. Ask for as many, "
                          "choose another output, or say --overwrite")


def _check_free(folder: Path, overwrite: bool) -> None:
    """OutputError where a folder without a run of ours holds what would be in the way."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: the output must be a folder, got a file. Choose another place")
    inside = folder.iterdir() if folder.exists() else ()
    found = sorted(path.name for path in inside if not path.name.endswith(".partial"))
    if MANIFEST in found and (folder / MANIFEST).stat().st_size > 0:
        raise OutputError(f"{folder}: the output holds another program's {MANIFEST}. Choose an empty folder")
    if found and found != [MANIFEST] and not overwrite:
        raise OutputError(f"{folder}: the output folder has files in it, got {', '.join(found[:3])}"
                          f"{' ...' if len(found) > 3 else ''}. Choose an empty folder or say --overwrite")


def _lock(file: BinaryIO, folder: Path) -> None:
    """Keep other runs out for as long as the file is open, where the system can; OutputError: one is at work."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{folder}: another run is writing here. Wait for it, or choose another output") from None


def _files(folder: Path) -> set[Path]:
    """The files below a folder but those in images/."""
    return {path for path in folder.rglob("*") if path.is_file() and path.parent != folder / "images"}


def _read_line(line: bytes, number: int, path: Path) -> dict:
    try:
        entry = json.loads(line)
        if entry["index"] == number:
            return entry
    except (ValueError, TypeError, KeyError):
        pass
    raise OutputError(f"{path}:{number + 1}: not the line of image {number}, got a damaged file. "
                      f"Start again with --overwrite")


def _read_before(folder: Path) -> dict | None:
    """The settings of the run in a folder, with its `data_hash`, `commands` and `models`; None: there is none."""
    try:
        settings = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        facts = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return {**settings, "data_hash": facts["data_hash"], "commands": facts["commands"],
                "models": facts.get("models")}
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError):
        return None


def _compare(folder: Path, before: dict, now: dict, data_hash: str) -> None:
    """ConfigError where the settings that shape the images, or what the data hold, are not those of the run before."""
    lines = [f"  {key}: was {old!r}, is {new!r}" for key, old, new in _differences(before, now) if key not in FREE_KEYS]
    if before["data_hash"] != data_hash:
        lines.append("  data: the images, labels or given positions have changed, or are others")
    if lines:
        listed = "\n".join(lines)
        raise ConfigError(f"{folder}: an earlier run with other settings is in this folder:\n{listed}\n"
                          f"Give the same settings to go on, choose another output, or say --overwrite")


def _differences(before: dict, now: dict, prefix: str = "") -> list[tuple[str, object, object]]:
    found = []
    for key in sorted({*before, *now} - {"data_hash", "commands", "models"}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append((prefix + key, old, new))
    return found
