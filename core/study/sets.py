"""The data of a study on disk: the split, the test set, and the shots of each seed, with the watch over leaks."""
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..data import formats, splits, verify
from ..data.hashing import Fingerprint, fingerprints, near_duplicates
from ..data.images import write_bytes
from ..data.records import Dataset, Record
from ..errors import ConfigError, DataError, did_you_mean
from ..files import writing
from .settings import ALL, StudyConfig
from .shots import count, draw_shots
from .smaller import reduced

SPLITS, TEST, FACTS = "splits.json", "test", "data.json"
MERGED = "defect"               # the one class of a study that merges them
NORMAL = "normal/"              # names of defect-free twins that stand as good images of their own


def shots_folder(study: Path, seed: int | str) -> Path:
    """Where a seed's real images lie, or, for ALL, those of the whole training split."""
    return study / "shots" / (ALL if seed == ALL else f"seed-{seed}")


def prepare(config: StudyConfig) -> dict:
    """Split by group, write the test set and every seed's shots; what is there already stays. Returns data.json.

    DataError: the data are faulty, or a picture of the test split is, nearly, in training too.
    """
    path = config.output / FACTS
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    wanted = [*map(str, range(config.seeds)), *([ALL] if ALL in config.methods else [])]
    missing = [name for name in wanted if facts is None or name not in facts["shots"]]
    if not missing:
        return facts
    dataset, prints = split_set(config)
    train, test = dataset.of_split("train"), dataset.of_split("test")
    if not any(record.instances for record in test) or not any(record.instances for record in train):
        raise DataError(f"{config.data}: no defect in the {'training' if test else 'test'} split, got {len(train)} "
                        f"images to learn from and {len(test)} to test on. Say resplit, or label more")
    refuse_leaks(prints, paths(train), paths(test))
    if facts is None:
        store(dataset, [replace(record, clean=None) for record in test], config.output / TEST, config.reduce)
        facts = {"classes": list(dataset.classes), "test": told(test), "train": told(train), "notes":
                 list(dataset.notes), "shots": {}}
    for name in missing:
        shots, seed = (None, 0) if name == ALL else (config.shots, int(name))
        chosen = draw_shots(train, dataset.classes, shots, seed)
        store(dataset, [*chosen, *normal_images(train, chosen)], shots_folder(config.output, name),
              config.reduce)
        facts["shots"][name] = {**told(chosen), "normal": len(normal_images(train, chosen)),
                                     "names": [record.name for record in chosen]}
    write_bytes(path, (json.dumps(facts, indent=1) + "\n").encode())
    return facts


def split_set(config: StudyConfig) -> tuple[Dataset, Mapping[Path, Fingerprint]]:
    """The verified set with its splits filled in, which are kept; and the files' fingerprints."""
    dataset = formats.read(config.data, config.format, unlabelled=config.unlabelled)
    if config.classes is not None:
        dataset = with_classes(dataset, config.classes)
    if config.resplit:
        dataset = replace(dataset, records=tuple(replace(record, split=None) for record in dataset.records))
    report = verify.check(dataset)
    report.raise_errors()
    prints = report.prints or fingerprints(splits.paths(dataset))
    ratios = (1 - config.test_share, 0.0, config.test_share)
    kept = config.output / SPLITS
    previous = splits.load(kept) if kept.is_file() else None
    found = splits.split(dataset, ratios=ratios, seed=config.split_seed, previous=previous, prints=prints)
    splits.save(kept, found)
    return splits.apply(dataset, found), prints


def with_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The set without the images that show a defect of another class. ConfigError: no such class."""
    for name in classes:
        if name not in dataset.classes:
            raise ConfigError(f"--classes: no such class, got '{name}'. {did_you_mean(name, dataset.classes)}One of "
                              f"{', '.join(dataset.classes)}")
    kept = tuple(record for record in dataset.records if all(item.label in classes for item in record.instances))
    return replace(dataset, classes=tuple(classes), records=kept)


def normal_images(train: Sequence[Record], chosen: Sequence[Record]) -> list[Record]:
    """All defect-free pictures of the training split: good images, and the twins of those whose defects are not used.

    Factories have good parts in plenty: every arm gets them all. The twins of the shots go with the shots.
    """
    names = {record.name for record in chosen}
    return [*(record for record in train if record.is_good),
            *(twin(record) for record in train if record.clean is not None and record.name not in names)]


def twin(record: Record) -> Record:
    """The record's defect-free picture as a good image."""
    return replace(record, image=record.clean, name=f"{NORMAL}{record.name}", instances=(), clean=None)


def store(dataset: Dataset, records: Iterable[Record], folder: Path, reduce: int) -> None:
    """Write records as a COCO set of their own: what works there can reach nothing else. Half a set is made anew."""
    if folder.is_dir():
        shutil.rmtree(folder)
    with writing(folder):
        folder.mkdir(parents=True)
    if reduce == 1:
        formats.write(replace(dataset, records=tuple(records)), folder, "coco")
        return
    with tempfile.TemporaryDirectory(dir=folder) as place:
        smaller = tuple(reduced(record, reduce, Path(place)) for record in records)
        formats.write(replace(dataset, root=Path(place), records=smaller), folder, "coco")


def tested(config: StudyConfig) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """The test images with their truth, and the classes that count."""
    dataset = merged(config, formats.read(config.output / TEST, "coco"))
    return dataset.records, dataset.classes


def merged(config: StudyConfig, dataset: Dataset) -> Dataset:
    """The set as the networks see it: as it is, or with one class where the study merges them."""
    if not config.one_class:
        return dataset
    records = tuple(replace(record, instances=tuple(replace(item, label=MERGED) for item in record.instances))
                    for record in dataset.records)
    return replace(dataset, classes=(MERGED,), records=records)


def link(source: Path, target: Path) -> None:
    """The file under a second name, as a copy where the system knows no links between these places."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)


def paths(records: Sequence[Record]) -> list[Path]:
    return list(dict.fromkeys(path for record in records for path in (record.image, record.clean) if path))


def refuse_leaks(prints: Mapping[Path, Fingerprint], learned: Sequence[Path], tested: Sequence[Path]) -> None:
    """DataError where a picture to learn from is, byte for byte or nearly, one of the test's."""
    held = {prints[path].sha256: path for path in tested}
    pairs = [(path, held[prints[path].sha256]) for path in learned if prints[path].sha256 in held]
    every = [*learned, *tested]
    near = [(every[i], every[j]) for i, j in near_duplicates([prints[path] for path in every])
            if (i < len(learned)) != (j < len(learned))]
    if pairs or near:
        shown = "; ".join(f"{a} and {b}" for a, b in [*pairs, *near][:5])
        raise DataError(f"test pictures, or near copies of them, would be learned from, got {len(pairs) + len(near)} "
                        f"pairs: {shown}. Put each pair into one split, or say --resplit to split anew by group and "
                        "picture")


def check_clean(study: Path, learned: Sequence[Path]) -> None:
    """`refuse_leaks` for what an arm's generator or trainer is about to read, against the study's test set."""
    held = [path for path in sorted((study / TEST / "images").rglob("*")) if path.is_file()]
    refuse_leaks(fingerprints([*learned, *held]), list(learned), held)


def told(records: Sequence[Record]) -> dict:
    """How many there are of what."""
    defects = sum((count(record) for record in records), Counter())
    return {"images": len(records), "defective": sum(bool(count(record)) for record in records),
            "groups": len({splits.group_of(record) for record in records}),
            "defects": dict(sorted(defects.items()))}
