"""Intervals and bootstraps of a study against calculations by hand, and average precision against COCO's own."""
import numpy as np
import pytest

from core.data.records import Instance, Record
from core.metrics.detection import Scored, coco_figures
from core.seeding import rng
from core.study import measures, statistics
from core.study.measures import Detections, Maps, Segments

CLASSES = ("spot", "scratch")


def test_the_interval_over_seeds_is_students():
    low, high = statistics.seeds_interval([1.0, 2.0, 3.0])          # mean 2, deviation 1, t(2, 97.5 %) = 4.30265
    assert (low, high) == pytest.approx((2 - 4.30265 / 3 ** 0.5, 2 + 4.30265 / 3 ** 0.5), abs=1e-4)
    assert np.isnan(statistics.seeds_interval([1.0])).all()
    assert np.isnan(statistics.seeds_interval([1.0, float("nan")])).all()


def test_pictures_of_one_object_are_drawn_together_where_there_are_enough_objects():
    groups = [f"tile {number // 2}" for number in range(24)]
    weights = statistics.resamplings(statistics.units_of(groups), draws=50)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights[:, ::2].sum(1) == 12).all()
    alone = statistics.resamplings(statistics.units_of(["a", "a", "a", "b"]), draws=50)
    assert (alone.sum(1) == 4).all()
    assert (alone[:, 0] != alone[:, 1]).any()


def test_a_bootstrap_of_two_images_has_the_shares_that_can_be_counted():
    """Gains of 0 and 1 on two images: both draws are image 0, one of each, both image 1, with chances 1, 2, 1 of 4."""
    values = {"with": np.array([0.0, 1.0]), "without": np.array([0.0, 0.0])}
    weights = statistics.resamplings(np.arange(2), draws=4000)
    bootstrap = statistics.Bootstrap(weights, lambda arm, row: {"figure": float(row @ values[arm]) / row.sum()})
    differences = bootstrap.of("with")["figure"] - bootstrap.of("without")["figure"]
    shares = [np.mean(differences == value) for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert bootstrap.gain(["with"], ["without"], "figure") == (0, 1)
    assert bootstrap.gain(["with"], ["with"], "figure") == (0, 0)
    assert bootstrap.gain(["with", "without"], ["without", "with"], "figure") == (0, 0)        # seeds are averaged


def boxes(seed: int, images: int = 8) -> tuple[list[Record], list[list[tuple]]]:
    """Random defects, some of them not to count, and detections: true ones shifted, others anywhere."""
    draw, records, found = rng(seed), [], []
    for number in range(images):
        items, listed = [], []
        for _ in range(int(draw.integers(0, 5))):
            x, y, side = (float(value) for value in draw.integers((0, 0, 8), (150, 150, 60)))
            items.append(Instance(label=CLASSES[int(draw.integers(2))], box=(x, y, x + side, y + side),
                                  ignore=bool(draw.random() < 0.2)))
            for _ in range(int(draw.integers(0, 3))):
                a, b = draw.normal(0, side / 8, 2)
                listed.append((items[-1].label, float(draw.random()), (x + a, y + b, x + a + side, y + b + side)))
        for _ in range(int(draw.integers(0, 4))):
            x, y = draw.uniform(0, 150, 2)
            listed.append((CLASSES[int(draw.integers(2))], float(draw.random()), (x, y, x + 30, y + 20)))
        records.append(Record(image="none.png", name=f"image {number}", size=(256, 256), instances=tuple(items)))
        found.append(listed)
    return records, found


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_cocos(seed):
    records, found = boxes(seed)
    listed = {record.name: [Scored(Instance(label=label, box=box), score) for label, score, box in each]
              for record, each in zip(records, found)}
    wanted = coco_figures(records, listed, CLASSES, kinds=("bbox",), quarters=False)
    values = Detections(records, found, CLASSES).values(np.ones(len(records), int))
    pairs = {"mAP50-95": "AP", "mAP50": "AP50", "AP of spot": "AP/spot", "AP of scratch": "AP/scratch"}
    for mine, theirs in pairs.items():
        assert values[mine] == pytest.approx(wanted[f"bbox/{theirs}"], abs=1e-6), mine
    assert measures.sizes(records, found, CLASSES)["AP small"] == wanted["bbox/AP_small"]


def test_an_image_that_counts_twice_counts_as_if_it_were_there_twice():
    records, found = boxes(5)
    weights = np.array([2, 0, 1, 1, 3, 1, 0, 1])
    order = np.repeat(np.arange(8), weights)
    copies = Detections([records[k] for k in order], [found[k] for k in order], CLASSES)
    weighted = Detections(records, found, CLASSES).values(weights)
    assert weighted["recall"] == copies.values(np.ones(len(order), int))["recall"]
    # copies of one detection are put in one step of the curve, COCO takes them one by one: nearly equal
    assert weighted["mAP50"] == pytest.approx(copies.values(np.ones(len(order), int))["mAP50"], abs=0.02)


def test_nothing_found_is_zero_and_nothing_to_find_is_unknown():
    records, _ = boxes(1)
    empty = Detections(records, [[] for _ in records], CLASSES).values(np.ones(len(records), int))
    assert empty["mAP50-95"] == empty["recall"] == 0
    assert np.isnan(Detections(records, [[] for _ in records], CLASSES).values(np.zeros(8, int))["mAP50"])


def test_segments_by_hand():
    matrices = np.array([[[90, 2], [4, 4]], [[100, 0], [0, 0]], [[99, 1], [0, 0]]])
    objects = np.array([[2, 1, 2, 1], [0, 0, 0, 0], [0, 0, 1, 1]])
    values = Segments(matrices, objects, ["spot"]).values(np.array([1, 1, 1]))
    assert values["defect IoU"] == values["IoU of spot"] == pytest.approx(4 / (4 + 4 + 3))
    assert values["image IoU"] == pytest.approx(4 / 10)                # of the one image with defects
    assert values["defects found"] == 0.5
    assert values["false alarms an image"] == pytest.approx(2 / 3)
    assert values["good images alarmed"] == 0.5
    assert Segments(matrices, objects, ["spot"]).values(np.array([2, 0, 0]))["defect IoU"] == pytest.approx(4 / 10)


def test_maps_by_hand():
    """Three images of four pixels, maps of four levels: a defect well seen, a clean one, a defect not seen."""
    counts = np.array([[[2, 1, 0, 0], [0, 0, 0, 1]], [[3, 0, 1, 0], [0, 0, 0, 0]], [[3, 0, 0, 0], [1, 0, 0, 0]]])
    maps = Maps(np.array([3.0, 2.0, 0.0]), counts, counts[:, 1].astype(float), np.array([1, 0, 1]))
    values = maps.values(np.ones(3))
    assert values["image AUROC"] == 0.5                                 # above the clean one, and below it
    assert values["image AP"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["pixel AUROC"] == pytest.approx((10 + 8 * 0.5) / 20)
    assert values["pixel AP"] == pytest.approx((1 + 2 / 12) / 2)
    assert values["pixel F1"] == pytest.approx(2 / 3)

    doubled = maps.values(np.array([2, 1, 0]))
    assert doubled["image AUROC"] == doubled["pixel AUROC"] == doubled["AUPRO 30 %"] == 1
    assert np.isnan(maps.values(np.array([0, 1, 0]))["image AUROC"])
