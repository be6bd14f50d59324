"""COCO's figures of detected boxes and masks: average precision and recall, over all, by class and by size."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from ..data.records import Instance, Record
from ..data.shapes import crop_to_rle, instance_crop, rle_area_px

KINDS = ("bbox", "segm")
MOST = 100              # detections an image that count, those of the highest scores
_LARGEST = 1e10         # px, above any area
_SIZES = {"small": (0, 32 ** 2), "medium": (32 ** 2, 96 ** 2), "large": (96 ** 2, _LARGEST)}


@dataclass(frozen=True)
class Scored:
    """One detection: what was found, and how sure the network is, 0..1."""
    instance: Instance
    score: float


def coco_figures(records: Sequence[Record], found: Mapping[str, Sequence[Scored]], classes: Sequence[str],
                 kinds: Sequence[str] = KINDS, *, quarters: bool = True) -> dict[str, float]:
    """Figures by name; those without any true defect to tell them from are left out.

    records  the truth; good images count, their detections are false. `ignore` is neither found nor missed
    found    record name -> its detections; a record without is one where nothing was found
    Names, each below bbox/ or segm/:
    AP (mean over IoU 0.50 to 0.95), AP50, AP75, AR1, AR10, AR100; AP/CLASS, AP50/CLASS, AR/CLASS;
    AP, AP50, recall50 with _small (area under 32^2 px), _medium, _large (from 96^2 px), and with _q1 to _q4, the
    quarters of this set's own areas.
    ValueError: detections of a record or a class that is not in the set.
    """
    _check(records, found, classes)
    truth, areas = _truth(records, classes)
    reference = _coco(truth)
    figures: dict[str, float] = {}
    for kind in kinds:
        results = reference.loadRes(_detections(records, found, classes, kind))
        judged = COCOeval_faster(reference, results, kind, print_function=_silent)
        ranges = {**_SIZES, **(_quarters(areas) if quarters else {})}
        judged.params.areaRng = [[0, _LARGEST], *map(list, ranges.values())]
        judged.params.areaRngLbl = ["all", *ranges]
        judged.params.maxDets = [1, 10, MOST]
        judged.evaluate()
        judged.accumulate()
        named = _named(judged.eval["precision"], judged.eval["recall"], list(ranges), classes)
        figures |= {f"{kind}/{name}": value for name, value in named.items() if np.isfinite(value)}
    return figures


def _named(precision: np.ndarray, recall: np.ndarray, ranges: Sequence[str], classes: Sequence[str],
           ) -> dict[str, float]:
    """precision [IoU, recall, class, area, most], recall [IoU, class, area, most]; -1 is unknown."""
    named = {"AP": _mean(precision[:, :, :, 0, 2]), "AP50": _mean(precision[0, :, :, 0, 2]),
             "AP75": _mean(precision[5, :, :, 0, 2]),
             **{f"AR{most}": _mean(recall[:, :, 0, at]) for at, most in enumerate((1, 10, MOST))}}
    for at, name in enumerate(ranges, 1):
        named |= {f"AP_{name}": _mean(precision[:, :, :, at, 2]), f"AP50_{name}": _mean(precision[0, :, :, at, 2]),
                  f"recall50_{name}": _mean(recall[0, :, at, 2])}
    for at, name in enumerate(classes):
        named |= {f"AP/{name}": _mean(precision[:, :, at, 0, 2]), f"AP50/{name}": _mean(precision[0, :, at, 0, 2]),
                  f"AR/{name}": _mean(recall[:, at, 0, 2])}
    return named


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def _truth(records: Sequence[Record], classes: Sequence[str]) -> tuple[dict, list[float]]:
    """A COCO document, and the areas in px of the defects that count."""
    number = {name: at for at, name in enumerate(classes, 1)}
    listed, areas = [], []
    for image, record in enumerate(records, 1):
        for instance in record.instances:
            if instance.label not in number:
                raise ValueError(f"{record.name}: no such class, got '{instance.label}'")
            shape = _segmentation(instance, record)
            area = float(rle_area_px(shape))
            listed.append({"id": len(listed) + 1, "image_id": image, "category_id": number[instance.label],
                           "segmentation": shape, "area": area, "bbox": _box(instance),
                           "iscrowd": int(instance.ignore)})
            areas += [] if instance.ignore else [area]
    pictures = [{"id": at, "file_name": record.name, "width": record.size[0], "height": record.size[1]}
                for at, record in enumerate(records, 1)]
    categories = [{"id": at, "name": name} for name, at in number.items()]
    return {"info": {}, "images": pictures, "annotations": listed, "categories": categories}, areas


def _detections(records: Sequence[Record], found: Mapping[str, Sequence[Scored]], classes: Sequence[str], kind: str,
                ) -> list[dict]:
    """COCO's results, with boxes or masks alone: areas are taken from what there is."""
    number = {name: at for at, name in enumerate(classes, 1)}
    return [{"image_id": image, "category_id": number[one.instance.label], "score": float(one.score),
             **({"bbox": _box(one.instance)} if kind == "bbox" else
                {"segmentation": _segmentation(one.instance, record)})}
            for image, record in enumerate(records, 1) for one in found.get(record.name, ())]


def _segmentation(instance: Instance, record: Record) -> dict:
    return instance.rle or crop_to_rle(*instance_crop(instance, record.size), record.size)


def _box(instance: Instance) -> list[float]:
    x1, y1, x2, y2 = instance.box
    return [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]


def _quarters(areas: Sequence[float]) -> dict[str, tuple[float, float]]:
    if not areas:
        return {}
    bounds = [0.0, *np.percentile(areas, (25, 50, 75)).tolist(), _LARGEST]
    return {f"q{at + 1}": (bounds[at], bounds[at + 1]) for at in range(4)}


def _check(records: Sequence[Record], found: Mapping[str, Sequence[Scored]], classes: Sequence[str]) -> None:
    strange = set(found) - {record.name for record in records}
    if strange:
        raise ValueError(f"detections of images that are not in the set, got {sorted(strange)[:3]}")
    labels = {one.instance.label for listed in found.values() for one in listed} - set(classes)
    if labels:
        raise ValueError(f"detections of classes that are not in the set, got {sorted(labels)[:3]}")


def _coco(document: dict) -> COCO:
    return COCO(document, print_function=_silent)


def _silent(*_: object) -> None:
    pass
