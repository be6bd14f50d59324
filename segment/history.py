"""The course of a training as tables, JSON and plots, from the run's record."""
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.data.images import write_bytes
from core.plots import curves
from core.report import Page

from .evaluate import write_csv

METRICS = ("miou_defects", "defect_iou", "miou", "dice_defects", "pixel_accuracy", "soft_pixel_accuracy",
           "object_recall", "spurious_an_image")


def write_history(run: Path, epoch_steps: float) -> dict[str, list]:
    """train_losses.csv, train_metrics.csv, history.json and history.html in the run's folder; returns what they hold.

    One row an evaluation; `loss` is the mean of the training loss since the one before. `epoch_steps`: steps an epoch.
    """
    history = course(run / "metrics.jsonl", epoch_steps)
    write_csv(run / "train_losses.csv", ("epoch", "step", "loss", "val_loss"),
              zip(*(history[name] for name in ("epoch", "step", "loss", "val_loss"))))
    names = [name for name in history if name not in ("loss", "val_loss", "learning_rate")]
    write_csv(run / "train_metrics.csv", names, zip(*(history[name] for name in names)))
    write_bytes(run / "history.json", (json.dumps({name: [value if value == value else None for value in values]
                                                   for name, values in history.items()}, indent=1) + "\n").encode())
    write_page(run / "history.html", history)
    return history


def course(record: Path, epoch_steps: float) -> dict[str, list]:
    """Name -> one value an evaluation: epoch, step, loss, val_loss, learning_rate, and every figure; NaN where none."""
    entries = [json.loads(line) for line in record.read_bytes().splitlines()]
    rows, totals, rate = [], [], float("nan")
    for entry in entries:
        if entry["kind"] == "train":
            totals.append(number(entry.get("network/total")))
            rate = number(entry.get("network/learning_rate"))
        elif entry["kind"] == "evaluate":
            figures = {name: number(value) for name, value in entry.items() if name not in (
                "step", "kind", "timing", "loss")}
            rows.append({"epoch": entry["step"] / epoch_steps, "step": entry["step"],
                         "loss": float(np.mean(totals)) if totals else float("nan"),
                         "val_loss": number(entry.get("loss")), "learning_rate": rate, **figures})
            totals = []
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}


def write_page(path: Path, history: dict[str, Sequence[float]]) -> None:
    """Losses, figures, IoU by class and the learning rate by epoch, on one page."""
    epochs = np.array(history["epoch"])

    def plot(names: dict[str, str], unit: str, **options):
        return curves({shown: (epochs, np.array(history[name], float)) for name, shown in names.items()
                       if name in history and np.isfinite(np.array(history[name], float)).any()}, "epoch", unit,
                      **options)
    page = Page("Course of the training", under=f"{history['step'][-1]} steps, {epochs[-1]:.4g} epochs")
    page.section("Loss", plot({"loss": "training", "val_loss": "validation"}, "loss"))
    page.section("Overlap", plot({"miou_defects": "mean IoU of the defect classes", "defect_iou": "defect against "
                                  "background"}, "IoU"))
    page.section("IoU by class", plot({name: name.removeprefix("iou/") for name in history if name.startswith("iou/")},
                                      "IoU"))
    page.section("Pixels", plot({"pixel_accuracy": "accuracy", "soft_pixel_accuracy": "soft accuracy"}, "share"))
    page.section("Learning rate", plot({"learning_rate": "rate"}, "rate"))
    page.write(path)


def number(value: float | None) -> float:
    return float("nan") if value is None else value
