"""scripts/augment.py as a user types it: what mistakes and faulty data print, and what is said at the end."""
import html
import re
import shlex
import shutil
from pathlib import Path

import pytest

from core.augment.advice import ADVICE
from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig
from core.data import images
from tests.outputs import manifest
from tests.sets import plate, write_coco

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("command") / "Prüf satz")


@pytest.fixture
def refused(run, data, tmp_path):
    """The first line that a mistake brings, with exit code 2, after `--data` and `--output`; nothing is made."""
    def start(*options):
        code, _, said = run("--data", data, "--output", tmp_path / "out", "--workers", "1", *options)
        assert code == 2, said
        assert "Traceback" not in said
        assert not (tmp_path / "out" / "manifest.jsonl").exists()
        return said.splitlines()[0]
    return start


@pytest.mark.parametrize(("options", "said"), [
    (["--count", "0"], "--count 0: 'count' must be a whole number, at least 1, got 0"),
    (["--count", "many"], "--count many: 'count' must be a whole number, at least 1, got 'many'"),
    (["--set", "count=0"], "--set count=0: 'count' must be a whole number, at least 1, got 0"),
    (["--per-image", "3,1"], "--per-image 3,1: 'placement': 'per_image' must be two numbers from 1 on"),
    (["--per-image", "1,2.5"], "--per-image 1,2.5: 'placement.per_image[1]' must be a whole number, got 2.5"),
    (["--size-px", "a],b"], "--size-px a],b: 'placement.size_px[0]' must be a whole number, got 'a]'"),
    (["--split", "vall"], "--split vall: 'split' must be one of auto, all, train, val, test, got 'vall'. Did you mean"),
    (["--set", "placement.per_imag=[1,2]"], "--set placement.per_imag=[1,2]: unknown key 'placement.per_imag'. "),
    (["--method", "copypast"], "--method: no such generator, got 'copypast'. Did you mean 'copypaste'?"),
    (["--write", "yolo,pascal"], "--write: no such format, got 'pascal'."),
    (["--classes", "spott"], "--classes: no sample of that class, got 'spott'."),
    (["--format", "koko"], "--format: no such format, got 'koko'."),
    (["--outptu", "x"], "unrecognized arguments: --outptu x. Did you mean '--output'?"),
    (["--cou", "3"], "unrecognized arguments: --cou 3. "),
    (["--config", "absent.yaml"], "absent.yaml: no such config file."),
])
def test_a_mistake_names_what_was_typed(refused, options, said):
    assert refused(*options).startswith(said)


def test_what_is_missing_is_named_as_the_option_that_it_is(run, data):
    assert run("--count", "3")[::2] == (2, "--data: missing. Give the folder of the labelled set\n")
    assert run("--data", data)[2].startswith("--output: missing. Give the folder of the new set")


def shown(folder: Path) -> str:
    return html.unescape((folder / "report.html").read_text(encoding="utf-8"))


def test_the_report_shows_every_command_that_made_it(run, data, tmp_path):
    """As it was typed, rare options too; not twice where the same command went on; a call from Python is said so."""
    line = ["--data", data, "--output", "out", "--set", "gate.retries=3", "--workers", "1"]
    first, more = [*line, "--count", "1"], [*line, "--count", "2"]
    for options in (first, more, first[:-1] + ["2"]):
        assert run(*options)[0] == 0
    typed = [shlex.join(["python", str(ROOT / "scripts/augment.py"), *map(str, options)]) for options in (first, more)]
    assert "\n".join(typed) + "</code>" in shown(tmp_path / "out")
    augment(AugmentConfig(data=data, output=tmp_path / "out", count=3, gate={"retries": 3}))
    assert f"{typed[1]}\ncalled from Python" in shown(tmp_path / "out")


def test_folders_may_be_given_relative_or_whole_and_the_settings_of_a_run_start_another(run, data, tmp_path):
    shutil.copytree(data, tmp_path / "set")
    (tmp_path / "good").mkdir()
    shutil.copy(data / "images/good007.png", tmp_path / "good")
    assert run("--data", "set", "--good", "good", "--output", "out", "--count", "1", "--set", "workers=1")[0] == 0
    again = ("--data", tmp_path / "set", "--good", tmp_path / "good", "--output", tmp_path / "out")
    assert run(*again, "--count", "2")[0] == 0
    assert run("--config", "out/config.yaml", "--output", "other")[0] == 0
    lines = [(tmp_path / name / "manifest.jsonl").read_text() for name in ("out", "other")]
    assert lines[0] == lines[1]


def test_sizes_are_of_the_longer_side_and_those_that_fit_no_image_are_refused(refused, run, data, tmp_path):
    assert refused("--size-px", "300,400").startswith(
        "--size-px: no image can hold a defect of 300 px, got normal images of at most 112 x 96 px. Ask for a least "
        "size of 100 px or below")
    assert refused("--size-px", "1,2").startswith("--size-px 1,2: 'placement': 'size_px' must be two numbers from 3 on")
    assert run("--data", data, "--output", "out", "--size-px", "40,44", "--classes", "scratch", "--count", "4",
               "--per-image", "1,1", "--workers", "1")[0] == 0
    for line in manifest(tmp_path / "out"):
        (defect,) = line["defects"]
        x1, y1, x2, y2 = defect["wanted"]
        assert 40 <= max(x2 - x1, y2 - y1) <= 44
        assert min(x2 - x1, y2 - y1) < 20                     # a scratch stays one


def test_images_too_small_for_the_least_size_are_not_drawn_on(run, data, tmp_path):
    (tmp_path / "small").mkdir()
    images.write_image(tmp_path / "small/a.png", plate(90, (40, 36))[..., 0])
    assert run("--data", data, "--good", "small", "--output", "out", "--size-px", "38,44", "--count", "6", "--workers",
               "1")[0] == 0
    assert not any(line["source"].startswith("small") for line in manifest(tmp_path / "out"))
    assert "Not drawn on: 1 of 5 normal images" in shown(tmp_path / "out")


def test_no_image_made_is_a_failure_whose_last_line_says_why(run, data):
    code, said, _ = run("--data", data, "--output", "out", "--count", "2", "--set", "gate.outgrown=1e-9", "--set",
                        "gate.retries=2", "--workers", "1")
    assert code == 1
    assert said.splitlines()[-2].startswith("0 of 2 images in out, with 0 of ")
    assert re.match(r"\d of \d defects were given up and 2 images with none: (\d+) of \1 tries at them failed "
                    r"as 'too large': .*raise gate.outgrown and gate.cover with --set$", said.splitlines()[-1])


def test_defects_that_found_no_place_are_told(run, data, tmp_path):
    code, said, _ = run("--data", data, "--output", "out", "--count", "1", "--per-image", "60,60", "--set",
                        "gate.retries=0", "--workers", "1")
    assert code == 0
    drawn = len(manifest(tmp_path / "out")[0]["defects"])
    assert 0 < drawn < 50
    assert f"with {drawn} of 60 defects wanted" in said.splitlines()[-2]
    assert said.splitlines()[-1].startswith(f"{60 - drawn} of 60 defects were given up: ")
    assert re.search(rf">defects wanted</dt><dd>60</dd>.*>drawn</dt><dd>{drawn}</dd>", shown(tmp_path / "out"))


def test_every_reason_of_rejection_has_its_advice():
    source = (ROOT / "core/augment/gate.py").read_text() + (ROOT / "core/augment/maker.py").read_text()
    given = set(re.findall(r'Verdict\(False, "([^"]+)"|"reason": "([^"]+)"|or "(empty label)"', source))
    assert {name for names in given for name in names if name} == set(ADVICE)


def test_a_folder_of_good_images_that_holds_the_defective_ones_is_refused(refused, data):
    said = refused("--good", data / "images")
    assert "bad000.png: the same bytes as a file with other defects, one good, one defective" in said


def test_own_output_with_many_formats_is_read_as_the_coco_that_it_holds(run, data, tmp_path):
    every = ("--write", "yolo,voc,masks,midg")
    assert run("--data", data, "--output", "out", "--count", "2", "--workers", "1", *every)[0] == 0
    code, said, _ = run("--data", "out", script="verify")
    assert (code, said.splitlines()[0].startswith("out (coco): 2 images")) == (0, True), said
    more = ("--data", "out", "--backgrounds", "all", "--output", "again")
    assert run(*more, "--count", "1", "--workers", "1")[0] == 0
