"""A frame of any size through a detector of tiles: background, tiles, detections, merging, with the time of each."""
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import Field, model_validator

from core.tiling import mirror, starts

from .foreground import Foreground, ForegroundConfig, foreground, reaches
from .merging import MergeConfig, Piece, Window, merge
from .products import Section

# Tiles, each uint8 [T, T, 3] -> the pieces found on each, placed on the tile. Masks come as crops.
Detector = Callable[[Sequence[np.ndarray]], Sequence[Sequence[Piece]]]


class FrameConfig(Section):
    """How a whole frame is looked at."""
    tile_px: int = Field(640, ge=16, description="side of a tile; that of the patches which were learned from")
    overlap_px: int = Field(160, ge=0, description="px that neighbours share at least; longer than most defects")
    batch: int = Field(8, ge=1, description="tiles a call")
    least_score: float = Field(0.3, ge=0, le=1, description="detections of lower score are dropped")
    most: int = Field(1000, ge=1, description="detections of a frame that are merged, those of the highest scores")
    foreground: ForegroundConfig = ForegroundConfig()
    merge: MergeConfig = MergeConfig()

    @model_validator(mode="after")
    def _tiles_advance(self) -> "FrameConfig":
        if self.overlap_px >= self.tile_px:
            raise ValueError(f"'overlap_px' must be below 'tile_px' {self.tile_px}, got {self.overlap_px}")
        return self


@dataclass(frozen=True)
class Frame:
    """What was found on a frame: `defects` placed on it, `windows` of the tiles looked at, `seconds` by stage."""
    defects: tuple[Piece, ...]
    part: Foreground
    windows: tuple[Window, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """That of the surest defect; 0 without any."""
        return max((piece.score for piece in self.defects), default=0.0)


def inspect(pixels: np.ndarray, detector: Detector, config: FrameConfig,
            wanted: Callable[[Window], bool] = lambda window: True) -> Frame:
    """Find the defects on a frame, uint8 or uint16 [H, W, 3]. One smaller than a tile is continued by reflection.

    wanted  which of the tiles with something of the part are looked at
    """
    clock, seconds = time.perf_counter(), {}

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage] = round(now - clock, 4)
        clock = now
    part = foreground(pixels, config.foreground)
    lap("foreground")
    windows = [window for window in windows_on(part, pixels.shape[1::-1], config) if wanted(window)]
    pieces = _found(pixels, windows, detector, config)
    lap("detect")
    seen = [_visible(window, pixels.shape) for window in windows]
    kept = [piece for piece in pieces if reaches(part, piece.crop, piece.x, piece.y, config.foreground.least_share)]
    kept = sorted(kept, key=lambda piece: -piece.score)[:config.most]
    defects = merge(kept, seen, config.merge) if kept else []
    lap("merge")
    return Frame(tuple(defects), part, tuple(seen), seconds)


def tile_windows(size: tuple[int, int], config: FrameConfig) -> list[Window]:
    """Tiles over a frame of (width, height), evenly spread; they reach beyond a frame that is smaller than one."""
    columns, rows = (starts(length, config.tile_px, config.overlap_px) for length in size)
    return [(x, y, config.tile_px, config.tile_px) for y in rows for x in columns]


def windows_on(part: Foreground, size: tuple[int, int], config: FrameConfig) -> list[Window]:
    """The tiles that hold something of the part."""
    return [window for window in tile_windows(size, config) if _holds(part, window, config)]


def _holds(part: Foreground, window: Window, config: FrameConfig) -> bool:
    x, y, width, height = window
    seen = part.mask[y:y + height, x:x + width]
    return np.count_nonzero(seen) >= max(1, config.foreground.tile_share * seen.size)


def _found(pixels: np.ndarray, windows: Sequence[Window], detector: Detector, config: FrameConfig) -> list[Piece]:
    """The pieces of all tiles, on the frame, cut at its border."""
    found = []
    for start in range(0, len(windows), config.batch):
        now = windows[start:start + config.batch]
        for number, (window, pieces) in enumerate(zip(now, detector([tile_of(pixels, w) for w in now])), start):
            found += [placed for piece in pieces if piece.score >= config.least_score
                      and (placed := _placed(piece, window, number, pixels.shape)) is not None]
    return found


def tile_of(pixels: np.ndarray, window: Window) -> np.ndarray:
    """A tile's pixels [height, width, 3], continued by reflection where it reaches beyond the frame."""
    x, y, width, height = window
    tile = pixels[y:y + height, x:x + width]
    if tile.shape[:2] == (height, width):
        return np.ascontiguousarray(tile)
    rows, columns = (mirror(have, want).numpy() for have, want in zip(tile.shape, (height, width)))
    return tile[rows][:, columns]


def _placed(piece: Piece, window: Window, number: int, shape: tuple[int, ...]) -> Piece | None:
    x, y = piece.x + window[0], piece.y + window[1]
    crop = piece.crop[:max(shape[0] - y, 0), :max(shape[1] - x, 0)]
    return replace(piece, crop=crop, x=x, y=y, tile=number) if crop.any() else None


def _visible(window: Window, shape: tuple[int, ...]) -> Window:
    x, y, width, height = window
    return x, y, min(width, shape[1] - x), min(height, shape[0] - y)
