"""Recipes of published figures: complete, their commands exist, the values that can be had at once come out right."""
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from core import registry
from core.data.images import write_image
from core.errors import ConfigError, DataError
from core.study import overlap
from core.study.recipes import RECIPES, find
from scripts import reproduce

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_names_commands_and_options_that_exist(recipe):
    assert recipe.published
    assert recipe.differs
    assert recipe.ours
    for step in recipe.steps:
        if step.startswith(":"):
            assert callable(getattr(overlap, step[1:]))
            continue
        words = shlex.split(step.format(data="DIR", output="OUT", device="cpu"))
        assert words[0] == "python"
        text = (ROOT / words[1]).read_text(encoding="utf-8") + (ROOT / "core/experiment.py").read_text(encoding="utf-8")
        for word in words[2:]:
            assert not word.startswith("--") or f'"{word}"' in text, f"{words[1]} has no option {word}"
        if "--config" in words:
            assert (ROOT / words[words.index("--config") + 1]).is_file()
        if "--model" in words:
            assert registry.find(words[words.index("--model") + 1])


def test_the_five_systems_are_there_and_a_mistyped_table_is_named():
    assert {recipe.system for recipe in RECIPES} == {
        "MIDG", "CRG", "FlexUNet", "synthetic-surface UNet", "o-ring Mask R-CNN"}
    with pytest.raises(ConfigError, match="Did you mean 'flexunet'"):
        find("flexune")


def test_the_published_pictures_have_the_published_figures(shared_data, tmp_path, monkeypatch):
    recipe = find("midg-images")
    words = shlex.split(recipe.steps[0].format(data=shared_data / "midg_fpc", output=tmp_path, device="cpu"))
    monkeypatch.setattr(sys, "argv", words[1:])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    assert ended.value.code == 0
    ours = [reproduce.value_of(tmp_path / file, keys) for _, file, keys in recipe.ours]
    assert ours == ["30.07", "0.9909", "0.006331"]          # means of the published 29.72 and 30.41, and so on


def test_a_figure_is_found_by_the_name_of_its_row_and_with_a_slash_of_its_own(tmp_path):
    path = tmp_path / "study.json"
    path.write_text('{"table": {"rows": [{"name": "none"}, {"name": "midg-1x", "gain": 0.5}]}, "bbox/AP": 0.25}')
    assert reproduce.value_of(path, "table/rows/midg-1x/gain") == "0.5"
    assert reproduce.value_of(path, "bbox/AP") == "0.25"
    assert reproduce.value_of(path, "table/rows/crg-1x/gain") == "unknown"
    with pytest.raises(ConfigError, match="no result there"):
        reproduce.value_of(tmp_path / "gone.json", "bbox/AP")


def test_the_list_and_what_is_known_before_anything_is_run():
    assert [line.split()[0] for line in reproduce.listing().splitlines()] == [recipe.name for recipe in RECIPES]
    told = reproduce.told(find("crg-map"))
    assert "with generated data, 1x: 0.557" in told
    assert "PKU-Market-PCB" in told


def test_overlap_of_published_predictions_by_hand(tmp_path):
    truth, found = np.zeros((2, 20, 20, 3), np.uint8)
    truth[:10] = 255, 0, 0
    found[:5] = 255, 0, 0
    found[15:, 10:] = 0, 0, 255
    for folder, pixels in (("images", np.full_like(truth, 90)), ("masks", truth),
                           (overlap.PREDICTIONS, found)):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "7.png", pixels)
    overlap.published_predictions(tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "overlap.json").read_text()
    assert f'"main_class_iou": {100 / 200}' in text
    assert f'"pixel_accuracy": {(100 + 150) / 400}' in text
    found[0, 0] = 9, 9, 9
    write_image(tmp_path / overlap.PREDICTIONS / "7.png", found)
    with pytest.raises(DataError, match="a colour that is no class's, got 090909"):
        overlap.published_predictions(tmp_path, tmp_path / "out")
