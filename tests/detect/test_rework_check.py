"""Rework rules tried on inspections that are done, as the command does it."""
import csv
import runpy
from pathlib import Path

import pytest

from core.data.images import write_image
from detect.apply import Inspector, judge_files
from detect.rework import RulesConfig
from tests.detect.test_hybrid import CONFIG, Bright, picture

ROOT = Path(__file__).resolve().parents[2]
RULES = """ring: false
rules:
  - {id: small, verdict: rework, reason: can be polished, all: [[area_px, "<=", 36]]}
  - {id: faint, verdict: review, reason: not sure, all: [[score, "<", 0.7]]}
  - {id: never, verdict: reject, reason: impossible, all: [[area_px, ">", 900], [area_px, "<", 9]]}
  - {id: crowd, scope: part, verdict: reject, reason: too many, all: [["count:spot", ">=", 3]]}
"""


@pytest.fixture
def results(tmp_path):
    (tmp_path / "in").mkdir()
    spots = {"good": [], "small": [(8, 8, 250)], "faint": [(40, 8, 170)]}
    spots["many"] = [(x, 8, 250) for x in (8, 40, 70)]
    for name, drawn in spots.items():
        write_image(tmp_path / f"in/{name}.png", picture(*drawn))
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "judged.csv").write_text("image,verdict\ngood,good\nsmall,rework\nfaint,rework\nmany,reject\n")
    judge_files(Inspector(Bright(), CONFIG, 0.5, RulesConfig(ring=False)), ("spot",), tmp_path / "in", tmp_path / "out")
    return tmp_path


@pytest.fixture
def start(monkeypatch, capsys):
    def started(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["rework_rules.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts/rework_rules.py"), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    return started


def test_the_rules_of_this_project_are_sound(start):
    assert start("--rules", ROOT / "configs/rework.yaml") == (0, "every rule can hold and counts\n")


def test_what_was_measured_is_judged_by_other_rules(results, start):
    with open(results / "out/summary.csv", newline="") as file:
        assert {row["verdict"] for row in csv.DictReader(file)} == {"good", "reject"}, "no rule was there: unmatched"
    code, text = start("--rules", results / "rules.yaml", "--results", results / "out", "--labels",
                       results / "judged.csv")
    assert code == 0, text
    assert text.splitlines()[:3] == [
        "never: can never hold, area_px would have to be above 900 and below 9", "never: held for none of 4 parts",
        "4 images: good 1, rework 1, review 1, reject 1"]
    table = {line.split()[0]: line.split()[1:] for line in text.splitlines()[4:8]}
    assert table["rework"] == ["0", "1", "1", "0"], "one of two is only looked at again"
    assert "faint: right for 0 of 1 images that it decided" in text
    assert "crowd: right for 1 of 1" in text


@pytest.mark.parametrize(("table", "told"), [
    ("image,verdict\nsmal,good\n", "judged.csv:2: no such image among the results, got 'smal'. Did you mean 'small'"),
    ("image,verdict\nsmall,fine\n", "judged.csv:2: no such verdict, got 'fine'"),
    ("file,verdict\nsmall,good\n", "judged.csv:2: not the columns image, verdict, got file, verdict")])
def test_mistakes_are_one_line(results, start, table, told):
    (results / "judged.csv").write_text(table)
    given = ("--rules", results / "rules.yaml", "--labels", results / "judged.csv")
    code, text = start(*given, "--results", results / "out")
    assert (code, told in text, text.count("\n")) == (2, True, 1), text
    assert start(*given)[0] == 2
    (results / "out/defects/faint.json").write_text('{"defects": []}')
    code, text = start(*given, "--results", results / "out")
    assert (code, "faint.json: no measurements" in text) == (2, True)
    assert "no results of an inspection" in start("--rules", results / "rules.yaml", "--results", results / "in")[1]
