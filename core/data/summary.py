"""The figures of a data set: counts by split and class, sizes, brightness, problems and hashes, ready for JSON."""
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from .examine import Examined, Measured, by
from .problems import KINDS, Problem, grouped
from .splits import NAMES, group_of
from .verify import Report

VERSION = 1
QUANTILES = (1, 5, 25, 50, 75, 95, 99)          # percent
SIDES_PX = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)    # bounds of the histogram of sqrt(area)
SHOWN = 50                                      # problems of one kind that are listed


def summarise(report: Report) -> dict:
    """Return the data set's summary: plain numbers, text, lists and dicts.

    splits    "all", and each split that the data set gives ("none": the records without one), see `_share`
    problems  see `by_code`
    hashes    record name -> SHA-256 of its image file, where the files were read
    """
    classes = report.dataset.classes if report.dataset else ()
    shares = {"all": report.examined}
    for name in (*NAMES, None):
        chosen = [found for found in report.examined if found.record.split == name]
        if chosen and len(chosen) < len(report.examined) or (chosen and name):
            shares[name or "none"] = chosen
    return {
        "version": VERSION,
        "root": str(report.dataset.root) if report.dataset else None,
        "format": report.dataset.format if report.dataset else None,
        "classes": list(classes),
        "splits": {name: _share(found, classes) for name, found in shares.items()},
        "problems": by_code(report.problems),
        "hashes": {found.record.name: found.prints[found.record.image].sha256
                   for found in report.examined if found.record.image in found.prints},
        "seconds": round(report.seconds, 3),
    }


def by_code(problems: Iterable[Problem]) -> dict[str, dict]:
    """Code -> level, count and the first messages."""
    return {code: {"level": KINDS[code][0], "count": len(lines), "messages": lines[:SHOWN]}
            for code, lines in grouped(problems)}


def counted(found: Iterable[Examined]) -> list[Measured]:
    """The defects that count: all but those to be ignored."""
    return [defect for one in found for defect in one.defects if not defect.ignore]


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Percent -> value; None without values."""
    if not len(values):
        return None
    return {str(q): round(float(value), 3) for q, value in zip(QUANTILES, np.percentile(values, QUANTILES))}


def _share(found: Sequence[Examined], classes: Sequence[str]) -> dict:
    """The figures of some records: areas in px, aspect as width by height, brightness in 0..1 by channel."""
    records = [one.record for one in found]
    defects = counted(found)
    areas = np.array([defect.area_px for defect in defects], float)
    aspects = [defect.width_px / defect.height_px for defect in defects if defect.height_px]
    return {
        "images": len(records),
        "good": sum(record.is_good for record in records),
        "defective": sum(bool(record.instances) for record in records),
        "unverified": sum(not record.verified for record in records),
        "groups": len({group_of(record) for record in records}),
        "instances": len(defects),
        "ignored": sum(len(one.defects) for one in found) - len(defects),
        "classes": _by_class(found, classes),
        "area_px": quantiles(areas),
        "sqrt_area_px": {"bounds": list(SIDES_PX), "counts": np.histogram(np.sqrt(areas), SIDES_PX)[0].tolist()},
        "aspect": quantiles(aspects),
        "at_border": round(sum(defect.at_border for defect in defects) / len(defects), 4) if defects else None,
        "sizes": {by(size): count for size, count in Counter(record.size for record in records).most_common()},
        "pixels": _brightness(found),
    }


def _by_class(found: Sequence[Examined], classes: Sequence[str]) -> dict:
    areas, images = defaultdict(list), Counter()
    for one in found:
        labels = [defect.label for defect in one.defects if not defect.ignore]
        images.update(set(labels))
        for defect in counted([one]):
            areas[defect.label].append(defect.area_px)
    return {label: {"instances": len(areas[label]), "images": images[label], "area_px": quantiles(areas[label])}
            for label in classes}


def _brightness(found: Sequence[Examined]) -> dict | None:
    pixels = sum(one.pixels for one in found)
    if not pixels:
        return None
    mean, square = sum(one.sums for one in found if one.pixels) / pixels
    deviation = np.sqrt(np.maximum(square - mean ** 2, 0))
    return {"mean": mean.round(4).tolist(), "std": deviation.round(4).tolist()}
