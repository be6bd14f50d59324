"""How much wider than the defects the real boxes are drawn, so that generated labels can be drawn alike."""
import numpy as np

from ..data.records import Dataset, Instance
from .bank import Crop, DefectBank
from .generator import Box

FROM_BOXES = ("twin", "estimate")       # a crop's mask was found inside a box that a person drew


def learn_margins(dataset: Dataset, bank: DefectBank) -> dict[str, float]:
    """Class -> px that a real box reaches beyond its defect on each side, the median; 0 where shapes are labelled.

    A detector's figures ask for boxes like the annotators'. Those of DeepPCB stand 10 px off their defects: a tight box
    has an IoU of 0.2 with them, and teaches what counts as a miss.
    """
    records = {record.name: record for record in dataset.records}
    found: dict[str, list[float]] = {label: [] for label in dataset.classes}
    for crop in bank.crops:
        if crop.mask_from in FROM_BOXES:
            drawn = _around(crop, records[crop.record].instances)
            found[crop.label] += [crop.box[side] - drawn[side] if side < 2 else drawn[side] - crop.box[side]
                                  for side in range(4)]
    return {label: max(0.0, float(np.median(sides))) if sides else 0.0 for label, sides in found.items()}


def widened(box: Box, margin_px: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box grown on every side, cut at the border of the image of (width, height)."""
    x1, y1, x2, y2 = box
    return (max(0.0, x1 - margin_px), max(0.0, y1 - margin_px), min(float(size[0]), x2 + margin_px),
            min(float(size[1]), y2 + margin_px))



def _around(crop: Crop, instances: tuple[Instance, ...]) -> tuple[float, float, float, float]:
    """The box of the crop's own label: of its class, the one that holds most of it, the smallest of equals."""
    def held(instance: Instance) -> tuple[float, float]:
        x1, y1, x2, y2 = instance.box
        width = min(x2, crop.box[2]) - max(x1, crop.box[0])
        height = min(y2, crop.box[3]) - max(y1, crop.box[1])
        return max(width, 0) * max(height, 0), -(x2 - x1) * (y2 - y1)
    return max((item for item in instances if item.label == crop.label), key=held).box
