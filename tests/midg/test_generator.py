"""`--method midg` on a tiny set: trains by itself, reuses what is trained, goes on after kills, follows drawings."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core import checkpoint
from core.augment.bank import DefectBank
from core.augment.generator import Request
from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig, MidgSettings
from core.data import formats, images, shapes
from core.data.records import Instance
from core.errors import ConfigError
from core.seeding import rng
from midg.data import grown, read_scenes
from midg.generator import MidgGenerator, data_config, learned_from
from midg.windows import sample
from tests import children
from tests.outputs import assert_changed_at_the_labels_alone, manifest
from tests.sets import CLASSES, plate, write_coco

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "augment.py"
TINY = {"steps": 4, "width": 2, "size_px": 48, "batch_size": 2}

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return bright(write_coco(tmp_path_factory.mktemp("midg") / "set"))


@pytest.fixture(scope="session")
def made(data, tmp_path_factory) -> Path:
    """Six images by networks that have learnt next to nothing: the gate would keep none of them."""
    folder = tmp_path_factory.mktemp("made by midg") / "out"
    torch.set_num_threads(1)
    augment(settings(data, folder))
    return folder


def bright(folder: Path) -> Path:
    """Plates on which the grey that untrained networks paint can be seen."""
    for path in (folder / "images").glob("*.png"):
        pixels = images.read_image(path)[..., 0]
        images.write_image(path, np.minimum(pixels.astype(int) + 90, 255).astype(np.uint8))
    return folder


def settings(data: Path, output: Path, **changes) -> AugmentConfig:
    fields = {"count": 6, "gate": {"enabled": False}, "method": "midg", "midg": TINY, **changes}
    return AugmentConfig(data=data, output=output, **fields)


def pictures(folder: Path) -> dict[str, bytes]:
    names = [*(folder / "images").glob("*.png"), folder / "manifest.jsonl", folder / "annotations.json"]
    return {path.name: path.read_bytes() for path in names}


def test_models_are_trained_below_the_output_which_stays_a_labelled_set(made):
    for name in ("midg-edge", "midg-defect"):
        assert checkpoint.found(made / "models" / name)[-1].name == "step-00000004.pt"
    dataset = formats.read(made)
    assert len(dataset) == 6
    assert set(dataset.classes) == set(CLASSES)
    assert {item.label for record in dataset.records for item in record.instances} == set(CLASSES)


def test_no_grey_level_changes_away_from_the_labels(made, data):
    assert_changed_at_the_labels_alone(made, data)


def test_image_i_depends_on_neither_count_nor_workers_and_models_are_reused(made, data, tmp_path):
    output = tmp_path / "out"
    augment(settings(data, output, count=3, workers=2, midg={**TINY, "checkpoints": made / "models"}))
    assert not (output / "models").exists()
    for name in ("000000.png", "000001.png", "000002.png"):
        assert (output / "images" / name).read_bytes() == (made / "images" / name).read_bytes()


def test_stopped_and_killed_while_training_it_goes_on_to_the_same_bytes(made, data, tmp_path, one_thread):
    output = tmp_path / "out"
    (tmp_path / "config.yaml").write_text(json.dumps(
        settings(data, output).model_dump(mode="json", exclude_defaults=True)))
    out, err, code = signalled(tmp_path / "config.yaml", output / "models/midg-edge/step-00000001.pt", signal.SIGTERM)
    assert code == 143
    assert err.strip().splitlines()[-1] == "stopped while midg-edge was learning; the same command goes on"
    assert "model 1 of 2" in out
    _, _, code = signalled(tmp_path / "config.yaml", output / "models/midg-defect/step-00000001.pt", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not list((output / "images").glob("*.png"))
    augment(settings(data, output))
    for name in ("midg-edge", "midg-defect"):
        assert children.differences(output / "models" / name, made / "models" / name) == []
    assert pictures(output) == pictures(made)


def signalled(config: Path, path: Path, signum: int) -> tuple[str, str, int]:
    """Run the command until a file is there, and send a signal: stdout, stderr and exit code."""
    child = subprocess.Popen([sys.executable, str(SCRIPT), "--config", str(config)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 60
    while not path.exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    child.send_signal(signum)
    return *child.communicate(timeout=60), child.returncode


def test_a_drawn_shape_is_painted_and_nothing_beside_it(made, data):
    dataset = formats.read(data)
    generator = MidgGenerator.build(dataset, DefectBank.build(dataset), made, MidgSettings(**TINY))
    image = images.to_tensor(images.read_image(dataset.good[0].image))[:, 10:80, 20:90]
    shape = np.zeros((70, 70), bool)
    shape[20:50, 20:30] = shape[40:50, 20:55] = True
    request = {"image": image, "box": (20, 20, 55, 50), "label": "spot", "mask": torch.from_numpy(shape)}
    results = [generator.generate(Request(**request, rng=rng(0, number))) for number in (0, 0, 1)]
    least, most = generator.painter.data.margin_px
    for result in results:
        support = result.alpha.numpy() > 0
        assert support[grown(shape, least)].all()
        assert not support[~grown(shape, most + 3)].any()           # of 70 px it is seen in 48, so margins grow
    assert torch.equal(results[0].image, results[1].image)
    assert not torch.equal(results[0].image, results[2].image)


def test_drawn_shapes_from_files_fill_the_boxes_and_points(made, data, tmp_path):
    ring = np.zeros((60, 120), np.uint8)
    cv2.ellipse(ring, (60, 30), (50, 22), 0, 0, 360, 255, 2)                # a contour, to be filled
    images.write_image(tmp_path / "shape.png", ring)
    (tmp_path / "points.csv").write_text("image,label,x1,y1,x2,y2\ngood007,spot,20,20,60,60\n")
    augment(settings(data, tmp_path / "out", count=2, midg={**TINY, "checkpoints": made / "models"}, placement={
        "positions": tmp_path / "points.csv", "shape": tmp_path / "shape.png"}))
    for line in manifest(tmp_path / "out"):
        x1, y1, x2, y2 = line["defects"][0]["wanted"]
        assert x2 - x1 == 40
        assert 16 <= y2 - y1 <= 20                                          # as wide as the box, as high as drawn
        assert abs((y1 + y2) / 2 - 40) <= 1


def test_models_of_other_classes_are_refused(made, data, tmp_path):
    other = bright(write_coco(tmp_path / "set"))
    text = (other / "annotations.json").read_text().replace('"scratch"', '"dent"')
    (other / "annotations.json").write_text(text)
    with pytest.raises(ConfigError, match="have not learnt class 'dent'.*spot, scratch"):
        augment(settings(other, tmp_path / "out", midg={**TINY, "checkpoints": made / "models"}))


def test_an_unfinished_run_that_the_user_gives_is_finished_as_it_was_begun(made, data, tmp_path):
    shutil.copytree(made / "models", tmp_path / "models")
    run = tmp_path / "models" / "midg-defect"
    checkpoint.found(run)[-1].unlink()
    augment(settings(data, tmp_path / "out", count=1, midg={"checkpoints": tmp_path / "models"}))
    assert checkpoint.found(run)[-1].name == "step-00000004.pt"
    assert (tmp_path / "out/images/000000.png").read_bytes() == (made / "images/000000.png").read_bytes()


def test_windows_suit_the_defects_and_boxes_become_shapes(data, tmp_path):
    dataset = formats.read(data)
    bank = DefectBank.build(dataset)
    config = data_config(bank, MidgSettings())
    assert (config.size_px, config.masks, config.classes) == (64, "shape", CLASSES)
    boxed = tuple(Instance(label=item.label, box=item.box) for item in dataset.defective[0].instances)
    images.write_image(tmp_path / "twin.png", np.minimum(plate(0).astype(int) + 90, 255).astype(np.uint8))
    record = replace(dataset.defective[0], instances=boxed, clean=tmp_path / "twin.png")
    alone = replace(dataset, records=(record, *dataset.good))
    learned = learned_from(alone, DefectBank.build(alone))
    assert [record.split for record in learned.records] == ["train"]
    truths = [shapes.instance_mask(item, record.size) for item in dataset.defective[0].instances]
    for item, truth in zip(learned.records[0].instances, truths):
        mask = shapes.instance_mask(item, record.size)
        assert item.has_shape
        assert (mask & truth).sum() / (mask | truth).sum() > 0.6


def test_parts_of_several_colours_are_learnt_in_all_of_them(data, tmp_path):
    dataset = formats.read(data)
    bank = DefectBank.build(dataset)
    assert data_config(bank, MidgSettings()).colours == "kept"
    red, blue = (replace(crop, clean=crop.clean // np.array(parts, np.uint8)) for crop, parts in
                 zip(bank.crops, ((1, 4, 4), (4, 4, 1))))
    coloured = DefectBank((red, blue), bank.turns)
    config = data_config(coloured, MidgSettings(size_px=48))
    assert config.colours == "permuted"
    pixels = np.zeros((60, 60, 3), np.uint8) + np.array((200, 90, 20), np.uint8)
    images.write_image(tmp_path / "clean.png", pixels)
    pixels[25:35, 20:40] = (20, 40, 230)
    images.write_image(tmp_path / "bad.png", pixels)
    mask = np.zeros((60, 60), bool)
    mask[25:35, 20:40] = True
    record = replace(dataset.defective[0], image=tmp_path / "bad.png", clean=tmp_path / "clean.png", size=(60, 60),
                     instances=(shapes.mask_instance(mask, "spot"),), split="train")
    scenes = read_scenes(replace(dataset, records=(record,)), "train", CLASSES, config)
    seen = set()
    for number in range(30):
        window = sample(scenes, scenes.scenes[0], config, rng(0, number), still=False)
        background = tuple(window["background"][:, 0, 0].tolist())
        middle = window["image"].amax((1, 2)).tolist(), window["image"].amin((1, 2)).tolist()
        order = [(200, 90, 20).index(value) for value in background]
        assert middle == ([(200, 90, 230)[i] for i in order], [(20, 40, 20)[i] for i in order])     # both alike
        seen.add(background)
    assert len(seen) > 3


def test_black_and_white_scans_stay_black_and_white(made, data):
    dataset = formats.read(data)
    generator = MidgGenerator.build(dataset, DefectBank.build(dataset), made, MidgSettings(**TINY))
    image = torch.zeros(3, 60, 60)
    image[:, :, 30:] = 1
    result = generator.generate(Request(image=image, box=(20, 20, 40, 40), label="spot", rng=rng(0, 0)))
    assert set(result.image.unique().tolist()) <= {0.0, 1.0}
    assert set(result.alpha.unique().tolist()) == {0.0, 1.0}
