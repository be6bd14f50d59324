"""Figures of semantic segmentation, from index masks uint8 [H, W]: 0 is the background, 255 (IGNORE) does not count.

One int64 confusion matrix over a whole set, rows the truth, columns the prediction, gives IoU, Dice, precision, recall
and accuracy. A ratio of nothing to nothing is NaN and left out of means.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..seeding import rng

IGNORE = 255
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
HIT_SHARE = 0.1         # a defect counts as found where so much of it is predicted as a defect


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 [K, K]: pixels by true (row) and predicted (column) number; K = `classes` with the background."""
    if truth.shape != predicted.shape:
        raise ValueError(f"masks of different sizes, got {truth.shape} and {predicted.shape}")
    counted = truth != IGNORE
    true, found = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    if max(true.max(initial=0), found.max(initial=0)) >= classes:
        raise ValueError(f"a mask holds more than {classes} classes, got {max(true.max(), found.max())}")
    return np.bincount(true * classes + found, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ByClass:
    """float64 [K] each, the background first."""
    iou: np.ndarray
    dice: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def by_class(matrix: np.ndarray) -> ByClass:
    """What a confusion matrix says of each class; NaN where there is nothing to say."""
    hit, true, found = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return ByClass(iou=ratio(hit, true + found - hit), dice=ratio(2 * hit, true + found),
                   precision=ratio(hit, found), recall=ratio(hit, true))


def overall(matrix: np.ndarray) -> dict[str, float]:
    """Single figures of a confusion matrix.

    miou, miou_defects          mean IoU of the classes that occur, with and without the background
    dice_defects                mean Dice of the defect classes
    pixel_accuracy              right pixels; high on any set that is mostly background
    frequency_weighted_iou      IoU weighted by true area
    defect_iou, defect_dice     all defect classes as one, against the background
    """
    each, true = by_class(matrix), matrix.sum(1)
    binary = np.array([[matrix[0, 0], matrix[0, 1:].sum()], [matrix[1:, 0].sum(), matrix[1:, 1:].sum()]])
    defect = by_class(binary)
    return {"miou": mean(each.iou), "miou_defects": mean(each.iou[1:]), "dice_defects": mean(each.dice[1:]),
            "pixel_accuracy": float(ratio(np.trace(matrix), matrix.sum())),
            "frequency_weighted_iou": float(ratio(np.nansum(each.iou * true), true.sum())),
            "defect_iou": float(defect.iou[1]), "defect_dice": float(defect.dice[1]),
            "defect_precision": float(defect.precision[1]), "defect_recall": float(defect.recall[1])}


def soft_pixel_accuracy(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean probability of the true class, float [K, H, W] against uint8 [H, W].

    This is what a Dice becomes whose classes are added up before the ratio, the "dice" of the earlier segmenter: no
    measure of overlap, for the background counts with its whole area.
    """
    counted = truth != IGNORE
    of_truth = np.take_along_axis(probabilities, np.where(counted, truth, 0)[None].astype(np.int64), 0)[0]
    return float(ratio(of_truth[counted].sum(dtype=np.float64), counted.sum()))


def boundary_f1(truth: np.ndarray, predicted: np.ndarray, tolerance_px: float) -> float:
    """F1 of the outlines of two index masks, matched within a distance, of whatever classes they part.

    NaN where neither has an outline. What lies at pixels to be ignored does not count.
    """
    counted = cv2.dilate((truth == IGNORE).astype(np.uint8), CROSS) == 0
    edges = [outline(labels) & counted for labels in (truth, predicted)]
    counts = [np.count_nonzero(edge) for edge in edges]
    if not all(counts):
        return 0.0 if any(counts) else float("nan")
    near = [cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= tolerance_px
            for edge in edges]
    recall, precision = (edges[0] & near[1]).sum() / counts[0], (edges[1] & near[0]).sum() / counts[1]
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def outline(labels: np.ndarray) -> np.ndarray:
    """The pixels of labels uint8 [H, W] with a neighbour (of 4) of another label, so on both sides of each border.

    The image's border is none.
    """
    return cv2.dilate(labels, CROSS) != cv2.erode(labels, CROSS)


@dataclass(frozen=True)
class Objects:
    """Connected parts (8 neighbours, all classes as one) of a truth and a prediction."""
    true: int               # defects
    hit: int                # of them, those predicted to at least HIT_SHARE as any defect
    named: int              # of those hit, the ones whose most frequent predicted class is right
    found: int              # predicted parts
    spurious: int           # of them, those that touch no true defect


def objects(truth: np.ndarray, predicted: np.ndarray) -> Objects:
    """How many defects were found, and how many findings are none; parts that touch IGNORE alone do not count."""
    known, found = np.where(truth == IGNORE, 0, truth), np.where(truth == IGNORE, 0, predicted)
    true_count, true_parts = cv2.connectedComponents((known > 0).astype(np.uint8), connectivity=8)
    found_count, found_parts = cv2.connectedComponents((found > 0).astype(np.uint8), connectivity=8)
    area = np.bincount(true_parts.ravel(), minlength=true_count)
    covered = np.bincount(true_parts[found > 0], minlength=true_count)
    hit = covered >= np.maximum(1, HIT_SHARE * area)
    votes = np.bincount(true_parts.ravel() * 256 + found.ravel(), minlength=true_count * 256).reshape(-1, 256)
    labels = np.bincount(true_parts.ravel() * 256 + known.ravel(), minlength=true_count * 256).reshape(-1, 256)
    named = hit & (votes[:, 1:].argmax(1) == labels[:, 1:].argmax(1))
    touching = np.unique(found_parts[known > 0])
    spurious = found_count - 1 - np.count_nonzero(touching)
    return Objects(true_count - 1, int(hit[1:].sum()), int(named[1:].sum()), found_count - 1, int(spurious))


def clean_tiles(truth: np.ndarray, predicted: np.ndarray, side_px: int = 512, share: float = 0.01) -> tuple[int, int]:
    """(tiles without any true defect, those of them with more than `share` false pixels), on a grid from the corner."""
    clean = alarmed = 0
    for y in range(0, truth.shape[0], side_px):
        for x in range(0, truth.shape[1], side_px):
            true, found = (mask[y:y + side_px, x:x + side_px] for mask in (truth, predicted))
            if not true.any():
                clean += 1
                alarmed += bool(np.count_nonzero(found) > share * found.size)
    return clean, alarmed


def label_changes(predicted: np.ndarray, lines_y: Sequence[int], lines_x: Sequence[int]) -> np.ndarray:
    """int64 [4]: label changes on the given lines, number of those lines, changes elsewhere, number of those lines.

    A change on line y is one between rows y - 1 and y; columns likewise. Counts may be added up over images.
    """
    sums = np.zeros(4, np.int64)
    for axis, lines in ((0, lines_y), (1, lines_x)):
        changes = np.count_nonzero(np.diff(predicted, axis=axis) != 0, axis=1 - axis)
        at = [line - 1 for line in lines if 0 < line < predicted.shape[axis]]
        on = changes[at].sum() if at else 0
        sums += (on, len(at), changes.sum() - on, len(changes) - len(at))
    return sums


def seam_ratio(sums: np.ndarray) -> float:
    """How much more often labels change on the lines of `label_changes` than elsewhere; 1 is no seam, NaN unknown."""
    on, lines, off, others = sums
    if on and lines and not off:
        return float("inf")
    return float(ratio(ratio(on, lines), ratio(off, others)))


def bootstrap(matrices: Sequence[np.ndarray], figure: Callable[[np.ndarray], float], *, draws: int = 1000,
              seed: int = 0, share: float = 0.95) -> tuple[float, float]:
    """The interval of a figure of the summed matrices when images are drawn anew, with replacement."""
    stacked, random = np.stack(matrices), rng(seed, draws)
    values = [figure(stacked[random.integers(0, len(stacked), len(stacked))].sum(0)) for _ in range(draws)]
    low, high = np.nanpercentile(values, (50 - 50 * share, 50 + 50 * share))
    return float(low), float(high)


def ratio(over: np.ndarray | float, under: np.ndarray | float) -> np.ndarray:
    """over / under in float64, NaN where `under` is 0."""
    over, under = np.asarray(over, np.float64), np.asarray(under, np.float64)
    return np.divide(over, under, out=np.full(np.broadcast(over, under).shape, np.nan), where=under != 0)


def mean(values: np.ndarray) -> float:
    """The mean of the values that are known; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
