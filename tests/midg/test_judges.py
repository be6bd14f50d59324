"""Judges learn what tells classes apart and where a defect lies, and do not approve of wrong labels."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.data import formats, images, shapes
from core.data.records import Dataset
from midg import judges
from tests.sets import plate, write_coco

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def plates(tmp_path_factory) -> Dataset:
    """Dark spots and bright scratches, with twins."""
    folder = tmp_path_factory.mktemp("judged")
    dataset = formats.read(write_coco(folder / "set", bad=20, good=0))
    records = []
    for number, record in enumerate(dataset.records):
        images.write_image(folder / f"{number}.png", plate(number)[..., 0])
        records.append(replace(record, clean=folder / f"{number}.png"))
    return replace(dataset, records=tuple(records))


@pytest.fixture(scope="module")
def trained(plates) -> judges.Judges:
    return judges.trained_judges(plates, steps=50)


def test_real_defects_that_were_held_out_are_named_and_found(plates, trained):
    figures = trained.figures(plates, judges.held_out)
    assert figures["class"] == figures["class/spot"] == 1
    assert figures["iou"] > 0.4


def test_wrong_names_and_loose_labels_are_seen(plates, trained):
    def swapped(item, size):
        return replace(item, label={"spot": "scratch", "scratch": "spot"}[item.label])

    def loose(item, size):
        x1, y1, x2, y2 = (round(value) for value in item.box)
        mask = shapes.instance_mask(item, size)
        mask[max(y1 - 12, 0):y2 + 12, max(x1 - 12, 0):x2 + 12] = True
        return shapes.mask_instance(mask, item.label)
    assert trained.figures(changed(plates, swapped))["class"] < 0.5
    assert trained.figures(changed(plates, loose))["iou"] < 0.25


def test_a_window_holds_its_own_defect_alone_and_stays_in_the_picture(plates):
    record = next(record for record in plates.records if record.instances)
    clean = images.read_image(record.clean)
    item, image = record.instances[0], clean.copy()
    box = (2, 3, 8, 9)                          # at the corner: mirrored, it would be seen four times
    image[3:9, 2:8] = image[40:44, 40:44] = 255 - clean[:1, :1]
    path = record.image.parent / "corner.png"
    images.write_image(path, image)
    mask = np.zeros(image.shape[:2], bool)
    mask[3:9, 2:8] = True
    corner = replace(record, image=path, instances=(shapes.mask_instance(mask, item.label),))
    crops = judges.crops_of(replace(plates, records=(corner,)), plates.classes)
    assert corner.instances[0].box == box
    assert torch.equal((crops.image != crops.clean).any(1), crops.mask)
    assert crops.mask.sum() == mask.sum()


def changed(dataset: Dataset, change) -> Dataset:
    return replace(dataset, records=tuple(
        replace(record, instances=tuple(change(item, record.size) for item in record.instances))
        for record in dataset.records))


def test_rows_say_what_to_reach():
    rows = judges.rows("midg", {"class": 0.9, "iou": 0.81234, "class/short": 1.0}, "reach >= 85 %", "reach >= 0.80")
    assert [row[1] for row in rows] == ["90.0%", "0.812"]
    assert "short 100%" in rows[0][2]


def test_kept_judges_judge_alike_and_do_not_learn_again(plates, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "trained_judges", lambda real: trained)
    first = judges.kept_judges(tmp_path / "judges.pt", plates)
    monkeypatch.delattr(judges, "trained_judges")
    again = judges.kept_judges(tmp_path / "judges.pt", plates)
    assert first.figures(plates) == again.figures(plates)
