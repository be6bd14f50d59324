"""What an evaluation of MIDG's models measures on held-out windows, and the contact sheet that it leaves."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from core.augment.labels import tight_mask
from core.data.images import to_pixels, write_image
from core.device import to_device
from core.metrics.edges import NONE, EdgeCounts, edge_counts
from core.metrics.image import l1, psnr, ssim
from core.visualise import grid, overlay

from .lines import drawn_edges
from .maps import Maps, edge_map, painted, to_maps

BATCH = 8
Counts = dict[int, EdgeCounts]          # by tolerance, px
NO_COUNTS: Counts = {0: NONE, 2: NONE}
PER_ROW = 2                     # items beside each other, as in the earlier sheets


def evaluate_edges(task, generator, folder: Path) -> dict[str, float]:
    """In-mask precision and recall at 0 and 2 px of what `generator` draws on the held-out windows, and a sheet."""
    config = task.config
    network, loss = getattr(config, "edge_network", config.network), getattr(config, "edge_loss", config.loss)
    counts, rows = NO_COUNTS, []
    for maps in batches(task.held_out, task.device):
        logits = edge_map(generator, maps, task.label(maps))
        drawn = drawn_edges(logits, maps.mask, network.line_threshold)
        counts = added(counts, drawn, maps, loss.threshold)
        rows += [edge_row(maps, logits.sigmoid(), drawn, number) for number in range(len(drawn))]
    write_sheet(folder, rows[:config.sheet.shown], ("image", "input", "true edges", "raw", "result"))
    return edge_figures(counts)


def batches(windows: list[dict[str, Tensor]], device: torch.device) -> Iterator[Maps]:
    for start in range(0, len(windows), BATCH):
        yield to_maps(to_device(default_collate(windows[start:start + BATCH]), device))


def added(counts: Counts, drawn: Tensor, maps: Maps, threshold: float) -> Counts:
    """`counts` with those of a batch of edges drawn in its masks, above `threshold` where they are soft."""
    return {tolerance: before + edge_counts(drawn, maps.edges, maps.mask, tolerance_px=tolerance, threshold=threshold)
            for tolerance, before in counts.items()}


def edge_figures(counts: Counts) -> dict[str, float]:
    return {f"edge_{name}_{tolerance}px": getattr(found, name)
            for tolerance, found in counts.items() for name in ("precision", "recall")}


def edge_row(maps: Maps, soft: Tensor, drawn: Tensor, number: int) -> list[np.ndarray]:
    mask, noise = maps.mask[number], maps.noise[number]
    seen = maps.grey[number] * (1 - mask) + noise * mask
    result = drawn[number] * mask + maps.background_edges[number] * (1 - mask)
    box = mask[0].bool().cpu().numpy()
    return [overlay(pixels(maps.image[number]), [box], fill=0), pixels(seen), pixels(maps.edges[number]),
            pixels(soft[number]), pixels(result)]


def evaluate_defects(task, generator, folder: Path) -> dict[str, float]:
    """PSNR, SSIM and L1, whole and in the mask, of what `generator` makes on the held-out windows, and a sheet."""
    values, rows = [], []
    for maps in batches(task.held_out, task.device):
        edges = task.edges_in_use(maps)
        raw = painted(generator, maps, edges, task.label(maps)).float().clamp(0, 1)
        made = raw * maps.mask + maps.background * (1 - maps.mask)
        wanted = maps.image * maps.mask + maps.background * (1 - maps.mask)
        for number in range(len(made)):
            values.append(likeness(made[number], wanted[number], maps.mask[number, 0].bool()))
            rows.append(defect_row(maps, edges, raw, made, number))
    write_sheet(folder, rows[:task.config.sheet.shown],
                ("image", "background", "edges", "painted", "result", "label"))
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def likeness(made: Tensor, true: Tensor, mask: Tensor) -> dict[str, float]:
    """PSNR (dB, at most 100), SSIM and L1 of one picture [3, H, W], whole and in its mask, bool [H, W]."""
    found = {name: (figure(made, true), figure(made, true, mask)) for name, figure in
             (("psnr", psnr), ("ssim", ssim), ("l1", l1))}
    return {f"{name}{where}": min(float(value), 100.0) for name, pair in found.items()
            for where, value in zip(("", "_in_mask"), pair)}


def defect_row(maps: Maps, edges: Tensor, raw: Tensor, made: Tensor, number: int) -> list[np.ndarray]:
    mask = maps.mask[number, 0].bool().cpu().numpy()
    clean, result = pixels(maps.background[number]), pixels(made[number])
    label = tight_mask(clean, result, mask.astype(np.float32))
    return [overlay(pixels(maps.image[number]), [mask], fill=0), clean, pixels(edges[number]), pixels(raw[number]),
            result, overlay(result, [label], fill=0.25)]


def pixels(picture: Tensor) -> np.ndarray:
    """RGB or one plane [C, H, W] as uint8 [H, W, 3]."""
    return to_pixels(picture.float().expand(3, -1, -1))


def write_sheet(folder: Path, rows: list[list[np.ndarray]], names: tuple[str, ...]) -> None:
    """folder/sheet.png: one row a window, or two windows beside each other where there are more than six."""
    if not rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    beside = PER_ROW if len(rows) > 6 else 1
    laid = [sum(rows[start:start + beside], []) for start in range(0, len(rows), beside)]
    write_image(folder / "sheet.png", grid(laid, column_labels=list(names) * beside))
