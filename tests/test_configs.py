"""Every shipped config: its head tells how to run it, an editor can check it, it loads, a mistake in it is named."""
import json
import re
from pathlib import Path

import pytest

from core import schema
from core.config import load, to_yaml
from core.config_words import sections
from core.errors import ConfigError
from core.registry import MODELS, resolve

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def model_of(path):
    """The config model of a file, by the schema that its head names."""
    text = path.read_text(encoding="utf-8")
    name = re.search(r"^# yaml-language-server: \$schema=schema/([\w-]+)\.json$", text, re.M)
    assert name, f"{path.name}: has no line '# yaml-language-server: $schema=schema/NAME.json' in its head"
    assert name[1] in schema.targets(), f"{path.name}: no schema is called '{name[1]}'. Choose from {schema.targets()}"
    return resolve(schema.targets()[name[1]])


@pytest.fixture(params=CONFIGS, ids=lambda path: path.name)
def config_file(request):
    return request.param


def test_there_is_a_config_for_every_model_and_command():
    assert {path.stem for path in CONFIGS} >= set(schema.targets()), "a config is missing in configs/"
    assert {Path(model.config).name for model in MODELS} <= {path.name for path in CONFIGS}


def test_a_shipped_config_loads_and_comes_back_from_its_own_dump(config_file, tmp_path):
    model = model_of(config_file)
    config = load(model, config_file)
    copy = tmp_path / "copy.yaml"
    copy.write_text(to_yaml(config), encoding="utf-8")
    assert load(model, copy) == config


def test_its_head_says_how_to_run_it_and_what_it_needs(config_file):
    head = [line for line in config_file.read_text(encoding="utf-8").splitlines()[:12] if line.startswith("#")]
    assert head[0].startswith("# python "), f"{config_file.name}: the first line must be the command that runs it"
    script = ROOT / head[0].split()[2]
    assert script.is_file(), f"{config_file.name}: {script.name} of its first line does not exist"
    assert any(line.startswith("# Needs ") for line in head), f"{config_file.name}: no line '# Needs ...' in its head"


def test_a_mistake_in_it_is_named_with_its_line(config_file, tmp_path):
    text = config_file.read_text(encoding="utf-8")
    key = next(name for name in reversed(model_of(config_file).model_fields) if re.search(rf"^{name}:", text, re.M))
    line = 1 + text[:re.search(rf"^{key}:", text, re.M).start()].count("\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(re.sub(rf"^{key}:", f"{key}x:", text, flags=re.M), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(model_of(config_file), wrong)
    assert f"wrong.yaml:{line}: unknown key '{key}x'. Did you mean '{key}'?" in str(caught.value)


def test_schemas_are_up_to_date():
    problems = schema.stale()
    assert not problems, "\n" + "\n".join(problems)


def test_a_stale_schema_is_named_with_the_command_that_renews_it(tmp_path):
    written = schema.write(tmp_path)
    assert schema.stale(tmp_path) == []
    content = json.loads(written[0].read_text(encoding="utf-8"))
    content["properties"].popitem()
    written[0].write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "gone.json").write_text("{}")
    changed, unknown = schema.stale(tmp_path)
    assert changed.endswith("Run: python scripts/write_schema.py")
    assert unknown == f"{tmp_path / 'gone.json'}: no config has this schema. Delete the file"
    written[0].unlink()
    assert "missing" in schema.stale(tmp_path)[0]


@pytest.mark.parametrize("target", schema.targets().values())
def test_every_config_model_is_strict(target):
    for model in sections(resolve(target)):
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("frozen"), model
