"""The table of models: every row resolves, every way to name one works, a wrong name is told the right one."""
from pathlib import Path

import pytest
from pydantic import BaseModel

from core import registry
from core.errors import ConfigError
from core.registry import MODELS, Model, find, listing, resolve, table

ROOT = Path(__file__).resolve().parents[2]
SOME = table(Model(3, "midg-defect", "defect texture", "a:B", "configs/b.yaml"),
             Model(1, "midg-edge", "defect edges", "a:A", "configs/a.yaml"))


def test_every_row_of_the_table_resolves():
    for model in MODELS:
        assert issubclass(resolve(model.target).Config, BaseModel), model.name
        assert "loop" in resolve(model.target).Config.model_fields, model.name
        assert (ROOT / model.config).is_file(), f"{model.name}: {model.config} is missing"


def test_a_number_and_a_name_are_the_same():
    assert find("3", SOME) is find("midg-defect", SOME)
    assert [model.number for model in SOME] == [1, 3]
    assert listing(SOME) == "  1  midg-edge    defect edges\n  3  midg-defect  defect texture"


@pytest.mark.parametrize(("chosen", "message"), [
    ("midg-egde", "--model midg-egde: no such model. Did you mean 'midg-edge'? Choose one of these.\n  1  midg-edge"),
    ("2", "--model 2: no such model. Choose one of these.\n  1  midg-edge"),
    ("a.b:", "--model a.b:: cannot be read. Write it as package.module:Class"),
    ("a b:C", "--model a b:C: cannot be read. Write it as package.module:Class"),
])
def test_an_unknown_name_is_told_the_nearest_one_and_the_table(chosen, message):
    with pytest.raises(ConfigError) as caught:
        find(chosen, SOME)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_an_empty_table_says_how_to_train_a_model_of_ones_own():
    assert "No model is part of this release yet" in listing(())
    assert "--model package.module:Class" in listing(())


@pytest.mark.parametrize("double", [
    Model(3, "other", "", "a:C", "configs/c.yaml"),
    Model(4, "midg-defect", "", "a:C", "configs/c.yaml"),
    Model(4, "other", "", "a:C", "configs/b.yaml"),
])
def test_a_number_name_or_config_of_two_rows_is_refused(double):
    with pytest.raises(ValueError, match="models 'midg-defect' and '.*' share the (number 3|name midg|config .*b)"):
        table(*SOME, double)


def test_a_model_of_ones_own_lies_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "mynet_for_test.py").write_text("class Net:\n    class Config:\n        pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(registry.sys.path))
    model = find("mynet_for_test:Net", ())
    assert (model.number, model.name, model.config) == (None, "mynet_for_test.Net", None)
    assert resolve(model.target).__name__ == "Net"
    assert resolve("mynet_for_test:Net.Config").__name__ == "Config"
    with pytest.raises(ConfigError, match=r"mynet_for_test has no class 'Nett'. Did you mean 'Net'\?"):
        resolve("mynet_for_test:Nett")


@pytest.mark.parametrize("target", ["nothing_like_it:Net", "core.nothing_like_it:Net", "nothing_like_it.inner:Net"])
def test_a_module_that_is_not_there_is_named(target):
    with pytest.raises(ConfigError, match=f"{target}: no module '.*nothing_like_it'"):
        resolve(target)


def test_an_error_inside_ones_own_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_for_test.py").write_text("import a_library_that_is_absent\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(registry.sys.path))
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_absent"):
        resolve("broken_for_test:Net")
