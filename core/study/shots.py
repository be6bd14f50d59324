"""The few real defects that a study learns from, drawn from the training split."""
from collections import Counter
from collections.abc import Sequence

from ..data.records import Record
from ..data.splits import group_of
from ..seeding import rng

LOOKED_AT = 8           # images with the class in want; the one with the least beyond what is asked for is taken


def draw_shots(records: Sequence[Record], classes: Sequence[str], shots: int | None, seed: int) -> list[Record]:
    """Whole images until every class has `shots` defects, or all that there are; None takes every defective image.

    An image brings all of its defects, so that no label is missing: classes that come in company may exceed the
    number. The rarest class is filled first. Groups that have no image among the shots yet come first: six exposures
    of one tile are one defect.
    """
    bad = [record for record in records if any(not item.ignore for item in record.instances)]
    if shots is None:
        return bad
    order = [bad[k] for k in rng(seed, 0).permutation(len(bad))]
    total = sum((count(record) for record in bad), Counter())
    have: Counter = Counter()
    taken: list[Record] = []
    for label in sorted(classes, key=lambda name: (total[name], name)):
        while have[label] < min(shots, total[label]):
            seen = Counter(group_of(record) for record in taken)
            fitting = [record for record in order if count(record)[label] and record not in taken]
            least = min(seen[group_of(record)] for record in fitting)
            fitting = [record for record in fitting if seen[group_of(record)] == least][:LOOKED_AT]
            best = min(fitting, key=lambda record: excess(have + count(record), shots) - excess(have, shots))
            taken.append(best)
            have += count(best)
    return sorted(taken, key=lambda record: record.name)


def count(record: Record) -> Counter:
    """Defects that count, by class."""
    return Counter(item.label for item in record.instances if not item.ignore)


def excess(have: Counter, shots: int) -> int:
    """Defects beyond the number, over all classes."""
    return sum(max(0, number - shots) for number in have.values())
