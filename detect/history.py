"""A training's course as training_history.json, and the threshold that belongs to its best weights."""
import json
from collections.abc import Sequence
from pathlib import Path

from core.data import splits
from core.data.images import write_bytes
from core.data.records import Record
from core.errors import CheckpointError
from core.metrics import decisions
from core.metrics.decisions import ThresholdConfig
from core.watch import WatchConfig, standing

HISTORY, THRESHOLD = "training_history.json", "threshold.json"
KEPT = {"threshold": "image/threshold", "temperature": "patch/temperature"}     # key there: figure of an evaluation


def write_history(run: Path, watch: WatchConfig | None) -> None:
    """From the record of a run: every evaluation with the losses before it, the best one, and its threshold."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    evaluations, losses = [], {}
    for entry in entries:
        named = {name: value for name, value in entry.items() if name not in ("kind", "timing")}
        if entry["kind"] == "train":
            losses = named
        elif entry["kind"] == "evaluate":
            evaluations.append({"step": entry["step"], "train": losses, "val": named})
    metric = watch.metric if watch else "segm/AP"
    values = [(one["step"], one["val"].get(metric)) for one in evaluations]
    stands = standing(values, watch) if watch else None
    best = stands.best_step if stands else evaluations[-1]["step"] if evaluations else None
    chosen = next((one["val"] for one in evaluations if one["step"] == best), {})
    history = {"schema": 1, "metric": metric, "best": {"step": best, "value": chosen.get(metric)},
               "evaluations": evaluations}
    write_bytes(run / HISTORY, (json.dumps(history, indent=1) + "\n").encode())
    kept = {name: chosen[figure] for name, figure in KEPT.items() if figure in chosen}
    if kept:
        write_bytes(run / THRESHOLD, (json.dumps({"step": best, **kept}) + "\n").encode())


def read_kept(run: Path | None, name: str, usual: float, overrides: Sequence[str] = ()) -> float:
    """What the best evaluation of a run chose, a key of KEPT; `usual` where nothing was chosen, or where `overrides`
    name it (threshold.value). CheckpointError: the file is damaged."""
    path = None if run is None else run / THRESHOLD
    if path is None or not path.is_file() or any(text.startswith(f"{name}.value=") for text in overrides):
        return usual
    return read_number(path, name, usual)


def read_number(path: Path, name: str, usual: float | None = None) -> float:
    """A number of a small JSON file; `usual`, where there is one, if the file does not have it. CheckpointError."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8")).get(name, usual))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read, got '{error}'. Delete it and evaluate anew, or copy it "
                              "again") from error


def image_figures(records: Sequence[Record], scores: Sequence[float], on: str, run: Path | None,
                  config: ThresholdConfig, least: float = 0.0) -> dict[str, float]:
    """image/NAME of core.metrics.decisions, with image/threshold; nothing where there is no defect to choose it on.

    on      "val": the threshold is chosen by `config`; else the one that the run kept is used, or config.value
    least   of a threshold that is chosen: a detector that found nothing has said that the image is good
    """
    bad = [any(not item.ignore for item in record.instances) for record in records]
    if on == "val":
        if not any(bad) and config.rule != "fixed":
            return {}
        threshold = max(decisions.choose_threshold(scores, bad, config), least)
    else:
        threshold = read_kept(run, "threshold", config.value)
    groups = [splits.group_of(record) for record in records]
    named = decisions.figures(scores, bad, threshold, groups=groups, draws=200)
    return {"image/threshold": threshold, **{f"image/{name}": float(value) for name, value in named.items()}}
