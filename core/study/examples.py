"""Test images that changed most, for better and for worse, between the arms without and with generated data."""
from collections.abc import Mapping, Sequence

import numpy as np

from ..data.images import read_image
from ..data.records import Record
from ..data.shapes import instance_mask
from ..visualise import encode_jpeg, grid, overlay, reduced, shown, white_point
from .arms import Arm, Row
from .settings import NONE, REAL, StudyConfig
from .tasks import image_score, masks_of
from .work import FOUND, arm_folder

EACH, SIDE_PX = 4, 300


def compared(table: dict) -> str | None:
    """The row to show beside none: of those with generated data, whole, the one with the best main figure."""
    main = table["main"][0]
    rows = [row for row in table["rows"] if row["method"] not in REAL and not row["variant"] and "over_none" in row]
    return max(rows, key=lambda row: row["values"][main]["mean"])["name"] if rows else None


def changes(config: StudyConfig, name: str, results: Mapping[Arm, dict], records: Sequence[Record],
            classes: Sequence[str]) -> list[tuple[float, int, Arm]]:
    """(change of the image's own score, its number, arm), the largest losses first; good images have no score."""
    found = []
    for arm, result in results.items():
        base = results.get(Arm(Row(NONE, 0.0), arm.seed))
        if arm.row.name != name or base is None:
            continue
        for at, record in enumerate(records):
            scores = [image_score(config.task, entry["images"][at], record, classes) for entry in (base, result)]
            if not np.isnan(scores).any():
                found.append((scores[1] - scores[0], at, arm))
    return sorted(found, key=lambda one: one[0])


def pictures(config: StudyConfig, picked: Sequence[tuple[float, int, Arm]], records: Sequence[Record],
             classes: Sequence[str]) -> bytes | None:
    """JPEG: a row an image, with its truth, what the arm none found, and what the other one did."""
    rows, labels = [], []
    for change, at, arm in picked:
        record = records[at]
        pixels = read_image(record.image)
        pixels = shown(pixels, white_point([pixels]))
        true = [instance_mask(item, record.size) if item.has_shape else _box(item.box, record.size)
                for item in record.instances]
        kinds = [classes.index(item.label) for item in record.instances]
        cells = [overlay(pixels, true, kinds=kinds)]
        for shown_arm in (Arm(Row(NONE, 0.0), arm.seed), arm):
            found = masks_of(config.task, arm_folder(config.output, shown_arm) / FOUND, record, classes)
            cells.append(overlay(pixels, [mask for _, mask in found], kinds=[kind for kind, _ in found]))
        rows.append([reduced(cell, SIDE_PX) for cell in cells])
        labels.append(f"{100 * change:+.0f}")
    if not rows:
        return None
    return encode_jpeg(grid(rows, row_labels=labels, column_labels=["truth", NONE, picked[0][2].row.name]), 88)


def _box(box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    x1, y1, x2, y2 = (round(value) for value in box)
    mask[y1:y2, x1:x2] = True
    return mask
