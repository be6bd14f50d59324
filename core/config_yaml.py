"""YAML text to and from plain values, each value with the place it was written at.

Words are read as YAML 1.2 and JSON read them, not as PyYAML does: `1e-4` is a number; `on`, `off`, `yes`, `no`, `010`
and `12:30` are text; only `true` and `false` are booleans.
"""
import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from .errors import ConfigError, did_you_mean

TAG = "tag:yaml.org,2002:"
FLOAT = r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)"
WORDS = (       # tag, what a word of it looks like, its possible first characters
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
)
AFTER_FILE = 10**9      # the line number of what was not written in the file: --set comes after it


@dataclass
class Entry:
    """One value and where it stands. Sections are {key: Entry}, lists are [Entry]."""
    value: object
    where: str          # "configs/a.yaml:3" or "--set optim.lr=1"
    line: int           # orders the problems
    text: str = ""      # a single value as it was written, quotes taken off
    sound: bool = True  # False: already reported as a problem


@dataclass(frozen=True, order=True)
class Problem:
    line: int
    text: str


def read_file(path: Path, problems: list[Problem]) -> Entry:
    """Read a file whose root is a mapping. Adds what is wrong to `problems`; ConfigError where nothing can be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [str(other) for other in path.parent.glob("*.y*ml")]
        raise ConfigError(f"{path}: no such config file. {did_you_mean(str(path), beside)}".rstrip()) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(f"{path}: cannot be read as a config file: {reason}") from error
    node = compose(text, str(path))
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == TAG + "null"):
        raise ConfigError(f"{path}: the file is empty. Write at least one key, or go without it to take the defaults")
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else f"'{node.value}'"
        raise ConfigError(f"{place(path, node)}: a config is 'key: value' lines, got {kind}")
    return _Reader(path, problems).read(node)


def read_option(item: str, where: str | None = None) -> tuple[list[str], Entry]:
    """Read "optim.lr=1e-4" as (["optim", "lr"], the value). `where`: what the user typed for it. Raises ConfigError."""
    where = where or f"--set {item}"
    dotted, equals, text = item.partition("=")
    keys = dotted.strip().split(".")
    text = text.strip()
    if not equals or not all(keys):
        raise ConfigError(f"{where}: cannot be read. Write it as --set section.key=value")
    if text[:1] in tuple("[{\"'"):
        problems = []
        entry = _Reader(where, problems).read(compose(text, where))
        if problems:
            raise ConfigError(problems[0].text)
    else:               # a bare word, whatever signs it holds: a path, a '#', a ': '
        entry = Entry(word(_LOADER.resolve(yaml.ScalarNode, text, (True, False)), text), where, AFTER_FILE, text)
    return keys, _moved(entry, where)


def plain(entry: Entry) -> object:
    """The values alone: dict, list, str, int, float, bool, None."""
    if isinstance(entry.value, dict):
        return {key: plain(value) for key, value in entry.value.items()}
    if isinstance(entry.value, list):
        return [plain(value) for value in entry.value]
    return entry.value


def write(values: dict) -> str:
    """Plain values as YAML text that this module, and any other YAML reader, reads back as the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)


def compose(text: str, where: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark, context, problem = (getattr(error, name, None) for name in ("problem_mark", "context", "problem"))
        line = f":{mark.line + 1}" if mark and not where.startswith("--") else ""
        reason = " ".join(filter(None, (context, problem))) or str(error)
        raise ConfigError(f"{where}{line}: not valid YAML: {' '.join(reason.split())}") from error


def place(source: Path | str, node: yaml.Node) -> str:
    return source if isinstance(source, str) else f"{source}:{node.start_mark.line + 1}"


def word(tag: str, text: str) -> object:
    """A single value by its YAML tag. KeyError for a tag of anything else, ValueError for a text not fit for it."""
    return {
        "null": lambda: None,
        "bool": lambda: text.lower() == "true",
        "int": lambda: int(text, 0),
        "float": lambda: float(text.lower().replace(".inf", "inf")),
        "str": lambda: text,
    }[tag.removeprefix(TAG)]()


def _moved(entry: Entry, where: str) -> Entry:
    """The same values, all of them standing at one place after the file."""
    value = entry.value
    if isinstance(value, dict):
        value = {key: _moved(below, where) for key, below in value.items()}
    elif isinstance(value, list):
        value = [_moved(below, where) for below in value]
    return replace(entry, value=value, where=where, line=AFTER_FILE)


class _Reader:
    """Turns YAML nodes into entries; anchors, aliases and `<<` merges are followed."""

    def __init__(self, source: Path | str, problems: list[Problem]):
        self.source, self.problems, self.above = source, problems, []

    def read(self, node: yaml.Node) -> Entry:
        line = node.start_mark.line
        if node in self.above:
            return self.problem(node, "this section refers to itself")
        if isinstance(node, yaml.ScalarNode):
            try:
                return Entry(word(node.tag, node.value), place(self.source, node), line, node.value)
            except (KeyError, ValueError):
                return self.wrong_tag(node, f"'{node.value}'")
        if node.tag not in (TAG + "map", TAG + "seq"):
            return self.wrong_tag(node, "a section or a list")
        self.above.append(node)
        value = [self.read(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else self.mapping(node)
        self.above.pop()
        return Entry(value, place(self.source, node), line)

    def mapping(self, node: yaml.MappingNode) -> dict[str, Entry]:
        own, merged = {}, {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, "a key must be a single word, got a list or a section")
            elif key.value == "<<" and key.style is None:
                merged = {**self.merge(value), **merged}
            elif key.value in own:
                first = own[key.value].where.rpartition(":")[2]
                self.problem(key, f"key '{key.value}' is given twice, first in line {first}. Take one of them out")
            else:
                entry = self.read(value)
                own[key.value] = replace(entry, where=place(self.source, key), line=key.start_mark.line)
        return {**merged, **own}

    def merge(self, node: yaml.Node) -> dict[str, Entry]:
        """What `<<: *name` or `<<: [*first, *second]` brings in; the first one named wins."""
        if isinstance(node, yaml.SequenceNode):
            sections = [self.merge(item) for item in node.value]
            return {key: entry for section in reversed(sections) for key, entry in section.items()}
        entry = self.read(node)
        if isinstance(entry.value, dict):
            return entry.value
        if entry.sound:
            self.problem(node, f"'<<' must name a section, as in '<<: *name', got '{entry.text}'")
        return {}

    def wrong_tag(self, node: yaml.Node, value: str) -> Entry:
        tag = node.tag.replace(TAG, "!!")
        return self.problem(node, f"the tag {tag} does not fit here, got {value}. Take it out")

    def problem(self, node: yaml.Node, text: str) -> Entry:
        where, line = place(self.source, node), node.start_mark.line
        self.problems.append(Problem(line, f"{where}: {text}"))
        return Entry(None, where, line, sound=False)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Quotes what this module would read as something other than text; PyYAML quotes what other readers would."""
    bare = _LOADER.resolve(yaml.ScalarNode, text, (True, False)) == TAG + "str"
    return dumper.represent_scalar(TAG + "str", text, style=None if bare else "'")


for _tag, _pattern, _first in WORDS:
    _Loader.add_implicit_resolver(TAG + _tag, re.compile(f"^(?:{_pattern})$"), _first)
_Dumper.add_representer(str, _represent_text)
_LOADER = _Loader("")
