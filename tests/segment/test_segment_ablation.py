"""The table of real, made and both: every arm is trained and measured on the same real test images."""
import csv

import pytest
import torch

from core import checkpoint
from core.config import load
from core.data.images import read_image
from core.errors import DataError
from segment.ablation import ARMS, ablation, arm_config, summary
from segment.settings import SegmentConfig
from tests.segment.made import make_set

CPU = torch.device("cpu")


def config(root, *options):
    return load(SegmentConfig, None, [
        f"data.root={root}", "loop.steps=3", "loop.batch_size=4", "loop.workers=0", "data.crop_px=48",
        "data.merge=true", "network.widths=[8, 16]", "augment.enabled=false", "loop.evaluate_every=3",
        "loop.save_every=1", "optim.warmup_steps=0", "data.ratios=[0.5, 0.25, 0.25]", *options])


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return make_set(folder / "real", 12), make_set(folder / "made", 12, size=(80, 70))


def test_every_arm_is_measured_on_the_real_test_images_and_a_second_call_trains_nothing(sets, tmp_path):
    said = []
    rows = ablation(config(sets[0]), sets[1], tmp_path, seeds=1, device=CPU, say=said.append)
    assert [row["arm"] for row in rows] == list(ARMS)
    assert len(said) == 4
    assert all(0 <= row["defect_iou"] <= 1 for row in rows)
    table = list(csv.DictReader((tmp_path / "arms.csv").read_text().splitlines()))
    assert [row["arm"] for row in table] == list(ARMS)
    images = {row["image"] for arm in ("real", "made", "made-then-real", "both") for row in csv.DictReader(
        (tmp_path / f"{arm}-s0" / "test" / "per_image.csv").read_text().splitlines())}
    assert len(images) == 3
    assert read_image(tmp_path / "pictures.png").shape[1] > 6 * 80
    page = (tmp_path / "ablation.html").read_text()
    assert all(arm in page for arm in ARMS)
    stamp = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    assert ablation(config(sets[0]), sets[1], tmp_path, seeds=1, device=CPU, say=said.append) == rows
    assert stamp == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    kept = checkpoint.load(checkpoint.path_of(tmp_path / "made-s0", 3))["parts"]["average/network"]
    start = checkpoint.load(checkpoint.found(tmp_path / "made-then-real-s0")[-1])["parts"]["average/network"]
    assert kept.keys() == start.keys()


def test_arms_differ_by_their_data_alone(sets, tmp_path):
    (tmp_path / "made-s2").mkdir()
    checkpoint.save(checkpoint.path_of(tmp_path / "made-s2", 3), 3, {})
    real = config(sets[0])
    arms = {arm: arm_config(real, sets[1], arm, 2, tmp_path) for arm in ARMS}
    assert arms["real"].data == real.data
    assert arms["made"].data.root == sets[1]
    assert arms["both"].data.extra == (sets[1],)
    assert arms["made, then real"].start == checkpoint.path_of(tmp_path / "made-s2", 3)
    for arm in arms.values():
        assert arm.loop.seed == 2
        assert (arm.network, arm.loss, arm.optim, arm.augment) == (real.network, real.loss, real.optim, real.augment)


def test_the_summary_tells_mean_and_span():
    rows = [{"arm": "real", "seed": seed, "defect_iou": value} for seed, value in enumerate((0.5, 0.7))]
    lines = summary(rows)
    assert lines[0][:3] == ("real", "0.6 (0.5 to 0.7)", "–")
    assert lines[1] == ("made", "–", "–", "–", "–")


def test_a_made_set_that_cannot_be_read_shows_before_any_training(sets, tmp_path):
    (tmp_path / "made").mkdir()
    with pytest.raises(DataError, match="no labelled data set that is known here"):
        ablation(config(sets[0]), tmp_path / "made", tmp_path / "out", seeds=1, device=CPU)
    assert not list((tmp_path / "out").glob("*/config.yaml"))


def test_a_set_without_test_images_is_named(sets, tmp_path):
    with pytest.raises(DataError, match="no defect to measure on, got 0 images in 'test'"):
        ablation(config(sets[0], "data.ratios=[0.8, 0.2, 0]"), sets[1], tmp_path, seeds=1, device=CPU)
