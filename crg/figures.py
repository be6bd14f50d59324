"""Part `crg-figures` of scripts/bench.py: what the small trained models paint on boards that they have not seen.

Every way fills the same places, the classes in turns, where every second unseen board had a defect of that class:
copy-paste, the published sampler, and the steps from it to the fast one, each with what came before it. Judged are the
defects' crops against real ones of the other unseen boards, the gate's verdicts, and the class that a classifier of
real defects names.
"""
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core import config as configs
from core import experiment
from core.augment import compose
from core.augment.bank import Crop, DefectBank
from core.augment.copypaste import CopyPaste
from core.augment.gate import Gate
from core.augment.generator import Box, Request
from core.augment.labels import tight_mask
from core.data import formats, images, shapes
from core.data.records import Dataset, Instance, Record
from core.files import writing
from core.loop import train
from core.metrics.distribution import kernel_distance
from core.metrics.features import defect_crops, extractor
from core.progress import Progress
from core.runlog import open_run
from core.seeding import rng
from core.synthetic.write import Recipe, make_set

from .generator import CrgGenerator
from .infer import Painter
from .sampler_settings import FastConfig, SamplerConfig
from .task import ContextTask, DefectTask

Row = tuple[str, str, str]              # what, the figure, beside what
Judge = Callable[[Dataset], Any]        # learns real defects; has `figures(dataset)["class"]`
LEARNT, UNSEEN, KNOWN = 400, 400, 600   # boards of three seeds: for the models, for the figures, for the judges
LARGE = ("network.size_px=48", "network.attention_px=[12]", "loop.batch_size=8")
EXTRACTOR = "scattering"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Place:
    """Where a defect is asked for, on an unseen board's defect-free twin."""
    clean: Path
    box: Box
    label: str


@dataclass
class Found:
    """What one way made."""
    crops: list[np.ndarray] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)     # of those that passed the gate
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        return len(self.records) + sum(self.reasons.values())


@dataclass(frozen=True)
class Source:
    """Boards: what the models learn from and where it lies, what nobody learns from, and what the judge learns from."""
    name: str
    root: Path
    learnt: Dataset
    unseen: Dataset
    known: Dataset
    options: tuple[str, ...] = ()       # of the defect model's configuration


def made(folder: Path, count: int, judge: Judge, *, ways: str = "") -> Iterator[Row]:
    """Made boards: three sets of them, and all that is learnt and painted, lie in `folder`; what is there is used.

    ways    only those whose name holds this
    """
    sets = [formats.read(boards(folder / name, seed, number)) for seed, (name, number) in enumerate(
        {"learnt": LEARNT, "unseen": UNSEEN, "known": KNOWN}.items(), 1)]
    yield from rows(folder, Source("synthetic pcb", sets[0].root, *sets), count, judge, ways)


def real(folder: Path, root: Path, count: int, judge: Judge, *, ways: str = "") -> Iterator[Row]:
    """A set with splits and defect-free twins, such as DeepPCB; the judge learns from what the models learn from.

    Its defects may be half as long again as the patch of the shipped configuration: they get a larger one.
    """
    dataset = formats.read(root)
    learnt, unseen = (replace(dataset, records=dataset.of_split(split)) for split in ("train", "test"))
    yield from rows(folder, Source(root.name, root, learnt, unseen, learnt, LARGE), count, judge, ways)


def rows(folder: Path, source: Source, count: int, judge: Judge, ways: str) -> Iterator[Row]:
    """Train the models on a set, and fill `count` places on its unseen boards."""
    trained(source, folder / "models")
    bank, unseen = DefectBank.build(source.learnt), DefectBank.build(source.unseen)
    asked, kept = (replace(source.unseen, records=source.unseen.records[half::2]) for half in range(2))
    places = chosen_places(asked, bank.labels, count)
    judges = judge(with_shapes(source.known, DefectBank.build(source.known)))
    yield named(source, "real, unseen", judges.figures(with_shapes(source.unseen, unseen)))
    features = extractor(EXTRACTOR)(real_crops(kept, DefectBank.build(kept)))
    for name, generator in generators(folder / "models", bank):
        if ways in name:
            gate = Gate(bank, near_copy_off=generator.copies)
            found = fill(places, generator, gate, folder / "painted" / name.replace(" ", "-"))
            yield from figures(source, name, found, features, judges)


def boards(folder: Path, seed: int, count: int) -> Path:
    if not (folder / "recipe.json").is_file():
        make_set(Recipe(kind="pcb", count=count, seed=seed, good_share=0.3), folder)
    return folder


def trained(source: Source, folder: Path) -> None:
    """Models 5 and 6 by their small configs, as train.py does; a run that is there goes on by its own."""
    for kind, name, options in ((ContextTask, "context", ()), (DefectTask, "defect", source.options)):
        run = folder / f"crg-{name}"
        own, shipped = run / "config.yaml", experiment.ROOT / "configs" / f"crg-{name}-small.yaml"
        config = (configs.load(kind.Config, own) if own.is_file() else
                  configs.load(kind.Config, shipped, [f"data.root={source.root}", *options]))
        if not (run / f"step-{config.loop.steps:08d}.pt").is_file():
            task = experiment.build(kind, config, CPU, run)
            train(task, config.loop, open_run(run, config.model_dump(mode="json"), command=("bench.py",)), device=CPU)


def generators(models: Path, bank: DefectBank) -> Iterator[tuple[str, CopyPaste | CrgGenerator]]:
    """Copy-paste, then every step from the published sampler to the fast one."""
    yield "copypaste", CopyPaste(bank)
    painter = Painter.load(models, "exact", "cpu")
    for name, config in steps(painter.config).items():
        chosen = Painter(painter.classes, painter.parts, config, "cpu")
        if name == "bfloat16":
            for model in (chosen.sampler.context, chosen.sampler.defect):
                model.precision = "bfloat16"
        yield name, CrgGenerator(chosen, window_px=chosen.window_px)


def steps(exact: SamplerConfig) -> dict[str, SamplerConfig]:
    """From `exact` to the fast sampler; each has what those before it have."""
    once = replaced(exact, "walk", passes=1)
    single = replaced(once, "guidance", iterations_first=1, iterations_last=1)
    strided = replaced(single, "walk", time_travel=False, stride=5)
    first = FastConfig(start=exact.walk.start, steps=7, defect_steps=0)
    corrected = strided.model_copy(update={"kind": "fast", "fast": first})
    drawn = replaced(corrected, "fast", defect_steps=FastConfig().defect_steps)
    fast = exact.model_copy(update={"kind": "fast"})
    return {"exact": exact, "no time travel": once, "one gradient step": single, "every fifth step": strided,
            "no gradient": corrected, "patch drawn first": drawn, "fast": fast, "bfloat16": fast}


def replaced(config: SamplerConfig, section: str, **changes) -> SamplerConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=changes)})


def chosen_places(unseen: Dataset, labels: Sequence[str], count: int) -> list[Place]:
    """Where boards had their defects, the classes in turns, and the boards' twins without them to paint on."""
    found = {label: [Place(record.clean, tuple(map(round, item.box)), label) for record in unseen.defective
                     for item in record.instances if item.label == label] for label in labels}
    turns = [places[turn] for turn in range(count) for places in found.values() if turn < len(places)]
    return turns[:count]


def real_crops(unseen: Dataset, bank: DefectBank) -> list[np.ndarray]:
    """Crops of real defects, of each class as many as there are of the rarest."""
    count = min(len(bank.of(label)) for label in bank.labels)
    paths = {record.name: record.image for record in unseen.records}
    return [crop_of(images.read_image(paths[crop.record]), placed(crop)) for label in bank.labels
            for crop in bank.of(label)[:count]]


def with_shapes(dataset: Dataset, bank: DefectBank) -> Dataset:
    """The set with the shapes that the bank found in its boxes."""
    by_record: dict[str, list[Instance]] = {}
    for crop in bank.crops:
        by_record.setdefault(crop.record, []).append(shapes.mask_instance(placed(crop), crop.label))
    return replace(dataset, records=tuple(replace(record, instances=tuple(by_record[record.name]))
                                          for record in dataset.records if record.name in by_record))


def placed(crop: Crop) -> np.ndarray:
    """A defect's pixels, bool, in its whole image."""
    (x, y), (height, width) = crop.origin, crop.mask.shape
    whole = np.zeros(crop.image_size[::-1], bool)
    whole[y:y + height, x:x + width] = crop.mask
    return whole


def crop_of(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One crop, however many parts the mask has."""
    x1, y1, x2, y2 = compose.bounds(mask)
    whole = np.zeros(mask.shape, bool)
    whole[y1:y2, x1:x2] = True
    return defect_crops(pixels, whole)[0]


def fill(places: list[Place], generator: CopyPaste | CrgGenerator, gate: Gate, folder: Path) -> Found:
    """Draw one defect at each place, as the main job does, and write what passes the gate."""
    found = Found()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with Progress(len(places), f"defects by {generator.name}") as progress:
        for number, place in enumerate(places):
            board = images.read_image(place.clean).copy()
            window = compose.window_round(place.box, board.shape[1::-1], generator.window_px)
            clean = compose.cut(board, window).copy()
            inside = compose.shifted(place.box, -window[0], -window[1])
            began = time.process_time()
            generated = generator.generate(Request(image=images.to_tensor(clean), box=inside, label=place.label,
                                                   rng=rng(12, number)))
            found.seconds += time.process_time() - began
            made = compose.blend(clean, generated)
            known = None if generated.shape is None else generated.shape.numpy()
            mask = tight_mask(clean, made, generated.alpha.numpy(), known)
            made = compose.confine(clean, made, mask)
            verdict = gate.judge(clean, made, mask, place.label, inside, misfit=generated.misfit)
            whole = np.zeros(board.shape[:2], bool)
            compose.cut(whole, window)[...] = mask
            compose.cut(board, window)[...] = made
            if mask.any():
                found.crops.append(crop_of(board, whole))
            if verdict.kept:
                path = folder / f"{number:03d}_{place.label}.png"
                images.write_image(path, board)
                found.records.append(Record(image=path, name=path.stem, size=board.shape[1::-1], clean=place.clean,
                                            instances=(shapes.mask_instance(whole, place.label),)))
            else:
                found.reasons[verdict.reason] = found.reasons.get(verdict.reason, 0) + 1
            progress.step()
    return found


def figures(source: Source, name: str, found: Found, real: np.ndarray, judges) -> Iterator[Row]:
    yield (f"{source.name}, {name}: processor time a defect", f"{found.seconds / found.tried:.2f} s",
           f"{found.tried} places")
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(found.reasons.items()))
    yield f"{source.name}, {name}: passed the gate", f"{len(found.records) / found.tried:.0%}", reasons
    distance = kernel_distance(real, extractor(EXTRACTOR)(found.crops))
    yield (f"{source.name}, {name}: KID x1000 of defect crops [{EXTRACTOR}]", f"{1000 * distance.value:.1f}",
           f"+- {1000 * distance.standard_error:.1f}; {len(found.crops)} visible ones against {len(real)} real ones")
    if found.records:
        yield named(source, name, judges.figures(replace(source.unseen, records=tuple(found.records))))


def named(source: Source, name: str, found: dict[str, float]) -> Row:
    by_class = ", ".join(f"{key[6:]} {value:.0%}" for key, value in found.items() if key.startswith("class/"))
    return f"{source.name}, {name}: class named by a classifier", f"{found['class']:.1%}", by_class
