"""What CRG's models learn from: where squares and patches are cut, classes in balance, the earlier layout."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data import images
from core.data.records import Dataset, Instance, Record
from core.errors import DataError
from crg.data import (
    Patches,
    Squares,
    chosen_classes,
    clean_records,
    mirrored,
    read_dataset,
    read_named,
    turned,
)
from crg.settings import ContextDataConfig, DefectDataConfig
from tests.made_sets import grain

SIZE = (40, 30)


def record(folder: Path, name: str, boxes: dict[str, tuple] | None = None, *, number: int = 0, **keys) -> Record:
    path = folder / f"{name}.png"
    images.write_image(path, grain(number, SIZE))
    items = tuple(Instance(label=label, box=box) for label, box in (boxes or {}).items())
    return Record(image=path, name=name, size=SIZE, instances=items, **keys)


def set_of(folder: Path, *records: Record, classes: tuple[str, ...] = ("pit", "crack")) -> Dataset:
    return Dataset(root=folder, format="made", classes=classes, records=records)


def test_a_patch_lies_round_its_defect_at_native_resolution(tmp_path):
    one = record(tmp_path, "a", {"crack": (14, 10, 20, 14)})
    still = Patches([one], ("pit", "crack"), DefectDataConfig(turns=False, jitter_px=0), 8, 0)
    found = still[0, 5]
    assert found["label"] == 1
    assert np.array_equal(found["image"].permute(1, 2, 0).numpy(), grain(0, SIZE)[8:16, 13:21])
    moved = Patches([one], ("pit", "crack"), DefectDataConfig(turns=False, jitter_px=2), 8, 0)
    wanted = {(x, y): grain(0, SIZE)[8 + y:16 + y, 13 + x:21 + x].tobytes() for x in range(-2, 3) for y in range(-2, 3)}
    seen = {np.ascontiguousarray(moved[0, draw]["image"].permute(1, 2, 0).numpy()).tobytes() for draw in range(200)}
    assert seen == set(wanted.values())
    assert torch.equal(moved.held_out(3)[0]["image"], found["image"])


def test_beyond_the_border_the_image_is_mirrored(tmp_path):
    at_border = Patches([record(tmp_path, "a", {"pit": (0, 0, 2, 2)})], ("pit",),
                        DefectDataConfig(turns=False, jitter_px=0), 8, 0)[0, 0]["image"].permute(1, 2, 0).numpy()
    assert np.array_equal(at_border, np.pad(grain(0, SIZE), ((3, 0), (3, 0), (0, 0)), mode="symmetric")[:8, :8])
    small = grain(0, (5, 4))
    assert np.array_equal(mirrored(small, -3, -4, 14), np.pad(small, ((4, 6), (3, 6), (0, 0)), mode="symmetric"))


def test_every_class_is_seen_equally_often_where_that_is_asked_for(tmp_path):
    common = [record(tmp_path, f"p{n}", {"pit": (10, 10, 14, 14)}) for n in range(9)]
    rare = record(tmp_path, "c", {"crack": (10, 10, 14, 14)})
    for balance, share in ((True, 0.5), (False, 0.1)):
        patches = Patches([*common, rare], ("pit", "crack"), DefectDataConfig(balance=balance), 8, 0)
        labels = [patches[draw % 10, draw]["label"].item() for draw in range(400)]
        assert np.mean(labels) == pytest.approx(share, abs=0.08)
    assert [item["label"].item() for item in patches.held_out(4)] == [0, 1, 0, 0]


def test_what_is_drawn_depends_on_seed_and_draw_alone(tmp_path):
    records = [record(tmp_path, f"p{n}", {"pit": (10, 10, 14, 14)}, number=n) for n in range(4)]
    one, again, other = (Patches(records, ("pit",), DefectDataConfig(), 8, seed) for seed in (0, 0, 1))
    same = [torch.equal(one[0, draw]["image"], again[3, draw]["image"]) for draw in range(20)]
    assert all(same)
    assert not all(torch.equal(one[0, draw]["image"], other[0, draw]["image"]) for draw in range(20))


def test_defects_longer_than_a_patch_are_left_out(tmp_path):
    records = [record(tmp_path, "a", {"pit": (0, 0, 20, 4)}), record(tmp_path, "b", {"pit": (0, 0, 8, 4)})]
    patches = Patches(records, ("pit",), DefectDataConfig(), 8, 0)
    assert (len(patches), patches.too_large) == (1, 1)
    with pytest.raises(DataError, match=r"no defect of pit .* 1 are longer than 1.0 sides .* raise network.size_px"):
        Patches(records[:1], ("pit",), DefectDataConfig(), 8, 0)


def test_a_square_is_a_part_of_a_defect_free_image_or_all_of_it_squeezed(tmp_path):
    records = [record(tmp_path, "a")]
    squares = Squares(records, ContextDataConfig(turns=False), 8, 0)
    picture = grain(0, SIZE)
    parts = {picture[y:y + 8, x:x + 8].tobytes(): (x, y) for x in range(33) for y in range(23)}
    corners = [parts[np.ascontiguousarray(squares[0, draw]["image"].permute(1, 2, 0).numpy()).tobytes()]
               for draw in range(300)]
    assert {x for x, _ in corners} == set(range(33))
    assert {y for _, y in corners} == set(range(23))
    whole = Squares(records, ContextDataConfig(fit="whole", turns=False), 8, 0)[0, 0]["image"]
    assert whole.shape == (3, 8, 8)
    assert whole.float().mean().item() == pytest.approx(picture.mean(), abs=1)
    larger = Squares(records, ContextDataConfig(turns=False), 64, 0)[0, 0]["image"]
    assert np.array_equal(larger.permute(1, 2, 0).numpy()[:30, :40], picture)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(squares.held_out(5), squares.held_out(5)))


def test_turns_are_the_eight_of_a_square():
    square = grain(3, (6, 6))
    found = {np.ascontiguousarray(turned(square, turn)).tobytes() for turn in range(8)}
    assert len(found) == 8
    assert np.ascontiguousarray(turned(square.transpose(1, 0, 2), 0)).tobytes() in found


def test_twins_are_learnt_as_defect_free(tmp_path):
    good, clean = record(tmp_path, "good"), record(tmp_path, "twin").image
    bad = record(tmp_path, "bad", {"pit": (1, 1, 3, 3)}, clean=clean, split="train")
    alone = record(tmp_path, "alone", {"pit": (1, 1, 3, 3)})
    found = clean_records(set_of(tmp_path, good, bad, alone))
    assert [one.image for one in found] == [good.image, clean]
    assert found[1].split == "train"
    assert not found[1].instances
    unsure = record(tmp_path, "unsure", verified=False)
    with pytest.raises(DataError, match=r"no defect-free image .* 1 have no label file: --set data.unlabelled=good"):
        clean_records(set_of(tmp_path, alone, unsure))


def test_a_class_that_is_not_there_is_named(tmp_path):
    dataset = set_of(tmp_path, record(tmp_path, "a", {"pit": (1, 1, 3, 3)}))
    assert chosen_classes(dataset, DefectDataConfig(classes=("crack",))) == ("crack",)
    with pytest.raises(DataError, match=re.escape("got 'crak'. Did you mean 'crack'? It has pit, crack")):
        chosen_classes(dataset, DefectDataConfig(classes=("crak",)))


def test_the_earlier_layout_is_read(tmp_path):
    for number, name in enumerate(("spur_1", "spur_2_b", "short_x")):
        images.write_image(tmp_path / f"{name}.jpg", grain(number, (20, 20)))
    dataset = read_named(tmp_path)
    assert dataset.classes == ("short", "spur")
    patches = Patches(dataset.records, dataset.classes, DefectDataConfig(turns=False), 16, 0)
    assert patches[0, 0]["image"].shape == (3, 16, 16)
    assert read_dataset(DefectDataConfig(root=tmp_path, format="named")).records[0].split is not None
    images.write_image(tmp_path / "nameless.jpg", grain(1, (20, 20)))
    with pytest.raises(DataError, match=r"nameless.jpg: its name says no class, got 'nameless'"):
        read_named(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_named(tmp_path / "absent")


def test_no_data_is_one_clear_line():
    with pytest.raises(DataError, match=r"--set data.root=DIR"):
        read_dataset(ContextDataConfig())
