"""A training's course as training_history.json, and the threshold that belongs to its best weights."""
import json
from pathlib import Path

from core.data.images import write_bytes
from core.watch import standing

from .settings import DetectConfig

HISTORY, THRESHOLD = "training_history.json", "threshold.json"


def write_history(run: Path, config: DetectConfig) -> None:
    """From the record of a run: every evaluation with the losses before it, the best one, and its threshold."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    evaluations, losses = [], {}
    for entry in entries:
        named = {name: value for name, value in entry.items() if name not in ("kind", "timing")}
        if entry["kind"] == "train":
            losses = named
        elif entry["kind"] == "evaluate":
            evaluations.append({"step": entry["step"], "train": losses, "val": named})
    metric = config.watch.metric if config.watch else "segm/AP"
    values = [(one["step"], one["val"].get(metric)) for one in evaluations]
    stands = standing(values, config.watch) if config.watch else None
    best = stands.best_step if stands else evaluations[-1]["step"] if evaluations else None
    chosen = next((one["val"] for one in evaluations if one["step"] == best), {})
    history = {"schema": 1, "metric": metric, "best": {"step": best, "value": chosen.get(metric)},
               "evaluations": evaluations}
    write_bytes(run / HISTORY, (json.dumps(history, indent=1) + "\n").encode())
    if "image/threshold" in chosen:
        kept = {"step": best, "threshold": chosen["image/threshold"]}
        write_bytes(run / THRESHOLD, (json.dumps(kept) + "\n").encode())


def read_threshold(run: Path | None, config: DetectConfig) -> float:
    """The score from which an image counts as defective: the run's, or the config's where none was chosen."""
    path = None if run is None else run / THRESHOLD
    return json.loads(path.read_text())["threshold"] if path and path.is_file() else config.threshold.value
