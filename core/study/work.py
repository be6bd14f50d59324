"""One arm of a study: its training set, its training, its predictions on the test images, what they are worth."""
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import config as configs
from .. import experiment, loop
from ..augment.margins import widened
from ..data import formats
from ..data.images import write_bytes, write_image
from ..data.records import Dataset, Instance, Record
from ..data.shapes import box_ring
from ..device import choose
from ..errors import Stopped
from ..files import writing
from ..runlog import open_run
from .arms import ONLY, WITHOUT, Arm
from .pools import MARGINS, alone_in, fill_pool, images_wanted, pool_folder, pool_lines
from .sets import TEST, check_clean, link, merged, paths, shots_folder, tested, told, twin
from .settings import ALL, StudyConfig
from .tasks import TASKS, judged

RESULT, MINUTES, FOUND, BLANK_PX = "result.json", "minutes.json", "found", 64


def arm_folder(study: Path, arm: Arm) -> Path:
    return study / "arms" / arm.name


def result_of(config: StudyConfig, arm: Arm) -> dict | None:
    """What a finished arm found; None: it is not finished."""
    path = arm_folder(config.output, arm) / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def run_arm(config: StudyConfig, facts: dict, arm: Arm, command: Sequence[str]) -> None:
    """Work on an arm until it is finished. Killed and started again it goes on; a finished one is left alone.

    Stopped: a signal came. DataError: a test image would be learned from.
    """
    if result_of(config, arm) is not None:
        return
    folder = arm_folder(config.output, arm)
    with alone_in(folder):
        if result_of(config, arm) is not None:
            return
        generation = 0.0 if arm.pool is None else fill_pool(config, facts, arm)
        began, before = time.monotonic(), _minutes(folder)
        try:
            counts = training_set(config, facts, arm, folder / "set")
            train(config, arm, folder, command)
            entries = predict(config, arm, folder)
        finally:
            spent = before + (time.monotonic() - began) / 60
            write_bytes(folder / MINUTES, (json.dumps({"minutes": spent}) + "\n").encode())
        result = {"arm": arm.name, "learned_from": counts, "minutes": {"generation": generation, "training": spent},
                  "images": entries}
        write_bytes(folder / RESULT, (json.dumps(result) + "\n").encode())


def training_set(config: StudyConfig, facts: dict, arm: Arm, folder: Path) -> dict:
    """Write what an arm's network learns from; returns how many real and generated images and defects there are."""
    shots = formats.read(shots_folder(config.output, ALL if arm.row.method == ALL else arm.seed), "coco")
    real = [] if arm.row.variant == ONLY else list(shots.defective)
    good = [*shots.good, *(twin(record) for record in shots.defective if record.clean is not None)]
    generated = [] if arm.pool is None else generated_records(config, facts, arm)
    check_clean(config.output, paths([*real, *good, *generated]))
    times = repeats(len(real), len(generated), config.real_share)
    if folder.is_dir():
        shutil.rmtree(folder)
    blank = _blank(folder)
    records = [blank, *(_linked(record, f"good/{number:05d}", folder) for number, record in enumerate(good))]
    for turn in range(times):
        records += [_linked(record, f"real-{turn}/{number:05d}", folder) for number, record in enumerate(real)]
    records += [_linked(record, f"generated/{number:05d}", folder) for number, record in enumerate(generated)]
    dataset = Dataset(root=folder, format="coco", classes=tuple(facts["classes"]), records=tuple(records))
    dataset = merged(config, dataset)
    formats.write(_shaped(dataset) if config.task == "detect" else dataset, folder, "coco", images="keep")
    return {"real": told(real), "generated": told(generated), "good": len(good), "real_repeated": times}


def generated_records(config: StudyConfig, facts: dict, arm: Arm) -> list[Record]:
    """The first images of the arm's pool, as records with the labels that the arm is to learn."""
    count = images_wanted(config, facts, arm, arm.row.scale)
    root = pool_folder(config.output, arm) / "set"
    margins = json.loads((pool_folder(config.output, arm) / MARGINS).read_text(encoding="utf-8"))
    if arm.row.variant == f"{WITHOUT}margin" or config.task != "detect":
        margins = {}
    loose, found = arm.row.variant == f"{WITHOUT}label", []
    for line in pool_lines(config.output, arm, count):
        size = tuple(line["size"])
        made = [_labelled(entry, size, margins, loose=loose) for entry in line["defects"]]
        items = (*made, *(_labelled(entry, size, {}, loose=False) for entry in line["carried"]))
        found.append(Record(image=root / line["image"], name=line["image"], size=size, instances=items))
    return found


def repeats(real: int, generated: int, share: float) -> int:
    """How often the real defective images are listed, so that they are at least `share` of all defective ones."""
    if not real or not generated:
        return 1
    limit = min(share, 0.999)
    return max(1, int(np.ceil(limit / (1 - limit) * generated / real - 1e-9)))


def train(config: StudyConfig, arm: Arm, folder: Path, command: Sequence[str]) -> None:
    """Train the arm's network in folder/MODEL, or go on. Every arm has the same steps, rates and augmentation."""
    task = TASKS[config.task]
    model, task_type = experiment.chosen_model(task.model)
    settings = network_config(config, folder / "set", arm.seed)
    run, device = experiment.run_folder(folder, model), choose(config.device)
    built = experiment.build(task_type, settings, device, run)
    settings = getattr(built, "config", settings)
    code = loop.train(built, settings.loop, open_run(run, settings.model_dump(mode="json"), command=list(command)),
                      device=device)
    if code:
        raise Stopped(f"{arm.name}: stopped while it was training; the same command goes on", code - 128)


def network_config(config: StudyConfig, data: Path, seed: int):
    """The checked configuration of a training on the set in `data`. ConfigError."""
    task = TASKS[config.task]
    _, task_type = experiment.chosen_model(task.model)
    given = config.config or experiment.ROOT / task.config
    root = [f"data.root={json.dumps(str(data))}", "data.format=coco"]
    loaded = configs.load(task_type.Config, given, [*config.set, *root, *task.training, f"loop.seed={seed}"],
                          task.model)
    once = {"evaluate_every": loaded.loop.steps, "save_every": min(loaded.loop.save_every, loaded.loop.steps)}
    return loaded.model_copy(update={"loop": loaded.loop.model_copy(update=once)})


def predict(config: StudyConfig, arm: Arm, folder: Path) -> list[dict]:
    """Apply the network to the test images, into folder/found; returns one entry an image."""
    task = TASKS[config.task]
    model, task_type = experiment.chosen_model(task.model)
    output = folder / FOUND
    if output.is_dir():
        shutil.rmtree(output)                       # of an earlier start that was cut off
    records, classes = tested(config)
    task_type.apply(experiment.run_folder(folder, model), {"input": config.output / TEST / "images"}, output,
                    list(task.predicting), choose(config.device))
    return judged(config.task, output, records, classes)


def _linked(record: Record, name: str, folder: Path) -> Record:
    """The record under a new name, its image linked into the set."""
    target = folder / "images" / f"{name}{record.image.suffix}"
    link(record.image, target)
    return replace(record, image=target, name=name, clean=None, group=record.group or record.name, split="train")


def _blank(folder: Path) -> Record:
    """An empty picture for the loop to evaluate on: nothing is chosen during the training, the test comes after it."""
    target = folder / "images" / "val" / "blank.png"
    with writing(target):
        target.parent.mkdir(parents=True)
    write_image(target, np.full((BLANK_PX, BLANK_PX, 3), 128, np.uint8))
    return Record(image=target, name="val/blank", size=(BLANK_PX, BLANK_PX), group="blank", split="val")


def _labelled(entry: dict, size: tuple[int, int], margins: Mapping[str, float], *, loose: bool) -> Instance:
    """A manifest's defect as a label: its pixels, or a box as wide as real ones are drawn; `loose`: the placed box."""
    margin = margins.get(entry["label"], 0.0)
    if loose or margin:
        box = widened(entry["wanted"] if loose else entry["box"], margin, size)
        return Instance(label=entry["label"], box=box, polygons=(box_ring(box),))
    return Instance(label=entry["label"], box=tuple(entry["box"]), rle=entry["rle"], ignore=entry.get("ignore", False))


def _shaped(dataset: Dataset) -> Dataset:
    """For a detector of shapes: where some defects have boxes alone, all have the rectangle as their shape."""
    if all(item.has_shape for record in dataset.records for item in record.instances):
        return dataset

    def rectangle(item: Instance) -> Instance:
        return replace(item, rle=None, polygons=(box_ring(item.box),))
    return replace(dataset, records=tuple(
        replace(record, instances=tuple(map(rectangle, record.instances))) for record in dataset.records))


def _minutes(folder: Path) -> float:
    path = folder / MINUTES
    return json.loads(path.read_text(encoding="utf-8"))["minutes"] if path.is_file() else 0.0
