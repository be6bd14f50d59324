"""What an evaluation of MIDG's models measures on held-out windows, and the contact sheet that it leaves."""
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from core.augment.labels import tight_mask
from core.data.images import to_pixels, write_image
from core.device import to_device
from core.metrics.edges import NONE, edge_counts
from core.metrics.image import l1, psnr, ssim
from core.visualise import grid, overlay

from .lines import drawn_edges
from .maps import Maps, edge_map, painted, to_maps

BATCH = 8
TOLERANCES_PX = (0, 2)
PER_ROW = 2                     # items beside each other, as in the earlier sheets


def batches(task) -> list[Maps]:
    items = task.held_out
    return [to_maps(to_device(default_collate(items[start:start + BATCH]), task.device))
            for start in range(0, len(items), BATCH)]


def evaluate_edges(task, generator, folder: Path) -> dict[str, float]:
    """In-mask precision and recall at 0 and 2 px of what `generator` draws on the held-out windows, and a sheet."""
    config = task.config
    network = getattr(config, "edge_network", config.network)
    threshold = getattr(config, "edge_loss", config.loss).threshold
    counts, rows = dict.fromkeys(TOLERANCES_PX, NONE), []
    for maps in batches(task):
        logits = edge_map(generator, maps, task.label(maps))
        drawn = drawn_edges(logits, maps.mask, network.line_threshold)
        for tolerance in TOLERANCES_PX:
            counts[tolerance] += edge_counts(drawn, maps.edges, maps.mask, tolerance_px=tolerance, threshold=threshold)
        rows += [edge_row(maps, logits.sigmoid(), drawn, number) for number in range(len(drawn))]
    write_sheet(folder, rows[:config.sheet.shown], ("image", "input", "true edges", "raw", "result"))
    return {f"edge_{name}_{tolerance}px": getattr(counts[tolerance], name)
            for tolerance in TOLERANCES_PX for name in ("precision", "recall")}


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
    for maps in batches(task):
        edges = task.edges_in_use(maps)
        raw = painted(generator, maps, edges, task.label(maps)).float().clamp(0, 1)
        made = raw * maps.mask + maps.background * (1 - maps.mask)
        wanted = maps.image * maps.mask + maps.background * (1 - maps.mask)
        for number in range(len(made)):
            one, true, mask = made[number], wanted[number], maps.mask[number, 0].bool()
            values.append([psnr(one, true), psnr(one, true, mask), ssim(one, true), ssim(one, true, mask),
                           l1(one, true), l1(one, true, mask)])
            rows.append(defect_row(maps, edges, raw, made, number))
    write_sheet(folder, rows[:task.config.sheet.shown],
                ("image", "background", "edges", "painted", "result", "label"))
    names = [f"{name}{where}" for name in ("psnr", "ssim", "l1") for where in ("", "_in_mask")]
    means = np.mean(np.minimum(values, 100), axis=0)
    return dict(zip(names, means.tolist()))


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
