"""COCO's figures of detections: known values, empty predictions, empty truths."""
import contextlib
import io
import time
from pathlib import Path

import numpy as np
import pytest

from core.data.records import Instance, Record
from core.data.shapes import mask_instance
from core.metrics import detection
from core.metrics.detection import Scored, coco_figures
from core.seeding import rng

SIZE = (200, 160)
CLASSES = ("pit", "crack")


def square(x: int, y: int, side: int = 20, label: str = "pit", **more) -> Instance:
    mask = np.zeros(SIZE[::-1], bool)
    mask[y:y + side, x:x + side] = True
    return mask_instance(mask, label, **more)


def record(name: str, *instances: Instance) -> Record:
    return Record(image=Path(f"{name}.png"), name=name, size=SIZE, instances=instances)


def test_what_is_found_exactly_is_perfect_and_by_size_and_class():
    records = [record("a", square(5, 5), square(60, 60, 40, "crack")), record("b", square(10, 50, 100)), record("good")]
    found = {one.name: [Scored(item, 0.9) for item in one.instances] for one in records}
    figures = coco_figures(records, found, CLASSES)
    assert [figures[name] for name in ("segm/AP", "bbox/AP50", "segm/AP/crack")] == pytest.approx([1, 1, 1])
    assert {name for name in figures if name.startswith("segm/recall50_")} >= {
        "segm/recall50_small", "segm/recall50_medium", "segm/recall50_large", "segm/recall50_q1"}


def test_hand_computed_precision():
    """Ranked: hit, false on a good image, hit, and one of three missed: 34 of 101 points at 1, 33 at 2/3, 34 at 0."""
    records = [record("a", square(5, 5)), record("b", square(5, 5), square(100, 100)), record("good")]
    found = {"a": [Scored(square(5, 5), 0.9)], "good": [Scored(square(50, 50), 0.8)], "b": [Scored(square(5, 5), 0.7)]}
    figures = coco_figures(records, found, ("pit",), quarters=False)
    expected = (34 * 1 + 33 * (2 / 3)) / 101
    assert figures["segm/AP50"] == pytest.approx(expected)
    assert figures["segm/AP"] == pytest.approx(expected)
    assert figures["segm/AR100"] == pytest.approx(2 / 3)
    without = coco_figures(records[:2], {name: found[name] for name in "ab"}, ("pit",), quarters=False)
    assert without["segm/AP50"] == pytest.approx(67 / 101), "false alarms on good images hurt"


def crowd(count: int) -> tuple[list[Record], dict[str, list[Scored]]]:
    """Images with up to five squares of two classes, each found about where it is or not at all, and false alarms."""
    random, records, found = rng(7), [], {}
    for number in range(count):
        items = [square(*map(int, random.integers(0, 90, 2)), int(random.integers(5, 60)), str(random.choice(CLASSES)))
                 for _ in range(random.integers(0, 6))]
        moved = [square(*(int(max(0, at + random.integers(-4, 5))) for at in item.box[:2]),
                        int(item.box[2] - item.box[0]), item.label) for item in items if random.random() < 0.8]
        moved += [square(*map(int, random.integers(0, 90, 2)), 20, "pit") for _ in range(random.integers(0, 3))]
        records.append(record(f"{number:03d}", *items))
        found[f"{number:03d}"] = [Scored(item, float(random.random())) for item in moved]
    return records, found


def test_the_figures_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    records, found = crowd(40)
    figures = coco_figures(records, found, CLASSES, quarters=False)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = detection._truth(records, CLASSES)[0]
        reference.createIndex()
        for kind in detection.KINDS:
            judged = cocoeval.COCOeval(reference, reference.loadRes(
                detection._detections(records, found, CLASSES, kind)), kind)
            judged.evaluate()
            judged.accumulate()
            judged.summarize()
            names = ("AP", "AP50", "AP75", "AP_small", "AP_medium", None, "AR1", "AR10", "AR100")
            for name, value in zip(names, judged.stats):
                if name:
                    assert figures[f"{kind}/{name}"] == pytest.approx(value, abs=1e-9), (kind, name)


def test_four_hundred_images_take_less_than_a_second():
    records, found = crowd(400)
    began = time.process_time()
    coco_figures(records, found, CLASSES, quarters=False)
    assert time.process_time() - began < 1.5                # 0.3 s on a free core


def test_masks_and_boxes_are_told_apart():
    mask = np.zeros(SIZE[::-1], bool)
    mask[40:80, 40:80] = np.tri(40, dtype=bool)
    true, whole = mask_instance(mask, "pit"), square(40, 40, 40)
    figures = coco_figures([record("a", true)], {"a": [Scored(whole, 1.0)]}, ("pit",))
    assert figures["bbox/AP"] == pytest.approx(1)
    assert figures["segm/AP50"] == pytest.approx(1)
    assert figures["segm/AP75"] == pytest.approx(0)


def test_nothing_found_is_zero_and_nothing_to_find_is_unknown():
    records = [record("a", square(5, 5)), record("good")]
    figures = coco_figures(records, {}, CLASSES)
    assert figures["segm/AP"] == figures["segm/AR100"] == figures["segm/AP/pit"] == 0
    assert "segm/AP/crack" not in figures
    assert "segm/AP_large" not in figures
    assert coco_figures([record("good")], {}, CLASSES) == {}
    assert coco_figures([record("good")], {"good": [Scored(square(5, 5), 0.5)]}, CLASSES) == {}


def test_what_is_to_be_ignored_neither_helps_nor_hurts():
    records = [record("a", square(5, 5), square(100, 100, ignore=True))]
    found = {"a": [Scored(square(100, 100), 0.9), Scored(square(5, 5), 0.8)]}
    assert coco_figures(records, found, ("pit",))["segm/AP"] == pytest.approx(1)


def test_strangers_are_refused():
    with pytest.raises(ValueError, match="images that are not in the set"):
        coco_figures([record("a")], {"b": []}, CLASSES)
    with pytest.raises(ValueError, match="classes that are not in the set"):
        coco_figures([record("a")], {"a": [Scored(square(1, 1, label="dent"), 1.0)]}, CLASSES)
