"""Several labelled sets as one."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .records import Dataset


def merged(datasets: Sequence[Dataset]) -> Dataset:
    """The records of all sets, under the name of their set's folder, and the classes of all, in the order of the sets.

    Classes of one name are one class. Where some sets have splits, the records of the others go to train.
    """
    if len(datasets) == 1:
        return datasets[0]
    names = distinct([dataset.root.resolve().name for dataset in datasets])
    divided = [any(record.split is not None for record in dataset.records) for dataset in datasets]
    records, notes = [], []
    for name, dataset, has_splits in zip(names, datasets, divided):
        changes = {} if has_splits or not any(divided) else {"split": "train"}
        if changes:
            notes.append(f"{dataset.root}: has no splits, so that its {len(dataset)} images go to train")
        records += [replace(record, name=f"{name}/{record.name}", **changes,
                            group=record.group and f"{name}/{record.group}") for record in dataset.records]
        notes += dataset.notes
    return Dataset(root=Path(), format=" + ".join(dict.fromkeys(dataset.format for dataset in datasets)),
                   classes=tuple(dict.fromkeys(label for dataset in datasets for label in dataset.classes)),
                   records=tuple(sorted(records, key=lambda record: record.name)), notes=tuple(notes))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where several are alike: a, b, a-2; a number that is a name already is passed over."""
    found: list[str] = []
    for name in names:
        number, candidate = 2, name
        while candidate in found:
            number, candidate = number + 1, f"{name}-{number}"
        found.append(candidate)
    return found
