"""Splits of a data set by group, so that no object, file or near copy of a picture is on both sides."""
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import ConfigError, DataError
from ..files import writing
from .hashing import Fingerprint, fingerprints, near_duplicates
from .images import write_bytes
from .records import Dataset, Record

NAMES = ("train", "val", "test")
VERSION = 1
_SMALL_PX, _LARGE_PX = 32 ** 2, 96 ** 2         # COCO's bounds between small, medium and large instances


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Which group belongs where.

    groups  group -> "train", "val" or "test"
    folds   group -> the fold that validates on it, 0..K-1, for every group outside test; empty without folds
    hashes  SHA-256 of an image file -> its group, so that a renamed image keeps its place
    """
    seed: int
    ratios: tuple[float, float, float]
    groups: Mapping[str, str]
    folds: Mapping[str, int] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def fold_count(self) -> int:
        return max(self.folds.values(), default=-1) + 1


def split(dataset: Dataset, *, ratios: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0,
          folds: int | None = None, previous: Splits | None = None, merge_near: bool = True,
          prints: Mapping[Path, Fingerprint] | None = None) -> Splits:
    """Assign every group of the data set to train, val or test.

    Groups that share a picture (as image or clean twin: byte for byte or, with `merge_near`, nearly) stay together.
    A split that the data set itself gives wins; then `previous`, so that old groups stay when images are added; the
    rest is stratified by class, rarest first, until every share is near its ratio. With defects in at least as many
    separate groups as there are shares, each share holds some.
    `folds` also numbers K rotations of train and val. `prints` are fingerprints of all files where they are at hand.
    ConfigError: ratios, or a `previous` made with others. DataError: too few groups, or kept ones that must not part.
    """
    _check(ratios, seed, folds, previous)
    prints = fingerprints(paths(dataset)) if prints is None else prints
    units = _units(dataset, joined_groups(dataset, prints, merge_near=merge_near))
    files = sorted(((prints[record.image].sha256, group_of(record)) for record in dataset.records), reverse=True)
    old = previous or Splits(seed=seed, ratios=ratios, groups={})
    fixed = {unit.name: place for unit in units if (place := _kept(unit, old, prints))}
    targets = {name: ratio for name, ratio in zip(NAMES, ratios) if ratio}
    placed = _stratified(units, targets, fixed, seed)
    _spread_defects(dataset, units, targets, placed, fixed, seed)
    return Splits(
        seed=seed, ratios=tuple(ratios),
        groups={**old.groups, **{group: _own(records) or placed[unit.name]
                                 for unit in units for group, records in unit.groups.items()}},
        folds={**old.folds, **_rotation(units, placed, folds, old, seed)},
        hashes={**old.hashes, **dict(files)})


def apply(dataset: Dataset, splits: Splits, fold: int | None = None) -> Dataset:
    """Return the data set with every record's split filled in. DataError: a group that the splits do not know.

    `fold` validates on that fold and trains on the others; without it a split that the data set itself gives stays.
    """
    if fold is not None and not 0 <= fold < splits.fold_count:
        raise ConfigError(f"fold: no such fold, got {fold}. The splits have {splits.fold_count} (0 is the first)")
    return replace(dataset, records=tuple(replace(record, split=_place(record, splits, fold))
                                          for record in dataset.records))


def save(path: Path, splits: Splits) -> None:
    """Write splits.json, whole or not at all; its folder is made where there is none. OutputError: it cannot be."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": VERSION, "seed": splits.seed, "ratios": dict(zip(NAMES, splits.ratios)),
               "groups": dict(splits.groups), "folds": dict(splits.folds), "hashes": dict(splits.hashes)}
    write_bytes(path, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def load(path: Path) -> Splits:
    """Read splits.json. DataError: not such a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        read = Splits(seed=content["seed"], ratios=tuple(float(content["ratios"][name]) for name in NAMES),
                      groups=dict(content["groups"]), folds=dict(content["folds"]), hashes=dict(content["hashes"]))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Make the splits first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a file of splits, got {error!r}. Delete it to split anew") from error
    if content.get("version") != VERSION or not set(read.groups.values()) <= set(NAMES):
        raise DataError(f"{path}: splits of another version, got {content.get('version')}. Delete it to split anew")
    return read


def group_of(record: Record) -> str:
    """The record's group; a record without one stands for itself."""
    return record.group or record.name


def paths(dataset: Dataset) -> list[Path]:
    """Every picture that counts when records are compared: images and clean twins, each once."""
    return list(dict.fromkeys(path for record in dataset.records for path in (record.image, record.clean) if path))


def joined_groups(dataset: Dataset, prints: Mapping[Path, Fingerprint], *, merge_near: bool = True) -> dict[str, str]:
    """Return group -> the first group (by name) of those that it shares pictures with, directly or through others."""
    parent = {group_of(record): group_of(record) for record in dataset.records}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    owners = defaultdict(list)                              # file's bytes -> groups that hold such a file
    for record in dataset.records:
        for path in filter(None, (record.image, record.clean)):
            owners[prints[path].sha256].append(group_of(record))
    distinct = list({prints[path].sha256: prints[path] for path in paths(dataset)}.values())
    near = [(distinct[i].sha256, distinct[j].sha256) for i, j in near_duplicates(distinct)] if merge_near else []
    for together in [*owners.values(), *(owners[a] + owners[b] for a, b in near)]:
        for group in together[1:]:
            first, second = sorted((root(together[0]), root(group)))
            parent[second] = first
    return {group: root(group) for group in parent}


@dataclass(frozen=True)
class _Unit:
    """Groups that stay together. `name` is the first group's; `features` count what is to be shared out evenly."""
    name: str
    groups: dict[str, list[Record]]
    features: Counter

    @property
    def defective(self) -> bool:
        return any(kind == "class" for kind, _ in self.features)


def _units(dataset: Dataset, joined: Mapping[str, str]) -> list[_Unit]:
    members: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in dataset.records:
        members[joined[group_of(record)]][group_of(record)].append(record)
    return [_Unit(name, dict(groups), _features(record for records in groups.values() for record in records))
            for name, groups in sorted(members.items())]


def _features(records: Iterable[Record]) -> Counter:
    counts: Counter = Counter()
    for record in records:
        instances = [instance for instance in record.instances if not instance.ignore]
        counts["images", "defective" if instances else "good" if record.is_good else "unverified"] += 1
        for instance in instances:
            x1, y1, x2, y2 = instance.box
            area = (x2 - x1) * (y2 - y1)
            counts["class", instance.label] += 1
            counts["size", "small" if area < _SMALL_PX else "medium" if area < _LARGE_PX else "large"] += 1
    return counts


def _stratified(units: list[_Unit], targets: Mapping, fixed: Mapping, seed: int) -> dict:
    """Iterative stratification (Sechidis et al. 2011): the rarest class first, its largest units first.

    Each unit goes where the class is missing most, in proportion and at the middle of the unit: a unit far larger
    than a share's need does not fill it.
    """
    total = sum((unit.features for unit in units), Counter())
    have = defaultdict(Counter)
    for unit in units:
        if unit.name in fixed:
            have[fixed[unit.name]].update(unit.features)
    placed = dict(fixed)
    waiting = [unit for unit in units if unit.name not in fixed]
    while waiting:
        holders = Counter(feature for unit in waiting for feature in unit.features if feature[0] != "size")
        rarest = min(holders, key=lambda feature: (feature[0] != "class", holders[feature], total[feature], feature))
        now = sorted((unit for unit in waiting if rarest in unit.features),
                     key=lambda unit: (-unit.features[rarest], _draw(seed, unit.name)))
        for unit in now:
            scores = {place: _need(unit.features, rarest, have[place], total, share)
                      for place, share in targets.items()}
            placed[unit.name] = max(scores, key=scores.get)
            have[placed[unit.name]].update(unit.features)
        waiting = [unit for unit in waiting if unit.name not in placed]
    return placed


def _need(features: Counter, rarest: tuple, have: Counter, total: Counter, share: float) -> tuple[float, float, float]:
    """How much a place lacks what a unit holds, in proportion: of the rarest class, then over all features."""
    lack = {feature: 1 - (have[feature] + count / 2) / (total[feature] * share) for feature, count in features.items()}
    return round(lack[rarest], 9), round(sum(lack.values()) / len(lack), 9), share


def _spread_defects(dataset: Dataset, units: list[_Unit], targets: Mapping, placed: dict, fixed: Mapping,
                    seed: int) -> None:
    """Move one unit with defects into every share that has none. DataError: there are too few."""
    defective = [unit for unit in units if unit.defective]
    free = [unit for unit in defective if unit.name not in fixed]
    for place in reversed(list(targets)):
        holders = Counter(placed[unit.name] for unit in defective)
        if holders[place] or not free:
            continue
        spare = [unit for unit in free if holders[placed[unit.name]] > 1]
        if not spare:
            raise DataError(_too_few(dataset, len(defective), targets))
        costs = {unit.name: (_lost_classes(unit, defective, placed), unit.features["images", "defective"],
                             _draw(seed, unit.name)) for unit in spare}
        placed[min(costs, key=costs.get)] = place


def _lost_classes(unit: _Unit, defective: list[_Unit], placed: Mapping) -> int:
    """How many classes the unit's share would no longer hold without it."""
    others = {feature for other in defective if other is not unit and placed[other.name] == placed[unit.name]
              for feature in other.features}
    return sum(feature[0] == "class" and feature not in others for feature in unit.features)


def _too_few(dataset: Dataset, count: int, targets: Mapping) -> str:
    groups = len({group_of(record) for record in dataset.records if record.instances})
    merged = f" (of {groups} groups; the others share pictures, byte for byte or nearly)" if groups > count else ""
    shares = ", ".join(targets)
    return (f"{dataset.root}: too few separate groups with defects for some in each of {shares}, got {count}{merged}. "
            f"Label defects on at least {len(targets)} different objects, or set a ratio to 0")


def _rotation(units: list[_Unit], placed: Mapping, folds: int | None, old: Splits, seed: int) -> dict[str, int]:
    if folds is None:
        return {}
    rotating = [unit for unit in units if placed[unit.name] != "test"]
    if len(rotating) < folds:
        raise DataError(f"folds: more folds than groups outside test, got {folds} for {len(rotating)}. Ask for fewer")
    fixed = {unit.name: old.folds[group] for unit in rotating for group in unit.groups if group in old.folds}
    number = _stratified(rotating, dict.fromkeys(range(folds), 1 / folds), fixed, seed)
    return {group: number[unit.name] for unit in rotating for group in unit.groups}


def _kept(unit: _Unit, old: Splits, prints: Mapping[Path, Fingerprint]) -> str | None:
    """Where the unit must go: its own split, or that of an earlier run by group or by file; None where it is new."""
    own = _own(record for records in unit.groups.values() for record in records)
    if own:
        return own
    known = {group: old.groups[group] for group in unit.groups if group in old.groups}
    for record in (record for records in unit.groups.values() for record in records):
        group = old.hashes.get(prints[record.image].sha256)
        if group in old.groups:
            known.setdefault(group, old.groups[group])
    if len(set(known.values())) > 1:
        shown = ", ".join(f"{group} in {place}" for group, place in sorted(known.items())[:4])
        raise DataError(f"splits: groups that now share pictures were kept apart before, got {shown}. "
                        f"Take out the image that joins them, or split anew")
    return next(iter(known.values()), None)


def _own(records: Iterable[Record]) -> str | None:
    """The split that the data set itself gives most of the records."""
    given = Counter(record.split for record in records if record.split)
    return max(given, key=lambda name: (given[name], -NAMES.index(name))) if given else None


def _place(record: Record, splits: Splits, fold: int | None) -> str:
    group = group_of(record)
    if group not in splits.groups:
        raise DataError(f"{record.image}: a group that is not in the splits, got '{group}'. Split again, with the old "
                        f"splits as the ones to keep")
    place = record.split or splits.groups[group]
    if fold is None or place == "test":
        return place
    return "val" if splits.folds.get(group) == fold else "train"


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def _check(ratios: tuple[float, float, float], seed: int, folds: int | None, previous: Splits | None) -> None:
    if len(ratios) != 3 or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
        raise ConfigError(f"ratios: three shares >= 0 of sum 1 for {', '.join(NAMES)}, got {tuple(ratios)}")
    if folds is not None and folds < 2:
        raise ConfigError(f"folds: at least 2, got {folds}")
    if previous is None:
        return
    for name, new, kept in (("seed", seed, previous.seed), ("ratios", tuple(ratios), tuple(previous.ratios)),
                            ("folds", folds or 0, previous.fold_count)):
        if new != kept:
            raise ConfigError(f"{name}: not those of the splits that are kept, got {new} and {kept}. "
                              f"Use the same, or split anew")
