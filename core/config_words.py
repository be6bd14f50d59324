"""What a config model allows, in plain words: the keys of a section, the values of a key."""
import enum
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
BOUNDS = (("ge", "at least {}"), ("gt", "above {}"), ("le", "at most {}"), ("lt", "below {}"),
          ("multiple_of", "a multiple of {}"), ("min_length", "{} or more long"), ("max_length", "at most {} long"),
          ("pattern", "of the form {}"))


def allowed(annotation: object, metadata: Iterable[object] = ()) -> str:
    """Say which values are allowed: "a whole number, at least 1", "one of block, half, file", "a list of numbers"."""
    annotation, metadata = unwrapped(annotation, metadata)
    return ", ".join([_kind(annotation), *bounds(metadata)])


def bounds(metadata: Iterable[object]) -> list[str]:
    return [text.format(f"{value:g}" if isinstance(value, float) else value)
            for name, text in BOUNDS for one in metadata if (value := getattr(one, name, None)) is not None]


def unwrapped(annotation: object, metadata: Iterable[object] = ()) -> tuple[object, list[object]]:
    """Take Annotated[...] and Field(...) apart: the type, and everything that bounds it."""
    metadata = list(metadata)
    while typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        metadata += more
    flat = []
    for one in metadata:
        flat += one.metadata if isinstance(one, FieldInfo) else [one]
    return annotation, flat


def members(annotation: object) -> list[object]:
    """The choices of a union, each possibly Annotated; any other type is its own only choice."""
    bare, _ = unwrapped(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        return [member for choice in typing.get_args(bare) for member in members(choice)]
    return [annotation]


def models(annotation: object, value: object = None) -> list[type[BaseModel]]:
    """The config models among a type's choices; where a key such as `kind` tells them apart, those that fit `value`."""
    found = [bare for bare in (unwrapped(member)[0] for member in members(annotation)) if is_model(bare)]
    given = value if isinstance(value, Mapping) else {}
    fitting = [model for model in found if all(
        given[key] in typing.get_args(field.annotation) for key, field in model.model_fields.items()
        if typing.get_origin(field.annotation) is typing.Literal and key in given)]
    return fitting or found


def choices(annotation: object) -> list[object]:
    """The types of a union without their bounds; any other type is its own only choice."""
    return [unwrapped(member)[0] for member in members(annotation)]


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A config model and every config model below it."""
    inner = [found for field in model.model_fields.values() for found in models_within(field.annotation)]
    return list(dict.fromkeys([model, *(part for found in inner for part in sections(found))]))


def models_within(annotation: object) -> list[type[BaseModel]]:
    """The config models that a type is made of: itself, a union's choices, a list's items."""
    if is_model(annotation):
        return [annotation]
    inner = typing.get_args(unwrapped(annotation)[0])
    return [model for part in inner for model in models_within(unwrapped(part)[0])]


def is_model(annotation: object) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def below(annotation: object, key: str | int, value: object) -> tuple[object, list[object]] | None:
    """The type and bounds of what stands under `key` in a value of type `annotation`; None where it has no such key."""
    for model in models(annotation, value):
        if key in model.model_fields:
            field = model.model_fields[key]
            return field.annotation, field.metadata
    for member in members(annotation):
        bare, _ = unwrapped(member)
        origin, inner = typing.get_origin(bare), typing.get_args(bare)
        if not inner:
            continue
        if isinstance(key, str) and origin in (dict, Mapping):
            return unwrapped(inner[1])
        if isinstance(key, int) and origin in (list, tuple, set, frozenset, Sequence):
            item = inner[min(key, len(inner) - 1)]
            return unwrapped(inner[0] if item is Ellipsis else item)
    return None


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a config, sections' keys as "section.key"."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for section in models(field.annotation):
            keys += dotted_keys(section, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _kind(annotation: object) -> str:
    choices = members(annotation)
    if len(choices) > 1:
        return " or ".join(allowed(choice) for choice in choices)
    if is_model(annotation):
        return f"a section (keys {', '.join(annotation.model_fields)})"
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return _one_of(inner)
    if origin in (dict, Mapping):
        return f"a section of any keys, each {allowed(inner[1])}"
    if origin is tuple and Ellipsis not in inner:
        return f"a list of {len(inner)}: {', '.join(allowed(item) for item in inner)}"
    if origin in (list, tuple, set, frozenset, Sequence):
        return f"a list, each {allowed(inner[0])}"
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return _one_of([member.value for member in annotation])
    if inspect.isclass(annotation) and issubclass(annotation, PurePath):
        return "a path"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _one_of(choices: Sequence[object]) -> str:
    shown = [str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in choices]
    return f"one of {', '.join(shown)}" if len(shown) > 1 else f"'{shown[0]}'"
