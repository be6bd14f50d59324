"""The gate on trial: real defects pass, planted faults do not, repeats in overlapping pictures are told."""
import numpy as np
import pytest

from core.augment.bank import DefectBank
from core.augment.trial import Jury, gate_rates
from core.data import images, shapes
from core.data.records import Dataset, Record
from tests.augment.boards import made


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    return made(tmp_path_factory.mktemp("trial"), count=24)


def test_rates_of_a_made_set(boards):
    rates = gate_rates(*boards, most=30)
    assert rates.judged == 30 < rates.known
    assert rates.empty == rates.copied == 1
    assert sum(count for reason, count in rates.rejected.items() if reason != "near copy") <= 4
    assert rates.real < 0.4                                 # made defects are of a few shapes
    assert rates == gate_rates(*boards, most=30)


def test_a_defect_is_not_held_against_its_own_group(boards):
    dataset, bank = boards
    crop = bank.crops[0]
    assert Jury(dataset, bank)._copied(crop, set())
    assert not Jury(dataset, bank)._copied(crop, {record.name for record in dataset.records})


def test_a_defect_in_two_overlapping_pictures_is_a_repeat(tmp_path):
    dataset = overlapping(tmp_path)
    bank = DefectBank.build(dataset)
    crop = next(crop for crop in bank.crops if crop.record == "first")
    jury = Jury(dataset, bank)
    assert jury.group["first"] != jury.group["second"]      # the whole pictures are not alike
    assert jury.reason(crop) is None
    assert jury.repeats == 1
    jury = Jury(dataset, bank)
    jury.pictures = {name: np.zeros((160, 160, 3), np.uint8) for name in ("first", "second", "third")}
    assert jury.reason(crop) == "near copy"


def overlapping(folder) -> Dataset:
    """Two crops of one photograph that share a defect, one of them turned, and a picture of its own."""
    draw = np.random.default_rng(0)
    records = []
    def photograph():
        return np.repeat(draw.normal(150, 12, (260, 260, 1)).clip(0, 255).astype(np.uint8), 3, axis=2)
    photo, defect = photograph(), np.zeros((260, 260), bool)
    defect[110:140, 112:136] = np.random.default_rng(1).random((30, 24)) < 0.7
    photo[defect] = 40
    other, mark = photograph(), np.zeros((260, 260), bool)
    mark[60:80, 40:100] = True
    other[mark] = 40
    for name, picture, mask in (("first", photo[:160, :160], defect[:160, :160]),
                                ("second", np.rot90(photo[70:230, 60:220], 2), np.rot90(defect[70:230, 60:220], 2)),
                                ("third", other[:160, :160], mark[:160, :160])):
        path = folder / f"{name}.png"
        images.write_image(path, np.ascontiguousarray(picture))
        records.append(Record(image=path, name=name, size=(160, 160),
                              instances=(shapes.mask_instance(np.ascontiguousarray(mask), "pit"),)))
    return Dataset(root=folder, format="masks", classes=("pit",), records=tuple(records))
