"""What trainings of the segmenter reach on images that they have not seen: tiles, made surfaces, large profiles."""
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from core import config as configs
from core.data import formats, splits
from core.data.formats.masks import index_mask
from core.data.images import encode_png, read_image, read_mask, write_bytes
from core.metrics import segmentation as seg
from core.synthetic.write import Recipe, make_set

from .ablation import measured, trained
from .apply import Segmenter, load
from .bench import Row
from .data import open_data
from .panels import palette
from .settings import SegmentConfig

CPU = torch.device("cpu")
CONFIGS = Path(__file__).parents[1] / "configs"
SURFACES = {"kind": "metal", "good_share": 0.25, "options": {"style": "plain", "classes": ["scratch", "stain"]}}
FLEXUNET = {"network": {"name": "flexunet"}, "loss": {"name": "ce"}, "watch": {"metric": "loss", "better": "lower"},
            "optim": {"optimizer": "adam", "learning_rate": 7e-5, "schedule": "constant", "warmup_steps": 0,
                      "clip_value": 0.5, "ema_half_life_steps": None}, "data.crop_px": 256, "loop.batch_size": 2}
PROFILES = {"1": [255, 0, 0], "2": [0, 255, 0], "3": [0, 0, 255], "4": [255, 255, 0], "5": [0, 255, 255],
            "6": [255, 0, 255]}
GRID_PX = 8             # blocks of the network, 2 px, at a quarter of the size: labels change on their edges
LARGE = {"kind": "metal", "size": (2560, 2048), "count": 6, "seed": 1, "good_share": 0,
         "options": {**SURFACES["options"], "counts": {"scratch": [60, 60], "stain": [60, 60]}}}   # as dense as those
PAIRS = (("247", "249"),)       # large profiles that show the same object
TRIAL_STEPS = 24
TILE_PX = 512           # the earlier program's tiles, on whose lines its labels changed 18 and 47 times as often


def tiles(folder: Path, root: Path, seeds: int = 3, rivals: int = 3) -> Iterator[Row]:
    """Magnetic tiles: the default, `seeds` times with splits of their own, and FlexUNet in the same time, `rivals`
    times. Both are judged on test tiles that neither learning nor the choice of the best weights has seen."""
    for seed in range(seeds):
        own = of_seed(configs.load(SegmentConfig, CONFIGS / "segment-magnetic-tile.yaml", [f"data.root={root}"]), seed)
        yield from tested("magnetic tile, default", own, folder / f"tile-{seed}", f"seed {seed}")
        if seed < rivals:
            rival = in_the_same_time(changed(own, FLEXUNET), own, folder / f"tile-flexunet-{seed}")
            yield from tested("magnetic tile, FlexUNet", rival, folder / f"tile-flexunet-{seed}", f"seed {seed}")


def surfaces(folder: Path, count: int = 2500) -> Iterator[Row]:
    """Made surfaces: the recipe of the synthetic-surface UNet, 10 epochs, and a better one in the same time."""
    root = folder / "surfaces"
    make_set(Recipe(count=count, seed=0, size=None, **SURFACES), root, ["masks"])
    recipe = configs.load(SegmentConfig, CONFIGS / "segment-synthetic.yaml", [f"data.root={root}"])
    yield from tested("made surfaces, recipe", recipe, folder / "recipe", "reach 0.80")
    better = configs.load(SegmentConfig, CONFIGS / "segment-surfaces.yaml", [f"data.root={root}"])
    better = in_the_same_time(better, recipe, folder / "better")
    yield from tested("made surfaces, better recipe", better, folder / "better", "reach 0.90")
    yield large_seams(folder / "large", load(folder / "better", [], CPU))


def profiles(folder: Path, root: Path) -> Iterator[Row]:
    """Large profiles, seven images of six classes: each class is in one object alone, so that who leaves the object
    out can learn to find a defect, but not to name it. Left and right halves, learnt in turn, say what naming costs."""
    overrides = [f"data.root={root}", f"data.colours={json.dumps(PROFILES)}"]
    config = configs.load(SegmentConfig, CONFIGS / "segment-aluminium.yaml", overrides)
    names = [record.name for record in formats.read(root, "masks", colours=PROFILES, clean_rings=True).records]
    each, changes = {}, np.zeros((2, 4), np.int64)
    for left_out in groups(names):
        fold = changed(config, {"data.merge": True, "data.splits": fold_file(folder, names, left_out),
                                "loss.name": "bce+dice"})
        run = folder / f"profile-without-{'-'.join(left_out)}"
        each.update(ious(fold, run))
        changes += sum(seams(run / "test" / f"{name}.png") for name in left_out)
    yield mean_row("aluminium, one object left out, IoU of any defect", each)
    for kind, values in zip(("elsewhere", f"lines {GRID_PX} px apart, the network's own grid"), changes):
        yield (f"aluminium, label changes on lines {TILE_PX} px apart against {kind}", f"{seg.seam_ratio(values):.2f}",
               "reach below 1.5, the earlier program's 18 and 47")
    each = {}
    for side in halves(folder / "halves", root):
        names = sorted(path.stem for path in (folder / "halves" / "images").iterdir())
        fold = changed(config, {"data.root": folder / "halves", "data.colours": None, "data.clean_rings": False,
                                "data.splits": fold_file(folder, names, [name for name in names if side in name])})
        each.update(ious(fold, folder / f"profile-{side}"))
    yield mean_row("aluminium, other halves learnt, IoU of the true class", each)


def large_seams(folder: Path, segmenter: Segmenter) -> Row:
    """Label changes on the lines of the earlier program's tiles, on large made surfaces."""
    dataset = make_set(Recipe(**LARGE), folder, ["masks"])
    predicted = [segmenter(read_image(record.image))[0] for record in dataset.records]
    sums = sum(on_lines(labels, TILE_PX) for labels in predicted)
    moved = [seg.seam_ratio(sum(on_lines(labels, TILE_PX, by) for labels in predicted))
             for by in range(16, TILE_PX, 16)]
    width, height = LARGE["size"]
    return (f"made surfaces of {width}x{height}, label changes on lines {TILE_PX} px apart against elsewhere",
            f"{seg.seam_ratio(sums):.2f}",
            f"reach below 1.5; lines moved by 16 to {TILE_PX - 16} px: {np.mean(moved):.2f} +- {np.std(moved):.2f}")


def tested(what: str, config: SegmentConfig, run: Path, beside: str) -> Iterator[Row]:
    """Train, or go on, and judge on the test split; intervals are over images."""
    trained(config, run, CPU)
    segmenter = load(run, [], CPU)
    dataset, _ = open_data(config.data.model_copy(update={"splits": run / "splits.json"}))
    values = measured(segmenter, run, dataset.of_split("test"), dataset.classes, config)
    spans = intervals(run / "test" / "evaluation.csv")
    for name in ("defect_iou", "miou", "miou_defects"):
        low, high = spans.get(name, ("?", "?"))
        yield (f"{what}, {name}", f"{values[name]:.3f}",
               f"{low} to {high}, {beside}; {config.loop.steps} steps in {seconds(run) / 60:.1f} minutes")


def ious(config: SegmentConfig, run: Path) -> dict[str, float]:
    """IoU of the defect class that an image holds, by image of the test split."""
    trained(config, run, CPU)
    segmenter = load(run, [], CPU)
    dataset, _ = open_data(config.data)
    found = {}
    for record in dataset.of_split("test"):
        truth, (labels, _) = index_mask(record, dataset.classes), segmenter(read_image(record.image))
        (run / "test").mkdir(exist_ok=True)
        write_bytes(run / "test" / f"{record.name}.png", encode_png(labels, palette=palette(len(dataset.classes))))
        each = seg.by_class(seg.confusion(truth, labels, len(dataset.classes) + 1)).iou
        if truth.any():
            found[record.name] = float(each[np.bincount(truth[truth > 0]).argmax()])
    return found


def seams(prediction: Path) -> np.ndarray:
    """seg.label_changes of a written prediction on the lines of the earlier program's tiles, int64 [2, 4]: against all
    other lines, and against those on the network's grid, where labels change more often with tiles and without."""
    labels = read_mask(prediction)
    tiles, grid = on_lines(labels, TILE_PX), on_lines(labels, GRID_PX)
    return np.stack([tiles, [*tiles[:2], *(grid - tiles)[:2]]])


def on_lines(labels: np.ndarray, step: int, moved: int = 0) -> np.ndarray:
    """seg.label_changes on lines so many px apart, of which the first ones are moved by so many px."""
    return seg.label_changes(labels, *(range(moved or step, side, step) for side in labels.shape))


def mean_row(what: str, each: dict[str, float]) -> Row:
    return f"{what}, mean", f"{np.mean(list(each.values())):.3f}", ", ".join(f"{k} {v:.2f}" for k, v in each.items())


def in_the_same_time(config: SegmentConfig, other: SegmentConfig, run: Path) -> SegmentConfig:
    """The config with as many steps as take the time of the other's, or with its own if they are fewer: by short trials
    of both, one after the other, so that what else runs on the machine slows both."""
    known = run.with_name(f"{run.name}-steps.json")
    if not known.is_file():
        own, its = (of_a_step(each, run.with_name(f"{run.name}-trial-{name}"))
                    for name, each in (("own", config), ("other", other)))
        steps = max(1, min(config.loop.steps, int(other.loop.steps * its / own)))
        write_bytes(known, json.dumps(steps).encode())
    steps = json.loads(known.read_text(encoding="utf-8"))
    return changed(config, {"loop.steps": steps, "loop.evaluate_every": max(1, steps // 4)})


def of_a_step(config: SegmentConfig, run: Path) -> float:
    """Seconds a step, by the second half of a short trial."""
    half = TRIAL_STEPS // 2
    trained(changed(config, {"loop.steps": TRIAL_STEPS, "loop.report_every": half, "watch": None}), run, CPU)
    return seconds(run, skip=1) / half


def seconds(run: Path, skip: int = 0) -> float:
    """Time of a run's steps, without evaluations; `skip`: reports at its begin that do not count."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    reports = [line for line in lines if line.get("kind") == "train"]
    steps = [line["step"] for line in reports]
    spans = [after - before for before, after in zip([0, *steps], steps)]
    return sum(line["timing"]["seconds_per_step"] * span for line, span in list(zip(reports, spans))[skip:])


def of_seed(config: SegmentConfig, seed: int) -> SegmentConfig:
    return changed(config, {"loop.seed": seed, "data.split_seed": seed})


def changed(config: SegmentConfig, values: dict) -> SegmentConfig:
    """A config with keys, such as data.merge, or whole sections of another value."""
    content = config.model_dump()
    for key, value in values.items():
        section, _, name = key.partition(".")
        content[section] = {**content[section], name: value} if name else value
    return SegmentConfig.model_validate(content)


def intervals(path: Path) -> dict[str, tuple[str, str]]:
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return {name: (low, high) for name, _, low, high in rows if low}


def groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The images by object."""
    pairs = [pair for pair in PAIRS if set(pair) <= set(names)]
    return [*pairs, *((name,) for name in names if not any(name in pair for pair in pairs))]


def fold_file(folder: Path, names: Sequence[str], left_out: Sequence[str]) -> Path:
    """Splits with these images in test and the others in training."""
    path = folder / f"fold-{'-'.join(left_out)[:60]}.json"
    places = {name: "test" if name in left_out else "train" for name in names}
    splits.save(path, splits.Splits(seed=0, ratios=(0.7, 0.0, 0.3), groups=places))
    return path


def halves(folder: Path, root: Path) -> tuple[str, str]:
    """A set of the left and the right halves of a set's images, with index masks."""
    dataset = formats.read(root, "masks", colours=PROFILES, clean_rings=True)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for record in dataset.records:
        pixels, mask = read_image(record.image), index_mask(record, dataset.classes)
        middle = pixels.shape[1] // 2
        for side, part in (("left", slice(None, middle)), ("right", slice(middle, None))):
            write_bytes(folder / "images" / f"{record.name}-{side}.png", encode_png(pixels[:, part]))
            write_bytes(folder / "masks" / f"{record.name}-{side}.png", encode_png(mask[:, part]))
    write_bytes(folder / "classes.json", json.dumps(dataset.classes).encode())
    return "left", "right"
