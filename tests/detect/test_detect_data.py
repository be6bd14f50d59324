"""Training samples: masks and boxes that fit their pictures, good ones among them, equal draws equal samples."""
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data import formats, splits
from core.data.records import Instance, Record
from core.errors import DataError
from detect.data import Windows, anchor_sides, open_data
from detect.settings import AugmentConfig, DataConfig

PLAIN = AugmentConfig(flip=False, turn=False, brightness=0, contrast=0, noise=0, copy_paste=0)


def windows(root, augment=PLAIN, **options):
    config = DataConfig(root=root, **options)
    dataset, _ = open_data(config)
    return Windows(dataset.of_split("train"), dataset.classes, config, augment, 3)


def test_the_prepared_splits_are_kept(root):
    dataset, found = open_data(DataConfig(root=root))
    assert {r.name: r.split for r in dataset.records} == {r.name: r.split for r in formats.read(root).records}
    assert set(splits.load(root / "splits.json").groups) == set(found.groups)


@pytest.mark.parametrize("crop", [32, 640])
def test_every_target_fits_its_picture(root, crop):
    samples = windows(root, AugmentConfig(copy_paste=0.7), crop_px=crop)
    counts = []
    for draw in range(60):
        image, target = samples[draw % len(samples), draw]
        count = len(target["boxes"])
        counts.append(count)
        assert image.shape[1:] == target["masks"].shape[1:]
        assert image.dtype == torch.float32
        assert 0 <= image.min() <= image.max() <= 1
        assert (len(target["labels"]), len(target["masks"])) == (count, count)
        for box, mask in zip(target["boxes"], target["masks"]):
            rows, columns = np.nonzero(mask.numpy())
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            if crop == 32 and mask.sum() > 60:
                assert image[:, mask.bool()].mean() < image[:, ~mask.bool()].mean(), "the spots are dark"
    assert 0 in counts
    assert max(counts) >= 2, "a defect was pasted"


def test_a_sample_depends_on_its_draw_alone(root):
    one, other = (windows(root, AugmentConfig(copy_paste=1.0))[2, 17] for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1]["masks"], other[1]["masks"])
    assert not torch.equal(one[0], windows(root, AugmentConfig(copy_paste=1.0))[2, 18][0])


def test_good_images_are_half_of_an_epoch_and_never_masked(root):
    samples = windows(root)
    bad = len(samples.defective)
    assert len(samples) == 2 * bad
    assert all(len(samples[k, k][1]["boxes"]) > 0 for k in range(bad))
    assert all(len(samples[k, k][1]["boxes"]) == 0 for k in range(bad, 2 * bad))
    assert len(windows(root, good_share=0)) == bad


def test_a_set_of_good_images_alone_is_refused(root):
    dataset, _ = open_data(DataConfig(root=root))
    with pytest.raises(DataError, match="no defect to learn from, got none in 10 training images"):
        Windows(dataset.good, dataset.classes, DataConfig(root=root), PLAIN, 0)


def record_of(*sides, image=(256, 256)):
    items = tuple(Instance(label="pit", box=(0, 0, width, height)) for width, height in sides)
    return Record(image=Path("a.png"), name="a", size=image, instances=items)


def test_anchors_are_the_means_of_the_sizes_in_px_of_the_scaled_samples():
    sides = [(12, 12), (30, 30), (36, 25), (60, 60), (100, 100), (160, 160)]
    assert anchor_sides([record_of(*sides)], 256, 256) == (12, 30, 60, 100, 160)
    assert anchor_sides([record_of(*sides, image=(2048, 1024))], 512, 256) == (8, 16, 32, 64, 128)     # two strides
    assert anchor_sides([record_of(*sides, image=(200, 100))], 512, 200) == (24, 60, 120, 200, 320)


def test_one_size_alone_makes_anchors_at_every_level():
    assert anchor_sides([record_of((30, 30))], 256, 256) == (30, 30, 32, 64, 128)
