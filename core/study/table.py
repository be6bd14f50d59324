"""The table of a study: every figure of every row with its mean, its interval over seeds, and its gains."""
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..data.images import write_bytes
from ..data.splits import group_of
from . import statistics
from .arms import Arm, Row, rows_of
from .sets import tested
from .settings import NONE, StudyConfig
from .tasks import TASKS, further, measured

TABLE = "study.json"


def make_table(config: StudyConfig, facts: dict, results: Mapping[Arm, dict]) -> dict:
    """study.json as plain values, written into the study's folder; equal arms give an equal table.

    rows    name, seeds, learned_from, values {figure: mean, low, high, seeds}, over_none and over_copypaste
            {figure: gain, seeds_low, seeds_high, images_low, images_high}, the same seeds on both sides
    """
    records, classes = tested(config)
    outcomes = {arm.name: measured(config.task, result["images"], records, classes) for arm, result in results.items()}
    units = statistics.units_of([group_of(record) for record in records])
    bootstrap = statistics.Bootstrap(statistics.resamplings(units), lambda arm, row: outcomes[arm].values(row))
    ones = np.ones(len(records), int)
    points = {arm: {**outcomes[arm.name].values(ones), **further(config.task, result["images"], records, classes)}
              for arm, result in results.items()}
    rows = [row_of(row, points, bootstrap, results) for row in rows_of(config) if any(arm.row == row for arm in points)]
    table = {"task": config.task, "classes": list(classes), "test": facts["test"], "shots": facts["shots"],
             "drawn": "groups" if len(set(units)) < len(units) else "images", "main": list(TASKS[config.task].main),
             "rows": rows}
    minutes = {arm.name: result["minutes"] for arm, result in results.items()}
    document = {"settings": json.loads(config.model_dump_json()), "table": table, "minutes": minutes}
    write_bytes(config.output / TABLE, (json.dumps(without_nan(document), indent=1) + "\n").encode())
    return table


def row_of(row: Row, points: Mapping[Arm, dict], bootstrap: statistics.Bootstrap, results: Mapping[Arm, dict]) -> dict:
    arms = sorted(arm for arm in points if arm.row == row)
    figures = list(points[arms[0]])
    made = {"name": row.name, "method": row.method, "scale": row.scale, "variant": row.variant,
            "seeds": [arm.seed for arm in arms],
            "learned_from": {str(arm.seed): results[arm]["learned_from"] for arm in arms},
            "values": {name: spread([points[arm].get(name, math.nan) for arm in arms]) for name in figures}}
    for title, other in (("over_none", Row(NONE, 0.0)), ("over_copypaste", Row("copypaste", row.scale))):
        pairs = [(arm, Arm(other, arm.seed)) for arm in arms if Arm(other, arm.seed) in points]
        if other != row and pairs and row.method != NONE:
            made[title] = {name: gain(name, pairs, points, bootstrap) for name in figures}
    return made


def spread(values: Sequence[float]) -> dict:
    low, high = statistics.seeds_interval(values)
    return {"mean": float(np.mean(values)), "low": low, "high": high, "seeds": list(values)}


def gain(name: str, pairs: Sequence[tuple[Arm, Arm]], points: Mapping[Arm, dict],
         bootstrap: statistics.Bootstrap) -> dict:
    differences = [points[arm].get(name, math.nan) - points[other].get(name, math.nan) for arm, other in pairs]
    low, high = statistics.seeds_interval(differences)
    found = {"gain": float(np.mean(differences)), "seeds_low": low, "seeds_high": high, "pairs": len(pairs)}
    if name in bootstrap.of(pairs[0][0].name):
        first, last = bootstrap.gain([arm.name for arm, _ in pairs], [other.name for _, other in pairs], name)
        found |= {"images_low": first, "images_high": last}
    return found


def shown(table: dict) -> str:
    """The short table as text, in hundredths."""
    main = [name for name in table["main"] if name in table["rows"][0]["values"]]
    lines = [["", *main, f"{main[0]} over none", "over copypaste", "seeds"]]
    for row in table["rows"]:
        lines.append([row["name"], *(with_interval(row["values"][name], name) for name in main),
                      *(told_gain(row.get(title, {}).get(main[0])) for title in ("over_none", "over_copypaste")),
                      str(len(row["seeds"]))])
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                               for at, (cell, width) in enumerate(zip(line, widths))) for line in lines)


def with_interval(value: dict, name: str) -> str:
    """Such as "41.2 ±3.0": the mean and half of the interval over seeds."""
    factor = factor_of(name)
    if value["mean"] is None or math.isnan(value["mean"]):
        return "-"
    half = (value["high"] - value["low"]) / 2
    return f"{factor * value['mean']:.1f}" + ("" if math.isnan(half) else f" ±{factor * half:.1f}")


def told_gain(found: dict | None) -> str:
    """Such as "+3.1 [0.4, 5.8]": the gain and its interval over test images."""
    if found is None or math.isnan(found["gain"]):
        return "-"
    text = f"{100 * found['gain']:+.1f}"
    if "images_low" in found and not math.isnan(found["images_low"]):
        text += f" [{100 * found['images_low']:.1f}, {100 * found['images_high']:.1f}]"
    return text


def factor_of(name: str) -> int:
    """Shares are told in hundredths, counts as they are."""
    return 1 if "an image" in name else 100


def without_nan(value: object) -> object:
    """JSON has no NaN: None stands for it."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
