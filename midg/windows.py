"""Windows of the scenes, drawn by (seed, draw) in training and fixed for an evaluation."""
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.seeding import rng

from .data import BACKGROUND_EDGES, DEFECT, EDGES, OTHER, Scene, Scenes, boxed, grown
from .settings import DataConfig

OTHER_MARGIN_PX = 3             # what lies this near to a defect that stays is taken from the image too
HELD_OUT = 2**40 + 7            # stream of numbers of the windows that are evaluated


class Windows(Dataset):
    """Windows round the defects, indexed by (index, draw): where, how large a mask, how turned, and noise are drawn.

    A sample is a dict of uint8 tensors `image` and `background` [3, S, S], `edges`, `background_edges`, `mask` (0 or 1)
    and `noise` (0..255) [1, S, S], of `label` (int64) and `chance` (float32, uniform in 0..1).
    """

    def __init__(self, scenes: Scenes, config: DataConfig, seed: int):
        self.scenes, self.config, self.seed = scenes, config, seed

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index_and_draw: tuple[int, int]) -> dict[str, Tensor]:
        index, draw = index_and_draw
        return sample(self.scenes, self.scenes.scenes[index], self.config, rng(self.seed, draw), still=False)


def held_out_windows(scenes: Scenes, config: DataConfig, count: int) -> list[dict[str, Tensor]]:
    """One window of each of `count` scenes, spread over all, in its middle: the same at every evaluation."""
    chosen = np.unique(np.linspace(0, len(scenes) - 1, min(count, len(scenes))).round().astype(int)).tolist()
    return [sample(scenes, scenes.scenes[index], config, rng(HELD_OUT, index), still=True) for index in chosen]


def sample(scenes: Scenes, scene: Scene, config: DataConfig, draw: np.random.Generator, *, still: bool,
           ) -> dict[str, Any]:
    """One window. `still`: in the middle, not turned, with the mean margin."""
    side = config.size_px
    margin = sum(config.margin_px) // 2 if still else int(draw.integers(config.margin_px[0], config.margin_px[1] + 1))
    shape_chance, noise_seed, chance = draw.random(3)
    x, y = (corner(scene.box[axis], scene.box[axis + 2], length, side, margin, None if still else draw)
            for axis, length in ((0, scene.width), (1, scene.height)))
    planes = scenes.planes(scene)[:, y:y + side, x:x + side]
    flags = planes[6]
    of_shape = config.masks == "shape" or config.masks == "mixed" and shape_chance < 0.5
    boxes = [(x1 - x, y1 - y, x2 - x, y2 - y) for x1, y1, x2, y2 in scene.boxes]
    mask = grown(flags & DEFECT > 0, margin) if of_shape else boxed(boxes, flags.shape, margin)
    other = grown(flags & OTHER > 0, OTHER_MARGIN_PX) & ~mask
    background = np.where(other, planes[:3], planes[3:6])
    background_edges = np.where(other, flags & EDGES > 0, flags & BACKGROUND_EDGES > 0)
    maps = np.concatenate([planes[:3], background, (flags & EDGES > 0)[None], background_edges[None], mask[None]])
    if config.turns and not still:
        maps = turned(maps, int(draw.integers(8)))
    if config.colours == "permuted" and not still and draw.random() < 0.5:
        order = draw.permutation(3)
        maps = np.concatenate([maps[:3][order], maps[3:6][order], maps[6:]])
    noise = draw.integers(0, 256, (1, side, side), np.uint8)
    maps = torch.from_numpy(np.ascontiguousarray(maps.astype(np.uint8, copy=False)))
    return {"image": maps[:3], "background": maps[3:6], "edges": maps[6:7], "background_edges": maps[7:8],
            "mask": maps[8:9], "noise": torch.from_numpy(noise), "label": torch.tensor(scene.label),
            "chance": torch.tensor(chance, dtype=torch.float32)}


def corner(low: int, high: int, length: int, side: int, margin: int, draw: np.random.Generator | None) -> int:
    """Where a window begins that shows low..high with its margin, if it can; in the middle where nothing is drawn."""
    first, last = max(high + margin - side, 0), min(low - margin, length - side)
    if first > last or draw is None:
        return min(max((low + high - side) // 2, 0), length - side)
    return int(draw.integers(first, last + 1))


def turned(maps: np.ndarray, turn: int) -> np.ndarray:
    """[C, S, S] turned by `turn` % 4 quarters, and mirrored from 4 on."""
    return np.rot90(maps[:, :, ::-1] if turn >= 4 else maps, turn % 4, (1, 2))
