"""Configs: every kind of mistake is named, all at once, with its place; what is right is read as it was meant."""
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.config import load, to_yaml
from core.errors import ConfigError

STRICT = ConfigDict(frozen=True, extra="forbid")


class Unet(BaseModel):
    model_config = STRICT
    kind: Literal["unet"] = "unet"
    depth: int = Field(4, ge=1, le=6)
    width: int = 32


class Transformer(BaseModel):
    model_config = STRICT
    kind: Literal["transformer"]
    heads: int


class Data(BaseModel):
    model_config = STRICT
    root: Path
    mask: Literal["block", "half", "file"] = "block"
    batch_size: int = Field(4, ge=1)
    classes: list[str] = []
    weights: dict[str, float] = {}
    shuffle: Literal["on", "off"] = "on"


class Optim(BaseModel):
    model_config = STRICT
    lr: float = Field(1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | Literal["none"] = "none"
    amp: bool = False

    @model_validator(mode="after")
    def rising(self):
        if self.betas[0] > self.betas[1]:
            raise ValueError(f"betas must rise, got {self.betas}")
        return self


class Config(BaseModel):
    model_config = STRICT
    data: Data
    optim: Optim = Optim(lr=3e-4)
    network: Annotated[Unet | Transformer, Field(discriminator="kind")] = Unet(width=64)
    steps: int = Field(100, ge=1)
    seed: int = 0
    note: str = ""
    limit: int | None = None
    crop: int | list[int] = 8


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes config.yml into the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        Path("config.yml").write_text(text, encoding="utf-8")
        return Path("config.yml")
    return write


def problems(path, *overrides, model=Config):
    with pytest.raises(ConfigError) as caught:
        load(model, path, overrides)
    assert caught.value.exit_code == 2
    *lines, count = str(caught.value).splitlines()
    assert count == f"{len(lines)} problem{'s' if len(lines) > 1 else ''}; nothing was run."
    return lines


def test_all_problems_come_at_once_in_the_order_of_the_lines(file):
    path = file("seed: 1\n"
                "data:\n"
                "  batch_sise: 2\n"
                "  mask: rond\n"
                "  batch_size: 0\n"
                "optim:\n"
                "  learning_rate: 1\n"
                "lr: 3\n"
                "seed: 2\n"
                "steps: 2e6\n")
    assert problems(path, "optim.amp=yes", "optm.lr=3", "optim.lr.x=3", "seed") == [
        "config.yml:2: 'data.root' is required: a path",
        "config.yml:3: unknown key 'data.batch_sise'. Did you mean 'data.batch_size'? "
        "Valid here: batch_size, classes, mask, root, shuffle, weights",
        "config.yml:4: 'data.mask' must be one of block, half, file, got 'rond'",
        "config.yml:5: 'data.batch_size' must be a whole number, at least 1, got 0",
        "config.yml:7: unknown key 'optim.learning_rate'. Valid here: amp, betas, clip, lr",
        "config.yml:8: unknown key 'lr'. Did you mean 'optim.lr'? "
        "Valid here: crop, data, limit, network, note, optim, seed, steps",
        "config.yml:9: key 'seed' is given twice, first in line 1. Take one of them out",
        "config.yml:10: 'steps' must be a whole number, at least 1, got 2e6. Write 2000000",
        "--set seed: cannot be read. Write it as --set section.key=value",
        "--set optim.lr.x=3: 'optim.lr' must be a number, above 0, got a section. Write --set optim.lr=VALUE",
        "--set optim.amp=yes: 'optim.amp' must be true or false, got 'yes'",
        "--set optm.lr=3: unknown key 'optm'. Did you mean 'optim'? "
        "Valid here: crop, data, limit, network, note, optim, seed, steps",
    ]


@pytest.mark.parametrize(("line", "message"), [
    ("data: {root: 3}", "'data.root' must be a path, got 3"),
    ("data: x", "'data' must be a section (keys root, mask, batch_size, classes, weights, shuffle), got 'x'"),
    ("data: {root: a, batch_size: true}", "'data.batch_size' must be a whole number, at least 1, got true"),
    ("data: {root: a, batch_size: '3'}",
     "'data.batch_size' must be a whole number, at least 1, got '3'. Take the quotes off"),
    ("data: {root: a, batch_size: 010}",
     "'data.batch_size' must be a whole number, at least 1, got '010'. Take the leading 0 off"),
    ("data: {root: a, batch_size: 1_000}", "'data.batch_size' must be a whole number, at least 1, got '1_000'"),
    ("data: {root: a, batch_size: 1:30}", "'data.batch_size' must be a whole number, at least 1, got '1:30'"),
    ("data: {root: a, batch_size: }", "'data.batch_size' must be a whole number, at least 1, got nothing"),
    ("data: {root: a, mask: halff}",
     "'data.mask' must be one of block, half, file, got 'halff'. Did you mean 'half'?"),
    ("data: {root: a, classes: [pit, 3]}", "'data.classes[1]' must be text, got 3. Put it in quotes: '3'"),
    ("data: {root: a, classes: pit}", "'data.classes' must be a list, each text, got 'pit'"),
    ("data: {root: a, weights: {pit: high}}", "'data.weights.pit' must be a number, got 'high'"),
    ("data: {root: a, weights: {on: .nan}}", "'data.weights.on' must be a number, got '.nan'"),
    ("data: {root: a, amp: false}",
     "unknown key 'data.amp'. Did you mean 'optim.amp'? Valid here: batch_size, classes, mask, root, shuffle, weights"),
    ("optim: {lr: 0}", "'optim.lr' must be a number, above 0, got 0"),
    ("optim: {lr: fast}", "'optim.lr' must be a number, above 0, got 'fast'"),
    ("optim: {betas: [0.9]}", "'optim.betas' must be a list of 2: a number, a number, got [0.9]"),
    ("optim: {betas: [0.9, 0.1]}", "'optim': betas must rise, got (0.9, 0.1)"),
    ("optim: {clip: nono}", "'optim.clip' must be a number or 'none', got 'nono'. Did you mean 'none'?"),
    ("network: {kind: unett}", "'network.kind' must be one of unet, transformer, got 'unett'. Did you mean 'unet'?"),
    ("network: {depth: 9}", "'network.depth' must be a whole number, at least 1, at most 6, got 9"),
    ("network: {kind: transformer}", "'network.heads' is required: a whole number"),
    ("network: {heads: 3}", "unknown key 'network.heads'. Valid here: depth, kind, width"),
    ("note: 12", "'note' must be text, got 12. Put it in quotes: '12'"),
    ("crop: [8, x]", "'crop[1]' must be a whole number, got 'x'"),
    ("crop: x", "'crop' must be a whole number or a list, each a whole number, got 'x'"),
    ("limit: no", "'limit' must be a whole number or null, got 'no'"),
    ("steps: !!int x", "the tag !!int does not fit here, got 'x'. Take it out"),
    ("steps: !python/object:os.system x", "the tag !python/object:os.system does not fit here, got 'x'. Take it out"),
    ("network: !unet {depth: 3}", "the tag !unet does not fit here, got a section or a list. Take it out"),
    ("optim: &o {<<: *o}", "this section refers to itself"),
    ("optim: {<<: 3}", "'<<' must name a section, as in '<<: *name', got '3'"),
    ("? [a, b]\n: 3", "a key must be a single word, got a list or a section"),
])
def test_each_mistake_is_named(file, line, message):
    rest = "" if line.startswith("data") else "data: {root: a}\n"
    assert problems(file(f"{rest}seed: 1\n{line}\n")) == [f"config.yml:{3 if rest else 2}: {message}"]


@pytest.mark.parametrize(("text", "message"), [
    ("", "config.yml: the file is empty"),
    ("# all of it\n# is a comment\n", "config.yml: the file is empty"),
    ("---\n", "config.yml: the file is empty"),
    ("- a\n- b\n", "config.yml:1: a config is 'key: value' lines, got a list"),
    ("steps\n", "config.yml:1: a config is 'key: value' lines, got 'steps'"),
    ("steps: 1\ndata: [a, b\n", "config.yml:3: not valid YAML: while parsing a flow sequence expected"),
    ("steps: 1\n\tdata: 1\n", "config.yml:2: not valid YAML: .*found character '\\\\t'"),
    ("steps: 1\n---\nsteps: 2\n", "config.yml:2: not valid YAML: expected a single document"),
])
def test_a_file_that_is_no_config_is_one_clear_line(file, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(Config, file(text))
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_names_the_nearest_one(file):
    file("steps: 1\n")
    with pytest.raises(ConfigError, match=r"^confg.yml: no such config file. Did you mean 'config.yml'\?$"):
        load(Config, Path("confg.yml"))
    with pytest.raises(ConfigError, match="cannot be read as a config file"):
        load(Config, Path("."))
    Path("latin.yml").write_bytes("note: Prüfung\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="latin.yml: .*not UTF-8"):
        load(Config, Path("latin.yml"))


def test_words_are_read_as_they_are_meant(file):
    config = load(Config, file("\ufeffdata:\n"
                               "  root: Prüf bilder/a b\n"
                               "  classes: [no, yes, 'on', 010, 2024-01-01, 12:30, '1e-4', ~x]\n"
                               "  shuffle: off\n"
                               "  weights: {on: 1, 2: 1e-4}\n"
                               "optim: {lr: 1e-4, clip: none, betas: [0, 1]}\n"
                               "limit: null\n"
                               "seed: 0x10\n"))
    assert config.data.root == Path("Prüf bilder/a b")
    assert config.data.classes == ["no", "yes", "on", "010", "2024-01-01", "12:30", "1e-4", "~x"]
    assert config.data.shuffle == "off"
    assert config.data.weights == {"on": 1.0, "2": 1e-4}
    assert config.optim == Optim(lr=1e-4, betas=(0, 1))
    assert isinstance(config.optim.betas[0], float)
    assert (config.limit, config.seed) == (None, 16)


def test_a_key_that_two_other_sections_have_names_both(file):
    class Two(BaseModel):
        model_config = STRICT
        first: Optim
        second: Optim

    assert problems(file("lr: 1\n"), model=Two) == [
        "config.yml:1: unknown key 'lr'. Did you mean 'first.lr' or 'second.lr'? Valid here: first, second"]


def test_merges_and_aliases(file):
    class Two(BaseModel):
        model_config = STRICT
        first: Optim
        second: Optim
        third: Optim

    config = load(Two, file("first: &first\n  lr: 1\n  betas: [0.1, 0.2]\n"
                            "second: &second\n  <<: *first\n  lr: 2\n"
                            "third:\n  <<: [*second, *first]\n  amp: true\n"))
    assert config.second == Optim(lr=2, betas=(0.1, 0.2))
    assert config.third == Optim(lr=2, betas=(0.1, 0.2), amp=True)


def test_options_go_over_the_file_and_the_last_one_wins(file):
    path = file("data: {root: a}\nsteps: 5\n")
    config = load(Config, path, ["steps=6", "steps=7", "optim.lr = 1e-5", "data.classes=[pit, 'no']", "note=a: b # c",
                                 "data.root=C:\\new [2]", "data.weights={pit: 2}", "network.depth=2", "limit=3"])
    assert config.steps == 7
    assert config.optim.lr == 1e-5
    assert config.data.classes == ["pit", "no"]
    assert config.note == "a: b # c"
    assert str(config.data.root) == "C:\\new [2]"
    assert config.data.weights == {"pit": 2}
    assert config.limit == 3
    assert load(Config, path, ["note='12'"]).note == "12"


def test_a_partly_written_section_keeps_the_rest_of_its_default(file):
    config = load(Config, file("data: {root: a}\noptim:\n  amp: true\n"), ["network.depth=2"])
    assert config.optim == Optim(lr=3e-4, amp=True)
    assert config.network == Unet(depth=2, width=64)
    other = load(Config, None, ["data.root=a", "network.kind=transformer", "network.heads=2"])
    assert other.network == Transformer(kind="transformer", heads=2)


def test_sections_without_keys_take_their_defaults(file):
    class Loop(BaseModel):
        model_config = STRICT
        optim: Optim
    assert load(Loop, None) == Loop(optim=Optim())
    assert load(Loop, file("optim:\n")) == Loop(optim=Optim())


def test_without_a_file(file):
    assert load(Config, None, ["data.root=a"]) == Config(data=Data(root="a"))
    assert problems(None) == ["no config file: 'data.root' is required: a path"]
    assert problems(None, "data.batch_size=2") == ["no config file: 'data.root' is required: a path"]
    assert problems(None, "data.root=[a") == [
        "no config file: 'data.root' is required: a path",
        "--set data.root=[a: not valid YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"]


def test_a_file_may_hold_a_section_for_each_model(file):
    path = file("segment:\n  data: {root: a}\ndetect:\n  data: {root: b}\n  stepss: 3\n")
    assert load(Config, path, section="segment").data.root == Path("a")
    with pytest.raises(ConfigError, match=r"config.yml:5: unknown key 'stepss'. Did you mean 'steps'\?"):
        load(Config, path, section="detect")
    with pytest.raises(ConfigError, match="config.yml:1: 'segment' must be a section, got 3"):
        load(Config, file("segment: 3\n"), section="segment")


def test_what_is_written_is_read_back_equal(file):
    texts = ["no", "on", "1e-4", "010", "0o7", "1_000", "12:30", ".inf", "", "~", "null", "a: b", "# c", "- x",
             "ü\n z ", " blank ", "'q'", '"', "!tag", "*a", "&a", "2024-01-01", "<<", "=", "%", "@x", "x" * 300]
    config = Config(data=Data(root="Prüf bilder", classes=texts, weights=dict.fromkeys(texts, 1e-7)),
                    optim=Optim(lr=1e-5, clip=float("inf")), network=Transformer(kind="transformer", heads=3))
    text = to_yaml(config)
    assert load(Config, file(text)) == config
    assert yaml.safe_load(text) == config.model_dump(mode="json"), "other YAML readers read it otherwise"
    assert to_yaml(load(Config, file(text))) == text


def test_a_model_that_lets_mistakes_pass_is_refused():
    class Loose(BaseModel):
        width: int = 3

    class Outer(BaseModel):
        model_config = STRICT
        parts: list[Loose] = []

    with pytest.raises(TypeError, match="Loose needs model_config"):
        load(Outer, None)


def test_an_error_of_the_users_reaches_him_as_lines_and_exit_code_2(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nfrom core.command import run_command\nfrom core.errors import ConfigError\n"
                      "def main():\n    kind = sys.argv[1]\n"
                      "    if kind == 'user': raise ConfigError('a.yml:3: no')\n"
                      "    if kind == 'ctrl-c': raise KeyboardInterrupt\n"
                      "    if kind == 'full': raise OSError(28, 'No space left on device', 'out.png')\n"
                      "    if kind == 'absent': open('nothing-here')\n"
                      "    if kind == 'bug': raise RuntimeError('oh')\n"
                      "    if kind == 'pipe': print('x\\n' * 10**6)\n"
                      "    return 143 if kind == 'signal' else None\n"
                      "run_command(main)\n")

    def run(kind):
        return subprocess.run([sys.executable, script, kind], capture_output=True, text=True, timeout=60, check=False,
                              env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])})

    assert (run("well").returncode, run("signal").returncode) == (0, 143)
    user = run("user")
    assert (user.returncode, user.stderr) == (2, "a.yml:3: no\n")
    assert (run("ctrl-c").returncode, run("ctrl-c").stderr) == (130, "stopped by Ctrl-C\n")
    full = run("full")
    assert full.returncode == 2
    assert full.stderr.startswith("out.png: No space left on device. ")
    for fault in ("bug", "absent"):
        assert run(fault).returncode == 1
        assert "Traceback" in run(fault).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports a closed pipe otherwise")
@pytest.mark.parametrize("lines", [1, 10**6])
def test_a_reader_that_goes_away_is_quiet(tmp_path, lines):
    script = tmp_path / "script.py"
    script.write_text("from core.command import run_command\n"
                      f"run_command(lambda: input() or print('x\\n' * {lines}))\n")
    child = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True,
                             env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])})
    child.stdout.close()
    child.stdin.write("\n")
    child.stdin.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(timeout=60) == 141
