"""Noise fixed to a frame: any window of it sees its own part, whichever windows are drawn and in whatever order."""
import functools

import cv2
import numpy as np

from core.seeding import rng

CELL_PX = 128           # white noise is made in cells of this size, each from its own stream
COARSE_PX = 32          # grid of the slowly varying fields
KEPT_CELLS = 128        # 8 MiB: those of one patch, whose defects look at them again

Window = tuple[int, int, int, int]      # x, y, w, h in px of the frame; it may reach beyond the frame


def white(key: int, channel: int, window: Window) -> np.ndarray:
    """White noise of deviation 1, float32 [H, W]; `key` and `channel` name the field."""
    x0, y0, w, h = window
    field = np.empty((h, w), np.float32)
    for row in range(y0 // CELL_PX, (y0 + h - 1) // CELL_PX + 1):
        for col in range(x0 // CELL_PX, (x0 + w - 1) // CELL_PX + 1):
            top, left = row * CELL_PX - y0, col * CELL_PX - x0
            rows, cols = slice(max(top, 0), min(top + CELL_PX, h)), slice(max(left, 0), min(left + CELL_PX, w))
            field[rows, cols] = _cell(key, channel, row, col)[rows.start - top:rows.stop - top,
                                                              cols.start - left:cols.stop - left]
    return field


def slow(key: int, channel: int, window: Window, frame: tuple[int, int], sigma_cells: float) -> np.ndarray:
    """A slowly varying field of deviation about 1, float32 [H, W]; `sigma_cells` in cells of COARSE_PX."""
    place = np.array([[1 / COARSE_PX, 0, 6 + window[0] / COARSE_PX], [0, 1 / COARSE_PX, 6 + window[1] / COARSE_PX]])
    return cv2.warpAffine(_grid(key, channel, frame, sigma_cells), place, window[2:],
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)


@functools.lru_cache(KEPT_CELLS)
def _cell(key: int, channel: int, row: int, col: int) -> np.ndarray:
    return rng(key, channel, row + 64, col + 64).standard_normal((CELL_PX, CELL_PX), np.float32)


@functools.lru_cache(8)
def _grid(key: int, channel: int, frame: tuple[int, int], sigma_cells: float) -> np.ndarray:
    cols, rows = (length // COARSE_PX + 12 for length in frame)
    grid = rng(key, channel).standard_normal((rows, cols), np.float32)
    return cv2.GaussianBlur(grid, (0, 0), sigma_cells) * np.float32(3.5 * sigma_cells)
