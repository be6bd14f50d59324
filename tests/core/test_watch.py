"""What follows from the evaluations on record: best weights, drops of the rate, an early end; after a kill the same."""
import json

import pytest
import torch

from core import checkpoint
from core.loop import train
from core.runlog import open_run
from core.watch import Standing, WatchConfig, standing
from tests.toys import ToyConfig, ToySegmenter, settings

CPU = torch.device("cpu")


def stands(values, **options):
    return standing(list(enumerate(values)), WatchConfig(metric="x", **options))


def test_the_best_is_the_first_of_equals_and_values_that_are_not_finite_are_none():
    assert stands([]) == Standing()
    assert stands([0.1, 0.5, None, 0.5, 0.2]) == Standing(best_step=1)
    assert stands([0.1, 0.5, 0.05], better="lower").best_step == 2
    assert stands([None, None]).best_step is None


def test_training_ends_after_so_many_that_are_no_better():
    assert not stands([1, 0, 0], stop_after=3).ended
    assert stands([1, 0, 0, None], stop_after=3).ended
    assert not stands([1, 0, 0, 2], stop_after=3).ended


def test_the_rate_drops_again_and_again_on_a_plateau():
    values = [1, 0, 0, 0, 0, 0, 2, 0, 0]
    assert [stands(values[:n], reduce_after=2).drops for n in range(len(values) + 1)] == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]


def test_the_published_history_would_have_dropped_four_times():
    """Reducing after 4 of the epochs' validation losses fires at epochs 23, 37, 45 and 49."""
    better = {0, 3, 7, 14, 19, 28, 33, 40, 41}
    losses, low = [], 1.0
    for epoch in range(52):
        low = low - 0.01 if epoch in better else low
        losses.append(low if epoch in better else 2.0)
    at = [epoch for epoch in range(1, 52) if stands(losses[:epoch + 1], reduce_after=4, better="lower").drops
          > stands(losses[:epoch], reduce_after=4, better="lower").drops]
    assert at[-2:] == [45, 49]


class Watching(ToySegmenter):
    """Its evaluation gives planned figures, as if it got worse after step 8."""
    watch = WatchConfig(metric="score", stop_after=3, reduce_after=1, reduce_factor=0.1)

    def __init__(self, config, device):
        super().__init__(config, device)
        self.evaluations, self.summaries = [], 0

    def evaluate(self, folder):
        step = int(folder.name.removeprefix("step-"))
        self.evaluations.append(step)
        return {"score": {0: 0.1, 4: 0.2, 8: 0.9}.get(step, 0.5)}

    def summarise(self, run):
        self.summaries += 1
        assert (run / "metrics.jsonl").read_text().count("evaluate") > 0


def trained(run, steps, **loop):
    config = ToyConfig(loop=settings(steps, evaluate_every=4, report_every=1, save_every=3, **loop))
    task = Watching(config, CPU)
    open_run(run, config.model_dump(mode="json", exclude={"loop": {"steps"}}))
    assert train(task, config.loop, run, device=CPU) == 0
    return task


def rates(run):
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {entry["step"]: entry["network/learning_rate"] for entry in entries if entry["kind"] == "train"}


def test_a_run_keeps_its_best_drops_its_rate_and_ends_early(tmp_path, capsys):
    task = trained(tmp_path / "run", 60)
    assert task.evaluations == [0, 4, 8, 12, 16, 20]
    assert task.summaries == 6
    assert checkpoint.load(checkpoint.best_path(tmp_path / "run"))["step"] == 8
    assert checkpoint.load(checkpoint.found(tmp_path / "run")[-1])["step"] == 20
    found = rates(tmp_path / "run")
    assert [found[step] for step in (8, 12, 13, 16, 17, 20)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert "ended early, for 3 evaluations were no better" in capsys.readouterr().out
    again = trained(tmp_path / "run", 60)
    assert again.evaluations == []
    assert len(rates(tmp_path / "run")) == 20


def test_a_run_that_goes_on_heeds_what_was_before_it(tmp_path):
    for steps in (4, 12, 16, 60):
        trained(tmp_path / "parts", steps)
    trained(tmp_path / "whole", 60)
    ends = [checkpoint.load(checkpoint.found(tmp_path / name)[-1]) for name in ("parts", "whole")]
    assert ends[0]["step"] == ends[1]["step"] == 20
    assert rates(tmp_path / "parts") == rates(tmp_path / "whole")
    weights = [end["parts"]["module/network"] for end in ends]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_model_that_watches_nothing_is_as_before(tmp_path):
    config = ToyConfig(loop=settings(8))
    open_run(tmp_path / "run", config.model_dump(mode="json"))
    assert train(ToySegmenter(config, CPU), config.loop, tmp_path / "run", device=CPU) == 0
    assert not checkpoint.best_path(tmp_path / "run").exists()
