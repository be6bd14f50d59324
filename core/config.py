"""From a YAML file and --set options to a checked config, with every problem named at once by file and line.

    config = load(TrainConfig, Path("configs/segment.yaml"), ["optim.lr=1e-4", "loop.steps=20000"])

A config is a pydantic model, frozen and with extra="forbid"; its fields are single values, lists, or sections that are
such models. A section whose keys all have defaults may be left out. Checks of one's own raise ValueError in a pydantic
validator.
"""
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from .config_words import allowed, below, choices, dotted_keys, is_model, models, sections
from .config_yaml import AFTER_FILE, Entry, Problem, plain, read_file, read_option, write
from .errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)


def load(model: type[Config], path: Path | None, overrides: Sequence[str | tuple[str, str]] = (),
         section: str | None = None, values: Mapping | None = None) -> Config:
    """Read `path` (None: every default), put the overrides "a.b=value" over it, and check it against `model`.

    overrides   each "a.b=value", or ("a.b=value", what the user typed) where an option of its own stands for the key
    section     where the file has this key, what stands below it is read in place of the whole file
    values      what the file means, nested and plain, where it is of another form and was read already
    Raises ConfigError with one line a problem.
    """
    for part in sections(model):
        if part.model_config.get("extra") != "forbid" or not part.model_config.get("frozen"):
            raise TypeError(f"{part.__qualname__} needs model_config = ConfigDict(frozen=True, extra='forbid')")
    problems: list[Problem] = []
    root = Entry({}, "no config file" if path is None else str(path), 0)
    if values is not None:
        root = as_entry(dict(values), root)
    elif path is not None:
        root = read_file(Path(path), problems)
    root = root.value.get(section, root)
    if not isinstance(root.value, dict):
        raise ConfigError(f"{root.where}: '{section}' must be a section, got {shown(root)}")
    for item in overrides:
        try:
            put(root, *(read_option(item) if isinstance(item, str) else read_option(*item)))
        except ConfigError as error:
            problems.append(Problem(AFTER_FILE, str(error)))
    open_sections(model, root)
    config, found = check(model, root)
    problems = sorted([*problems, *found], key=lambda problem: problem.line)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError("\n".join([*(problem.text for problem in problems), f"{count}; nothing was run."]))
    return config


def to_yaml(config: BaseModel) -> str:
    """Every key of a config with its value, as YAML that `load` reads back as an equal config."""
    return write(config.model_dump(mode="json"))


def put(root: Entry, keys: Sequence[str], entry: Entry) -> None:
    """Set one value; sections on the way to it are made where they are missing, and take the place of single values."""
    section = root
    for key in keys[:-1]:
        if key not in section.value or not isinstance(section.value[key].value, dict):
            section.value[key] = Entry({}, entry.where, entry.line)
        section = section.value[key]
    section.value[keys[-1]] = entry


def open_sections(model: type[BaseModel], section: Entry) -> None:
    """Complete the sections that are only partly written.

    A required one that is missing or has nothing in it becomes an empty one, so that its own keys are reported. One
    with a default takes the keys that it does not name from that default: `--set network.depth=5` keeps the rest of it.
    """
    for name, field in model.model_fields.items():
        entry = section.value.get(name)
        if is_model(field.annotation) and (entry.value is None and entry.sound if entry else field.is_required()):
            place = entry or section
            entry = section.value[name] = Entry({}, place.where, place.line)
        if entry is None or not isinstance(entry.value, dict):
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel) and type(default) in models(field.annotation, plain(entry))[:1]:
            entry.value.update({key: as_entry(value, entry) for key, value in default.model_dump(mode="json").items()
                                if key not in entry.value})
        for inner in models(field.annotation, plain(entry))[:1]:
            open_sections(inner, entry)


def as_entry(value: object, place: Entry) -> Entry:
    """A default, as if it had been written at `place`."""
    if isinstance(value, dict):
        value = {key: as_entry(inner, place) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [as_entry(inner, place) for inner in value]
    return Entry(value, place.where, place.line, str(value))


def check(model: type[Config], root: Entry) -> tuple[Config | None, list[Problem]]:
    """Validate as strict JSON: 1 is a number and no text, true is no number, a list becomes a tuple, text a path."""
    try:
        return model.model_validate_json(json.dumps(plain(root)), strict=True), []
    except ValidationError as invalid:
        errors = [(error, find(model, root, error["loc"])) for error in invalid.errors(include_url=False)]
    except ConfigError as error:
        raise ConfigError(f"{root.where}: {error}") from error
    deeper = {spot.keys[:length] for _, spot in errors for length in range(len(spot.keys))}
    told = [describe(model, root, error, spot) for error, spot in errors
            if spot.entry.sound and not (spot.keys in deeper and is_union(error, spot))]
    return None, list(dict.fromkeys(told))


class Spot(NamedTuple):
    """What an error is about."""
    keys: tuple[str | int, ...]
    entry: Entry
    annotation: object          # what the model says of the entry
    bounds: list[object]
    section: list[type[BaseModel]]      # the models that the section around it may follow
    rest: tuple[str | int, ...]     # what pydantic says beyond: the name of a missing key, of a union's choice


def find(model: type[BaseModel], root: Entry, location: Sequence[str | int]) -> Spot:
    spot = Spot((), root, model, [], [], ())
    for key in location:
        value = spot.entry.value
        inside = key in value if isinstance(value, dict) else isinstance(value, list) and key in range(len(value))
        if inside:
            annotation, bounds = below(spot.annotation, key, plain(spot.entry)) or (None, [])
            section = models(spot.annotation, plain(spot.entry))
            spot = Spot((*spot.keys, key), value[key], annotation, bounds, section, ())
        else:
            spot = spot._replace(rest=(*spot.rest, key))
    return spot


def is_union(error: Mapping, spot: Spot) -> bool:
    """Whether an error is only that of one choice of a union."""
    return len(choices(spot.annotation)) > 1 and error["type"] not in ("extra_forbidden", "missing", "value_error")


def describe(model: type[BaseModel], root: Entry, error: Mapping, spot: Spot) -> Problem:
    """One pydantic error in plain words, at the place of the entry that it is about."""
    kind, entry, name = error["type"], spot.entry, dotted(spot.keys)
    switch = error.get("ctx", {}).get("discriminator", "").strip("'")       # the key that tells sections apart
    if kind == "extra_forbidden":
        text = f"unknown key '{name}'. {nearest_key(model, root, spot)}"
    elif kind == "union_tag_invalid":
        options = error["ctx"]["expected_tags"].replace("'", "").split(", ")
        entry = entry.value[switch]
        wrong = f"'{name}.{switch}' must be one of {', '.join(options)}, got {shown(entry)}"
        text = sentences(wrong, nearest(str(entry.value), options))
    elif kind == "union_tag_not_found" or (kind == "missing" and isinstance(spot.rest[-1], str)):
        key = switch or spot.rest[-1]
        fields = [part.model_fields[key] for part in models(spot.annotation, plain(entry)) if key in part.model_fields]
        what = " or ".join(allowed(field.annotation, field.metadata) for field in fields)
        entry = root if entry.line == AFTER_FILE else entry         # a section made by --set stands nowhere
        text = f"'{dotted((*spot.keys, key))}' is required: {what}"
    elif kind in ("value_error", "assertion_error"):
        text = f"'{name}': {error['ctx']['error']}" if name else str(error["ctx"]["error"])
    else:
        text = sentences(f"'{name}' must be {allowed(spot.annotation, spot.bounds)}, got {shown(entry)}", way_out(spot))
    return Problem(entry.line, f"{entry.where}: {text}")


def nearest_key(model: type[BaseModel], root: Entry, spot: Spot) -> str:
    """The key probably meant (in this section, the same word in another, anything like it), and what is valid here."""
    section, key = dotted(spot.keys[:-1]), str(spot.keys[-1])
    valid = sorted({name for part in spot.section for name in part.model_fields})
    everywhere = [name for name in dotted_keys(model) if name != dotted(spot.keys)]
    same_word = [f"'{name}'" for name in everywhere if name.rpartition(".")[2] == key]
    hint = (nearest(key, valid, f"{section}.".lstrip("."))
            or (same_word and f"Did you mean {' or '.join(same_word)}?")
            or nearest(key, {name.rpartition(".")[2]: name for name in everywhere}, cutoff=0.8))
    return sentences(hint, f"Valid here: {', '.join(valid)}")


def nearest(given: str, names: Sequence[str] | Mapping[str, str], prefix: str = "", cutoff: float = 0.6) -> str:
    """A question that names the one most like the given name, or "". A mapping gives what to show for each name."""
    shown_as = names if isinstance(names, Mapping) else dict(zip(names, names))
    lower = {name.lower(): prefix + full for name, full in shown_as.items()}
    near = difflib.get_close_matches(given.lower(), lower, n=1, cutoff=cutoff)
    return f"Did you mean '{lower[near[0]]}'?" if near else ""


def sentences(*parts: str) -> str:
    """Join what is wrong and what to do; empty parts are left out."""
    joined = ""
    for part in filter(None, parts):
        joined += part if not joined else f" {part}" if joined[-1] in ".?" else f". {part}"
    return joined


def way_out(spot: Spot) -> str:
    """The likely repair of a value of the wrong kind, or ""."""
    value, text = spot.entry.value, spot.entry.text
    kinds = choices(spot.annotation)
    if isinstance(value, dict) and spot.entry.line == AFTER_FILE:
        return f"Write --set {dotted(spot.keys)}=VALUE"
    if int in kinds and isinstance(value, float) and value.is_integer():
        return f"Write {int(value)}"
    if str in kinds and isinstance(value, (bool, int, float)):
        return f"Put it in quotes: '{text}'"
    if isinstance(value, str):
        if {int, float} & set(kinds) and value.replace(".", "", 1).isdigit():
            return "Take the quotes off" if not value.startswith("0") else "Take the leading 0 off"
        options = [option for kind in kinds for option in getattr(kind, "__args__", ()) if isinstance(option, str)]
        return nearest(value, options)
    return ""


def shown(entry: Entry) -> str:
    """A value as the user knows it."""
    if isinstance(entry.value, dict):
        return "a section"
    if entry.value is None:
        return "nothing"
    text = json.dumps(plain(entry)) if isinstance(entry.value, list) else entry.text
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return f"'{short}'" if isinstance(entry.value, str) else short


def dotted(keys: Sequence[str | int]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
