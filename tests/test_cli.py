"""train.py and test.py as a researcher uses them, with a network of his own in his working folder."""
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core import checkpoint
from core.runlog import Means

ROOT = Path(__file__).resolve().parents[1]
OWN = '''
import torch
from pydantic import BaseModel, ConfigDict, Field
from core.task import LoopConfig, Phase


class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, place):
        index, draw = place
        return torch.tensor([float(index)]), torch.tensor([2.0 * index])


class Line:
    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        loop: LoopConfig
        lr: float = Field(1e-3, gt=0)
        classes: tuple[str, ...] = ("1e-4", "no")

    def __init__(self, config, device):
        self.network = torch.nn.Linear(1, 1).to(device)
        self.modules, self.averages = {"network": self.network}, {}
        optimizer = torch.optim.SGD(self.network.parameters(), lr=config.lr)
        self.phases = (Phase(name="fit", optimizer=optimizer, learning_rate=lambda step: config.lr),)
        self.train_data = Points()

    def losses(self, phase, batch):
        x, y = batch
        return {"square": (self.network(x) - y).square().mean()}

    def evaluate(self, folder):
        (folder / "line.txt").write_text("drawn")
        return {"slope": float(self.network.weight)}


class TakesOver(Line):
    @classmethod
    def earlier_config(cls, path):
        words = dict(line.split(": ") for line in path.read_text().splitlines())
        if "RATE" not in words:
            return None
        loop = {"steps": int(words["STEPS"]), "batch_size": 1, "workers": 0}
        return {"lr": float(words["RATE"]), "loop": loop}, [f"{path}:1: OLD is not read"]

    @classmethod
    def adopt(cls, folder):
        return [f"{folder}: looked at"]

    @classmethod
    def inputs(cls, folder, given):
        return dict(given) and {**given, "output": folder / "usual"}

    @classmethod
    def apply(cls, run, inputs, output, overrides, on):
        output.mkdir(parents=True)
        (output / "drawn.txt").write_text(f"{run.name} {inputs} {overrides} {on}")
        return {"images": 2}


class NoModel:
    pass
'''
MODEL = ("--model", "own_line:Line", "--device", "cpu")
SHORT = ("--set", "loop.steps=4", "--set", "loop.batch_size=2", "--set", "loop.workers=0", "--set", "loop.save_every=2")


@pytest.fixture
def folder(tmp_path):
    """A working folder with blanks and umlauts in its name, and the researcher's network in it."""
    folder = tmp_path / "Prüf ordner"
    folder.mkdir()
    (folder / "own_line.py").write_text(OWN)
    return folder


def run(script, *arguments, folder):
    """A process of its own, as a user starts it."""
    return subprocess.run([sys.executable, ROOT / script, *arguments], cwd=folder, capture_output=True, text=True,
                          timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)


def succeeds(*command, **options):
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def inside(folder, monkeypatch, capsys):
    """Runs a script within this process, which is faster: inside("train.py", ...) -> (exit code, what it prints)."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.path", list(sys.path))

    def start(script, *arguments):
        monkeypatch.delitem(sys.modules, "own_line", raising=False)
        monkeypatch.setattr("sys.argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    yield start
    sys.modules.pop("own_line", None)


@pytest.fixture
def fails(inside):
    """The lines that a user's mistake brings, with exit code 2."""
    def start(*command):
        code, printed = inside(*command)
        assert code == 2, printed
        return printed.strip()
    return start


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_help_and_list(inside, script):
    code, text = inside(script, "--help")
    assert code == 0
    assert "package.module:Class" in text
    assert len(text.splitlines()) < 60
    code, text = inside(script, "--list")
    assert code == 0
    assert text.strip()


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_entry_points_stay_thin(script):
    assert len((ROOT / script).read_text(encoding="utf-8").splitlines()) <= 80


def test_train_go_on_and_test(folder, inside, fails):
    code, text = inside("train.py", *MODEL, *SHORT, "--checkpoints", "mein lauf")
    assert code == 0, text
    made = folder / "mein lauf" / "own_line.Line"
    assert (made / "step-00000004.pt").is_file(), text
    assert {"config.yaml", "log.txt", "metrics.jsonl", "samples"} <= {path.name for path in made.iterdir()}

    more = ("--set", "loop.steps=6", "--set", "loop.workers=1")      # a process that has to find the network, too
    succeeds("train.py", *MODEL, "--path", "mein lauf", *more, folder=folder)       # goes on with the run's own config
    assert (made / "step-00000006.pt").is_file()
    assert inside("train.py", *MODEL, *SHORT, *more, "--checkpoints", "whole")[0] == 0
    once, twice = (last_evaluation(place) for place in (folder / "whole" / made.name, made))
    assert once == twice, "equal seeds must give equal runs"

    (folder / "elsewhere").mkdir()
    made = made.rename(folder / "elsewhere" / made.name)        # the run's folder alone is enough
    text = succeeds("test.py", *MODEL, "--path", "elsewhere", "--output", "out", folder=folder)
    assert "slope: " in text
    result = json.loads((folder / "out" / "metrics.json").read_text())
    assert (result["step"], result["slope"]) == (6, once["slope"])
    assert (folder / "out" / "line.txt").is_file()
    assert inside("test.py", *MODEL, "--path", made)[0] == 0
    assert (made / "test" / "step-00000006" / "metrics.json").is_file()
    assert "has files in it" in fails("test.py", *MODEL, "--path", made)
    assert inside("test.py", *MODEL, "--path", made, "--overwrite")[0] == 0
    wrong = fails("test.py", *MODEL, "--path", "elsewhere", "--set", "lr=x", "--output", "new")
    assert wrong.startswith("--set lr=x: 'lr' must be a number")


def last_evaluation(run_folder):
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    return {"slope": [line["slope"] for line in lines if line["kind"] == "evaluate"][-1], "step": lines[-1]["step"]}


def test_dry_run_shows_everything_and_keeps_nothing(folder, inside, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    before = sorted(folder.iterdir())
    code, text = inside("train.py", *MODEL, *SHORT, "--dry-run", "--checkpoints", "never")
    assert code == 0, text
    assert "batch_size: 2" in text
    assert "network 2 parameters" in text
    assert "nothing is kept" in text
    assert sorted(folder.iterdir()) == before


def test_a_run_is_not_continued_with_another_config(inside, fails):
    assert inside("train.py", *MODEL, *SHORT, "--checkpoints", "run")[0] == 0
    message = fails("train.py", *MODEL, *SHORT, "--checkpoints", "run", "--set", "lr=0.5")
    assert "'lr' was 0.001" in message
    assert "got 0.5" in message


def test_the_experiments_config_may_have_a_section_for_each_model(folder, inside):
    (folder / "run").mkdir()
    (folder / "run" / "config.yml").write_text(
        "other:\n  lr: 3\nown_line.Line:\n  lr: 0.25\n  loop: {steps: 1, batch_size: 1, workers: 0}\n")
    (folder / "given.yaml").write_text("lr: 0.125\nloop: {steps: 1, batch_size: 1, workers: 0}\n")
    assert "lr: 0.25\n" in inside("train.py", *MODEL, "--checkpoints", "run", "--dry-run")[1]
    given = ("--config", "given.yaml")
    assert "lr: 0.125\n" in inside("train.py", *MODEL, "--checkpoints", "run", *given, "--dry-run")[1]


TAKES = ("--model", "own_line:TakesOver", "--device", "cpu")


@pytest.fixture
def taken(folder):
    """An experiment of another program, with its config."""
    (folder / "run").mkdir()
    (folder / "run" / "config.yml").write_text("RATE: 0.5\nSTEPS: 3\n")
    return folder / "run"


def test_another_programs_experiment_is_taken_over_by_the_models_class(taken, inside, fails):
    code, text = inside("train.py", *TAKES, "--checkpoints", "run", "--set", "lr=0.25")
    assert code == 0, text
    assert text.count("run: looked at\n") == text.count("config.yml:1: OLD is not read\n") == 1
    config = (taken / "own_line.TakesOver" / "config.yaml").read_text()
    assert "lr: 0.25\n" in config, "--set goes over the file"
    assert "steps: 3\n" in config
    (taken / "config.yml").write_text("RATE: -1\nSTEPS: 3\n")
    message = fails("train.py", *TAKES, "--checkpoints", "run").splitlines()[-2]
    assert message == "run/config.yml: 'lr' must be a number, above 0, got -1.0"


def test_a_file_of_this_projects_form_is_read_as_such(taken, inside):
    (taken / "config.yml").write_text("lr: 0.125\n")
    code, text = inside("train.py", *TAKES, *SHORT, "--checkpoints", "run", "--dry-run")
    assert code == 0, text
    assert "lr: 0.125\n" in text
    assert "OLD" not in text


def test_a_model_is_applied_to_files(taken, inside, fails):
    assert inside("train.py", *TAKES, "--checkpoints", "run")[0] == 0
    use = ("test.py", *TAKES, "--checkpoints", "run", "--input", "pictures", "--mask", "m.png", "--set", "lr=1")
    code, text = inside(*use)
    assert code == 0, text
    assert "images: 2" in text
    assert f"'mask': {Path('m.png')!r}}} ['lr=1'] cpu" in (taken / "usual" / "drawn.txt").read_text()
    assert json.loads((taken / "usual" / "applied.json").read_text())["images"] == 2
    assert "has files in it" in fails(*use)
    assert "slope" in inside("test.py", *TAKES, "--checkpoints", "run")[1], "without files it is evaluated"


def test_files_for_a_model_that_cannot_take_them_are_refused(folder, inside, fails):
    assert inside("train.py", *MODEL, *SHORT, "--checkpoints", "run")[0] == 0
    assert fails("test.py", *MODEL, "--checkpoints", "run", "--edge", "x").startswith(
        "--edge: not for model 'own_line:Line', which can only be evaluated")


@pytest.mark.parametrize(("arguments", "message"), [
    ((), "--model: missing. Give a number, a name or package.module:Class"),
    (("--model", "99"), "--model 99: no such model."),
    (("--model", "segmnt"), "--model segmnt: no such model."),
    (("--model", "own_line"), "--model own_line: no such model."),
    (("--model", "nothing_here:Line"), "nothing_here:Line: no module 'nothing_here'"),
    (("--model", "own_line:Lien"), "own_line:Lien: own_line has no class 'Lien'. Did you mean 'Line'?"),
    (("--model", "own_line:NoModel"), "--model own_line:NoModel: not a model that can be trained"),
    (MODEL, "--checkpoints: missing. Give the folder of the experiment"),
    ((*MODEL, "--path", "new"), "no config file: 'loop.steps' is required: a whole number, at least 1"),
    ((*MODEL, *SHORT, "--path", "new", "--set", "lr=fast"), "--set lr=fast: 'lr' must be a number, above 0, got"),
    ((*MODEL, *SHORT, "--path", "new", "--set", "loop.stepps=1"), "--set loop.stepps=1: unknown key 'loop.stepps'."),
    ((*MODEL, *SHORT, "--path", "new", "--config", "absent.yaml"), "absent.yaml: no such config file."),
    (("--model", "own_line:Line", *SHORT, "--path", "new", "--device", "gpu"), "device: unknown, got 'gpu'."),
    ((*MODEL, *SHORT, "--path", "own_line.py"), "own_line.py"),
])
def test_a_mistake_in_training_is_one_clear_line(folder, fails, arguments, message):
    assert fails("train.py", *arguments).startswith(message)
    assert not (folder / "new").exists(), "nothing was to be run"


def test_a_mistake_in_testing_is_one_clear_line(folder, fails):
    assert fails("test.py", *MODEL).startswith("--checkpoints: missing.")
    assert "has no run of model 'own_line.Line'. Train first" in fails("test.py", *MODEL, "--path", "no")
    other = folder / "run" / "other"
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("lr: 1\n")
    assert "There are runs of other" in fails("test.py", *MODEL, "--path", "run")
    other.rename(other.with_name("own_line.Line"))
    assert "holds no checkpoint" in fails("test.py", *MODEL, "--path", "run")


def test_a_checkpoint_of_another_model_is_one_clear_line(folder, inside, fails):
    assert inside("train.py", *MODEL, *SHORT, "--checkpoints", "run")[0] == 0
    made = folder / "run" / "own_line.Line"
    checkpoint.save(made / "step-00000009.pt", 9, {"module/network": torch.nn.Linear(3, 2), "report": Means()})
    for script, *more in (("test.py",), ("train.py", "--set", "loop.steps=9")):
        message = fails(script, *MODEL, "--path", "run", *more)
        assert message.startswith(f"{Path('run/own_line.Line/step-00000009.pt')}: is of another model: ")
        assert "in 'module/network' 'weight' is [2, 3], here [1, 1]" in message
        assert len(message.splitlines()) == 1
    assert not (made / "test").exists()


def test_a_mistake_has_no_traceback_and_a_fault_of_the_program_has_one(folder):
    done = run("train.py", *MODEL, folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--checkpoints: missing. Give the folder of the experiment; it may be a new one\n"
    (folder / "own_line.py").write_text(OWN.replace('return {"square"', 'return {"square": 1 / 0, "x"'))
    done = run("train.py", *MODEL, *SHORT, "--checkpoints", "run", folder=folder)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
