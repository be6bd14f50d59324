"""What the evaluations so far say: which was the best, how often the rate is to drop, whether training is to end.

All of it follows from the record of a run (metrics.jsonl), so a run that goes on after a kill knows the same.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class WatchConfig(BaseModel):
    """A section for models that stop early, drop their rate on a plateau, or keep their best weights (best.pt)."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str = Field(description="a figure of the evaluation, by its name there")
    better: Literal["higher", "lower"] = "higher"
    stop_after: int | None = Field(None, ge=1, description="evaluations without a better one before training ends")
    reduce_after: int | None = Field(None, ge=1, description="evaluations without a better one before the rate drops")
    reduce_factor: float = Field(0.5, gt=0, lt=1, description="what the rate is multiplied by then, and again later")


@dataclass(frozen=True)
class Standing:
    """best_step: of the best evaluation, None before the first; drops: of the rate; ended: no better one for long."""
    best_step: int | None = None
    drops: int = 0
    ended: bool = False


def standing(evaluations: Sequence[tuple[int, float | None]], config: WatchConfig) -> Standing:
    """What (step, value) of all evaluations, oldest first, come to. A value that is not finite (None) is no better one.

    After a drop as many evaluations pass before the next one.
    """
    best_step, best, stale, since_drop, drops = None, None, 0, 0, 0
    for step, value in evaluations:
        signed = None if value is None else value if config.better == "higher" else -value
        if signed is not None and (best is None or signed > best):
            best_step, best, stale, since_drop = step, signed, 0, 0
            continue
        stale, since_drop = stale + 1, since_drop + 1
        if config.reduce_after is not None and since_drop >= config.reduce_after:
            drops, since_drop = drops + 1, 0
    ended = config.stop_after is not None and stale >= config.stop_after
    return Standing(best_step, drops, ended)
