"""How much wider than the defects real boxes are drawn, found from boxes with defect-free twins."""
from dataclasses import replace

import numpy as np
import pytest

from core.augment.bank import DefectBank
from core.augment.margins import learn_margins, widened
from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig, GateSettings
from core.data import formats
from core.data.images import write_image
from tests import sets


@pytest.fixture(scope="module")
def boxed(tmp_path_factory):
    """The plates with twins, and boxes in place of shapes: spots 6 px wider on every side, scratches tight."""
    root = sets.write_coco(tmp_path_factory.mktemp("boxed"), bad=5, good=0)
    dataset = formats.read(root, "coco")
    records = []
    for number, record in enumerate(dataset.records):
        clean = root / f"clean{number}.png"
        write_image(clean, sets.plate(number)[..., 0])
        items = tuple(replace(item, polygons=None, rle=None, box=widened(item.box, 6 * (item.label == "spot"),
                                                                         record.size)) for item in record.instances)
        records.append(replace(record, instances=items, clean=clean))
    return dataset, replace(dataset, records=tuple(records))


def test_margins_are_what_the_boxes_have_beyond_the_defects(boxed):
    shaped, loose = boxed
    margins = learn_margins(loose, DefectBank.build(loose))
    assert margins["spot"] == pytest.approx(6, abs=1)
    assert margins["scratch"] == pytest.approx(0, abs=1)
    assert learn_margins(shaped, DefectBank.build(shaped)) == {"spot": 0, "scratch": 0}


def test_labels_are_drawn_as_the_real_ones_where_asked_for(boxed, tmp_path):
    formats.write(boxed[1], tmp_path / "set", "coco")
    tight, drawn = (augment(AugmentConfig(data=tmp_path / "set", output=tmp_path / labels, count=3, labels=labels,
                                          gate=GateSettings(enabled=False))) for labels in ("tight", "drawn"))
    assert any("labels=drawn" in note for note in tight.notes)
    assert not any("labels=drawn" in note for note in drawn.notes)
    wider = {"spot": [], "scratch": []}
    for one, other in zip(tight.dataset.records, drawn.dataset.records):
        assert one.image.read_bytes() == other.image.read_bytes()
        for item, wide in zip(one.instances, other.instances):
            assert item.has_shape
            assert not wide.has_shape
            wider[wide.label].append(wide.box[2] - wide.box[0] - item.box[2] + item.box[0])
    assert np.median(wider["spot"]) == pytest.approx(12, abs=2)
    assert np.median(wider["scratch"] or [0]) == pytest.approx(0, abs=2)


def test_a_widened_box_ends_at_the_image():
    assert widened((3, 10, 20, 30), 5, (22, 100)) == (0, 5, 22, 35)
