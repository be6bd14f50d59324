"""How much wider than the defects real boxes are drawn, found from boxes with defect-free twins."""
from dataclasses import replace

import pytest

from core.augment.bank import DefectBank
from core.augment.margins import learn_margins, widened
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


def test_a_widened_box_ends_at_the_image():
    assert widened((3, 10, 20, 30), 5, (22, 100)) == (0, 5, 22, 35)
