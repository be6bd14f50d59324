"""Takes defects out of pictures by their masks: the contract of `iopaint run`, with a choice of engines."""
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from core import device as devices
from core.data.hashing import sha256
from core.data.images import is_image, read_image, write_image
from core.errors import ConfigError, DataError, OutputError, did_you_mean
from core.files import writing
from core.progress import Progress

from . import exemplar, lama
from .legacy_lists import read_list, stems
from .mask_files import WHITE_FROM, misfit, read_marked

ENGINES = {
    "lama": "LaMa's TorchScript file, big-lama.pt, run here",
    "iopaint": "the same file through the iopaint command, in its own environment (make iopaint)",
    "patch": "material of the same picture that fits best; no weights",
    "telea": "OpenCV: colours run in from the border, along the fastest path; no weights",
    "ns": "OpenCV: colours run in from the border, as a fluid; no weights",
}
DEFAULT_ENGINE = "patch"        # the best without weights on the FPC images, in figures and to the eye
RADIUS_PX = 3
SHOWN = 5

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pair:
    image: Path
    mask: Path


def inpaint_files(images: Path, masks: Path, output: Path, *, engine: str = DEFAULT_ENGINE, device: str = "cpu",
                  model: str | Path | None = None, overwrite: bool = False) -> tuple[int, list[str]]:
    """Fill the holes of all images and write `output`/<stem>.png; return their number, and notes.

    images, masks   folder, image, or list with one path a line. Files are paired by stem; a single mask file serves
                    all images. An image without a mask is skipped with a note
    model           for lama and iopaint: see `lama.model_file`
    DataError: unreadable files, a mask of another shape than its image, no pair at all. OutputError: files in the way.
    """
    fill = filler(engine, model, device)
    pairs, notes = pair_files(images, masks)
    _check_sizes(pairs)
    _check_output(output, pairs, overwrite)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if engine == "iopaint":
        fill = _all_at_once(pairs, model, device)
    with Progress(len(pairs), "images") as progress:
        for pair in pairs:
            image, hole = _read(pair)
            if not hole.any():
                notes.append(f"{pair.mask}: nothing to fill, no pixel is {WHITE_FROM} or brighter; {pair.image.name} "
                             "is copied")
            write_image(output / f"{pair.image.stem}.png", inpaint(image, hole, fill))
            progress.step()
    return len(pairs), notes


def filler(engine: str = DEFAULT_ENGINE, model: str | Path | None = None, device: str = "cpu") -> Fill:
    """`fill(image, hole)` of an engine: uint8 [H, W, 3] and bool [H, W] -> uint8, meant to be used inside the hole."""
    if engine not in ENGINES:
        raise ConfigError(f"--engine: no such way to fill, got '{engine}'. {did_you_mean(engine, ENGINES)}"
                          f"Choose {', '.join(ENGINES)}")
    if engine == "patch":
        return exemplar.fill
    if engine in ("telea", "ns"):
        method = cv2.INPAINT_TELEA if engine == "telea" else cv2.INPAINT_NS
        return lambda image, hole: cv2.inpaint(image, hole.astype(np.uint8), RADIUS_PX, method)
    chosen = devices.choose(device)
    if engine == "iopaint":
        lama.iopaint_command()
        path = lama.model_file(model)
        return lambda image, hole: next(lama.through_iopaint([(image, hole)], path, chosen.type))
    return lama.fill_with(lama.load(lama.model_file(model), chosen), chosen)


def model_hash(engine: str, model: str | Path | None = None) -> bytes:
    """The SHA-256 of the file that an engine's network is in; nothing for an engine without one."""
    if engine not in ("lama", "iopaint"):
        return b""
    path = lama.model_file(model)
    return _hash_of(path, path.stat().st_mtime_ns).encode()


@cache
def _hash_of(path: Path, changed_ns: int) -> str:
    return sha256(path)


def inpaint(image: np.ndarray, hole: np.ndarray, fill: Fill) -> np.ndarray:
    """uint8 or uint16 [H, W, 3] with its hole (bool [H, W]) filled; every other pixel is the same."""
    return composite(image, hole, fill(_as_8_bit(image), hole)) if hole.any() else image.copy()


def composite(image: np.ndarray, hole: np.ndarray, filling: np.ndarray) -> np.ndarray:
    """The image with the filling (uint8) in the hole; in an image of 16 bits that has 256 levels."""
    deep = filling.astype(image.dtype) * (257 if image.dtype == np.uint16 else 1)
    return np.where(hole[..., None], deep, image)


def pair_files(images: Path, masks: Path) -> tuple[list[Pair], list[str]]:
    """Images with their masks, in the images' order, and notes on those without a partner."""
    by_stem, mask_of = stems("image", read_list(images)), stems("mask", read_list(masks))
    if is_image(masks) and masks.is_file():
        return [Pair(image, masks) for image in by_stem.values()], []
    pairs = [Pair(image, mask_of[stem]) for stem, image in by_stem.items() if stem in mask_of]
    if not pairs:
        raise DataError(f"{masks}: no mask has the name of an image, got {_few(mask_of)} for {_few(by_stem)}. Give "
                        "masks the images' names, or a single mask file for all")
    notes = [f"{len(alone)} {what}: {_few(alone)}" for what, alone in (
        ("images have no mask and are skipped", [stem for stem in by_stem if stem not in mask_of]),
        ("masks have no image", [stem for stem in mask_of if stem not in by_stem])) if alone]
    return pairs, notes


def read_hole(pair: Pair) -> np.ndarray:
    """bool [H, W] of the image's size: where the mask is 127 or brighter. Colour counts by its brightness."""
    hole = read_marked(pair.mask, pair.image)
    if hole.all():
        raise DataError(f"{pair.mask}: the mask covers the whole picture, got nothing to fill it from. Mark only the "
                        "defect")
    return hole


def _all_at_once(pairs: list[Pair], model: str | Path | None, device: str) -> Fill:
    """iopaint's fillings in the order of the pairs, from one run, since its start takes long."""
    cases = ((_as_8_bit(image), hole) for image, hole in map(_read, pairs) if hole.any())
    fillings = lama.through_iopaint(cases, lama.model_file(model), devices.choose(device).type)
    return lambda image, hole: next(fillings)


def _read(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    return read_image(pair.image), read_hole(pair)


def _as_8_bit(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else (image / 257).round().astype(np.uint8)


def _check_sizes(pairs: list[Pair]) -> None:
    """DataError names all masks of another shape than their image."""
    problems = [problem for pair in pairs if (problem := misfit(pair.mask, pair.image))]
    if problems:
        rest = len(problems) - SHOWN
        raise DataError("\n".join(problems[:SHOWN]) + (f"\nand {rest} more such masks" if rest > 0 else ""))


def _check_output(output: Path, pairs: list[Pair], overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: not a folder, got a file. Choose another output")
    if any(output.resolve() == path.resolve().parent for pair in pairs for path in (pair.image, pair.mask)):
        raise OutputError(f"{output}: holds the images or masks that are read, got it as output. Choose another folder")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise OutputError(f"{output}: the output folder has files in it, got {_few(p.name for p in output.iterdir())}. "
                          "Choose an empty folder or say --overwrite")


def _few(names) -> str:
    names = sorted(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
