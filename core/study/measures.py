"""Figures of a test set whose images count as often as a resampling drew them."""
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..data.records import Instance, Record
from ..metrics import segmentation
from ..metrics.anomaly import binned_figures
from ..metrics.detection import Scored, coco_figures

THRESHOLDS = np.linspace(0.5, 0.95, 10)         # IoU, as COCO's
RECALLS = np.linspace(0, 1, 101)
MOST = 100                                      # detections of a class on an image that count
Found = tuple[str, float, tuple[float, float, float, float]]       # class, score, box x1 y1 x2 y2 in px


class Measured(Protocol):
    """One arm's outcome on the test images, in their order."""

    def values(self, weights: np.ndarray) -> dict[str, float]:
        """Figures by name, where image i counts weights[i] times; NaN where there is nothing to say."""


class Segments:
    """Confusion matrices int [N, K, K] of a segmenter, with its objects int [N, 4]: true, hit, found, spurious.

    Defect IoU is of all pixels together, so that few large defects decide it; image IoU is the mean over the defective
    images of each one's own.
    """

    def __init__(self, matrices: np.ndarray, objects: np.ndarray, classes: Sequence[str]):
        self.matrices, self.objects, self.classes = matrices.astype(np.int64), objects.astype(np.int64), classes
        self.good = self.matrices[:, 1:].sum((1, 2)) == 0
        self.alarmed = self.good & (self.matrices[:, 0, 1:].sum(1) > 0)
        found = self.matrices[:, 1:, 1:].sum((1, 2))
        self.each = segmentation.ratio(found, self.matrices.sum((1, 2)) - self.matrices[:, 0, 0])   # IoU of each image

    def values(self, weights: np.ndarray) -> dict[str, float]:
        matrix = np.tensordot(weights, self.matrices, 1)
        true, hit, _, spurious = weights @ self.objects
        whole = segmentation.overall(matrix)
        bad = weights * ~self.good
        return {"defect IoU": whole["defect_iou"],
                "image IoU": _share(bad @ np.nan_to_num(self.each), bad.sum()),
                "mIoU": whole["miou"], "mIoU of classes": whole["miou_defects"],
                **{f"IoU of {name}": value for name, value in zip(self.classes, segmentation.by_class(matrix).iou[1:])},
                "pixel precision": whole["defect_precision"], "pixel recall": whole["defect_recall"],
                "defects found": _share(hit, true), "false alarms an image": _share(spurious, weights.sum()),
                "good images alarmed": _share(weights @ self.alarmed, weights @ self.good)}


class Maps:
    """Maps of how likely a defect is, by pixel and by image: which ranks higher, defective or clean.

    scores      float [N], of the images; bad bool [N], whether a defect is on them
    counts      int [N, 2, B]: clean and defective pixels by bin of the map
    covered     float [N, B]: sum over an image's defects of the share of each by bin; regions int [N], the defects
    """

    def __init__(self, scores: np.ndarray, counts: np.ndarray, covered: np.ndarray, regions: np.ndarray):
        self.places = np.unique(scores, return_inverse=True)[1]
        self.counts, self.covered, self.regions = counts, covered, regions
        self.bad = regions > 0

    def values(self, weights: np.ndarray) -> dict[str, float]:
        good, bad = (np.bincount(self.places, weights * of) for of in (~self.bad, self.bad))
        image = binned_figures(good, bad)
        pixel = binned_figures(*np.tensordot(weights, self.counts, 1),
                               weights @ self.covered / max(weights @ self.regions, 1))
        named = {"image AUROC": image.get("auroc"), "image AP": image.get("ap"), "image F1": image.get("f1"),
                 "pixel AUROC": pixel.get("auroc"), "pixel AP": pixel.get("ap"), "pixel F1": pixel.get("f1"),
                 "AUPRO 30 %": pixel.get("aupro_30")}
        return {name: float("nan") if value is None else value for name, value in named.items()}


class Detections:
    """Boxes found by a detector, matched with the true ones once; COCO's average precision of any weights."""

    def __init__(self, truth: Sequence[Record], found: Sequence[Sequence[Found]], classes: Sequence[str]):
        self.classes = classes
        self.matched = [_matched(truth, found, name) for name in classes]

    def values(self, weights: np.ndarray) -> dict[str, float]:
        curves = [average_precision(matched, weights) for matched in self.matched]
        each = np.array([curve[0] for curve in curves])                 # [class, IoU]
        recalls = np.array([curve[1] for curve in curves])
        return {"mAP50-95": segmentation.mean(each.ravel()), "mAP50": segmentation.mean(each[:, 0]),
                "recall": segmentation.mean(recalls[:, 0]),
                **{f"AP of {name}": segmentation.mean(row) for name, row in zip(self.classes, each)}}


class Matched:
    """One class's detections, the surest first.

    images  int [D], the image of each; hit bool [T, D], whether it is a true defect at each IoU; void bool [T, D],
            whether it lies on one that does not count; true int [N], defects an image
    """

    def __init__(self, images: np.ndarray, hit: np.ndarray, void: np.ndarray, true: np.ndarray):
        self.images, self.hit, self.void, self.true = images, hit, void, true


def average_precision(matched: Matched, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO's average precision and largest recall by IoU, float [T] each; NaN without a true defect."""
    total = float(weights @ matched.true)
    if total == 0:
        return np.full(len(THRESHOLDS), np.nan), np.full(len(THRESHOLDS), np.nan)
    each = weights[matched.images] * ~matched.void
    hits, misses = np.cumsum(each * matched.hit, 1), np.cumsum(each * ~matched.hit, 1)
    recall, precision = hits / total, hits / np.maximum(hits + misses, 1e-12)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    scores = np.zeros(len(THRESHOLDS))
    for at in range(len(THRESHOLDS)):
        places = np.searchsorted(recall[at], RECALLS - 1e-12)
        scores[at] = np.where(places < recall.shape[1], np.append(precision[at], 0)[places], 0).mean()
    return scores, recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))


def _matched(truth: Sequence[Record], found: Sequence[Sequence[Found]], name: str) -> Matched:
    images, scores, hits, voids, true = [], [], [], [], np.zeros(len(truth), np.int64)
    for at, (record, listed) in enumerate(zip(truth, found, strict=True)):
        items = [item for item in record.instances if item.label == name]
        items.sort(key=lambda item: item.ignore)
        true[at] = sum(not item.ignore for item in items)
        mine = sorted((one for one in listed if one[0] == name), key=lambda one: -one[1])[:MOST]
        if not mine:
            continue
        hit, void = _match(np.array([one[2] for one in mine]), np.array([item.box for item in items]).reshape(-1, 4),
                           int(true[at]))
        images += [at] * len(mine)
        scores += [one[1] for one in mine]
        hits.append(hit)
        voids.append(void)
    if not images:
        empty = np.zeros((len(THRESHOLDS), 0), bool)
        return Matched(np.zeros(0, np.int64), empty, empty, true)
    order = np.argsort(-np.array(scores), kind="mergesort")
    return Matched(np.array(images)[order], np.concatenate(hits, 1)[:, order], np.concatenate(voids, 1)[:, order], true)


def _match(boxes: np.ndarray, truth: np.ndarray, counted: int) -> tuple[np.ndarray, np.ndarray]:
    """hit, void bool [T, D] of one image's boxes, the surest first; the first `counted` true ones count."""
    overlap = iou(boxes, truth, crowd=np.arange(len(truth)) >= counted)
    hit = np.zeros((len(THRESHOLDS), len(boxes)), bool)
    void = hit.copy()
    for at, least in enumerate(THRESHOLDS):
        free = np.ones(counted, bool)
        for one in range(len(boxes)):
            open_to = np.where(free, overlap[one, :counted], -1)
            best = int(open_to.argmax()) if counted else -1
            if counted and open_to[best] >= least - 1e-10:
                free[best], hit[at, one] = False, True
            else:
                void[at, one] = (overlap[one, counted:] >= least - 1e-10).any()
    return hit, void


def iou(boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """float [D, G] of boxes x1 y1 x2 y2; over a crowd's box the overlap is the share of the detection."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0), 2)
    mine, other = (np.prod(array[:, 2:] - array[:, :2], 1) for array in (boxes, truth))
    union = np.where(crowd[None], mine[:, None], mine[:, None] + other[None] - inside)
    return inside / np.maximum(union, 1e-12)


def sizes(truth: Sequence[Record], found: Sequence[Sequence[Found]], classes: Sequence[str]) -> Mapping[str, float]:
    """AP by COCO's sizes, those that occur."""
    listed = {record.name: [Scored(Instance(label=label, box=box), score) for label, score, box in each]
              for record, each in zip(truth, found, strict=True)}
    figures = coco_figures(truth, listed, classes, kinds=("bbox",), quarters=False)
    names = {"small": "AP small", "medium": "AP medium", "large": "AP large"}
    return {shown: figures[f"bbox/AP_{name}"] for name, shown in names.items() if f"bbox/AP_{name}" in figures}


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
