"""Fingerprints of image files: which are the same file, which show nearly the same picture."""
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .images import read_image

NEAR_BITS = 4               # two hashes of 64 bits are near where at most so many differ
NEAR_TEXTURE = 0.5          # and the pictures are where their textures also correlate at least so much

Pairs = tuple[np.ndarray, np.ndarray]

_SIDE_PX, _BAND = 128, 40   # the texture's thumbnail, and the highest spatial frequency kept, in cycles a picture


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What is compared of one image file.

    sha256   hexadecimal digest of the file's bytes
    phash    64-bit perceptual hash: the signs of the picture's lowest frequencies
    texture  float16 [6560], of length 1, or all zero for a picture without any texture: see `texture`
    """
    sha256: str
    phash: int
    texture: np.ndarray


def fingerprint(path: Path, pixels: np.ndarray | None = None) -> Fingerprint:
    """Fingerprint one file; `pixels` [H, W, 3] are its decoded pixels where they are at hand. DataError: unreadable."""
    grey = _grey(read_image(path) if pixels is None else pixels)
    return Fingerprint(sha256=sha256(path), phash=perceptual_hash(grey), texture=texture(grey))


def fingerprints(paths: Iterable[Path], workers: int | None = None) -> dict[Path, Fingerprint]:
    """Fingerprint files, each path once, in threads."""
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        return dict(zip(distinct, pool.map(fingerprint, distinct)))


def near_duplicates(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of different files that show nearly the same picture, sorted.

    The hash alone joins unrelated pictures of one camera set-up (different places of one spindle, good parts in one
    fixture), because it sees light and outline only. So the fine textures must agree as well.
    """
    return sorted((int(i), int(j)) for rows, columns in _with_near_hashes(prints)
                  for i, j in zip(*_by_texture(prints, rows, columns)[0]) if prints[i].sha256 != prints[j].sha256)


def look_alikes(prints: Sequence[Fingerprint], groups: Sequence[str], examples: int,
                ) -> tuple[int, list[tuple[int, int]]]:
    """Count the pairs of different groups with near hashes and other textures, and return the first few, sorted.

    One object photographed twice looks so, and so do two parts in one fixture: only a person can tell.
    """
    _, numbers = np.unique(np.array(list(groups)), return_inverse=True)
    count, first = 0, []
    for rows, columns in _with_near_hashes(prints):
        apart = numbers[rows] != numbers[columns]
        rows, columns = _by_texture(prints, rows[apart], columns[apart])[1]
        count += len(rows)
        first = sorted(first + list(zip(rows.tolist(), columns.tolist()))[:examples])[:examples]
    return count, first


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def perceptual_hash(grey: np.ndarray) -> int:
    """64-bit hash of a grey picture [H, W]: which of the 8x8 lowest DCT coefficients of 32x32 px exceed the median."""
    small = cv2.resize(grey.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
    lowest = cv2.dct(small)[:8, :8].ravel()
    bits = lowest > np.median(lowest[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def texture(grey: np.ndarray) -> np.ndarray:
    """The phases of the spatial frequencies of a grey picture [H, W], all of one weight, float16 [6560].

    Equal weights (phase-only correlation) let fine texture count as much as the large bright edges that pictures of
    one set-up share. The dot product of two is about 1 for the same picture, 0 for unrelated ones.
    """
    small = cv2.resize(grey.astype(np.float32), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    small -= small.mean()
    if np.abs(small).max() < 0.5:                           # less than half a grey level anywhere: nothing to compare
        return np.zeros(2 * (((2 * _BAND + 1) ** 2) // 2), np.float16)
    window = np.hanning(_SIDE_PX + 1)[:_SIDE_PX]
    spectrum = np.fft.fftshift(np.fft.fft2(small * np.outer(window, window)))
    middle = _SIDE_PX // 2
    kept = spectrum[middle - _BAND:middle + _BAND + 1, middle - _BAND:middle + _BAND + 1].ravel()
    kept = kept[:len(kept) // 2]                            # the other half is its mirror image
    phases = kept / (np.abs(kept) + 1e-6) / np.sqrt(len(kept))
    return np.concatenate([phases.real, phases.imag]).astype(np.float16)


def _with_near_hashes(prints: Sequence[Fingerprint]) -> Iterator[Pairs]:
    """The pairs (i, j), i < j, with near hashes, as index arrays, some rows at a time."""
    hashes = np.array([one.phash for one in prints], np.uint64)
    for start in range(0, len(prints), 256):
        distance = np.bitwise_count(hashes[start:start + 256, None] ^ hashes[None])
        rows, columns = np.nonzero(distance <= NEAR_BITS)
        later = columns > rows + start
        if later.any():
            yield rows[later] + start, columns[later]


def _by_texture(prints: Sequence[Fingerprint], rows: np.ndarray, columns: np.ndarray) -> tuple[Pairs, Pairs]:
    """Part pairs into those whose textures agree and the others."""
    if not len(rows):
        return (rows, columns), (rows, columns)
    first, row_at = np.unique(rows, return_inverse=True)
    second, column_at = np.unique(columns, return_inverse=True)
    likeness = _textures(prints, first) @ _textures(prints, second).T
    agree = likeness[row_at, column_at] >= NEAR_TEXTURE
    return (rows[agree], columns[agree]), (rows[~agree], columns[~agree])


def _textures(prints: Sequence[Fingerprint], which: np.ndarray) -> np.ndarray:
    return np.stack([prints[i].texture for i in which]).astype(np.float32)


def _grey(pixels: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32) / 257 if pixels.dtype == np.uint16 else grey
