"""The main job: a labelled set in, a larger labelled set and a page to judge it by out."""
import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data import formats, images, verify
from ..data.hashing import Fingerprint
from ..data.problems import KINDS, grouped
from ..data.records import Dataset
from ..device import choose
from ..errors import ConfigError, DataError
from ..progress import Progress
from ..signals import StopRequest
from ..workers import in_order
from . import methods
from .advice import shortfall
from .bank import DefectBank
from .drawings import read_drawings
from .gate import Gate
from .maker import Made, Maker, Source
from .margins import learn_margins
from .output import Output, check_settings, new_dataset
from .placement import Placement
from .report import write_report
from .settings import AugmentConfig, shaping
from .wanted import Plan, read_positions

UNTOLD = ("no-good", "no-defect", "class-unused")       # warnings that are no news here, or are errors
WIDE_PX = 3     # a margin of drawn boxes that the user should know of
ROOM = 0.9      # largest part of an image's side that a placed defect takes


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run of the main job left behind.

    dataset     the new images with their labels
    report      the page to judge them by
    counts      of images: asked, kept, failed; of defects: wanted, drawn; of tries: attempts
    notes       what the user should know of the data and of the run
    shortfall   where images are missing: the commonest reason, and what to do about it
    """
    dataset: Dataset
    report: Path
    counts: dict[str, int]
    notes: tuple[str, ...] = ()
    shortfall: str | None = None


def augment(config: AugmentConfig, *, overwrite: bool = False, command: str | None = None) -> Result:
    """Make `config.count` labelled images in `config.output`: verify, place, generate, gate, write.

    Started again with the same settings it goes on where it was killed, and ends with the same bytes. With more than
    one worker, call it below `if __name__ == "__main__":`, as every program that starts processes must be written.
    command     the line that a person typed, for the report; None: the call came from Python
    Errors: DataError, ConfigError, OutputError, each naming what to do.
    """
    check_settings(config.output, config, overwrite=overwrite)
    check_given(config)
    dataset, prints = read_verified(config)
    learned = learn(config, dataset)
    output = Output(config.output, config, _data_hash(config, dataset, prints), overwrite=overwrite, command=command)
    try:
        maker = maker_of(config, learned)           # a generator that trains does it here, in a folder that is its own
        output.note_models(maker.generator.models)
        timings = _make_all(maker, output, config)
        sources = {source.name: source for source in maker.sources}
        margins = learned.margins if config.labels == "drawn" else None
        made = new_dataset(config.output, output.lines, dataset.classes, sources, margins)
        if made.records:
            output.write_labels(made)
    finally:
        output.close()
    counts = {"asked": config.count, "kept": len(made), "failed": len(output.lines) - len(made),
              "wanted": sum(line["wanted"] for line in output.lines),
              "drawn": sum(len(line["defects"]) for line in output.lines),
              "attempts": sum(line["attempts"] for line in output.lines)}
    run = {"data": str(config.data), "method": config.method, "count": config.count, "seed": config.seed,
           "config": output.settings, "classes": list(dataset.classes), "notes": learned.notes, "counts": counts,
           "commands": output.commands}
    report = write_report(config.output, run=run, bank=learned.bank, timings=timings,
                          sources={name: Path(source.path) for name, source in sources.items()},
                          originals={record.name: record.image for record in dataset.records})
    return Result(dataset=made, report=report, counts=counts, notes=tuple(learned.notes),
                  shortfall=shortfall(output.lines))


def check_given(config: AugmentConfig) -> None:
    """What needs no look at the data. ConfigError: the method or the device. DataError: a file that is not there."""
    methods.find(config.method)
    choose(config.device)
    for name in ("positions", "shape"):
        path = getattr(config.placement, name)
        if path is not None and not path.exists():
            raise DataError(f"--{name}: no such file or folder, got '{path}'. Check the path")


def read_verified(config: AugmentConfig) -> tuple[Dataset, dict[Path, Fingerprint]]:
    """Read the labelled set and the further good images, every file decoded once; also the files' fingerprints.

    DataError lists all that is wrong.
    """
    methods.find(config.method)
    writable = [name for name in formats.FORMATS if name != "good"]
    unknown = [name for name in config.write if name not in writable]
    if unknown:
        raise ConfigError(f"--write: no such format, got '{unknown[0]}'. One of {', '.join(writable)}")
    dataset = formats.read(config.data, config.format, unlabelled=config.unlabelled)
    if config.good is not None:
        extra = formats.read(config.good, "good").records
        added = tuple(replace(record, name=f"{config.good.name}/{record.name}") for record in extra)
        dataset = replace(dataset, records=dataset.records + added)
    with Progress(len(dataset), "images checked") as progress:
        report = verify.check(dataset, on_record=progress.step)
    report.raise_errors()
    warnings = [(KINDS[code][1], found) for code, found in grouped(report.of("warning")) if code not in UNTOLD]
    told = [f"{what.capitalize()} ({len(found)}), such as {found[0]}" for what, found in warnings]
    return replace(dataset, notes=(*dataset.notes, *told)), report.prints


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What the training records and the configuration say, before a generator is made ready."""
    dataset: Dataset            # the records to learn from and to draw on
    bank: DefectBank
    labels: tuple[str, ...]     # classes to make
    sources: tuple[Source, ...]
    plans: tuple[Plan, ...]     # given positions
    drawings: tuple[np.ndarray, ...]    # given shapes
    notes: list[str]            # what the user should read
    margins: dict[str, float]   # by class, px by which real boxes are wider than their defects


def learn(config: AugmentConfig, dataset: Dataset) -> Learned:
    """Look at all that the user gave; nothing is written. Errors: DataError, ConfigError."""
    notes = list(dataset.notes)
    chosen = _chosen_split(config, dataset, notes)
    bank = DefectBank.build(chosen, workers=config.workers)
    labels = _labels(config, dataset, bank)
    sources = _roomy(config, _sources(config, chosen), notes)
    given, plans = config.placement, ()
    if given.positions is not None:
        plans = tuple(read_positions(given.positions, bank.labels, {source.name: source.size for source in sources}))
    margins = learn_margins(chosen, bank)
    if config.labels == "tight" and max(margins.values(), default=0) >= WIDE_PX:
        notes.append(f"The real boxes reach about {max(margins.values()):g} px beyond their defects on every side; "
                     "generated labels are tight. For a detector that is judged by such boxes say --set labels=drawn.")
    return Learned(dataset=chosen, margins=margins, bank=bank, labels=labels, sources=sources, plans=plans, notes=notes,
                   drawings=read_drawings(given.shape) if given.shape is not None else ())


def maker_of(config: AugmentConfig, learned: Learned) -> Maker:
    """All that making needs, the generator ready: one that trains has trained when this returns."""
    method = methods.find(config.method)
    generator = method.build(learned.dataset, learned.bank, config.output, getattr(config, config.method, None),
                             device=config.device)
    if generator.copies:
        learned.notes.append(
            f"The gate's near-copy rule is off: copying a training defect is what '{config.method}' does.")
    return Maker(
        config=config, config_hash=_hash(shaping(config)),
        labels=learned.labels, sources=learned.sources, generator=generator, plans=learned.plans,
        drawings=learned.drawings, placement=Placement.learn(learned.bank),
        gate=Gate(learned.bank, config.gate, near_copy_off=generator.copies))


def _chosen_split(config: AugmentConfig, dataset: Dataset, notes: list[str]) -> Dataset:
    """The records to learn from and to draw on."""
    declared = sorted({record.split for record in dataset.records if record.split})
    split = config.split
    if split == "auto":
        split = "train" if "train" in declared else "all"
        if split == "train" and len(declared) > 1:
            others = ", ".join(name for name in declared if name != "train")
            notes.append(f"Learned from and drawn on the split 'train' alone; the set also has {others}.")
    if split == "all":
        return dataset
    kept = tuple(record for record in dataset.records if record.split in (split, None))
    if split not in declared or not any(record.instances for record in kept):
        raise DataError(f"{config.data}: no labelled defect in the split '{split}', got splits "
                        f"{', '.join(declared) or 'none'}. Choose another with --split")
    return replace(dataset, records=kept)


def _labels(config: AugmentConfig, dataset: Dataset, bank: DefectBank) -> tuple[str, ...]:
    if not bank.labels:
        raise DataError(f"{config.data}: no labelled defect in it, got {len(dataset)} images without any. "
                        f"A few labelled defects are what new ones are made from")
    for name in config.classes or ():
        if name not in bank.labels:
            raise ConfigError(f"--classes: no sample of that class, got '{name}'. One of {', '.join(bank.labels)}")
    return tuple(config.classes or bank.labels)


def _sources(config: AugmentConfig, dataset: Dataset) -> tuple[Source, ...]:
    """Normal images to draw on: good ones, defect-free twins, and where asked for defective ones with their labels."""
    found = [Source(name=record.name, path=str(record.image), size=record.size, group=record.group)
             for record in dataset.good]
    found += [Source(name=f"{record.name}#clean", path=str(record.clean), size=record.size, group=record.group)
              for record in dataset.defective if record.clean is not None]
    if config.backgrounds == "all":
        found += [Source(name=record.name, path=str(record.image), size=record.size, group=record.group,
                         carried=record.instances) for record in dataset.defective]
    if not found:
        unlabelled = sum(not record.verified for record in dataset.records)
        raise DataError(
            f"{config.data}: no defect-free image to draw on, got {len(dataset.defective)} defective ones"
            f"{f' and {unlabelled} without a label file' if unlabelled else ''}. Give a folder of good images with "
            f"--good, say --unlabelled good where images without a label file are good, or draw on the defective ones "
            f"too with --backgrounds all (their labels are kept)")
    return tuple(sorted(found, key=lambda source: source.name))


def _roomy(config: AugmentConfig, sources: tuple[Source, ...], notes: list[str]) -> tuple[Source, ...]:
    """The normal images that can hold a defect of the least size asked for. ConfigError: none can."""
    if config.placement.size_px is None:
        return sources
    least = config.placement.size_px[0]
    roomy = tuple(source for source in sources if least <= ROOM * max(source.size))
    if not roomy:
        width, height = max((source.size for source in sources), key=max)
        raise ConfigError(f"--size-px: no image can hold a defect of {least} px, got normal images of at most {width} "
                          f"x {height} px. Ask for a least size of {int(ROOM * max(width, height))} px or below")
    if config.placement.positions is not None:
        return sources
    if len(roomy) < len(sources):
        notes.append(f"Not drawn on: {len(sources) - len(roomy)} of {len(sources)} normal images, which are too small "
                     f"for defects of {least} px.")
    return roomy


def _make_all(maker: Maker, output: Output, config: AugmentConfig) -> dict:
    """Make what is missing, in order; return the timings of this run."""
    began, seconds, made_now = time.monotonic(), Counter(), 0
    lost = [line["index"] for line in output.lines if line["image"] and not _is_whole(output.folder, line)]
    todo = lost + list(range(len(output.lines), config.count))
    whole = max(config.count, len(output.lines))
    with StopRequest() as stop, Progress(whole, "images", done=whole - len(todo)) as progress:
        for made in images_of(maker, todo, config.workers):
            if made.png is not None:
                images.write_bytes(output.folder / made.line["image"], made.png)
            if made.index == len(output.lines):
                output.add(made.line)
            seconds.update(made.seconds)
            made_now += 1
            progress.step()
            if stop.signum:
                break
        if stop.signum and len(output.lines) < config.count:
            raise stop.error(len(output.lines), config.count)
    spent = time.monotonic() - began
    hardware = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return {"images_per_second": made_now / spent if made_now else 0.0, "seconds": spent, "stages": dict(seconds),
            "workers": config.workers, "hardware": hardware}


def _is_whole(folder: Path, line: dict) -> bool:
    """Whether the picture of a manifest line is there with the bytes it was written with."""
    path = folder / line["image"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]


def images_of(maker: Maker, todo: list[int], workers: int) -> Iterator[Made]:
    """The images of `todo` in that order, made by `workers` processes."""
    return in_order(maker.make, todo, workers)


def _data_hash(config: AugmentConfig, dataset: Dataset, prints: dict[Path, Fingerprint]) -> str:
    """Changes when an image, a label or a given position does; a run does not go on over other data."""
    facts = [[record.name, record.split, [[item.label, *item.box] for item in record.instances],
              [prints[path].sha256 for path in (record.image, record.clean) if path in prints]]
             for record in dataset.records]
    given = [path for path in (config.placement.positions, config.placement.shape) if path is not None]
    files = [file for path in given for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return _hash([facts, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]])


def _hash(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
