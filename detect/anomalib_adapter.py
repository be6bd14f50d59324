"""Any model of anomalib (2.x), where that is installed, on the splits of model 9 and measured by its figures.

anomalib pulls in some 60 packages and wants weights from the internet; it is never imported but here, on demand.
"""
import csv
import importlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from core.data.formats.masks import index_mask
from core.data.images import encode_png, image_places, read_image, write_bytes, write_image
from core.data.records import Record
from core.data.splits import group_of
from core.errors import ConfigError, DataError, did_you_mean
from core.files import writing
from core.metrics.anomaly import MapFigures
from core.metrics.decisions import figures

from .anomaly import conformal_threshold
from .anomaly_data import good_of, open_data
from .anomaly_evaluate import TOLD
from .anomaly_settings import AnomalyDataConfig
from .screen import at_size

HEAD = ("image", "score", "defective")
# Folders of a set as anomalib's Folder reads them. Names of images keep no folders: they are numbered.
TRAIN, GOOD, BAD, MASKS = "train/good", "test/good", "test/defect", "ground_truth/defect"


def package() -> tuple[ModuleType, ModuleType, ModuleType]:
    """anomalib's data, engine and models. ConfigError: it is not installed."""
    try:
        return tuple(importlib.import_module(f"anomalib.{part}") for part in ("data", "engine", "models"))
    except ImportError as error:
        raise ConfigError(f"anomalib: is not installed, got '{error}'. pip install anomalib, in an environment of its "
                          "own where iopaint is used too; or take model 9, which needs nothing more") from error


def measure(config: AnomalyDataConfig, name: str, output: Path, options: Mapping[str, object] | None = None,
            epochs: int | None = None, share: float = 0.05) -> dict[str, float]:
    """Fit anomalib's model `name` on the good training images of a set, measure it on the test images of model 9.

    options   arguments of the model's class
    share     of further good images that may be rejected; the threshold is taken from the held-out good ones
    Writes scores.csv, metrics.json, the maps as maps/NUMBER.png, and the set as anomalib reads it.
    """
    data, engine, models = package()
    known = sorted(one for one in dir(models) if one[:1].isupper())
    if not hasattr(models, name):
        raise ConfigError(f"anomalib: has no model '{name}'. {did_you_mean(name, known)}It has {', '.join(known)}")
    dataset, _ = open_data(config)
    learned, held_out, test = good_of(dataset, "train"), good_of(dataset, "val"), dataset.of_split("test")
    if not held_out or not any(not record.is_good for record in test):
        raise DataError(f"{config.root}: held-out good images and defective ones to measure on, got {len(held_out)} "
                        f"and {sum(not record.is_good for record in test)}. Add some, or change data.ratios")
    judged = laid_out(learned, [*held_out, *test], dataset.classes, output / "set")
    module = data.Folder(name="set", root=output / "set", normal_dir=TRAIN, normal_test_dir=GOOD, abnormal_dir=BAD,
                         mask_dir=MASKS, train_batch_size=1 if name == "EfficientAd" else 16, eval_batch_size=8,
                         num_workers=0)
    model = getattr(models, name)(**(options or {}))
    limits = {} if epochs is None else {"max_epochs": epochs}
    runner = engine.Engine(default_root_dir=output / "anomalib", logger=False, **limits)
    runner.fit(model=model, datamodule=module)
    found = collected(runner.predict(model=model, datamodule=module))
    missing = [path for path in judged if path not in found]
    if missing:
        raise DataError(f"anomalib: gave no score for {len(missing)} of {len(judged)} images, got none for "
                        f"{missing[0].name}. Try another of its releases")
    values = told(judged, found, len(held_out), dataset.classes, share, output)
    write_bytes(output / "metrics.json", (json.dumps(values, indent=1) + "\n").encode())
    return values


def laid_out(learned, judged, classes: tuple[str, ...], root: Path) -> dict[Path, Record]:
    """Write a set as folders of numbered PNG; the files that will be judged, in order, and what they show."""
    for folder in (TRAIN, GOOD, BAD, MASKS):
        with writing(root / folder):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for old in image_places(root / folder).values() if any((root / folder).iterdir()) else ():
            old.unlink()
    for number, record in enumerate(learned):
        write_image(root / TRAIN / f"{number:05}.png", read_image(record.image))
    made = {}
    for number, record in enumerate(judged):
        path = root / (GOOD if record.is_good else BAD) / f"{number:05}.png"
        write_image(path, read_image(record.image))
        made[path.resolve()] = record
        if not record.is_good:
            truth = index_mask(record, classes) > 0
            write_bytes(root / MASKS / path.name, encode_png(truth.astype(np.uint8) * 255))
    return made


def collected(batches) -> dict[Path, tuple[float, np.ndarray]]:
    """Score and map of every image of anomalib's answers."""
    found = {}
    for batch in batches:
        for path, score, one in zip(batch.image_path, batch.pred_score, batch.anomaly_map):
            found[Path(path).resolve()] = float(score), one.float().cpu().squeeze()
    return found


def told(judged: Mapping[Path, Record], found: Mapping, held_out: int, classes: tuple[str, ...], share: float,
         output: Path) -> dict[str, float]:
    """Figures of the test images, as model 9 names them; the first `held_out` good images set the threshold."""
    paths, pixel, rows = list(judged), MapFigures(0.0, 1.0), []
    low, high = min(float(one.min()) for _, one in found.values()), max(float(one.max()) for _, one in found.values())
    (output / "maps").mkdir(exist_ok=True)
    for path, record in judged.items():
        score, one = found[path]
        full = (at_size(one, record.size) - low) / max(high - low, 1e-12)
        write_bytes(output / "maps" / path.name, encode_png(np.rint(full.clip(0, 1) * 255).astype(np.uint8)))
        rows.append((record.name, f"{score:.6g}", int(not record.is_good)))
        if path in paths[held_out:]:
            pixel.add(full.clip(0, 1), index_mask(record, classes) > 0)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
    write_bytes(output / "scores.csv", text.getvalue().encode())
    limit = conformal_threshold([found[path][0] for path in paths[:held_out]], share)
    test = [judged[path] for path in paths[held_out:]]
    values = figures([found[path][0] for path in paths[held_out:]], [not record.is_good for record in test],
                     float(np.nextafter(limit, np.inf)), groups=[group_of(record) for record in test], draws=300)
    values = {f"image/{name}": value for name, value in values.items()
              if name.removesuffix("_low").removesuffix("_high") in TOLD}
    values |= {f"pixel/{name}": value for name, value in pixel.figures().items()}
    return {"threshold": limit, **{name: float(value) for name, value in values.items() if np.isfinite(value)}}
