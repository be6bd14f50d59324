"""Part of scripts/bench.py: one model of several classes, told which by an input, against one model a class.

Both learn for the same number of steps in all, on made circuit boards, to paint defects from their true edges; what
they paint for defects that neither has seen is compared with the real ones.
"""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from core.data import formats
from core.device import choose
from core.synthetic.write import Recipe, make_set
from core.task import LoopConfig

from . import runs
from .data import read_scenes
from .figures import everything, trained
from .maps import painted
from .networks import paste
from .settings import DataConfig, DefectNetworkConfig, EmaConfig, GivenEdgesConfig, OptimizerConfig
from .sheets import batches, likeness
from .task import GivenEdgesTask
from .windows import held_out_windows

CLASSES = ("missing_hole", "mouse_bite", "short")
LEARNT, UNSEEN = 120, 80            # pictures
SIDE_PX, WIDTH = 80, 12
Row = tuple[str, str, str]          # what, the figure, beside what


def rows(folder: Path, steps: int = 600, learnt: int = LEARNT, unseen: int = UNSEEN, width: int = WIDTH,
         ) -> Iterator[Row]:
    """Train in `folder`, which goes on after a kill, and measure: `steps` for all classes together."""
    boards = [made(folder / name, seed, count) for seed, (name, count) in
              enumerate({"boards": learnt, "unseen": unseen}.items())]
    found = {"one model, class as an input": psnr_of(folder / "one", boards, CLASSES, steps, width)}
    alone = [psnr_of(folder / label, boards, (label,), steps // len(CLASSES), width) for label in CLASSES]
    found["one model a class"] = {label: values for each in alone for label, values in each.items()}
    for name, by_class in found.items():
        yield (f"synthetic pcb, {name}, {steps} steps in all: PSNR in the mask",
               f"{np.mean([np.mean(values) for values in by_class.values()]):.2f} dB",
               ", ".join(f"{label} {np.mean(values):.2f} ({len(values)})" for label, values in by_class.items()))


def made(folder: Path, seed: int, count: int) -> Path:
    make_set(Recipe(kind="pcb", count=count, seed=seed, good_share=0.0, options={}, size=(256, 256)), folder, ["coco"],
             workers=1)
    return folder


def psnr_of(run: Path, boards: list[Path], classes: tuple[str, ...], steps: int, width: int,
            ) -> dict[str, list[float]]:
    """By class, the PSNR in the mask of every unseen defect, after a training of this many steps."""
    config = GivenEdgesConfig(
        data=DataConfig(root=boards[0], classes=classes, ratios=(1.0, 0.0, 0.0), size_px=SIDE_PX, masks="shape",
                        margin_px=(3, 3), sigma=1.0),
        network=DefectNetworkConfig(width=width), ema=EmaConfig(half_life_steps=max(1, steps // 10)),
        loop=LoopConfig(steps=steps, batch_size=4, workers=0, save_every=max(1, steps // 5), evaluate_every=steps,
                        report_every=steps),
        optimizer=OptimizerConfig(learning_rate=1e-3, decay_steps=steps))
    trained(GivenEdgesTask, config, run)
    count = len(classes) if len(classes) > 1 else 0
    paint = runs.load_average(run, "generator", runs.defect_generator(config.network, count), choose("cpu"))
    scenes = read_scenes(everything(formats.read(boards[1])), "val", classes, config.data)
    return judged(paint, held_out_windows(scenes, config.data, len(scenes)), classes)


@torch.no_grad()
def judged(paint, windows: list[dict], classes: tuple[str, ...]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {label: [] for label in classes}
    for maps in batches(windows, choose("cpu")):
        label = maps.label if len(classes) > 1 else None
        seen = paste(painted(paint, maps, maps.edges, label), maps.background, maps.mask)
        true = paste(maps.image, maps.background, maps.mask)
        for number in range(len(seen)):
            psnr = likeness(seen[number], true[number], maps.mask[number, 0].bool())["psnr_in_mask"]
            found[classes[int(maps.label[number])]].append(psnr)
    return found
