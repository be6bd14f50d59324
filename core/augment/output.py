"""The folder of a new set: pictures and manifest lines that a killed run left whole, and the label files at the end."""
import json
import os
from pathlib import Path

import yaml

from .. import config_yaml
from ..data import formats, images
from ..data.records import Dataset, Instance, Record
from ..errors import ConfigError, OutputError
from ..files import append, writing
from .settings import FREE_KEYS, AugmentConfig

CONFIG, MANIFEST = "config.yaml", "manifest.jsonl"


class Output:
    """Holds the manifest open. A picture is whole on disk before its line is written; a line is whole or is dropped."""

    def __init__(self, folder: Path, config: AugmentConfig, data_hash: str, *, overwrite: bool):
        """Open a new or an unfinished folder.

        ConfigError: the folder's earlier run had other settings. OutputError: files in the way that are not a run's.
        """
        self.folder = folder
        self.settings = {**json.loads(config.model_dump_json()), "data_hash": data_hash}
        before = _read_settings(folder / CONFIG)
        if before is None and folder.exists() and any(folder.iterdir()) and not overwrite:
            found = sorted(path.name for path in folder.iterdir())
            raise OutputError(f"{folder}: the output folder has files in it, got {', '.join(found[:3])}"
                              f"{' ...' if len(found) > 3 else ''}. Choose an empty folder or say --overwrite")
        if before is not None and not overwrite:
            _compare(folder, before, self.settings)
        with writing(folder):
            (folder / "images").mkdir(parents=True, exist_ok=True)
            if before is not None and overwrite:
                self._forget()
            self._clear_partials()
            images.write_bytes(folder / CONFIG, config_yaml.write(self.settings).encode())
            self.lines = self._whole_lines()
            self.file = open(folder / MANIFEST, "ab", buffering=0)          # noqa: SIM115

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
        if not path.exists():
            return []
        data = path.read_bytes()
        whole = data[:data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(path, len(whole))
        lines = [json.loads(line) for line in whole.decode().splitlines()]
        if [line["index"] for line in lines] != list(range(len(lines))):
            raise OutputError(f"{path}: the lines are not in order, got a file changed by hand. "
                              f"Start again with --overwrite")
        return lines

    def _clear_partials(self) -> None:
        """Remove the halves of files that a killed run was writing."""
        for folder in (self.folder, self.folder / "images"):
            for path in folder.glob(".*.partial"):
                path.unlink()

    def _forget(self) -> None:
        """Remove what an earlier run wrote here, by its own manifest; other files stay."""
        for line in self._whole_lines():
            if line["image"]:
                (self.folder / line["image"]).unlink(missing_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)


def new_dataset(folder: Path, lines: list[dict], classes: tuple[str, ...], sources: dict) -> Dataset:
    """The made images as a Dataset: defects as run-length codes, `clean` the normal image each was drawn on."""
    records = []
    for line in lines:
        if line["image"] is None:
            continue
        found = [*line["carried"], *line["defects"]]
        source = sources[line["source"]]
        records.append(Record(
            image=folder / line["image"], name=Path(line["image"]).stem, size=tuple(line["size"]),
            instances=tuple(Instance(label=item["label"], box=tuple(map(float, item["box"])), rle=item["rle"],
                                     ignore=item.get("ignore", False)) for item in found),
            clean=Path(source.path) if not source.carried else None, group=source.group or source.name, split="train"))
    return Dataset(root=folder, format="coco", classes=classes, records=tuple(records))


def write_labels(dataset: Dataset, extra: tuple[str, ...]) -> None:
    """Write annotations.json and the further formats asked for, round the images that lie there already."""
    for name in ("coco", *extra):
        formats.write(dataset, dataset.root, name, images="keep")


def _read_settings(path: Path) -> dict | None:
    if not path.is_file():
        return None
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    return settings if isinstance(settings, dict) and "data_hash" in settings else None


def _compare(folder: Path, before: dict, now: dict) -> None:
    differing = [(key, old, new) for key, old, new in _differences(before, now) if key not in FREE_KEYS]
    if differing:
        listed = "\n".join(f"  {key}: was {old!r}, is {new!r}" for key, old, new in differing)
        raise ConfigError(f"{folder}: an earlier run with other settings is in this folder:\n{listed}\n"
                          f"Give the same settings to go on, choose another output, or say --overwrite")


def _differences(before: dict, now: dict, prefix: str = "") -> list[tuple[str, object, object]]:
    found = []
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append((prefix + key, old, new))
    return found
