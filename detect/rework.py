"""Good, rework, review or reject by rules that a process engineer writes: measured features against limits."""
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from core.errors import did_you_mean

from .foreground import Foreground
from .geometry import OF_DEFECT, OF_PART, Value, defect_features, part_features
from .merging import Piece, touches
from .products import Section
from .ring import Ring, fit_ring, outline_faults

Verdict = Literal["good", "rework", "review", "reject"]
ORDER = ("good", "rework", "review", "reject")          # the later one wins
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
           "!=": operator.ne, "in": lambda value, listed: value in listed,
           "between": lambda value, limits: limits[0] <= value <= limits[1]}
Condition = tuple[str, Literal["<", "<=", ">", ">=", "==", "!=", "in", "between"],
                  bool | float | str | tuple[float | str, ...]]


class Rule(Section):
    """Holds where every condition of `all`, at least one of `any` (if there are some) and none of `none` holds."""
    id: str = Field(min_length=1)
    scope: Literal["defect", "part"] = Field("defect", description="what is measured; count:CLASS is a part's too")
    verdict: Verdict
    reason: str = Field(min_length=1, description="for the operator")
    all: tuple[Condition, ...] = Field((), description="each [feature, comparison, limit]")
    any: tuple[Condition, ...] = ()
    none: tuple[Condition, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (*self.all, *self.any, *self.none)

    @model_validator(mode="after")
    def _sound(self) -> "Rule":
        known = OF_DEFECT if self.scope == "defect" else OF_PART
        for feature, compare, limit in self.conditions:
            if feature not in known and not (self.scope == "part" and feature.startswith("count:")):
                raise ValueError(f"'{self.id}' must name features of a {self.scope}, got {feature!r}. "
                                 f"{did_you_mean(feature, known)}".rstrip())
            expected = _expected(feature, compare, limit)
            if expected:
                raise ValueError(f"'{self.id}' must compare {feature} by {compare} with {expected}, got {limit!r}")
        return self


class RulesConfig(Section):
    """The rules of a product, and how its parts are measured."""
    rules: tuple[Rule, ...] = ()
    mm_per_px: float | None = Field(None, gt=0, description="size of a pixel; null: nothing in mm can be used")
    ring: bool = Field(True, description="measure the outline as a ring: flash and missing material become defects")
    tolerance_px: float = Field(4.0, gt=0, description="of the outline, before it counts as flash or missing material")
    outline_minimum_px: int = Field(30, ge=1, description="smaller pieces of those are passed over")
    sealing_face: tuple[float, float] | None = Field(
        None, description="from..to, 0 at the ring's inner edge and 1 at its outer one; null: unknown")
    unmatched: Verdict = Field("reject", description="a defect that no rule holds for")

    @model_validator(mode="after")
    def _consistent(self) -> "RulesConfig":
        ids = Counter(rule.id for rule in self.rules)
        twice = [name for name, count in ids.items() if count > 1]
        if twice:
            raise ValueError(f"'rules' must have ids of their own, got '{twice[0]}' twice")
        for rule in self.rules:
            for feature, *_ in rule.conditions:
                if feature.endswith(("_mm", "_mm2")) and self.mm_per_px is None:
                    raise ValueError(f"'{rule.id}' must have mm_per_px for {feature}, got null")
                if feature == "on_sealing_face" and self.sealing_face is None:
                    raise ValueError(f"'{rule.id}' must have sealing_face for {feature}, got null")
        return self


@dataclass(frozen=True)
class Judged:
    """A verdict and what led to it. rule: its id, "unmatched", "empty" or "unmeasured"; measured: the values that the
    rule's conditions saw, by feature, each with its comparison and limit."""
    verdict: Verdict
    rule: str
    reason: str
    measured: tuple[tuple[str, Value, str, object], ...] = ()


@dataclass(frozen=True)
class PartVerdict:
    """The part's verdict, that of each defect (the outline's own last), and everything measured."""
    part: Judged
    defects: tuple[Piece, ...]
    judged: tuple[Judged, ...]
    features: tuple[Mapping[str, Value], ...]
    part_features: Mapping[str, Value]
    ring: Ring | None


@dataclass(frozen=True)
class Measured:
    """What an inspection has measured of one image: of its part, and of each defect on it."""
    part_features: "Counted"
    features: tuple[Mapping[str, Value], ...]


def judge_part(defects: Sequence[Piece], pixels: np.ndarray, part: Foreground, config: RulesConfig) -> PartVerdict:
    """Measure and judge one part: the defects found on it, and what its outline shows where none of them is."""
    pixels = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    ring = fit_ring(part.part) if config.ring and part.warning is None else None
    outline = _outline(part.part, ring, config) if ring else []
    pieces = [*defects, *(fault for fault in outline if not any(touches(fault, piece) for piece in defects))]
    features = [defect_features(piece, pixels, ring=ring, mm_per_px=config.mm_per_px,
                                sealing_face=config.sealing_face) for piece in pieces]
    counts = Counter(piece.label for piece in pieces)
    of_part = Counted(part_features(pieces, ring=ring, mm_per_px=config.mm_per_px), counts)
    worst, judged = judge_measured(features, of_part, config)
    return PartVerdict(worst, tuple(pieces), judged, tuple(features), of_part, ring)


def judge_measured(features: Sequence[Mapping[str, Value]], of_part: "Counted", config: RulesConfig,
                   ) -> tuple[Judged, tuple[Judged, ...]]:
    """The verdict of a part, and of each of its defects, from what was measured of them."""
    judged = [judge(values, [rule for rule in config.rules if rule.scope == "defect"],
                    Judged(config.unmatched, "unmatched", "no rule holds for this defect")) for values in features]
    own = judge(of_part, [rule for rule in config.rules if rule.scope == "part"],
                Judged("good", "empty", "nothing found" if not features else "no rule about the whole part holds"))
    return max([*judged, own], key=lambda one: ORDER.index(one.verdict)), tuple(judged)         # the first of the worst


def judge(values: Mapping[str, Value], rules: Sequence[Rule], otherwise: Judged) -> Judged:
    """The worst verdict of the rules that hold, the first rule of those; what cannot be measured is for review."""
    answers = [(rule, holds(rule, values)) for rule in rules]
    found = [_judged(rule, values) for rule, answer in answers if answer]
    for rule, answer in answers:
        if answer is None and ORDER.index(rule.verdict) > ORDER.index("review"):
            missing = next(feature for feature, *_ in rule.conditions if values.get(feature) is None)
            found.append(Judged("review", "unmeasured", f"{rule.id} cannot be decided: {missing} is unknown here"))
    return max(found, key=lambda one: ORDER.index(one.verdict), default=otherwise)


def holds(rule: Rule, values: Mapping[str, Value]) -> bool | None:
    """Whether a rule holds; None where that hangs on a value that could not be measured."""
    every, some, never = ([_answer(one, values) for one in listed] for listed in (rule.all, rule.any, rule.none))
    parts = [*every, *(None if answer is None else not answer for answer in never)]
    if some:
        parts.append(True if True in some else None if None in some else False)
    return False if False in parts else None if None in parts else True


def lint(config: RulesConfig, seen: Sequence["PartVerdict | Measured"] = ()) -> list[str]:
    """Rules that can never hold, or never count, a line each; with `seen` also those that held for none of these."""
    lines = []
    for number, rule in enumerate(config.rules):
        for feature in {feature for feature, *_ in rule.all}:
            low, high = _limits([one for one in rule.all if one[0] == feature])
            if low > high:
                lines.append(f"{rule.id}: can never hold, {feature} would have to be above {low:g} and below {high:g}")
        for earlier in config.rules[:number]:
            if (earlier.scope, earlier.verdict) == (rule.scope, rule.verdict) and not earlier.any and not earlier.none \
                    and set(earlier.all) <= set(rule.all):
                lines.append(f"{rule.id}: never gives the reason, {earlier.id} holds wherever it does")
    if seen:
        for rule in config.rules:
            places = [one.part_features for one in seen] if rule.scope == "part" else [
                values for one in seen for values in one.features]
            if not any(holds(rule, values) for values in places):
                lines.append(f"{rule.id}: held for none of {len(seen)} parts")
    return lines


def _expected(feature: str, compare: str, limit: object) -> str | None:
    """What the limit ought to be where it is something else."""
    several = limit if isinstance(limit, tuple) else (limit,)
    if compare == "between" and not (isinstance(limit, tuple) and len(limit) == 2 and "" not in map(_word, limit)
                                     and limit[0] <= limit[1]):
        return "two numbers, the smaller first"
    if (compare == "in") != isinstance(limit, tuple) and compare != "between":
        return "a list" if compare == "in" else "one value"
    if feature == "label":
        return None if compare in ("==", "!=", "in") and all(isinstance(one, str) for one in several) else (
            "names, by == != or in")
    return "numbers" if any(isinstance(one, str) for one in several) else None


def _word(value: object) -> str:
    return "" if isinstance(value, str) else "number"


class Counted(dict):
    """A part's features, and count:CLASS for any class."""

    def __init__(self, values: Mapping[str, Value], counts: Mapping[str, int] = {}):
        super().__init__(values, **{f"count:{label}": float(count) for label, count in counts.items()})

    def get(self, key: str, default: Value = None) -> Value:
        return super().get(key, 0.0 if key.startswith("count:") else default)


def _answer(condition: Condition, values: Mapping[str, Value]) -> bool | None:
    feature, compare, limit = condition
    value = values.get(feature)
    return None if value is None else bool(COMPARE[compare](value, limit))


def _judged(rule: Rule, values: Mapping[str, Value]) -> Judged:
    return Judged(rule.verdict, rule.id, rule.reason, tuple(
        (feature, values.get(feature), compare, limit) for feature, compare, limit in rule.conditions))


def _outline(part: np.ndarray, ring: Ring, config: RulesConfig) -> list[Piece]:
    found = outline_faults(part, ring, config.tolerance_px, config.outline_minimum_px)
    return [Piece(label, 1.0, crop, x, y) for label, crops in found.items() for crop, x, y in crops]


def _limits(conditions: Sequence[Condition]) -> tuple[float, float]:
    """What numeric conditions on one feature leave over."""
    low, high = -np.inf, np.inf
    for _, compare, limit in conditions:
        if isinstance(limit, (str, bool)) or compare in ("in", "!="):
            continue
        least, most = limit if compare == "between" else (limit, limit)
        low = max(low, least) if compare in (">", ">=", "==", "between") else low
        high = min(high, most) if compare in ("<", "<=", "==", "between") else high
    return low, high
