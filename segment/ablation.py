"""What made pictures are worth on real ones: a table of real alone, made alone, made then real, and both at once."""
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from core import checkpoint, experiment
from core.data import splits
from core.data.images import write_bytes, write_image
from core.errors import DataError
from core.loop import train
from core.report import Page, number, table, text
from core.runlog import open_run
from core.visualise import grid, reduced, shown, white_point

from .apply import Segmenter, load
from .data import open_data, read_labelled
from .evaluate import evaluate, spread, write_csv
from .mixing import OF_MASKS, extra_records
from .panels import tinted
from .settings import DataConfig, SegmentConfig
from .task import SegmentTask

ARMS = ("real", "made", "made, then real", "both")
FIGURES = {"defect_iou": "IoU, defect against background", "object_recall": "defects found",
           "spurious_an_image": "false parts an image", "clean_tiles_alarmed": "clean tiles with an alarm"}
MADE_RATIOS = (0.94, 0.03, 0.03)
SHOWN_IMAGES, SHOWN_PX = 4, 320
SAID = ("Every training has the same number of steps, but that 'made, then real' goes on from the weights of 'made' "
        "for as many again. All are measured on the same real test images, which no training has seen.")


def ablation(config: SegmentConfig, made: Path, output: Path, *, seeds: int, device: torch.device,
             say: Callable[[str], None] = print) -> list[dict]:
    """Train and measure every arm with every seed; write arms.csv, ablation.html and pictures.png into `output`.

    config   of the real set; what is kept in `output` from an earlier call with it is not done again
    made     another set, whose classes are those of the first: data.merge=true makes them one
    Returns a row an arm and seed. Stopped by a signal: core.errors.Stopped is raised by the training.
    """
    dataset, found = open_data(config.data)
    splits.save(output / "splits.json", found)
    real = config.model_copy(update={
        "watch": None, "panels": 0, "data": config.data.model_copy(update={"splits": output / "splits.json"})})
    test = dataset.of_split("test")
    if not any(record.instances for record in test):
        raise DataError(f"{config.data.root}: no defect to measure on, got {len(test)} images in 'test'. Raise its "
                        "share in data.ratios")
    extra_records(real.data.model_copy(update={"extra": (made,)}), dataset)     # what is wrong with it shows now
    rows, networks = [], {}
    for seed in range(seeds):
        for arm in ARMS:
            run = output / f"{arm.replace(', ', '-').replace(' ', '-')}-s{seed}"
            trained(arm_config(real, made, arm, seed, output), run, device)
            segmenter = load(run, [], device)
            rows.append({"arm": arm, "seed": seed, **measured(segmenter, run, test, dataset.classes, real)})
            if seed == 0:
                networks[arm] = segmenter
            told = ", ".join(f"{name} {rows[-1][name]:.3f}" for name in FIGURES if name in rows[-1])
            say(f"{arm}, seed {seed}: {told}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(output / "arms.csv", names, ([row.get(name, float("nan")) for name in names] for row in rows))
    pictures(networks, [record for record in test if record.instances], dataset.classes, output / "pictures.png")
    write_page(output / "ablation.html", rows, config, made, len(test))
    return rows


def arm_config(real: SegmentConfig, made: Path, arm: str, seed: int, output: Path) -> SegmentConfig:
    """What an arm trains with: the same but for its data and the weights that it begins with."""
    data, start = real.data, None
    if arm == "made":
        usual = {name: DataConfig.model_fields[name].default for name in (*OF_MASKS, "classes", "format", "splits")}
        data = data.model_copy(update={**usual, "root": made, "ratios": MADE_RATIOS})
    elif arm == "both":
        data = data.model_copy(update={"extra": (made,)})
    elif arm == "made, then real":
        start = checkpoint.found(output / f"made-s{seed}")[-1]
    loop = real.loop.model_copy(update={"seed": seed})
    return real.model_copy(update={"data": data, "start": start, "loop": loop})


def trained(config: SegmentConfig, run: Path, device: torch.device) -> None:
    """Train a run to its end, or go on with it."""
    done = checkpoint.found(run)
    if done and done[-1] == checkpoint.path_of(run, config.loop.steps):
        return
    record = open_run(run, config.model_dump(mode="json"))
    task = experiment.build(SegmentTask, config, device, record)
    code = train(task, config.loop, record, device=device)
    if code:
        raise SystemExit(code)


def measured(segmenter: Segmenter, run: Path, test: Sequence, classes: tuple[str, ...],
             config: SegmentConfig) -> dict[str, float]:
    """Figures on the real test images; kept beside the run."""
    kept = run / "test" / "metrics.json"
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        values = evaluate(segmenter.network, test, classes, config, kept.parent)
        write_bytes(kept, (json.dumps(values, indent=1) + "\n").encode())
    return json.loads(kept.read_text(encoding="utf-8"))


def summary(rows: Sequence[Mapping]) -> list[tuple[str, ...]]:
    """A line an arm: mean of each figure over the seeds, with the least and the largest."""
    lines = []
    for arm in ARMS:
        cells = []
        for name in FIGURES:
            values = np.array([row.get(name, np.nan) for row in rows if row["arm"] == arm], float)
            values = values[~np.isnan(values)]
            span = f" ({number(values.min(), 3)} to {number(values.max(), 3)})" if len(values) > 1 else ""
            cells.append(f"{number(values.mean(), 3)}{span}" if len(values) else "–")
        lines.append((arm, *cells))
    return lines


def write_page(path: Path, rows: Sequence[Mapping], config: SegmentConfig, made: Path, images: int) -> None:
    seeds = len({row["seed"] for row in rows})
    page = Page("From made to real pictures", under=f"{config.data.root} and {made}: {config.loop.steps} steps, "
                f"{seeds} seeds, {images} real test images")
    page.section("Figures", table(("learned from", *FIGURES.values()), summary(rows)), text(SAID, note=True))
    page.write(path)


def pictures(networks: Mapping[str, Segmenter], records: Sequence, classes: tuple[str, ...], path: Path) -> None:
    """Image, truth and each arm's answer beside each other, for some test images."""
    rows = []
    for place in spread(len(records), SHOWN_IMAGES):
        pixels, truth = read_labelled(records[place], classes)
        seen = shown(pixels, white_point([pixels]))
        drawn = [seen, tinted(seen, truth), *(tinted(seen, network(pixels)[0]) for network in networks.values())]
        rows.append([reduced(picture, SHOWN_PX) for picture in drawn])
    write_image(path, grid(rows, column_labels=["image", "truth", *networks]))
