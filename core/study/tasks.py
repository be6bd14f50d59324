"""What a study asks of a model: overrides for a fair training, its predictions as files, and what they are worth."""
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.formats.masks import index_mask
from ..data.images import read_mask
from ..data.records import Record
from ..data.shapes import rle_crop
from ..errors import DataError
from ..metrics import segmentation
from ..metrics.anomaly import MapFigures, binned_figures
from .measures import Detections, Maps, Measured, Segments, sizes

BINS = 256              # grey levels of a map of how likely a defect is
SUREST = 0.001          # an image's score is the mean of this share of its pixels, the likeliest ones
LEAST_SCORE = 0.01      # detections below it are not looked at
SHOWN_SCORE = 0.3       # and in pictures those below this are left out


@dataclass(frozen=True)
class Task:
    """One kind of model.

    model       its name in the table of models; config: what it is trained with by default
    training    overrides for every arm's training: nothing is chosen by looking at held-out images
    predicting  overrides when it is applied to the test images
    main        the figures of the short table, the first one decides
    image       what image_score gives
    """
    model: str
    config: str
    training: tuple[str, ...]
    predicting: tuple[str, ...]
    main: tuple[str, ...]
    image: str


SEGMENTER = ("watch=null", "panels=0", "data.evaluate_on=val", "data.duplicates=keep", "augment.paste=0")
TASKS = {
    "segment": Task("segment", "configs/study-segment.yaml", SEGMENTER, (),
                    ("defect IoU", "image IoU", "mIoU of classes", "defects found", "false alarms an image"),
                    "defect IoU"),
    "anomaly": Task("segment", "configs/study-segment.yaml", SEGMENTER, ("infer.probabilities=true",),
                    ("image AUROC", "image AP", "pixel AUROC", "pixel AP", "AUPRO 30 %"), "pixel AP"),
    "detect": Task("detect", "configs/study-detect.yaml",
                   ("watch=null", "panels=0", "data.evaluate_on=val", "augment.copy_paste=0"),
                   ("threshold.rule=fixed", f"threshold.value={LEAST_SCORE}", f"frame.least_score={LEAST_SCORE}"),
                   ("mAP50-95", "mAP50", "recall"), "mAP50-95"),
}


def judged(task: str, folder: Path, records: Sequence[Record], classes: Sequence[str]) -> list[dict]:
    """One entry of plain values a test image, from the files that the model's `apply` wrote into `folder`."""
    read = {"segment": _segmented, "detect": _detected, "anomaly": _mapped}[task]
    return [{"name": record.name, **read(folder, record, classes)} for record in records]


def measured(task: str, entries: Sequence[dict], records: Sequence[Record], classes: Sequence[str]) -> Measured:
    if task == "segment":
        return Segments(np.array([entry["matrix"] for entry in entries]),
                        np.array([entry["objects"] for entry in entries]), classes)
    if task == "anomaly":
        return Maps(*(np.array([entry[key] for entry in entries]) for key in ("score", "counts", "covered", "regions")))
    return Detections(records, found_of(entries), classes)


def further(task: str, entries: Sequence[dict], records: Sequence[Record], classes: Sequence[str]) -> dict[str, float]:
    """Figures of the whole test set that no bootstrap is made of."""
    return dict(sizes(records, found_of(entries), classes)) if task == "detect" else {}


def found_of(entries: Sequence[dict]) -> list[list[tuple]]:
    return [[(label, score, tuple(box)) for label, score, *box in entry["found"]] for entry in entries]


def image_score(task: str, entry: dict, record: Record, classes: Sequence[str]) -> float:
    """How well one image was done, 0..1, to find examples by; NaN where a good image was left alone."""
    if task == "segment":
        return segmentation.overall(np.array(entry["matrix"]))["defect_iou"]
    if task == "anomaly":
        return binned_figures(*np.array(entry["counts"])).get("ap", math.nan)
    values = Detections([record], found_of([entry]), classes).values(np.ones(1))
    return values["mAP50-95"]


def masks_of(task: str, folder: Path, record: Record, classes: Sequence[str],
             least_score: float = SHOWN_SCORE) -> list[tuple[int, np.ndarray]]:
    """What was found on an image, for pictures: the class's number from 0 and bool [H, W] of each defect."""
    if task != "detect":
        labels = read_mask(folder / "labels" / f"{record.name}.png")
        return [(int(number) - 1, labels == number) for number in np.unique(labels) if number]
    masks = []
    for one in _document(folder, record)["defects"]:
        if one["score"] >= least_score and one["class"] in classes:
            mask = np.zeros(record.size[::-1], bool)
            crop, x, y = rle_crop(one["rle"])
            mask[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
            masks.append((classes.index(one["class"]), mask))
    return masks


def _segmented(folder: Path, record: Record, classes: Sequence[str]) -> dict:
    truth, predicted = _compared(folder / "labels" / f"{record.name}.png", record, classes)
    parts = segmentation.objects(truth, predicted)
    return {"matrix": segmentation.confusion(truth, predicted, len(classes) + 1).tolist(),
            "objects": [parts.true, parts.hit, parts.found, parts.spurious]}


def _mapped(folder: Path, record: Record, classes: Sequence[str]) -> dict:
    truth, chances = _compared(folder / "probabilities" / record.name / "1.png", record, classes)
    found = MapFigures(0, BINS - 1, BINS)
    counted = truth != segmentation.IGNORE
    found.add(chances, (truth > 0) & counted, counted)
    count = max(1, round(SUREST * counted.sum()))
    surest = np.sort(chances[counted])[-count:]
    return {"score": float(surest.mean()) if len(surest) else 0.0, "counts": [found.good.tolist(), found.bad.tolist()],
            "covered": found.covered.tolist(), "regions": found.regions}


def _compared(path: Path, record: Record, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The true labels, and the picture that was predicted. DataError: it is of another size."""
    truth, predicted = index_mask(record, tuple(classes)), read_mask(path)
    if truth.shape != predicted.shape:
        raise DataError(f"{path}: not of its image's size, got {predicted.shape[::-1]} for {record.size}. Delete the "
                        "folder to predict anew")
    return truth, predicted


def _detected(folder: Path, record: Record, classes: Sequence[str]) -> dict:
    return {"found": [[one["class"], one["score"], *one["bbox"]] for one in _document(folder, record)["defects"]
                      if one["class"] in classes]}


def _document(folder: Path, record: Record) -> dict:
    return json.loads((folder / "defects" / f"{record.name}.json").read_text(encoding="utf-8"))
