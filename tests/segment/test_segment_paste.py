"""Pasted defects: image and labels change at the same place, in the light of the crop, and repeat."""
import numpy as np
import pytest
import torch

from core.seeding import rng
from segment.augment import draw_light, streak
from segment.data import Crops, open_data
from segment.losses import IGNORE
from segment.paste import grown, middle_part, pasted
from segment.settings import AugmentConfig, DataConfig
from tests.segment.made import make_set

SIDE = 64


def donor(level=200, depth=80):
    """A light crop with a dark square in its middle, labelled 2."""
    pixels, labels = np.full((SIDE, SIDE, 3), level, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    pixels[26:38, 26:38] -= depth
    labels[26:38, 26:38] = 2
    return pixels, labels


def test_a_defect_is_pasted_in_the_crops_light_where_its_labels_are():
    ramp = np.linspace(60, 120, SIDE)[None, :, None].repeat(SIDE, 0).repeat(3, 2).round().astype(np.uint8)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:8] = 1
    labels[:, :6] = IGNORE
    for number in range(5):
        made, marked = pasted(rng(number), ramp, labels, *donor())
        new = marked != labels
        assert (marked[new] == 2).all()
        assert new.sum() == 144
        assert (made[~grown(new, 4)] == ramp[~grown(new, 4)]).all()
        core = new & ~grown(~new, 2)
        assert np.abs(made[core].astype(int) - (ramp[core].astype(int) - 80)).max() <= 12
        rim = grown(new, 3) & ~grown(new, 2)
        assert np.abs(made[rim].astype(int) - ramp[rim].astype(int)).max() <= 3     # no seam
    assert ramp[0, 0, 0] == 60


def test_it_is_left_out_where_it_fits_nowhere_or_is_cut_off():
    crop, free = np.full((SIDE, SIDE, 3), 90, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    full, cut = np.ones((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    cut[:5] = 1
    beside = np.zeros((SIDE, SIDE), np.uint8)
    beside[20:40, 20:40], beside[20:40, 40:] = 1, IGNORE
    for labels, shape in ((full, donor()[1]), (free, free), (free, cut), (free, beside), (free, full)):
        made, marked = pasted(rng(0), crop, labels, donor()[0], shape)
        assert made is crop
        assert marked is labels


def test_the_part_in_the_middle_is_taken_whole_whatever_its_classes():
    labels = donor()[1]
    labels[30:34, 38:42] = 1            # touches it
    labels[50:55, 50:55] = 2
    part = middle_part(labels)
    assert part.sum() == 144 + 16
    _, marked = pasted(rng(1), donor()[0], np.zeros_like(labels), donor()[0], labels)
    assert sorted(np.unique(marked)) == [0, 1, 2]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    config = DataConfig(root=make_set(tmp_path_factory.mktemp("set") / "made", 12), crop_px=48, defect_share=0,
                        clean_share=1)
    dataset, _ = open_data(config)
    return config, dataset


def crops(opened, **options):
    config, dataset = opened
    return Crops(dataset.of_split("train"), dataset.classes, config, AugmentConfig(**options), 3)


def test_clean_crops_get_defects_of_each_class_and_the_same_draw_the_same_ones(opened):
    made = crops(opened, paste=1.0)
    targets = [made[0, draw][1] for draw in range(40)]
    with_defect = [target for target in targets if ((target > 0) & (target != IGNORE)).any()]
    assert len(with_defect) > 25
    assert {number for target in with_defect for number in target.unique().tolist()} >= {0, 1, 2}
    assert all(torch.equal(*pair) for pair in zip(made[0, 5], crops(opened, paste=1.0)[0, 5]))
    plain = crops(opened)
    unlike = [draw for draw in range(40) if not torch.equal(plain[0, draw][1], targets[draw])]
    assert len(unlike) == len(with_defect)
    assert not any(((plain[0, draw][1] > 0) & (plain[0, draw][1] != IGNORE)).any() for draw in range(40))


def test_reduced_crops_show_more_of_the_image(opened):
    config, dataset = opened
    small = config.model_copy(update={"reduced_share": 1.0, "reduced_by": 2, "clean_share": 0.0, "defect_share": 1.0})
    made = Crops(dataset.of_split("train"), dataset.classes, small, AugmentConfig(enabled=False), 3)
    image, target = made[0, 0]
    assert image.shape[1:] == target.shape == (48, 48)
    assert (target == IGNORE).sum() == 48 * 48 - 48 * 40       # the whole image of 96 x 80, halved
    area = {int(((made[0, draw][1] > 0) & (made[0, draw][1] != IGNORE)).sum()) for draw in range(8)}
    assert all(30 < px < 80 for px in area)                     # a quarter of 14 x 14 px or of a disc of 200
    assert torch.equal(image, made[0, 0][0])


def test_glare_is_a_streak_on_the_image_alone():
    light = streak(rng(0), 100)
    assert light.shape == (100, 100)
    assert light.min() >= 0
    assert light.max() <= 1
    grey = np.full((3, 50, 50), 0.3, np.float32)
    quiet = {"brightness": 0, "contrast": 0, "gamma": 0, "blur_sigma_px": 0, "noise": 0, "jpeg_quality": None}
    lit = [draw_light(rng(1, number), AugmentConfig(glare=0.8, **quiet), grey) for number in range(60)]
    changed = [image for image in lit if np.ptp(image) > 0.02]
    assert 3 <= len(changed) <= 25
    for image in changed:
        assert (image[0] == image[1]).all()
        assert image.min() > 0.29
        assert image.max() <= 1
