"""Anomaly screening first, Mask R-CNN on what it flags: one verdict with its reason, and what that saves and misses.

| the screen      | Mask R-CNN on the flagged tiles | verdict                                     |
|-----------------|---------------------------------|---------------------------------------------|
| flags no tile   | is not asked                    | good                                        |
| flags some      | finds defects                   | defect, or what the rework rules say        |
| flags some      | finds nothing                   | review: never good, for something is unlike |

What rework rules say of the part itself, such as its outline, counts without any defect too: the worse verdict wins.
Mode "or" asks Mask R-CNN about every tile: either of the two may reject, nothing is saved.
"""
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from core.data.images import read_image, write_bytes
from core.data.records import Record
from core.errors import CheckpointError
from core.metrics.decisions import ThresholdConfig, choose_threshold, decide, wilson
from core.progress import Progress

from .anomaly import fingerprint
from .apply import Inspected, Inspector
from .apply import load as load_inspector
from .data import LEAST_PX, defect_mask, open_data
from .fullimage import tile_windows
from .history import read_number
from .merging import Window
from .rework import ORDER
from .screen import Screened
from .screen import load as load_screen

WAYS = ("detector", "screen", "hybrid")
RECALL = 0.995              # of the tiles with a defect that the screen must flag on val
Screen = Callable[[np.ndarray], Screened]


@dataclass(frozen=True)
class Hybrid:
    """Judges images uint8 or uint16 [H, W, 3] by a screen and a detector.

    limit   of the screen's map: a tile that reaches it is flagged
    """
    screen: Screen
    inspector: Inspector
    limit: float
    mode: Literal["screen", "or"] = "screen"

    def __call__(self, pixels: np.ndarray) -> Inspected:
        began = time.perf_counter()
        screened = self.screen(pixels)
        seconds = round(time.perf_counter() - began, 4)
        tiles = tile_windows(pixels.shape[1::-1], self.inspector.config.frame)
        flagged = {tile for tile in tiles if highest(screened.map, tile) >= self.limit}
        said = self.inspector(pixels, (lambda tile: True) if self.mode == "or" else flagged.__contains__)
        said = replace(said, frame=replace(said.frame, seconds={"screen": seconds, **said.frame.seconds}),
                       beside={**said.beside, "screen": {"score": screened.score, "limit": self.limit,
                                                         "tiles": len(tiles), "flagged": len(flagged)}})
        unlike = f"{len(flagged)} of {len(tiles)} tiles unlike good parts"
        if said.pieces or ORDER.index(said.verdict) > ORDER.index("review" if flagged else "good"):
            return replace(said, reason="; ".join(filter(None, (said.reason, unlike))))
        if flagged:
            return replace(said, verdict="review", rule="screen", reason=f"{unlike}, but no defect was named")
        return replace(said, verdict="good", rule="screen", reason="no tile unlike good parts")

    @property
    def identity(self) -> str:
        """Equal where everything is that a verdict depends on; of a screen that was loaded."""
        said = [self.inspector.identity, fingerprint(self.screen.model), self.screen.config.data.model_dump_json(),
                self.screen.config.model.model_dump_json(), repr(self.limit), self.mode]
        return hashlib.sha256("|".join(said).encode()).hexdigest()[:16]


def load(detector: Path, screen: Path, overrides: Sequence[str], device: torch.device, *, rules: Path | None = None,
         mode: Literal["screen", "or"] = "screen", limit: Path | None = None) -> Hybrid:
    """The two of a product: a run or a file of the detector, and a run of the screen.

    overrides   of the detector's config
    limit       a file that `save_limit` wrote; without one the screen's own pixel threshold counts
    """
    if not (screen / "config.yaml").is_file():
        raise CheckpointError(f"{screen}: no screen of this product. Train one with train.py --model anomaly --product "
                              f"{screen.parents[1].name}, or leave --hybrid out")
    inspector, screened = load_inspector(detector, overrides, device, rules), load_screen(screen, (), device)
    kept = limit is not None and limit.is_file()
    return Hybrid(screened, inspector, read_number(limit, "limit") if kept else screened.limits.pixel, mode)


def save_limit(path: Path, limit: float) -> None:
    write_bytes(path, (json.dumps({"limit": limit, "recall": RECALL}) + "\n").encode())


def measure(hybrid: Hybrid, source: Path, product: Path, limit: Path) -> dict[str, float]:
    """`compare` on the product's test images, with the limit that is chosen on val and kept in the file `limit`."""
    kept = source / "splits.json" if source.is_dir() else None
    data = hybrid.inspector.config.data.model_copy(update={"root": product})
    dataset, _ = open_data(data, kept)
    chosen = choose_limit(hybrid.screen, hybrid.inspector, dataset.of_split("val"))
    save_limit(limit, chosen)
    return {"limit": chosen, **compare(replace(hybrid, limit=chosen), dataset.of_split("test"))}


def highest(found: np.ndarray, window: Window) -> float:
    """The largest value of a map within a tile."""
    x, y, width, height = window
    return float(found[y:y + height, x:x + width].max())


def choose_limit(screen: Screen, inspector: Inspector, records: Sequence[Record], recall: float = RECALL) -> float:
    """The highest limit at which that share of the tiles that hold a defect is flagged. DataError: there is none."""
    values, truth = [], []
    with Progress(len(records), "images screened") as progress:
        for record in records:
            found = screen(read_image(record.image)).map
            mask = defect_mask(record)
            for x, y, width, height in tile_windows(record.size, inspector.config.frame):
                values.append(highest(found, (x, y, width, height)))
                truth.append(np.count_nonzero(mask[y:y + height, x:x + width]) >= LEAST_PX)
            progress.step()
    return choose_threshold(values, truth, ThresholdConfig(rule="recall", recall=recall))


def compare(hybrid: Hybrid, records: Sequence[Record]) -> dict[str, float]:
    """The hybrid against each of its parts alone on labelled images, by name:

    WAY/escape, WAY/overkill with _low and _high, WAY/seconds an image; WAY is detector, screen or hybrid
    hybrid/review           share of the images that a person has to look at; they count as rejected
    hybrid/tiles_skipped    share of the tiles that Mask R-CNN was not asked about
    hybrid/lost_by_screen   defective images that the detector alone rejects and the hybrid passes
    hybrid/time_saved       of the detector's time alone; negative where the screen costs more than it saves
    """
    bad, verdicts, seconds = [], {way: [] for way in WAYS}, dict.fromkeys(WAYS, 0.0)
    tiles = flagged = reviews = 0
    with Progress(len(records), "images") as progress:
        for record in records:
            pixels = read_image(record.image)
            alone, both = hybrid.inspector(pixels), hybrid(pixels)
            told = both.beside["screen"]
            bad.append(not record.is_good)
            for way, rejected in (("detector", alone.verdict != "good"), ("screen", told["flagged"] > 0),
                                  ("hybrid", both.verdict != "good")):
                verdicts[way].append(float(rejected))
            seconds["detector"] += sum(alone.frame.seconds.values())
            seconds["screen"] += both.frame.seconds["screen"]
            seconds["hybrid"] += sum(both.frame.seconds.values())
            tiles, flagged = tiles + told["tiles"], flagged + told["flagged"]
            reviews += both.verdict == "review"
            progress.step()
    figures: dict[str, float] = {}
    for way in WAYS:
        counts = decide(verdicts[way], bad, 0.5)
        for name, count, total in (("escape", counts.miss, counts.hit + counts.miss),
                                   ("overkill", counts.false, counts.false + counts.passed)):
            if total:
                figures[f"{way}/{name}"] = count / total
                figures[f"{way}/{name}_low"], figures[f"{way}/{name}_high"] = wilson(count, total)
        figures[f"{way}/seconds"] = seconds[way] / len(records)
    lost = sum(wrong and one > 0 and not both for wrong, one, both in zip(bad, verdicts["detector"],
                                                                         verdicts["hybrid"]))
    if seconds["detector"]:                 # 0: less than the clock tells
        figures["hybrid/time_saved"] = 1 - seconds["hybrid"] / seconds["detector"]
    return {**figures, "hybrid/review": reviews / len(records), "hybrid/tiles_skipped": 1 - flagged / tiles,
            "hybrid/lost_by_screen": float(lost)}

