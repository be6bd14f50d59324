"""The main job: a labelled set in, a larger labelled set and a page to judge it by out."""
import hashlib
import json
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

import cv2
import torch

from ..data import formats, images, verify
from ..data.hashing import Fingerprint
from ..data.records import Dataset
from ..errors import ConfigError, DataError, OutputError, Stopped
from ..progress import Progress
from ..signals import StopRequest, deaf_children, ignore_signals
from . import methods
from .bank import DefectBank
from .gate import Gate
from .maker import Made, Maker, Source
from .output import Output, check_apart, new_dataset
from .placement import Placement
from .report import write_report
from .settings import FREE_KEYS, AugmentConfig
from .wanted import read_positions


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run of the main job left behind."""
    dataset: Dataset        # the new images with their labels
    report: Path            # the page to judge them by
    counts: dict[str, int]  # asked, kept, failed, attempts


def augment(config: AugmentConfig, *, overwrite: bool = False) -> Result:
    """Make `config.count` labelled images in `config.output`: verify, place, generate, gate, write.

    Started again with the same settings it goes on where it was killed, and ends with the same bytes. With more than
    one worker, call it below `if __name__ == "__main__":`, as every program that starts processes must be written.
    Errors: DataError, ConfigError, OutputError, each naming what to do.
    """
    check_apart(config.output, config)
    dataset, prints = read_verified(config)
    maker, bank, notes = prepare(config, dataset)
    output = Output(config.output, config, _data_hash(config, dataset, prints), overwrite=overwrite)
    try:
        timings = _make_all(maker, output, config)
        sources = {source.name: source for source in maker.sources}
        made = new_dataset(config.output, output.lines, dataset.classes, sources)
        if made.records:
            output.write_labels(made)
    finally:
        output.close()
    counts = {"asked": config.count, "kept": len(made), "failed": len(output.lines) - len(made),
              "attempts": sum(line["attempts"] for line in output.lines)}
    run = {"data": str(config.data), "method": config.method, "count": config.count, "seed": config.seed,
           "config": output.settings, "classes": list(dataset.classes), "notes": notes, "counts": counts}
    report = write_report(config.output, run=run, bank=bank, timings=timings,
                          sources={name: Path(source.path) for name, source in sources.items()},
                          originals={record.name: record.image for record in dataset.records})
    return Result(dataset=made, report=report, counts=counts)


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
    report = verify.check(dataset)
    report.raise_errors()
    return dataset, report.prints


def prepare(config: AugmentConfig, dataset: Dataset) -> tuple[Maker, DefectBank, list[str]]:
    """Learn from the training records all that making needs; also the notes that the user should read."""
    notes = list(dataset.notes)
    chosen = _chosen_split(config, dataset, notes)
    bank = DefectBank.build(chosen, workers=config.workers)
    labels = _labels(config, dataset, bank)
    sources = _sources(config, chosen)
    generator = methods.find(config.method).build(chosen, bank, config.output)
    if generator.copies:
        notes.append(f"The gate's near-copy rule is off: copying a training defect is what '{config.method}' does.")
    maker = Maker(
        config=config, config_hash=_hash({key: value for key, value in json.loads(config.model_dump_json()).items()
                                          if key not in FREE_KEYS}),
        labels=labels, sources=sources, generator=generator, placement=Placement.learn(chosen, bank),
        gate=Gate(bank, config.gate, near_copy_off=generator.copies))
    if config.placement.positions is not None:
        sizes = {source.name: source.size for source in sources}
        maker.plans = tuple(read_positions(config.placement.positions, bank.labels, sizes))
    return maker, bank, notes


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
            name = signal.Signals(stop.signum).name
            raise Stopped(f"stopped by {name} with {len(output.lines)} of {config.count} images made; "
                          f"the same command goes on", stop.signum)
    spent = time.monotonic() - began
    hardware = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return {"images_per_second": made_now / spent if made_now else 0.0, "seconds": spent, "stages": dict(seconds),
            "workers": config.workers, "hardware": hardware}


def _is_whole(folder: Path, line: dict) -> bool:
    """Whether the picture of a manifest line is there with the bytes it was written with."""
    path = folder / line["image"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]


def images_of(maker: Maker, todo: list[int], workers: int) -> Iterator[Made]:
    """The images of `todo` in that order, made by `workers` processes, a few ahead of what is asked for."""
    if workers == 1 or len(todo) < 4:
        yield from map(maker.make, todo)
        return
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _start_worker, (maker,)) as pool:
        ahead = []
        try:
            for index in todo:
                with deaf_children():
                    ahead.append(pool.submit(_work, index))
                if len(ahead) > 4 * workers:
                    yield ahead.pop(0).result()
            while ahead:
                yield ahead.pop(0).result()
        except BrokenProcessPool as error:
            for process in set(multiprocessing.active_children()) - others:     # deaf to the pool's own SIGTERM
                process.kill()
            raise OutputError("a worker process was ended by the system, perhaps for want of memory. The same command "
                              "goes on; fewer --workers take less memory") from error
        finally:
            for future in ahead:
                future.cancel()


_maker: Maker


def _start_worker(maker: Maker) -> None:
    global _maker
    _maker = maker
    ignore_signals()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent must not leave workers behind."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(index: int) -> Made:
    return _maker.make(index)


def _data_hash(config: AugmentConfig, dataset: Dataset, prints: dict[Path, Fingerprint]) -> str:
    """Changes when an image, a label or a given position does; a run does not go on over other data."""
    facts = [[record.name, record.split, [[item.label, *item.box] for item in record.instances],
              [prints[path].sha256 for path in (record.image, record.clean) if path in prints]]
             for record in dataset.records]
    given = config.placement.positions
    files = sorted(given.rglob("*")) if given is not None and given.is_dir() else [given] if given is not None else []
    return _hash([facts, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]])


def _hash(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
