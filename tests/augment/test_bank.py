"""Defects are cut out with their own pixels, and with what was there without them."""
import pickle
from dataclasses import replace

import numpy as np
import pytest

from core.augment.bank import DefectBank
from core.data import formats, images, shapes
from core.errors import DataError
from tests.augment.boards import made
from tests.sets import write_coco


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    return made(tmp_path_factory.mktemp("bank"))


def test_crops_show_the_image_and_its_twin(boards):
    dataset, bank = boards
    records = {record.name: record for record in dataset.records}
    assert len(bank.crops) == sum(len(record.instances) for record in dataset.records)
    for crop in bank.crops[:12]:
        x, y = crop.origin
        height, width = crop.mask.shape
        record = records[crop.record]
        assert (crop.pixels == images.read_image(record.image)[y:y + height, x:x + width]).all()
        assert (crop.clean == images.read_image(record.clean)[y:y + height, x:x + width]).all()
        x1, y1, x2, y2 = crop.inner_box
        assert crop.mask[y1:y2, x1:x2].sum() == crop.mask.sum() > 0


def test_boxes_alone_give_the_pixels_by_the_twin(boards):
    dataset, bank = boards
    boxed = replace(dataset, records=tuple(
        replace(record, instances=tuple(replace(item, rle=None, polygons=None) for item in record.instances))
        for record in dataset.records))
    overlaps = []
    for crop in DefectBank.build(boxed).crops:
        assert crop.mask_from == "twin"
        true = next(item for record in dataset.records if record.name == crop.record for item in record.instances
                    if item.label == crop.label and _meet(item.box, crop.box))
        full = shapes.instance_mask(true, crop.image_size)
        x, y = crop.origin
        window = full[y:y + crop.mask.shape[0], x:x + crop.mask.shape[1]]
        overlaps.append((window & crop.mask).sum() / (window | crop.mask).sum())
    assert np.median(overlaps) > 0.75


def _meet(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_ignored_defects_are_left_out_and_threads_change_nothing(boards):
    dataset, bank = boards
    first = next(record for record in dataset.records if record.instances)
    ignored = replace(first, instances=tuple(replace(item, ignore=True) for item in first.instances))
    others = tuple(ignored if record is first else record for record in dataset.records)
    assert first.name not in {crop.record for crop in DefectBank.build(replace(dataset, records=others)).crops}
    threaded = DefectBank.build(dataset, workers=3)
    assert pickle.dumps([c.pixels for c in threaded.crops]) == pickle.dumps([c.pixels for c in bank.crops])


def test_a_set_without_defects_is_refused(tmp_path):
    with pytest.raises(DataError, match="no defect"):
        DefectBank.build(formats.read(write_coco(tmp_path / "good", bad=0, good=2)))


def test_dirt_in_the_masks_is_no_defect(tmp_path, boards):
    dataset, bank = boards
    record = next(record for record in dataset.records if record.instances)
    dirt = np.zeros(record.size[::-1], bool)
    dirt[5, 5:8] = True
    label = record.instances[0].label
    changed = replace(record, instances=(*record.instances, shapes.mask_instance(dirt, label)))
    with_dirt = replace(dataset, records=tuple(changed if one is record else one for one in dataset.records))
    assert len(DefectBank.build(with_dirt).crops) == len(bank.crops)
    alone = replace(record, instances=(shapes.mask_instance(dirt, label),))
    assert len(DefectBank.build(replace(dataset, records=(alone,))).crops) == 1     # all that there is of its class
