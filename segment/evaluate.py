"""How good a segmenter is on labelled images: figures over the whole set, tables by class and by image, panels."""
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from core.data.bands import WholeRows
from core.data.images import write_bytes, write_image
from core.data.records import Record
from core.metrics import segmentation as seg

from .context import predict_in_context
from .data import read_labelled
from .infer import axis, labels_of
from .losses import losses
from .page import write_page
from .panels import panel
from .settings import SegmentConfig

TOLERANCES_PX = (2, 8)
LEAST_CHANCE = 1e-7


@dataclass(frozen=True)
class Judged:
    """One image's figures; `matrix` is its confusion matrix, `seams` are label_changes on the tiles' lines."""
    name: str
    matrix: np.ndarray
    objects: seg.Objects
    clean_tiles: tuple[int, int]
    seams: np.ndarray
    boundary_f1: tuple[float, ...]
    false_alarms: tuple[tuple[int, int, int], ...] = ()         # x, y, area in px
    soft_pixel_accuracy: float = float("nan")                   # NaN where probabilities are unknown
    loss: float = float("nan")

    @property
    def rank(self) -> float:
        """IoU of defect against background, the lower the worse; a clean image ranks by its false share."""
        value = seg.overall(self.matrix)["defect_iou"]
        return value if self.matrix[1:].any() else 1 - self.matrix[0, 1:].sum() / max(self.matrix.sum(), 1)


def evaluate(network: nn.Module, records: Sequence[Record], classes: tuple[str, ...], config: SegmentConfig,
             folder: Path) -> dict[str, float]:
    """Judge a network in evaluation mode; write tables, panels and a page into `folder`, return the figures by name.

    Panels are of images evenly spread, the same at each evaluation; the page shows the worst ones. Figures that are
    unknown, such as the IoU of a class that does not occur, are left out.
    """
    judged, shown = [], set(spread(len(records), config.panels))
    for number, record in enumerate(records):
        pixels, truth = read_labelled(record, classes)
        chances, labels = predicted(network, pixels, config)
        judged.append(judge(network, record.name, truth, chances, labels, len(classes) + 1, config))
        if number in shown:
            whole = at_once(network, pixels, config) if config.panels_whole else None
            drawn = panel(pixels, truth, labels, whole=whole)
            write_image(folder / f"{record.name.replace('/', '_')}.png", drawn)
    worst = []
    for number in worst_first(judged)[:config.panels]:
        pixels, truth = read_labelled(records[number], classes)
        worst.append((judged[number].name, panel(pixels, truth, predicted(network, pixels, config)[1])))
    write_tables(judged, classes, folder, worst)
    return figures(judged, classes)


def worst_first(judged: Sequence[Judged]) -> list[int]:
    return sorted(range(len(judged)), key=lambda at: judged[at].rank)


def predicted(network: nn.Module, pixels: np.ndarray, config: SegmentConfig) -> tuple[Tensor, np.ndarray]:
    """Probabilities float32 [K, H, W] and labels uint8 [H, W]."""
    rows = WholeRows(pixels)
    bands = predict_in_context(network, rows, rows, config.infer, config.data.channels)
    chances = torch.cat([band for _, band in bands], 1)
    return chances, labels_of(chances, config.infer.threshold)


def at_once(network: nn.Module, pixels: np.ndarray, config: SegmentConfig) -> np.ndarray:
    """Labels uint8 [H, W] of the image made so small that it is one crop, as large again."""
    height, width = pixels.shape[:2]
    factor = min(1.0, config.data.crop_px / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    labels = predicted(network, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), config)[1]
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)


def judge(network: nn.Module, name: str, truth: np.ndarray, chances: Tensor, labels: np.ndarray, count: int,
          config: SegmentConfig) -> Judged:
    lines = [axis(side, network, config.infer).cuts for side in truth.shape]
    every = chances if len(chances) > 1 else torch.cat([1 - chances, chances])
    return judge_labels(name, truth, labels, count, *lines, loss=loss_of(chances, truth, config),
                        soft_pixel_accuracy=seg.soft_pixel_accuracy(every.numpy(), truth))


def judge_labels(name: str, truth: np.ndarray, labels: np.ndarray, count: int, lines_y: Sequence[int] = (),
                 lines_x: Sequence[int] = (), **of_chances: float) -> Judged:
    """What labels alone say, uint8 [H, W]; `count` with the background, lines where the prediction's tiles meet."""
    return Judged(
        name=name, matrix=seg.confusion(truth, labels, count), objects=seg.objects(truth, labels),
        clean_tiles=seg.clean_tiles(truth, labels), seams=seg.label_changes(labels, lines_y, lines_x),
        boundary_f1=tuple(seg.boundary_f1(truth, labels, px) for px in TOLERANCES_PX),
        false_alarms=false_alarms(truth, labels), **of_chances)


def false_alarms(truth: np.ndarray, labels: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """x, y of a pixel and the area in px of each predicted part that touches no true defect, the largest first."""
    found = ((labels > 0) & (truth != seg.IGNORE)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    touching = set(np.unique(parts[(truth > 0) & (truth != seg.IGNORE)]).tolist())
    spots = []
    for part in set(range(1, count)) - touching:
        x, y, width, height, area = stats[part].tolist()
        rows, columns = np.nonzero(parts[y:y + height, x:x + width] == part)
        middle = np.argmin((rows - height / 2) ** 2 + (columns - width / 2) ** 2)
        spots.append((x + int(columns[middle]), y + int(rows[middle]), area))
    return tuple(sorted(spots, key=lambda spot: (-spot[2], spot)))


def loss_of(chances: Tensor, truth: np.ndarray, config: SegmentConfig) -> float:
    """The training loss of a whole image, from its probabilities."""
    p = chances.clamp(LEAST_CHANCE, 1 - LEAST_CHANCE)
    logits = torch.logit(p) if len(p) == 1 else p.log()
    options = config.loss.model_dump(exclude={"name"})
    parts = losses(config.loss.name, logits[None], torch.from_numpy(truth.astype(np.int64))[None], **options)
    return float(sum(parts.values()))


def figures(judged: Sequence[Judged], classes: tuple[str, ...]) -> dict[str, float]:
    """All figures of a set by name, but those that are unknown; see `every_figure`."""
    return {name: value for name, value in every_figure(judged, classes).items() if np.isfinite(value)}


def figure_names(classes: tuple[str, ...]) -> list[str]:
    """What an evaluation may report."""
    blank = np.zeros((1, 1), np.uint8)
    return list(every_figure([judge_labels("", blank, blank, len(classes) + 1)], classes))


def every_figure(judged: Sequence[Judged], classes: tuple[str, ...]) -> dict[str, float]:
    """Figures of a set by name, NaN where unknown.

    From the pooled confusion matrix: miou, miou_defects, ... (core.metrics.segmentation.overall), iou/CLASS.
    Means over images: loss, soft_pixel_accuracy (the earlier "dice"), boundary_f1_2px, boundary_f1_8px.
    Counts over the set: object_recall, object_named, spurious_an_image, clean_tiles_alarmed, seam_ratio; and of whole
    images the shares images_missed (defective, no defect hit) and good_images_alarmed.
    """
    matrix = sum(item.matrix for item in judged)
    parts = {name: sum(getattr(item.objects, name) for item in judged) for name in ("true", "hit", "named", "spurious")}
    bad = np.array([item.objects.true > 0 for item in judged])
    silent, loud = (np.array(list(values)) for values in (
        (item.objects.hit == 0 for item in judged), (item.objects.found > 0 for item in judged)))
    clean, alarmed = (sum(item.clean_tiles[at] for item in judged) for at in (0, 1))
    found = {
        **seg.overall(matrix),
        **{f"iou/{name}": value for name, value in zip(classes, seg.by_class(matrix).iou[1:])},
        "object_recall": seg.ratio(parts["hit"], parts["true"]),
        "object_named": seg.ratio(parts["named"], parts["hit"]),
        "spurious_an_image": parts["spurious"] / len(judged), "clean_tiles_alarmed": seg.ratio(alarmed, clean),
        "images_missed": seg.ratio((bad & silent).sum(), bad.sum()),
        "good_images_alarmed": seg.ratio((~bad & loud).sum(), (~bad).sum()),
        **{f"boundary_f1_{px}px": seg.mean(np.array([item.boundary_f1[at] for item in judged]))
           for at, px in enumerate(TOLERANCES_PX)},
        "seam_ratio": seg.seam_ratio(sum(item.seams for item in judged)),
        "soft_pixel_accuracy": seg.mean(np.array([item.soft_pixel_accuracy for item in judged])),
        "loss": seg.mean(np.array([item.loss for item in judged])),
    }
    return {name: float(value) for name, value in found.items()}


def write_tables(judged: Sequence[Judged], classes: tuple[str, ...], folder: Path,
                 worst: Sequence[tuple[str, np.ndarray]] = ()) -> None:
    """evaluation.csv with 95 % intervals by image, per_class.csv, per_image.csv, confusion.csv, false_alarms.csv,
    evaluation.html, and the worst images' panels in worst/."""
    names, matrices = ("background", *classes), [item.matrix for item in judged]
    matrix, values = sum(matrices), figures(judged, classes)
    pooled = seg.overall(matrix)
    spans = {name: seg.bootstrap(matrices, lambda drawn, name=name: seg.overall(drawn)[name], draws=200)
             for name in ("miou", "miou_defects", "defect_iou") if np.isfinite(pooled[name])}
    write_csv(folder / "evaluation.csv", ("figure", "value", "low", "high"),
              ((name, value, *spans.get(name, ("", ""))) for name, value in values.items()))
    each = seg.by_class(matrix)
    write_csv(folder / "per_class.csv", ("class", "iou", "dice", "precision", "recall", "true_px", "predicted_px"),
              zip(names, each.iou, each.dice, each.precision, each.recall, matrix.sum(1), matrix.sum(0)))
    rows = [image_row(item, classes) for item in judged]
    write_csv(folder / "per_image.csv", (*rows[0],), (row.values() for row in rows))
    write_csv(folder / "confusion.csv", ("truth", *names), ((name, *row) for name, row in zip(names, matrix)))
    write_csv(folder / "false_alarms.csv", ("image", "x", "y", "area_px"),
              ((item.name, *spot) for item in judged for spot in item.false_alarms))
    for name, drawn in worst:
        (folder / "worst").mkdir(parents=True, exist_ok=True)
        write_image(folder / "worst" / f"{name.replace('/', '_')}.png", drawn)
    write_page(folder / "evaluation.html", values, spans, matrix, names, len(judged), worst)


def image_row(item: Judged, classes: Sequence[str]) -> Mapping[str, object]:
    over, each = seg.overall(item.matrix), seg.by_class(item.matrix)
    return {"image": item.name, "true_px": int(item.matrix[1:].sum()), "predicted_px": int(item.matrix[:, 1:].sum()),
            **{name: over[name] for name in ("defect_iou", "defect_dice", "miou_defects", "pixel_accuracy")},
            "defects": item.objects.true, "hit": item.objects.hit, "named": item.objects.named,
            "found": item.objects.found, "spurious": item.objects.spurious,
            **{f"boundary_f1_{px}px": value for px, value in zip(TOLERANCES_PX, item.boundary_f1)},
            "soft_pixel_accuracy": item.soft_pixel_accuracy, "loss": item.loss,
            **{f"{kind}/{name}": values[at] for kind, values in (("iou", each.iou), ("dice", each.dice))
               for at, name in enumerate(classes, 1)}}


def write_csv(path: Path, head: Sequence[str], rows: Iterator) -> None:
    """A table with a head; numbers to 6 digits, what is unknown as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([cell(value) for value in row])
    write_bytes(path, text.getvalue().encode())


def cell(value: object) -> object:
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}" if np.isfinite(value) else ""
    return value


def spread(count: int, wanted: int) -> list[int]:
    """So many of the numbers 0..count-1, evenly spread."""
    return sorted({int((place + 0.5) * count / wanted) for place in range(min(wanted, count))}) if wanted else []
