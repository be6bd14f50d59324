"""Parts of scripts/bench.py: what short trainings of models 1 and 3 reach on made FPC that they have not seen.

Model 1 draws in boxes, as published, and in masks of the defects' own shapes, MARGIN_PX larger each. Beside it stand
the same network with the published update, losses and boxes, for as many steps and otherwise trained alike; and what is
known without any learning, with the background's edges: an ellipse in every box, and the outline of every shape mask,
shrunk. Beside model 3, which paints in the boxes, stand copy-paste into them, and no defect at all.
"""
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from core import experiment
from core.augment.bank import DefectBank
from core.augment.copypaste import CopyPaste
from core.augment.generator import Request
from core.data import formats, images
from core.data.records import Dataset
from core.loop import train
from core.metrics.distribution import kernel_distance
from core.metrics.diversity import diversity, feature_distances
from core.metrics.features import defect_crops, extractor
from core.runlog import open_run
from core.seeding import rng
from core.synthetic.write import Recipe, make_set
from core.task import LoopConfig

from . import grain, runs
from .data import boxed, read_scenes
from .edges import canny, merged_edges
from .lines import drawn_edges
from .maps import Maps, edge_map
from .networks import defect_input, paste
from .settings import (
    DataConfig,
    DefectConfig,
    DefectNetworkConfig,
    EdgeConfig,
    EdgeLossConfig,
    EdgeNetworkConfig,
    EmaConfig,
    OptimizerConfig,
)
from .sheets import NO_COUNTS, added, batches, edge_figures, likeness
from .task import DefectTask, EdgeTask
from .windows import held_out_windows

Row = tuple[str, str, str]              # what, the figure, beside what
LEARNT, UNSEEN = 400, 80                # pictures of two seeds
SIDE_PX, WIDTH = 128, 12                # no defect is shrunk in such a window
MARGIN_PX = 4                           # of the masks round the defects
INSET_PX = 5                            # of ellipses and outlines from their masks; the best of 1 to 6, and of 3 to 6
CPU = torch.device("cpu")
PUBLISHED_LOSSES = EdgeLossConfig(update="legacy", judged="raw", edges=0)


def rows(folder: Path, steps: int, defect_steps: int) -> Iterator[Row]:
    """Train in `folder`, which goes on after a kill, and measure. The steps are of model 1 and of model 3."""
    learnt, unseen = (fpc(folder / name, seed, count) for name, seed, count in
                      (("learnt", 0, LEARNT), ("unseen", 1, UNSEEN)))
    for name, masks, loss, network in (
            ("with the published losses and boxes", "box", PUBLISHED_LOSSES,
             EdgeNetworkConfig(width=WIDTH, line_threshold=None)),
            ("corrected", "mixed", EdgeLossConfig(), EdgeNetworkConfig(width=WIDTH))):
        config = EdgeConfig(data=data(learnt, masks), loss=loss, network=network, **shared(steps))
        minutes = trained(EdgeTask, config, folder / name / "midg-edge")
        for given in ("box", "shape"):
            yield edge_row(f"model 1 {name}, {given}", edges_of(folder / name, unseen, config, given),
                           f"{steps} steps, {minutes}")
    for name, masks, area in (("an ellipse in the box", "box", ellipse),
                              (f"the shape mask shrunk by {INSET_PX} px", "shape", shrunk)):
        yield edge_row(f"{name}, and the background's edges", unlearnt(unseen, masks, area), "no learning")
    config = DefectConfig(data=data(learnt), network=DefectNetworkConfig(width=WIDTH), **shared(defect_steps))
    minutes = trained(DefectTask, config, folder / "corrected" / "midg-defect")
    yield from defect_rows(folder / "corrected", learnt, unseen, config, minutes, defect_steps)


def fpc(folder: Path, seed: int, count: int) -> Path:
    make_set(Recipe(kind="fpc", count=count, seed=seed, good_share=0.0), folder)
    return folder


def data(root: Path, masks: str = "mixed") -> DataConfig:
    return DataConfig(root=root, size_px=SIDE_PX, masks=masks)


def shared(steps: int) -> dict:
    loop = LoopConfig(steps=steps, batch_size=4, workers=0, save_every=200, evaluate_every=steps, report_every=100)
    return {"loop": loop, "optimizer": OptimizerConfig(learning_rate=1e-3), "ema": EmaConfig(half_life_steps=100)}


def trained(kind: type, config: EdgeConfig | DefectConfig, run: Path) -> str:
    """Train as train.py does; the processor time that it took now."""
    began = time.process_time()
    task = experiment.build(kind, config, CPU, run)
    train(task, config.loop, open_run(run, config.model_dump(mode="json"), command=("bench.py",)), device=CPU)
    return f"{(time.process_time() - began) / 60:.1f} CPU minutes"


def unseen_maps(root: Path, masks: str) -> Iterator[Maps]:
    """Every defect of a set in its window, in batches."""
    whole, config = everything(formats.read(root)), data(root, masks)
    scenes = read_scenes(whole, "val", whole.classes, config)
    return batches(held_out_windows(scenes, config, len(scenes)), CPU)


def everything(dataset: Dataset) -> Dataset:
    return replace(dataset, records=tuple(replace(record, split="val") for record in dataset.records))


@torch.no_grad()
def edges_of(folder: Path, unseen: Path, config: EdgeConfig, masks: str) -> dict[str, float]:
    generator = runs.load_average(runs.find_run(folder, "midg-edge"), "generator",
                                  runs.edge_generator(config.network, 0), CPU)
    counts = NO_COUNTS
    for maps in unseen_maps(unseen, masks):
        drawn = drawn_edges(edge_map(generator, maps, None), maps.mask, config.network.line_threshold)
        counts = added(counts, drawn, maps, config.loss.threshold)
    return edge_figures(counts)


def edge_row(name: str, figures: dict[str, float], beside: str) -> Row:
    precision, recall = (figures[f"edge_{what}_2px"] for what in ("precision", "recall"))
    exact = " and ".join(f"{figures[f'edge_{what}_0px']:.2f}" for what in ("precision", "recall"))
    return (f"fpc edges within 2 px, {name}", f"P {precision:.2f}  R {recall:.2f}",
            f"exactly there {exact}; reach 0.60 and 0.60. {beside}")


def unlearnt(unseen: Path, masks: str, area: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """Figures of the outlines of areas that are made of the masks alone."""
    counts = NO_COUNTS
    for maps in unseen_maps(unseen, masks):
        areas = torch.stack([torch.from_numpy(area(mask[0].numpy())) for mask in maps.mask])[:, None]
        drawn = torch.maximum(canny(areas, 1.0).float(), maps.background_edges)
        counts = added(counts, drawn, maps, 0.5)
    return edge_figures(counts)


def ellipse(mask: np.ndarray) -> np.ndarray:
    """float64 [H, W]: 1 in an ellipse in each part of a mask."""
    count, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    area = np.zeros(mask.shape, np.uint8)
    for x, y, width, height in boxes[1:count, :4].astype(float):
        axes = [max(side - 2 * INSET_PX, 2.0) for side in (width, height)]
        cv2.ellipse(area, ((x + width / 2 - 0.5, y + height / 2 - 0.5), tuple(axes), 0.0), 1, -1)
    return area.astype(np.float64)


def shrunk(mask: np.ndarray) -> np.ndarray:
    """float64 [H, W]: 1 where a mask lies further inside than INSET_PX; Canny's edges of that run just outside it."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * INSET_PX + 1,) * 2)
    return cv2.erode(mask.astype(np.uint8), disc, borderValue=1).astype(np.float64)


@torch.no_grad()
def defect_rows(folder: Path, learnt: Path, unseen: Path, config: DefectConfig, minutes: str, steps: int,
                ) -> Iterator[Row]:
    edge_config = runs.read_config(folder / "midg-edge", EdgeConfig)
    edges = runs.load_average(folder / "midg-edge", "generator", runs.edge_generator(edge_config.network, 0), CPU)
    paint = runs.load_average(folder / "midg-defect", "generator", runs.defect_generator(config.network, 0), CPU)
    copies, stored = CopyPaste(DefectBank.build(formats.read(learnt))), grain.kept(folder / "midg-defect")

    def drawn_by_model(maps: Maps, number: int, seed: int) -> tuple[Tensor, Tensor]:
        drawn = drawn_edges(edge_map(edges, maps, None), maps.mask, edge_config.network.line_threshold)
        merged = merged_edges(drawn, maps.background_edges, maps.mask)
        colour, opacity = paint.paint_over(*defect_input(maps.background, merged, maps.mask, maps.noise))
        smooth = torch.lerp(maps.background, colour, opacity)
        rough = np.stack([grain.drawn(stored, 0, SIDE_PX, rng(9, number, seed, place)) for place in range(len(smooth))])
        return tuple(paste(made, maps.background, maps.mask) for made in
                     ((smooth + opacity * torch.from_numpy(rough)).clamp(0, 1), smooth))

    judged = {name: Judged() for name in ("model 3", "model 3 without its grain", "copy-paste", "no defect")}
    again = {name: [Judged() for _ in range(SEEDS - 1)] for name in ("model 3", "copy-paste")}
    real = Judged()
    for number, maps in enumerate(unseen_maps(unseen, "box")):
        true = paste(maps.image, maps.background, maps.mask)
        made = (*drawn_by_model(maps, number, 0), copied_batch(copies, maps, number, 0), maps.background)
        for name, pictures in zip(judged, made):
            judged[name].add(pictures, true, maps.mask)
        real.add(true, true, maps.mask)
        for seed in range(1, SEEDS):
            noise = torch.from_numpy(rng(8, number, seed).random(maps.noise.shape, np.float32))
            again["model 3"][seed - 1].add(drawn_by_model(maps._replace(noise=noise), number, seed)[0], true, maps.mask)
            again["copy-paste"][seed - 1].add(copied_batch(copies, maps, number, seed), true, maps.mask)
    beside = {"model 3": f"{steps} steps, {minutes}", "copy-paste": "into the same boxes"}
    for name, found in judged.items():
        distance = found.distance(real)
        yield (f"fpc, {name} against the real defect: PSNR in the mask", f"{np.mean(found.psnr):.2f} dB",
               beside.get(name, ""))
        yield (f"fpc, {name}: kernel distance of defect crops [{EXTRACTOR}]",
               f"{1000 * distance.value:.2f} e-3", f"+- {1000 * distance.standard_error:.2f}, {len(found.crops)} crops")
    for name, others in again.items():
        yield (f"fpc, {name}: distance of {SEEDS} seeds in one place [{EXTRACTOR}]",
               f"{1000 * over_seeds([judged[name], *others]):.1f} e-3", "mean of all places; 0: every time the same")


EXTRACTOR = "scattering"
SEEDS = 3                               # of each place, for how different they are


class Judged:
    """Pictures of one way: PSNR in their masks, and a crop round each mask's part."""

    def __init__(self):
        self.psnr, self.crops = [], []

    def add(self, pictures: Tensor, true: Tensor, masks: Tensor) -> None:
        for one, wanted, mask in zip(pictures.clamp(0, 1), true, masks[:, 0] > 0):
            self.psnr.append(likeness(one, wanted, mask)["psnr_in_mask"])
            self.crops += defect_crops(images.to_pixels(one), mask.numpy())

    def distance(self, real: "Judged"):
        extract = extractor(EXTRACTOR)
        return kernel_distance(extract(real.crops), extract(self.crops))


def over_seeds(ways: list[Judged]) -> float:
    """The diversity of crops of the same places."""
    rows = extractor(EXTRACTOR)([crop for way in ways for crop in way.crops])
    return diversity(feature_distances(rows), list(range(len(ways[0].crops))) * len(ways)).value


def copied_batch(copies: CopyPaste, maps: Maps, number: int, seed: int) -> Tensor:
    return torch.stack([copied(copies, one, mask[0] > 0, number * 100 + place, seed)
                        for place, (one, mask) in enumerate(zip(maps.background, maps.mask))])


def copied(copies: CopyPaste, background: Tensor, mask: Tensor, number: int, seed: int = 0) -> Tensor:
    """The background with a copied defect in each part of the mask, without its margin: float32 [3, H, W]."""
    picture = background.clone()
    margin = MARGIN_PX
    label = next(iter(copies.bank.brightness))
    count, _, boxes, _ = cv2.connectedComponentsWithStats(mask.numpy().astype(np.uint8))
    for part, (x, y, width, height) in enumerate(boxes[1:count, :4].tolist()):
        box = (x + margin, y + margin, x + max(width - margin, margin + 1), y + max(height - margin, margin + 1))
        generated = copies.generate(Request(image=picture, box=box, label=label, rng=rng(7 + seed, number, part)))
        alpha = generated.alpha * torch.from_numpy(boxed([box], tuple(mask.shape), margin))
        picture = torch.lerp(picture, generated.image.float(), alpha.float())
    return picture
