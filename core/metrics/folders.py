"""Two folders of pictures compared, the true ones and the made ones: pairs by stem, figures a pair, figures of all."""
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.feature import canny

from ..data.formats.reading import stem
from ..data.images import is_grey, is_image, read_image, read_light
from ..errors import ConfigError, DataError
from .edges import NONE, EdgeCounts, edge_counts
from .image import GREY, Picture, l1, psnr, ssim

SHOWN_NAMES = 5
SPELLINGS = {"result": ("results",), "results": ("result",), "dataset": ("datasets",), "datasets": ("dataset",),
             "kind": ("kinds",), "kinds": ("kind",)}
WHITE_ABOVE = 127
TOLERANCES_PX = (0, 2)
FIGURES = {"psnr": "PSNR, dB", "ssim": "SSIM", "l1": "L1, 0..1"}
LEGACY_FIGURES = {"psnr": "PSNR of grey, dB", "ssim": "SSIM of grey, 51 px", "mae": "MAE of grey, relative"}


@dataclass(frozen=True)
class Pair:
    """Files of one stem; `mask` may be None."""
    name: str
    true: Path
    made: Path
    mask: Path | None = None

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(true, made, mask): pixels [H, W, 3] and bool [H, W]. DataError names a file of another size, empty masks."""
        true, made = read_image(self.true), read_image(self.made)
        self._same_size(self.made, made, true)
        if self.mask is None:
            return true, made, None
        mask = read_light(self.mask) > WHITE_ABOVE
        self._same_size(self.mask, mask, true)
        if not mask.any():
            raise DataError(f"{self.mask}: an empty mask, got no white pixel. Mark the defect, or take the picture out")
        return true, made, mask

    def _same_size(self, path: Path, values: np.ndarray, true: np.ndarray) -> None:
        if values.shape[:2] != true.shape[:2]:
            raise DataError(f"{path}: of another size than {self.true.name}, got {values.shape[1]}x{values.shape[0]} "
                            f"for {true.shape[1]}x{true.shape[0]} px. Compare pictures of one size")


def find_pairs(data: Path, output: Path, mask: Path | None = None, *, partial: bool = False) -> list[Pair]:
    """Pairs of true pictures in `data` and made ones in `output`, with their masks, by stem and in its order.

    DataError names what has no partner; with `partial` true and made pictures without one are passed over.
    """
    true, made = _by_stem(data), _by_stem(output)
    masks = _by_stem(mask) if mask else {}
    common = sorted(true.keys() & made.keys())
    if not partial:
        _complete(true.keys() - made.keys(), output, f"no made picture for {{}} of {data}")
        _complete(made.keys() - true.keys(), data, f"no true picture for {{}} of {output}")
    if not common:
        raise DataError(f"{output}: nothing to compare with {data}, got no common name. Made pictures have their true "
                        "picture's name")
    if mask:
        _complete(set(common) - masks.keys(), mask, f"no mask for {{}} of {data}")
    return [Pair(name, true[name], made[name], masks.get(name)) for name in common]


def picture_folder(folder: Path) -> Path:
    """The folder itself, or what it stands for where there is none.

    KIND/SPLIT stands for the pictures of MIDG's layout, KIND/images/SPLIT or KIND/KIND/SPLIT. Names that its text, its
    program and its folders spell differently (SPELLINGS) stand for each other.
    """
    choices = [(part, *SPELLINGS.get(part, ())) for part in folder.parts]
    for spelled in (Path(*parts) for parts in itertools.product(*choices)):
        kind, split = spelled.parent, spelled.name
        for place in (spelled, kind / "images" / split, kind / kind.resolve().name / split):
            if place.is_dir():
                return place
    return folder


def mask_folder(pictures: Path) -> Path | None:
    """The masks that MIDG's layout has beside KIND/images/SPLIT: KIND/mask/SPLIT, or mask2 and the like; else None."""
    found = sorted(pictures.resolve().parent.parent.glob("mask*"))
    return next((path / pictures.name for path in found if (path / pictures.name).is_dir()), None)


def pair_figures(pair: Pair, true: np.ndarray, made: np.ndarray, mask: np.ndarray | None, *, legacy: bool = False,
                 measure: Callable[[Picture, Picture], float] | None = None) -> dict[str, float]:
    """Figures of what a pair's `read()` returned, whole and, in a mask, with "_in_mask" behind their names.

    legacy     the figures of MIDG's earlier script, LEGACY_FIGURES; measure: LPIPS, whole pictures only
    """
    try:
        if legacy:
            return {"psnr": psnr(made, true, grey=True), "ssim": ssim(made, true, mode="legacy"),
                    "mae": l1(made, true, convention="relative", grey=True)}
        found = {"psnr": psnr(made, true), "ssim": ssim(made, true), "l1": l1(made, true)}
        if mask is not None:
            found |= {"psnr_in_mask": psnr(made, true, mask), "ssim_in_mask": ssim(made, true, mask),
                      "l1_in_mask": l1(made, true, mask)}
        return found | ({"lpips": measure(made, true)} if measure else {})
    except DataError as error:
        raise DataError(f"{pair.made}: {error}") from error


def pair_edges(pair: Pair, sigma: float) -> dict[int, EdgeCounts]:
    """Edges of a made edge map against the true ones, in the mask where there is one, by tolerance in px.

    sigma    of Canny (thresholds 0.1 and 0.2) on the true picture's grey; 0: the true picture is an edge map itself
    """
    if sigma < 0:
        raise ConfigError(f"--edges: a negative sigma, got {sigma:g}. Give Canny's, such as 3, or 0")
    true, made, mask = pair.read()
    if not is_grey(made):
        raise DataError(f"{pair.made}: not an edge map, got a picture in colour. Give white edges on black")
    grey = true / np.iinfo(true.dtype).max @ GREY
    wanted = canny(grey, sigma) if sigma else grey > 0.5
    return {tolerance: edge_counts(made[..., 0], wanted, mask, tolerance_px=tolerance) for tolerance in TOLERANCES_PX}


def summed_edges(counts: Iterable[dict[int, EdgeCounts]]) -> dict[str, float]:
    """Precision, recall and F1 over all pictures' edge pixels together."""
    counts, found = list(counts), {}
    for tolerance in TOLERANCES_PX:
        total = sum((one[tolerance] for one in counts), NONE)
        found |= {f"{name} at {tolerance} px": getattr(total, name) for name in ("precision", "recall", "f1")}
    return found


def averages(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of every figure over the pairs. PSNR's is over the pairs that differ, as it is infinite for equal ones."""
    found = {}
    for name in rows[0]:
        finite = [row[name] for row in rows if math.isfinite(row[name])]
        found[name] = float(np.mean(finite)) if finite else math.inf
    return found


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, got {'a file' if folder.exists() else 'nothing there'}. "
                        f"{_nearby(folder)}Give a folder of pictures")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and is_image(path)):
        name = stem(path, folder)
        if name in found:
            raise DataError(f"{path}: two files of one name, got {found[name].name} as well. Take one of them out")
        found[name] = path
    if not found:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"Its folders are {', '.join(inside[:SHOWN_NAMES])}: " if inside else ""
        raise DataError(f"{folder}: no picture in this folder, got 0. {hint}give the folder that holds them")
    return found


def _nearby(folder: Path) -> str:
    """The nearest part of the path that exists, and what it holds."""
    here = next((parent for parent in folder.parents if parent.is_dir()), None)
    inside = sorted(path.name for path in here.iterdir() if path.is_dir()) if here else []
    return f"{here} has the folders {', '.join(inside[:SHOWN_NAMES])}. " if inside else ""


def _complete(alone: set[str], where: Path, problem: str) -> None:
    if alone:
        names = sorted(alone)
        shown = ", ".join(names[:SHOWN_NAMES])
        shown += f" and {len(names) - SHOWN_NAMES} more" if names[SHOWN_NAMES:] else ""
        raise DataError(f"{where}: {problem.format(len(names))}, got none named {shown}. Make them, or --partial to "
                        "compare what both folders have")
