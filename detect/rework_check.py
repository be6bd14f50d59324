"""Rework rules tried on inspections that are done: which never hold, and how the verdicts fit those of a person."""
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import DataError, did_you_mean

from .rework import ORDER, Counted, Judged, Measured, RulesConfig, judge_measured, lint

COLUMNS = "image", "verdict"


def measured(results: Path) -> dict[str, Measured]:
    """Image -> what scripts/inference.py has measured with rules. DataError: nothing, or it was inspected without."""
    folder, found = results / "defects", {}
    for path in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            name = path.relative_to(folder).with_suffix("").as_posix()
            found[name] = Measured(Counted(document["part"]), tuple(one["features"] for one in document["defects"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no measurements, got {error!r}. Inspect the images with --rules") from error
    if not found:
        raise DataError(f"{results}: no results of an inspection, got no {folder}/NAME.json. Give its --output")
    return found


def labels(path: Path, images: Sequence[str]) -> dict[str, str]:
    """Image -> a person's verdict, from a table with the columns of COLUMNS. DataError: another table, or verdict."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table, got '{error}'. Save it as UTF-8 with commas") from error
    for line, row in enumerate(rows, 2):
        if None in (row.get(name) for name in COLUMNS):
            raise DataError(f"{path}:{line}: not the columns {', '.join(COLUMNS)}, got {', '.join(map(str, row))}. "
                            "Name them in the first line")
        if row["verdict"] not in ORDER:
            raise DataError(f"{path}:{line}: no such verdict, got '{row['verdict']}'. One of {', '.join(ORDER)}")
        if row["image"] not in images:
            raise DataError(f"{path}:{line}: no such image among the results, got '{row['image']}'. "
                            f"{did_you_mean(row['image'], images)}Give its name as summary.csv does")
    return {row["image"]: row["verdict"] for row in rows}


def check(config: RulesConfig, seen: Mapping[str, Measured], truth: Mapping[str, str]) -> list[str]:
    """What lint says of the rules, the verdicts on what was measured, and how they agree with `truth`, a line each."""
    lines = lint(config, list(seen.values())) or ["every rule can hold and counts" + (", and held" if seen else "")]
    judged: dict[str, Judged] = {name: judge_measured(one.features, one.part_features, config)[0]
                                 for name, one in seen.items()}
    if judged:
        counts = Counter(one.verdict for one in judged.values())
        lines.append(f"{len(judged)} images: " + ", ".join(f"{name} {counts[name]}" for name in ORDER))
    if truth:
        pairs = Counter((told, judged[name].verdict) for name, told in truth.items())
        lines.append(f"{'a person / the rules':<22}" + "".join(f"{name:>8}" for name in ORDER))
        lines += [f"{told:<22}" + "".join(f"{pairs[told, name]:>8}" for name in ORDER) for told in ORDER]
        by_rule: dict[str, list[bool]] = defaultdict(list)
        for name, told in truth.items():
            by_rule[judged[name].rule].append(judged[name].verdict == told)
        lines += [f"{rule}: right for {sum(right)} of {len(right)} images that it decided"
                  for rule, right in sorted(by_rule.items())]
    return lines
