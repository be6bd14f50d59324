"""`--method crg` on a tiny set: trains by itself, reuses what is trained, goes on, stays in its box, any size."""
import json
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from core import checkpoint
from core.augment import compose, trained
from core.augment.bank import DefectBank
from core.augment.copypaste import CopyPaste
from core.augment.fitting import laid
from core.augment.generator import Request
from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig, CrgSettings
from core.data import formats, images
from core.errors import ConfigError, DataError, Stopped
from core.seeding import rng
from crg import generator
from crg.generator import CrgGenerator
from crg.infer import Painter
from crg.settings import SheetConfig
from crg.views import allowed_in
from tests.outputs import assert_changed_at_the_labels_alone
from tests.sets import CLASSES, write_coco

TINY = {"steps": 3, "patch_px": 16, "batch_size": 2}


@pytest.fixture(autouse=True)
def alone(one_thread):
    """One thread: the same numbers on every machine."""


@pytest.fixture(scope="module", autouse=True)
def short_evaluations():
    """The networks have learnt nothing: a look at two pictures does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "SHEET", SheetConfig(samples=2, shown=1, steps=2))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("crg") / "set")


def settings(data: Path, output: Path, **changes) -> AugmentConfig:
    return AugmentConfig(data=data, output=output, **{"count": 3, "gate": {"enabled": False}, "method": "crg",
                                                      "crg": TINY, **changes})


@pytest.fixture(scope="module")
def made(data, tmp_path_factory) -> Path:
    """Three images by networks that have learnt next to nothing: the gate would keep none of them."""
    folder = tmp_path_factory.mktemp("made by crg") / "out"
    torch.set_num_threads(1)
    augment(settings(data, folder))
    return folder


@pytest.fixture(scope="module")
def painter(made) -> Painter:
    return Painter.load(made / "models")


def test_models_are_trained_below_the_output_which_stays_a_labelled_set(made, data):
    for name in ("crg-context", "crg-defect"):
        assert checkpoint.found(made / "models" / name)[-1].name == "step-00000003.pt"
    assert (made / "models" / "crg-defect" / "classes.txt").read_text().split() == sorted(CLASSES, key=CLASSES.index)
    dataset = formats.read(made)
    assert len(dataset) == 3
    assert {item.label for record in dataset.records for item in record.instances} <= set(CLASSES)
    assert_changed_at_the_labels_alone(made, data)


def test_image_i_does_not_depend_on_the_count_and_models_are_reused(made, data, tmp_path):
    augment(settings(data, tmp_path / "out", count=2, crg={**TINY, "checkpoints": made / "models"}))
    assert not (tmp_path / "out" / "models").exists()
    for name in ("000000.png", "000001.png"):
        assert (tmp_path / "out" / "images" / name).read_bytes() == (made / "images" / name).read_bytes()


def test_stopped_while_training_it_goes_on_to_the_same_bytes(made, data, tmp_path, monkeypatch):
    train = trained.train

    def with_signal(task, loop, run, *, device):
        phase = task.phases[0]
        rate = phase.learning_rate
        object.__setattr__(phase, "learning_rate", lambda step: (signal.raise_signal(signal.SIGTERM) if step == 1
                                                                 else None) or rate(step))
        return train(task, loop, run, device=device)
    monkeypatch.setattr(trained, "train", with_signal)
    with pytest.raises(Stopped, match="stopped while crg-context was learning; the same command goes on") as stopped:
        augment(settings(data, tmp_path / "out"))
    assert stopped.value.exit_code == 143
    monkeypatch.setattr(trained, "train", train)
    augment(settings(data, tmp_path / "out"))
    for path in (made / "images").iterdir():
        assert (tmp_path / "out" / "images" / path.name).read_bytes() == path.read_bytes()


def window(height: int = 70, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(80, 160, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("box", [(20, 20, 30, 32), (0, 0, 8, 8), (50, 60, 60, 70), (10, 10, 50, 40)])
def test_a_defect_stays_in_its_box_and_a_margin(painter, box):
    """At the border too, and in a box that is larger than a patch."""
    pixels, alpha = painter.paint(window(), box, "spot", rng(0, 1))
    assert pixels.shape == (70, 60, 3)
    outside = allowed_in(box, (70, 60)) == 0
    assert not alpha[outside].any()


def test_equal_seeds_equal_defects_in_every_process(painter):
    one, other = painter, pickle.loads(pickle.dumps(painter))
    found = [each.paint(window(), (20, 20, 30, 32), "spot", rng(0, number))
             for each, number in ((one, 1), (other, 1), (one, 2))]
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
    assert not np.array_equal(found[0][0], found[2][0])


def test_it_paints_on_the_device_that_is_asked_for(made, data, tmp_path):
    """Of those that are here; meta, where nothing is computed, stands for another one."""
    dataset = formats.read(data)
    built = CrgGenerator.build(dataset, DefectBank.build(dataset), tmp_path, CrgSettings(checkpoints=made / "models"),
                               device="cpu")
    assert built.painter.device == torch.device("cpu")
    assert pickle.loads(pickle.dumps(built.painter)).device_name == "cpu"
    with pytest.raises(ConfigError, match="device: unknown, got 'gpu'"):
        Painter.load(made / "models", device="gpu")
    painter = Painter.load(made / "models")
    painter.device, seen = torch.device("meta"), []
    painter.sampler.paint = lambda jobs, device, *limits: seen.append(device) or built.painter.sampler.paint(
        jobs, "cpu", *limits)
    painter.paint(window(), (20, 20, 30, 32), "spot", rng(0, 1))
    assert seen == [torch.device("meta")]


def test_a_drawn_shape_bounds_the_defect(made, data, painter):
    made_here = CrgGenerator(painter)
    shape = torch.zeros(70, 60, dtype=torch.bool)
    shape[20:32, 20:24] = True
    request = Request(image=images.to_tensor(window()), box=(20, 20, 24, 32), label="spot", mask=shape, rng=rng(0, 3))
    alpha = made_here.generate(request).alpha.numpy()
    rows, columns = (alpha > 0).nonzero()
    assert len(rows)
    assert 19 <= rows.min() <= rows.max() <= 32
    assert 19 <= columns.min() <= columns.max() <= 24


def test_real_defects_say_where_in_the_box_and_how_well_it_fits(data, painter):
    donors = CopyPaste(DefectBank.build(formats.read(data)))
    asked = Request(image=images.to_tensor(window()), box=(14, 14, 38, 38), label="spot", rng=rng(0, 3))
    fit = donors.choose(asked.image.numpy().transpose(1, 2, 0), asked.box, "spot", rng(0, 3))
    x1, y1, x2, y2 = compose.bounds(laid(fit, (70, 60))[2] > 0.5)
    found = CrgGenerator(painter, donors).generate(asked)
    rows, columns = (found.alpha.numpy() > 0).nonzero()
    assert y1 - 6 <= rows.min() <= rows.max() <= y2 + 6
    assert x1 - 6 <= columns.min() <= columns.max() <= x2 + 6
    assert found.misfit == fit.strangeness
    assert CrgGenerator(painter).generate(asked).misfit is None


def test_a_scan_in_black_and_white_has_no_grey(painter):
    scan = np.zeros((70, 60, 3), np.uint8)
    scan[:, 25:] = 255
    found = CrgGenerator(painter).generate(Request(image=images.to_tensor(scan), box=(14, 14, 38, 38), label="spot",
                                                   rng=rng(0, 3)))
    assert set(np.unique(found.image.numpy())) == {0, 1}
    assert set(np.unique(found.alpha.numpy())) == {0, 1}
    assert (np.ptp(found.image.numpy(), axis=0) == 0).all()


def test_the_published_sampler_can_be_asked_for(made):
    exact = Painter.load(made / "models", "exact")
    assert exact.config.kind == "exact"
    assert exact.sampler.guided_steps == 73
    assert exact.config.mask.min_difference > 0


def test_a_sampler_begins_no_noisier_than_the_models_have_learnt(made, painter, tmp_path):
    assert (painter.config.fast.start, painter.config.fast.defect_start) == (60, 170)
    for name in ("crg-context", "crg-defect"):
        run = tmp_path / name
        run.mkdir()
        for path in (made / "models" / name).iterdir():
            if path.is_file():
                (run / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "crg-defect" / "config.yaml").read_text()
    assert "noisiest: 0.8" in text
    for noisiest, expected in ((0.4, (60, 99, 12)), (0.1, (24, 170, 0))):        # alone where it has learnt more noise
        (tmp_path / "crg-defect" / "config.yaml").write_text(text.replace("noisiest: 0.8", f"noisiest: {noisiest}"))
        fast = Painter.load(tmp_path).config.fast
        assert (fast.start, fast.defect_start, fast.defect_steps) == expected


def test_a_class_that_was_not_learnt_is_named(made, data, painter, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'spot'"):
        painter.number_of("spott")
    dataset = formats.read(data)
    run = tmp_path / "models"
    for name in ("crg-context", "crg-defect"):
        (run / name).mkdir(parents=True)
        for path in (made / "models" / name).iterdir():
            if path.is_file():
                (run / name / path.name).write_bytes(path.read_bytes())
    (run / "crg-defect" / "classes.txt").write_text("a\nb\n")
    with pytest.raises(ConfigError, match="have not learnt class"):
        CrgGenerator.build(dataset, DefectBank.build(dataset), tmp_path, CrgSettings(**TINY, checkpoints=run))


def test_settings_against_the_models_that_are_given_are_refused_and_those_used_are_named(made, data, tmp_path, capsys):
    dataset = formats.read(data)
    bank = DefectBank.build(dataset)
    given = {"checkpoints": made / "models"}
    built = CrgGenerator.build(dataset, bank, tmp_path, CrgSettings(**given))
    assert "crg-defect: used as it is in" in capsys.readouterr().out
    assert len(built.models) == 16
    with pytest.raises(ConfigError, match=r"crg-context: .*\n  crg.patch_px \(network.size_px\): was 32, is 48"):
        CrgGenerator.build(dataset, bank, tmp_path, CrgSettings(**given, patch_px=24))


def test_without_defect_free_images_it_says_what_is_needed(tmp_path):
    data = write_coco(tmp_path / "set", good=0)
    dataset = formats.read(data)
    with pytest.raises(DataError, match="no defect-free image to learn from"):
        CrgGenerator.build(dataset, DefectBank.build(dataset), tmp_path / "out", CrgSettings(**TINY))


def test_the_patch_follows_the_sizes_of_the_defects(data):
    bank = DefectBank.build(formats.read(data))
    longest = max(max(crop.size_px) for crop in bank.crops)
    assert generator.patch_px(bank) in (32, 40)
    assert generator.patch_px(bank) >= longest * 0.9
    config = generator.model_config("crg-defect", bank, CrgSettings(), torch.device("cpu"))
    assert json.loads(json.dumps(config.data.classes)) == list(bank.labels)
