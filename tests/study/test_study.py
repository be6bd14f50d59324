"""A whole study on a tiny set: what its arms learn from, leaks, kills, the same table again, its plan's commands."""
import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import loop
from core.augment.settings import AugmentConfig
from core.data import formats
from core.errors import ConfigError, DataError
from core.study import arms, course, settings
from core.study.arms import Arm, Row, arms_of
from core.study.examples import compared
from core.study.page import certainty
from core.study.pools import augment_config
from core.study.sets import shots_folder, with_classes
from core.study.settings import StudyConfig
from core.study.shots import count, draw_shots
from core.study.work import arm_folder, repeats, result_of, run_arm
from tests import sets
from tests.children import start, wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return sets.write_coco(tmp_path_factory.mktemp("data") / "plates", bad=10, good=4)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("network") / "tiny.yaml"
    path.write_text("data: {root: x, crop_px: 32, channels: 1}\nnetwork: {name: small-unet, filters: 2}\n"
                    "augment: {enabled: false}\n"
                    "loop: {steps: 3, batch_size: 2, workers: 0, save_every: 1, report_every: 1}\n")
    return path


@pytest.fixture
def study(data, network, tmp_path) -> StudyConfig:
    config = StudyConfig(data=data, output=tmp_path / "study", task="segment", scales=(1,), seeds=1, shots=2,
                         config=network, device="cpu")
    settings.keep(config)
    return config


def test_a_study_from_the_data_to_the_report_and_the_same_table_again(study, tmp_path, capsys):
    course.run_all(study, ["test"])
    assert course.tell(study) == 0
    told = capsys.readouterr().out
    assert "copypaste-1x" in told
    table = json.loads((study.output / "study.json").read_text())["table"]
    assert [row["name"] for row in table["rows"]] == ["none", "copypaste-1x"]
    page = (study.output / "report.html").read_text()
    assert "copypaste-1x" in page
    assert ">nan" not in page

    none, copied = (result_of(study, arm)["learned_from"] for arm in arms_of(study))
    assert none["real"] == copied["real"]
    assert none["generated"]["images"] == 0
    assert copied["generated"]["images"] == copied["real"]["images"] == 2
    assert none["good"] == copied["good"] > 0

    again = study.model_copy(update={"output": tmp_path / "again"})
    settings.keep(again)
    course.run_all(again, ["test"])
    course.tell(again)
    assert json.loads((again.output / "study.json").read_text())["table"] == table
    before = (arm_folder(study.output, arms_of(study)[0]) / "result.json").stat().st_mtime_ns
    course.run_all(study, ["test"])
    assert (arm_folder(study.output, arms_of(study)[0]) / "result.json").stat().st_mtime_ns == before


def test_all_real_defects_are_a_row_of_their_own_that_may_be_added(study, capsys):
    course.run_all(study.model_copy(update={"methods": ("none",)}), ["test"])
    more = study.model_copy(update={"methods": ("none", "all", "copypaste")})
    settings.keep(more)
    course.run_all(more, ["test"])
    assert course.tell(more) == 0
    assert "all" in capsys.readouterr().out
    assert [arm.name for arm in arms_of(more)] == ["none-s0", "all-s0", "copypaste-1x-s0"]
    facts = json.loads((study.output / "data.json").read_text())
    few, every, copied = (result_of(more, arm)["learned_from"] for arm in arms_of(more))
    assert every["real"] == facts["train"] | {"images": facts["train"]["defective"], "groups": every["real"]["groups"]}
    assert every["real"]["images"] > few["real"]["images"] == copied["real"]["images"]
    assert every["generated"]["images"] == 0
    assert every["good"] == few["good"] > 0
    rows = json.loads((study.output / "study.json").read_text())["table"]["rows"]
    assert "over_none" in rows[1]
    assert "over_copypaste" not in rows[1]
    assert compared({"main": ["defect IoU"], "rows": rows}) == "copypaste-1x"


def run_child(config: StudyConfig) -> None:
    """The study with a training that stands still after its second step, to be killed there."""
    advance, steps = loop.RunLog.advance, iter((1, 2, 3))

    def slow(log):
        advance(log)
        if next(steps) == 2:
            (config.output / "slow").touch()
            time.sleep(60)
    loop.RunLog.advance = slow
    course.run_all(config, ["test"])


def test_a_study_of_anomaly_maps_merges_classes_and_ranks(data, network, tmp_path, capsys):
    config = StudyConfig(data=data, output=tmp_path / "study", task="anomaly", scales=(1,), seeds=1, shots=2,
                         config=network, device="cpu")
    settings.keep(config)
    course.run_all(config, ["test"])
    assert course.tell(config) == 0
    assert "image AUROC" in capsys.readouterr().out
    table = json.loads((config.output / "study.json").read_text())["table"]
    assert table["classes"] == ["defect"]
    row = table["rows"][1]
    assert 0 <= row["values"]["pixel AUROC"]["mean"] <= 1
    assert {"image AP", "pixel F1", "AUPRO 30 %"} < set(row["over_none"])


def test_a_killed_study_goes_on_to_the_same_table(study, tmp_path, one_thread):
    study = study.model_copy(update={"methods": ("none",)})
    whole = study.model_copy(update={"output": tmp_path / "whole"})
    for config in (whole, study):
        settings.keep(config)
    child = start(run_child, study)
    wait_for(study.output / "slow", child)
    child.kill()
    child.join()
    assert result_of(study, arms_of(study)[0]) is None
    for config in (whole, study):
        course.run_all(config, ["test"])
        course.tell(config)
    first, second = (json.loads((config.output / "study.json").read_text())["table"] for config in (whole, study))
    assert first == second
    log = (arm_folder(study.output, arms_of(study)[0]) / "segment" / "log.txt").read_text()
    assert "step 1 of 3" in log, "the killed training was begun anew"


def test_a_near_copy_of_a_test_image_in_training_is_refused(data, study, tmp_path):
    leaky = tmp_path / "leaky"
    shutil.copytree(data, leaky)
    document = json.loads((leaky / "annotations.json").read_text())
    for number, entry in enumerate(document["images"]):
        entry["split"] = "test" if number % 3 == 0 else "train"
    (leaky / "annotations.json").write_text(json.dumps(document))
    own = study.model_copy(update={"data": leaky, "output": tmp_path / "own"})
    course.ready(own)                                                   # the set's own splits are sound so far
    shutil.copyfile(leaky / "images" / "bad000.png", leaky / "images" / "bad001.png")
    with pytest.raises(DataError, match=r"bad001.png and .*bad000.png"):
        course.ready(own.model_copy(update={"output": tmp_path / "leak"}))


@pytest.mark.parametrize("method", ["none", "copypaste"])
def test_a_test_image_put_among_the_shots_is_refused_before_anything_learns(study, method):
    facts = course.ready(study)
    test = next((study.output / "test" / "images").rglob("*.png"))
    victim = next((shots_folder(study.output, 0) / "images").rglob("*.png"))
    shutil.copyfile(test, victim)
    arm = next(arm for arm in arms_of(study) if arm.row.method == method)
    with pytest.raises(DataError, match="would be learned from"):
        run_arm(study, facts, arm, ["test"])
    assert not (study.output / "models").exists()
    assert not (arm_folder(study.output, arm) / "segment").exists()


def test_the_plan_lists_commands_that_run(study):
    commands = course.plan(study)
    assert len(commands) == 2
    words = shlex.split(commands[0])
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [result_of(study, arm) is not None for arm in arms_of(study)] == [True, False]


def test_shots_are_of_the_training_split_as_many_as_asked_and_others_with_another_seed(study):
    facts = course.ready(study)
    dataset = formats.read(study.output / "test", "coco")
    held = {record.name for record in dataset.records}
    assert not held & set(facts["shots"]["0"]["names"])
    records = formats.read(study.data).records
    for seed in range(3):
        chosen = draw_shots(records, sets.CLASSES, 3, seed)
        total = sum((count(record) for record in chosen), count(records[-1]))
        assert total == {"spot": 3, "scratch": 3}
    assert draw_shots(records, sets.CLASSES, 3, 0) == draw_shots(records, sets.CLASSES, 3, 0)
    assert draw_shots(records, sets.CLASSES, 3, 0) != draw_shots(records, sets.CLASSES, 3, 1)
    thrice = [replace(record, name=f"{record.name} {turn}", group=record.name) for record in records for turn in "abc"]
    assert len({record.group for record in draw_shots(thrice, sets.CLASSES, 8, 0)}) == 8
    assert len(draw_shots(records, sets.CLASSES, None, 0)) == len(draw_shots(records, sets.CLASSES, 99, 0)) == 10


def test_arms_of_ablations_and_of_generated_data_alone(study):
    config = study.model_copy(update={"methods": ("none", "copypaste", "midg"), "scales": (1, 2), "seeds": 2,
                                      "generated_only": True, "ablate": ("gate", "label", "attention")})
    names = [arm.name for arm in arms_of(config)]
    assert len(names) == len(set(names)) == 2 * (1 + 4 + 4 + 5)
    assert names[:3] == ["none-s0", "copypaste-1x-s0", "copypaste-2x-s0"]
    pools = {arm.name: arm.pool for arm in arms_of(config)}
    assert pools["midg-1x-s0"] == pools["midg-2x-only-s0"] == pools["midg-1x-no-label-s0"] == "midg-s0"
    assert pools["midg-1x-no-gate-s0"] == "midg-no-gate-s0"
    assert Arm(Row("midg", 1, "no-gate"), 0).models == "midg-s0"
    assert Arm(Row("midg", 1, "no-attention"), 0).models == "midg-no-attention-s0"
    assert "copypaste-1x-no-attention-s0" not in names
    assert arms.command(Arm(Row("none", 0), 1), Path("a b")) == "python scripts/study.py --output 'a b' --arm none-s1"


def test_the_whole_command_describes_the_study(study):
    config = study.model_copy(update={"shots": None, "merge": True, "set": ("loop.steps=3",), "scales": (1.0, 2.5)})
    words = shlex.split(arms.whole_command(config))
    assert words[:4] == ["python", "scripts/study.py", "--data", str(study.data)]
    for part in (["--shots", "all"], ["--merge"], ["--set", "loop.steps=3"], ["--scales", "1,2.5"], ["--seeds", "1"]):
        at = words.index(part[0])
        assert words[at:at + len(part)] == part
    assert "--resplit" not in words


def test_an_ablation_reaches_the_generation(study, tmp_path):
    facts = course.ready(study)

    def config_of(variant: str, method: str = "copypaste") -> AugmentConfig:
        return augment_config(study, facts, Arm(Row(method, 1, variant), 0), tmp_path, tmp_path, 1)
    assert config_of("").gate.enabled
    assert config_of("").placement.learned
    assert not config_of("no-gate").gate.enabled
    assert not config_of("no-placement").placement.learned
    assert config_of("", "midg").midg.attention
    assert not config_of("no-attention", "midg").midg.attention


def test_a_study_of_some_classes_at_a_smaller_size(study, data, tmp_path):
    labelled = formats.read(data)
    one = StudyConfig(**study.model_dump() | {"output": tmp_path / "small", "reduce": 2})
    course.ready(one)
    small = {record.name: record for record in formats.read(one.output / "test", "coco").records}
    whole = {record.name: record for record in labelled.records}
    assert small
    for name, record in small.items():
        assert record.size == (56, 48)
        assert len(record.instances) == len(whole[name].instances)
        for item, old in zip(record.instances, whole[name].instances):
            assert np.allclose(np.array(old.box) / 2, item.box, atol=1.5)
    assert not list(one.output.rglob("tmp*"))
    none_left = with_classes(labelled, ("spot",))
    assert none_left.classes == ("spot",)
    assert {record.name for record in none_left.records} == {record.name for record in labelled.good}
    with pytest.raises(ConfigError, match="Did you mean 'scratch'"):
        with_classes(labelled, ("scratches",))


def test_real_images_are_repeated_to_their_share():
    assert repeats(10, 30, 0.5) == 3
    assert repeats(10, 10, 0.5) == 1
    assert repeats(10, 35, 0.5) == 4
    assert repeats(10, 30, 0.0) == 1
    assert repeats(0, 30, 0.5) == 1


def test_other_settings_are_named_and_more_seeds_are_welcome(study):
    settings.keep(study.model_copy(update={"seeds": 5, "methods": ("none", "copypaste", "midg")}))
    assert settings.load(study.output).seeds == 5
    with pytest.raises(ConfigError, match="shots: was 2, is 4"):
        settings.keep(study.model_copy(update={"shots": 4}))
    with pytest.raises(ConfigError, match="Did you mean 'copypaste'"):
        StudyConfig(data=study.data, output=study.output, task="segment", methods=("copypast",))


def test_what_may_be_said_of_a_gain():
    assert certainty({"gain": 0.1, "seeds_low": 0.05, "seeds_high": 0.15, "images_low": -0.1, "images_high": 0.2}) == (
        "over seeds not chance, over test images could be chance")
    nan = float("nan")
    assert certainty({"gain": 0.1, "seeds_low": nan, "seeds_high": nan}).startswith("one seed")
