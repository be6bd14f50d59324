"""The folder that painted pictures go to: whose it is, what is finished in it, and its labels."""
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.data import formats, images
from core.data.records import Dataset, Instance, Record
from core.errors import OutputError
from core.files import whole_lines, writing

from .settings import PaintConfig

MANIFESTS, SETTINGS, LOG = "manifest*.jsonl", "settings.json", "log/generation.log"
FREE_KEYS = {"output", "batch_size", "write", "compile"}        # what may differ when a run goes on


def open_folder(config: PaintConfig, overwrite: bool) -> None:
    """Make or reopen the folder. OutputError: it is another run's."""
    folder, path = config.output, config.output / SETTINGS
    wanted = shaping(config)
    if not overwrite and folder.exists() and any(folder.iterdir()):
        before = json.loads(path.read_text()) if path.is_file() else None
        if before is None:
            raise OutputError(f"{folder}: has files in it that are not of such a run, got "
                              f"{', '.join(sorted(each.name for each in folder.iterdir())[:3])}. Choose another "
                              "output, or say --overwrite")
        changed = [key for key in wanted if before.get(key) != wanted[key]]
        if changed:
            raise OutputError(f"{folder}: made with other settings, got another '{changed[0]}'. Choose another output, "
                              "or say --overwrite")
    elif overwrite:
        for manifest in folder.glob(MANIFESTS):
            manifest.unlink()
    with writing(folder):
        for name in ("sample", "crop", "grid", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    images.write_bytes(path, (json.dumps(wanted, indent=1) + "\n").encode())


def shaping(config: PaintConfig) -> dict:
    """The keys and plain values of all that shapes the pictures."""
    return {key: value for key, value in config.model_dump(mode="json").items() if key not in FREE_KEYS}


def config_hash(config: PaintConfig) -> str:
    return hashlib.sha256(json.dumps(shaping(config), sort_keys=True).encode()).hexdigest()[:12]


def write_picture(path: Path, pixels: np.ndarray) -> str:
    """Write a PNG file; its SHA-256."""
    png = images.encode_png(pixels)
    images.write_bytes(path, png)
    return hashlib.sha256(png).hexdigest()


def manifest_name(rank: int) -> str:
    """Of each process of a run its own file."""
    return "manifest.jsonl" if rank == 0 else f"manifest-{rank}.jsonl"


def finished(folder: Path) -> dict[str, dict]:
    """The manifest lines of all points that are done, by name; of pictures, those that are whole."""
    lines = [json.loads(line) for path in sorted(folder.glob(MANIFESTS)) for line in whole_lines(path)]
    return {line["name"]: line for line in lines if "sha256" not in line or line["sha256"] == hash_of(
        folder / "sample" / f"{line['name']}.png")}


def hash_of(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def write_labels(config: PaintConfig, lines: Sequence[dict], classes: Sequence[str]) -> None:
    """OUTPUT/labelled: the images with a visible defect as a data set."""
    records = tuple(Record(image=config.output / "sample" / f"{line['name']}.png", name=line["name"],
                           size=tuple(line["size"]), group=Path(line["source"]).stem,
                           instances=(Instance(label=line["class"], box=tuple(line["box"]), rle=line["rle"]),))
                    for line in sorted(lines, key=lambda line: line["name"]) if line["box"] is not None)
    if not records:
        return
    dataset = Dataset(root=config.output, format="crg", classes=tuple(classes), records=records)
    for name in config.write:
        formats.write(dataset, config.output / "labelled", name)


def log(folder: Path, text: str) -> None:
    print(text, flush=True)
    with writing(folder / LOG), open(folder / LOG, "a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
