"""MIDG's four models in the loop: who learns from what, exact resume, the published update, and their figures."""
import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from core import checkpoint
from core.config import to_yaml
from core.data import formats
from core.device import Processes
from core.errors import CheckpointError, ConfigError
from core.experiment import build
from core.loop import train
from core.phase import Turn
from core.runlog import open_run
from midg.edges import merged_edges
from midg.infer import Painter
from midg.losses import discriminator_loss, generator_loss
from midg.maps import edge_map, to_maps
from midg.networks import edge_judged
from midg.runs import find_run
from midg.task import DefectTask, EdgeTask, GivenEdgesTask, JointTask
from tests import golden, sets
from tests.children import differences
from tests.midg import made

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return made.fpc(tmp_path_factory.mktemp("set") / "fpc")


@pytest.fixture(scope="module")
def experiment(root, tmp_path_factory) -> Path:
    """A folder with a finished run of model 1."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("experiment")
    run_task(EdgeTask, made.edge_config(root), folder / "midg-edge")
    return folder


def task_of(kind, config, run=None):
    return build(kind, config, CPU, run)


def run_task(kind, config, run: Path, *, stop_at: int | None = None) -> int:
    """Train as train.py does; in step `stop_at` SIGTERM comes."""
    task = task_of(kind, config, run)
    if stop_at is not None:
        phase = task.phases[-1]
        rate = phase.learning_rate

        def interrupted(step: int) -> float:
            if step == stop_at - 1:
                signal.raise_signal(signal.SIGTERM)
            return rate(step)

        object.__setattr__(phase, "learning_rate", interrupted)
    return train(task, config.loop, open_run(run, config.model_dump(mode="json")), device=CPU)


def configs(root, experiment) -> dict:
    return {"edge": (EdgeTask, made.edge_config(root)), "given": (GivenEdgesTask, made.given_config(root)),
            "defect": (DefectTask, made.defect_config(root, edges=experiment)),
            "joint": (JointTask, made.joint_config(root))}


@pytest.mark.parametrize("model", ["edge", "given", "defect", "joint"])
def test_resume_is_exact(model, root, experiment, tmp_path):
    kind, config = configs(root, experiment)[model]
    assert run_task(kind, config, tmp_path / "whole") == 0
    assert run_task(kind, config, tmp_path / "halves", stop_at=7) == 143
    assert run_task(kind, config, tmp_path / "halves") == 0
    assert differences(tmp_path / "whole", tmp_path / "halves") == []


def test_resume_is_exact_with_workers(root, experiment, tmp_path):
    """The uninterrupted run of model 1 has no workers; here two load the first part, and none the rest."""
    with_workers = made.edge_config(root, loop=made.few_steps(workers=2))
    assert run_task(EdgeTask, with_workers, tmp_path, stop_at=7) == 143
    assert run_task(EdgeTask, made.edge_config(root), tmp_path) == 0
    assert differences(tmp_path, experiment / "midg-edge") == []


@pytest.mark.parametrize("model", ["edge", "given", "defect", "joint"])
def test_losses_of_the_first_steps_are_as_stored(model, root, experiment):
    kind, config = configs(root, experiment)[model]
    values = golden.losses_of(task_of(kind, config), config.loop, steps=5)
    golden.check(f"midg-{model}", values, "tests/midg/test_task.py", tolerance=1e-4)


def turns_of(task) -> dict[str, Turn]:
    return {turn.phase.name: turn for turn in Turn.of(task, task.config.loop, CPU, Processes())}


def batch_of(task) -> dict[str, torch.Tensor]:
    return default_collate([task.train_data[0, 0], task.train_data[1, 1]])


def gradients(module: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("update", ["correct", "legacy"])
def test_the_discriminator_learns_from_its_own_loss_only_but_in_the_legacy_update(update, root):
    """Its gradient after a step, against that of the written-out losses on the same pictures."""
    task = task_of(EdgeTask, made.edge_config(root, loss={"update": update}))
    turns, batch = turns_of(task), batch_of(task)
    judge, loss = task.modules["discriminator"], task.config.loss
    turns["generator"].take(batch, 0)
    real, drawn = task.made[""]
    twin = task_of(EdgeTask, task.config).modules["discriminator"]
    twin.load_state_dict(judge.state_dict())
    seen_real, seen_drawn = zip(*(output.chunk(2) for output in twin(torch.cat([real, drawn]))))
    wanted = discriminator_loss(loss.gan, seen_real[-1], seen_drawn[-1])
    if update == "legacy":
        wanted = wanted + loss.adversarial * generator_loss(loss.gan, seen_drawn[-1])
        wanted = wanted + loss.feature_matching * sum(
            (a - b.detach()).abs().mean() for a, b in zip(seen_drawn, seen_real))
    expected = torch.autograd.grad(wanted, list(twin.parameters()))
    turns["discriminator"].take(batch, 0)
    for mine, other in zip(gradients(judge), expected, strict=True):
        torch.testing.assert_close(mine, other)


def test_a_turn_changes_its_own_network_alone(root, experiment):
    for kind, config in configs(root, experiment).values():
        task = task_of(kind, config)
        batch, turns = batch_of(task), turns_of(task)
        for name, turn in turns.items():
            before = {key: [p.detach().clone() for p in module.parameters()] for key, module in task.modules.items()}
            turn.take(batch, 0)
            changed = {key for key, module in task.modules.items()
                       if any(not torch.equal(a, b) for a, b in zip(before[key], module.parameters()))}
            assert changed == {name}


def test_the_discriminator_sees_in_training_what_is_used(root):
    """Judged edges: drawn in the mask, the background's outside, as `merged_edges` gives them in use."""
    task = task_of(EdgeTask, made.edge_config(root))
    batch = batch_of(task)
    maps = to_maps(batch)
    task.losses("generator", batch)
    _, judged = task.made[""]
    drawn = edge_map(task.modules["generator"].eval(), maps, None).sigmoid()
    outside = maps.mask == 0
    assert torch.equal(judged[:, 1:2][outside], merged_edges(drawn, maps.background_edges, maps.mask)[outside])
    assert torch.equal(judged[:, :1], edge_judged(judged[:, :1], drawn, maps.mask)[:, :1])


def test_pasted_losses_do_not_see_what_lies_outside_the_mask(root):
    """The gradient of model 2's picture is nothing there; the published `raw` judging sees all of it."""
    for judged, nothing in (("pasted", True), ("raw", False)):
        task = task_of(GivenEdgesTask, made.given_config(root, loss={"judged": judged}))
        batch, pictures = batch_of(task), []

        def keep(module, inputs, picture, pictures=pictures):
            picture.retain_grad()
            pictures.append(picture)

        task.modules["generator"].register_forward_hook(keep)
        sum(task.losses("generator", batch).values()).backward()
        outside = pictures[0].grad * (batch["mask"] == 0)
        assert (outside.abs().max() == 0) == nothing


def test_model_3_needs_model_1_and_says_how_to_get_it(root, tmp_path):
    with pytest.raises(CheckpointError, match=re.escape(f"{tmp_path / 'midg-edge'}: no trained midg-edge here")):
        task_of(DefectTask, made.defect_config(root), tmp_path / "midg-defect")
    with pytest.raises(ConfigError, match="edges: no run of model 1"):
        task_of(DefectTask, made.defect_config(root))


def test_model_3_draws_with_the_averages_of_model_1_beside_it(root, experiment):
    task = task_of(DefectTask, made.defect_config(root), experiment / "midg-defect")
    wanted = checkpoint.load(checkpoint.found(find_run(experiment, "midg-edge"))[-1])["parts"]["average/generator"]
    for key, value in task.modules["edge_generator"].state_dict().items():
        assert torch.equal(value, wanted[key]), key
    assert not task.modules["edge_generator"].training


def test_a_run_of_other_classes_is_refused(root, experiment, tmp_path):
    run = tmp_path / "midg-edge"
    run.mkdir()
    for path in [*(experiment / "midg-edge").glob("step-*.pt"), experiment / "midg-edge" / "config.yaml"]:
        (run / path.name).write_bytes(path.read_bytes())
    (run / "classes.txt").write_text("pit\ncrack\n")
    with pytest.raises(ConfigError, match="has learnt other classes, got pit, crack where these data have exposed_"):
        task_of(DefectTask, made.defect_config(root, edges=tmp_path))


@pytest.mark.parametrize(("key", "value"), [("sigma", 3.0), ("fit", "whole")])
def test_edges_that_were_learnt_in_another_way_are_refused(root, experiment, key, value):
    config = made.defect_config(root, edges=experiment, **{key: value})
    with pytest.raises(ConfigError, match=f"midg-edge: its edges were learnt with data.{key} .*, got {value} for the "):
        task_of(DefectTask, config)


def test_edges_that_were_learnt_in_other_windows_are_noted(root, experiment, capsys):
    task_of(DefectTask, made.defect_config(root, edges=experiment))
    assert "windows" not in capsys.readouterr().err
    task_of(DefectTask, made.defect_config(root, edges=experiment, size_px=64))
    assert "learnt in windows of 48 px; the model that paints on its edges has 64 px\n" in capsys.readouterr().err


def test_two_models_with_other_sigmas_do_not_draw_together(root, experiment, tmp_path):
    for name in ("midg-edge", "midg-defect"):
        shutil.copytree(experiment / "midg-edge", tmp_path / name)
    config = made.defect_config(root, sigma=3.0)
    (tmp_path / "midg-defect" / "config.yaml").write_text(to_yaml(config))
    with pytest.raises(ConfigError, match="learnt with data.sigma 2.0, got 3.0 for the model that paints on them"):
        Painter.load(tmp_path, "cpu")


def test_classes_are_an_input_of_one_model(tmp_path):
    """Two classes: the networks take the label, and the label's own weights learn."""
    root = sets.write_coco(tmp_path / "set", bad=6, good=0)
    for kind, config in ((EdgeTask, made.edge_config(root)), (GivenEdgesTask, made.given_config(root))):
        task = task_of(kind, config)
        assert task.classes == sets.CLASSES
        assert {int(task.train_data[index, 0]["label"]) for index in range(len(task.train_data))} == {0, 1}
        turns, batch = turns_of(task), batch_of(task)
        tables = [module for module in task.modules["generator"].modules() if isinstance(module, nn.Embedding)]
        for turn in turns.values():
            turn.take(batch, 0)
        seen = batch["label"].unique()
        assert all(table.weight[seen].abs().sum() > 0 for table in tables)
        assert len(tables) > 10
    only = task_of(EdgeTask, made.edge_config(root, classes=("scratch",)))
    assert only.classes == ("scratch",)
    assert only.label(to_maps(batch_of(only))) is None


def test_bfloat16_trains(root, experiment, tmp_path):
    loop = made.few_steps(2, precision="bfloat16")
    for kind, config in ((EdgeTask, made.edge_config(root, loop=loop)),
                         (DefectTask, made.defect_config(root, edges=experiment, loop=loop))):
        assert run_task(kind, config, tmp_path / kind.__name__) == 0


def test_figures_and_sheets(root, experiment, tmp_path):
    run_task(DefectTask, made.defect_config(root, edges=experiment, loop=made.few_steps(1)), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    figures = [line for line in lines if line["kind"] == "evaluate"][-1]
    assert {"psnr", "psnr_in_mask", "ssim", "ssim_in_mask", "l1", "l1_in_mask"} <= figures.keys()
    assert (tmp_path / "samples" / "step-00000001" / "sheet.png").is_file()
    lines = [json.loads(line) for line in (experiment / "midg-edge" / "metrics.jsonl").read_text().splitlines()]
    figures = [line for line in lines if line["kind"] == "evaluate"][-1]
    assert {f"edge_{name}_{px}px" for name in ("precision", "recall") for px in (0, 2)} <= figures.keys()


def test_a_finished_run_is_tested_on_another_set_without_training_data(root, experiment, tmp_path):
    other = made.fpc(tmp_path / "other", 3)
    data = made.data(other, ratios=(0.0, 1.0, 0.0))
    run = experiment / "midg-edge"
    before = {path: path.read_bytes() for path in run.glob("*") if path.is_file()}
    task = build(EdgeTask, made.edge_config(root).model_copy(update={"data": data}), CPU, run, keep=False)
    assert len(task.held_out) >= 3
    assert "train_data" not in vars(task)           # not read
    assert {path: path.read_bytes() for path in run.glob("*") if path.is_file()} == before


def test_a_test_of_a_model_that_has_learnt_from_all_images_says_so(root, tmp_path):
    """As the main job trains: on records that it hands over, without a place of their own."""
    whole = formats.read(root, "auto")
    given = replace(whole, records=tuple(replace(record, split="train") for record in whole.records))
    config, run = made.edge_config(root), tmp_path / "midg-edge"
    assert EdgeTask(config, CPU, dataset=given, run=run).evaluate(tmp_path).keys() == {
        f"train_edge_{name}_{px}px" for name in ("precision", "recall") for px in (0, 2)}
    again = build(EdgeTask, config, CPU, run, keep=False)
    assert {record.split for record in again.dataset.records} == {"train"}
    assert all(name.startswith("train_") for name in again.evaluate(tmp_path))
    other = made.edge_config(made.fpc(tmp_path / "other", 6, seed=5))
    elsewhere = build(EdgeTask, other, CPU, run, keep=False)
    assert not any(name.startswith("train_") for name in elsewhere.evaluate(tmp_path))
