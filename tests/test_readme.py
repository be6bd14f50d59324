"""Every command and every Python line of the README runs, on tiny data."""
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


TINY = {        # what a training is made small by: of MIDG and by the model's name
    "": "network.width=4 sheet.samples=2",
    "5": "loop.batch_size=2 sheet.samples=2 sheet.shown=1",
    "6": "loop.batch_size=2 sheet.samples=2 sheet.shown=1",
    "7": "network.widths=[4,8] loop.batch_size=2 data.crop_px=64",
    "model1": "network.side_px=64 network.proposals=20 loop.batch_size=2 panels=1",
    "anomaly": "train.crop_px=48 train.widths=[4,8,8,8] loop.batch_size=2 model.sampled=500 model.most=20 panels=1 "
               "threshold.false_alarms=0.5",
}
EARLIER = "checkpoints/exposed_copper"         # a folder of the published MIDG, as its commands name it
COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("python ")]


def shrunk(command: str) -> list[str]:
    """The command with small numbers of images, small networks and few steps."""
    words = shlex.split(command)
    if words[1] == "train.py":
        model = words[words.index("--model") + 1]
        words += ["--device", "cpu"]
        for setting in ["loop.steps=2", "loop.workers=0", *TINY.get(model, TINY[""]).split()]:
            words += ["--set", setting]
    if "--model crg" in command:
        words += ["--set", "places.count=2"]
    if "--method midg" in command:
        words += ["--set", "midg.steps=2", "--set", "midg.width=2", "--set", "gate.enabled=false"]
    if words[1] == "scripts/study.py":
        words += shlex.split("--seeds 1 --scales 1 --shots 2 --device cpu --set loop.steps=2")
    for number, word in enumerate(words):
        if word == "--count":
            words[number + 1] = str(min(int(words[number + 1]), 24 if "--product" in words else 6))
        if word == "--patch":
            words[number + 1] = "256"
    return [sys.executable, *words[1:]]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A copy of the checkout's commands, with the made set that the README starts from."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("core", "midg", "crg", "segment", "detect", "scripts", "configs", "tests", "train.py", "test.py"):
        (folder / name).symlink_to(ROOT / name)
    made = next(command for command in COMMANDS if "make_synthetic.py --kind pcb" in command)
    run([*shrunk(made), "--size", "160x160", "--defects", "2"], folder)
    earlier_experiment(folder)
    return folder


def earlier_experiment(folder: Path) -> None:
    """Made samples in the published MIDG's folders, with a config.yml of its kind."""
    made = "scripts/make_synthetic.py --kind fpc --count 3 --size 96x96 --write midg --output dataset"
    run([sys.executable, *shlex.split(made)], folder)
    kind = folder / "dataset" / "kinds" / "exposed_copper"
    lists = []
    for key, role in (("FLIST", "images"), ("MASK_FLIST", "mask"), ("INPAINTING_FLIST", "inpaint")):
        shutil.copytree(kind / role / "train", kind / role / "test")
        lists += [f"{split.upper()}_{key}: ./dataset/kinds/exposed_copper/{role}/{split}/{split}.flist\n"
                  for split in ("train", "test")]
    (folder / EARLIER).mkdir(parents=True)
    config = "MODE: 1\nINPUT_SIZE: 96\nMAX_ITERS: 2\nBATCH_SIZE: 2\n" + "".join(lists)
    (folder / EARLIER / "config.yml").write_text(config)


def run(words: list[str], folder: Path) -> None:
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, f"{shlex.join(words)}\n{ran.stdout}\n{ran.stderr}"


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 6
    assert blocks("python")


@pytest.mark.parametrize("command", [command for command in COMMANDS if "make_synthetic.py --kind pcb" not in command])
def test_a_command_runs(command, place):
    run(shrunk(command), place)


@pytest.mark.parametrize("source", blocks("python"))
def test_the_library_lines_run(source, place):
    run([sys.executable, "-c", source.replace("count=20", "count=3")], place)


def test_no_placeholder_is_left():
    assert not re.search(r"\b(RESULTS|TBD|XXX)\b", TEXT)
