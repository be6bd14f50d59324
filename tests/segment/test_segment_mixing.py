"""Further sets train beside the set itself, at the share that is asked for, and never a copy of what is measured on."""
import shutil

import numpy as np
import pytest
import torch

from core.config import load
from core.data.images import read_image, read_mask, write_image
from core.errors import DataError
from segment.losses import IGNORE
from segment.settings import SegmentConfig
from segment.task import SegmentTask
from tests.segment.made import make_set

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("set") / "made", 16)


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """Another set, all of whose pictures are bright."""
    folder = make_set(tmp_path_factory.mktemp("set") / "bright", 6, size=(90, 70), good=1)
    for path in sorted((folder / "images").iterdir()):
        write_image(path, 255 - read_image(path)[::-1] // 8)
        mask = folder / "masks" / path.name
        write_image(mask, read_mask(mask)[::-1])
    return folder


def task(root, *options):
    return SegmentTask(load(SegmentConfig, None, [
        f"data.root={root}", "loop.steps=4", "loop.batch_size=2", "loop.workers=0", "data.crop_px=48",
        "network.widths=[8, 16]", "augment.enabled=false", *options]), CPU)


def test_crops_come_from_both_sets_by_their_share(root, bright):
    plain, mixed = task(root), task(root, f'data.extra=["{bright}"]', "data.extra_share=0.25")
    assert len(mixed.train_data) == len(plain.train_data)
    assert [record.name for record in mixed.held_out] == [record.name for record in plain.held_out]
    drawn = [mixed.train_data[draw % 5, draw] for draw in range(200)]
    extra = [target for image, target in drawn if image.mean() > 0.75]
    assert 0.15 < len(extra) / 200 < 0.35
    assert {1, 2} <= {number for target in extra for number in target.unique().tolist() if number != IGNORE}
    for draw in range(20):
        image, target = plain.train_data[draw % 5, draw]
        if drawn[draw][0].mean() < 0.75:
            assert torch.equal(image, drawn[draw][0])
            assert torch.equal(target, drawn[draw][1])
    again = mixed.train_data[3, 7]
    assert torch.equal(again[0], mixed.train_data[3, 7][0])


def test_a_class_that_the_set_does_not_have_is_named_and_merging_helps(root, bright, tmp_path):
    other = shutil.copytree(bright, tmp_path / "other")
    (other / "classes.json").write_text('["square", "disk"]')
    with pytest.raises(DataError, match="a class that .* does not have, got 'disk'. Did you mean 'disc'"):
        task(root, f'data.extra=["{other}"]')
    merged = task(root, f'data.extra=["{other}"]', "data.merge=true", "data.extra_share=1")
    assert merged.train_data[0, 0][0].mean() > 0.75


def test_a_copy_of_an_image_to_measure_on_is_refused(root, bright, tmp_path):
    other = shutil.copytree(bright, tmp_path / "other")
    held = task(root).held_out[0]
    (other / "images" / "copy.png").write_bytes(held.image.read_bytes())
    write_image(other / "masks" / "copy.png", np.zeros(held.size[::-1], np.uint8))
    with pytest.raises(DataError, match=f"in training and in evaluation, got .*{held.name}.*extra 0/copy"):
        task(root, f'data.extra=["{other}"]')
    assert task(root, f'data.extra=["{other}"]', "data.duplicates=keep").train_data is not None
