"""How well a model of good images finds defects: figures by image and by pixel, a table of scores, pictures."""
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from core.data.formats.masks import index_mask
from core.data.images import read_image, write_bytes, write_image
from core.data.records import Record
from core.data.splits import group_of
from core.metrics.anomaly import MapFigures
from core.metrics.decisions import auroc, figures
from core.visualise import grid

from .anomaly import FromGood
from .anomaly_data import Images
from .anomaly_settings import AnomalyConfig
from .screen import Limits, above, outlined, picture, scored

HEAD = ("image", "split", "class", "score", "p_value", "rejected")
TOLD = ("hit", "miss", "false", "passed", "escape", "overkill", "auroc", "ap")
FOUND, TRUE = (255, 200, 0), (0, 220, 120)


def fitted(model: FromGood, learned: Sequence[Record], held_out: Sequence[Record], config: AnomalyConfig,
           device: torch.device) -> Limits:
    """Fit the model on good images, and find where good ends on others."""
    model.fit(Images(learned, config.data, model.features.light, device).tiles())
    return limits_of(model, held_out, config, device)


def limits_of(model: FromGood, held_out: Sequence[Record], config: AnomalyConfig, device: torch.device) -> Limits:
    """Where good ends for a fitted model."""
    scores, maps = [], []
    for record in held_out:
        score, found = scored(model, config, read_image(record.image), device)
        scores.append(score)
        maps.append(found.astype(np.float16))
    return Limits.of(scores, maps, config.threshold)


def measure(model: FromGood, limits: Limits, test: Sequence[Record], classes: tuple[str, ...], config: AnomalyConfig,
            device: torch.device, folder: Path) -> dict[str, float]:
    """Figures by name, but those that are unknown; scores.csv and panels in `folder`.

    image/...   of core.metrics.decisions.figures, at the threshold; auroc/CLASS: of one class against all good images
    pixel/...   of core.metrics.anomaly, without images of defects whose shape is unknown
    """
    scores, labels, rows, panels = [], [], [], []
    pixel, wanted = MapFigures(0.0, 1.0), set(_spread(len(test), config.panels))
    for number, record in enumerate(test):
        pixels = read_image(record.image)
        score, found = scored(model, config, pixels, device)
        label = next((item.label for item in record.instances if not item.ignore), "")
        scores.append(score)
        labels.append(label)
        rows.append((record.name, "test", label or "good", f"{score:.6g}", f"{limits.p_value(score):.4f}",
                     int(score > limits.image)))
        shaped = all(item.has_shape for item in record.instances)
        truth = index_mask(record, classes) > 0 if shaped and classes else np.zeros(found.shape, bool)
        if shaped:                                          # in 0..1 for the bins, in the same order
            pixel.add(found / (found + max(limits.pixel, 1e-9)), truth)
        if number in wanted:
            title = f"{label or 'good'} {score / limits.image:.2f}"
            panels.append((title, _panel(pixels, found, truth, limits, config)))
    _table(folder / "scores.csv", rows)
    if panels:
        columns = ["image and truth", "map", "found"]
        sheet = grid([row for _, row in panels], row_labels=[name for name, _ in panels], column_labels=columns)
        write_image(folder / "panels.png", sheet)
    bad = np.array([label != "" for label in labels])
    if not len(bad):
        return {}
    above_limit = float(np.nextafter(limits.image, np.inf))
    groups = [group_of(record) for record in test]
    named = {f"image/{name}": value for name, value in
             figures(scores, bad, above_limit, groups=groups, draws=300).items()
             if name.removesuffix("_low").removesuffix("_high") in TOLD}
    if bad.any() and not bad.all():
        named["image/f1_max"] = best_f1(np.array(scores), bad)
        for label in sorted(set(labels) - {""}):
            these = np.array([one in ("", label) for one in labels])
            named[f"auroc/{label}"] = auroc(np.array(scores)[these], bad[these])
    named |= {f"pixel/{name}": value for name, value in pixel.figures().items()}
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def best_f1(scores: np.ndarray, bad: np.ndarray) -> float:
    """The largest F1 that any threshold gives."""
    order = np.argsort(-scores, kind="stable")
    hit, rejected = np.cumsum(bad[order]), np.arange(1, len(bad) + 1)
    last = np.append(np.diff(scores[order]) != 0, True)     # equal scores are rejected together
    return float((2 * hit / (rejected + bad.sum()))[last].max())


def _panel(pixels: np.ndarray, found: np.ndarray, truth: np.ndarray, limits: Limits,
           config: AnomalyConfig) -> list[np.ndarray]:
    mask, _ = above(found, limits.pixel, config.threshold.minimum_px)
    return [outlined(pixels, truth, TRUE), picture(pixels, found, limits), outlined(pixels, mask, FOUND)]


def _table(path: Path, rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
    write_bytes(path, text.getvalue().encode())


def _spread(count: int, wanted: int) -> list[int]:
    """So many of the numbers 0..count-1, evenly spread."""
    return sorted({int((place + 0.5) * count / wanted) for place in range(min(wanted, count))}) if wanted else []
