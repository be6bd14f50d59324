"""Feature extractors for pictures and defect crops, and the names under which their figures are given.

    scattering   the default: fixed wavelets and colour (core/metrics/scattering.py), no weights
    vgg19, resnet18, resnet50, inception     torchvision's networks, weights by local file (core/metrics/pretrained.py)

Nothing is downloaded unless `weights="download"` asks torchvision to, with its own hash check.
"""
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data.shapes import component_crops
from ..errors import ConfigError, DataError, did_you_mean
from . import pretrained
from .distribution import (
    KERNEL_LEAST,
    NEIGHBOURS,
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
)
from .diversity import diversity, feature_distances, nearest
from .image import Picture
from .resize import resized
from .scattering import LENGTH, SIDE_PX, scattering

EXTRACTORS = ("scattering", *pretrained.NETWORKS)
BATCH = 32
DIVERSITY = "diversity within clusters"


@dataclass(frozen=True)
class Extractor:
    """Turns pictures into features float64 [N, length].

    name       what figures are called after: network, layer and resize mode
    is_fid     whether the features are FID's own, so that the distance may be called FID
    """
    name: str
    length: int
    side_px: int
    resize: str
    network: Callable[[torch.Tensor], torch.Tensor]
    is_fid: bool = False
    device: str = "cpu"

    def __call__(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Features of pictures of any sizes, kinds as in core/metrics/image.py; a batch gives what each alone gives."""
        rows = [np.zeros((0, self.length))]
        with torch.no_grad():
            for start in range(0, len(pictures), BATCH):
                batch = resized(pictures[start:start + BATCH], self.side_px, self.resize).to(self.device)
                rows.append(self.network(batch).double().cpu().numpy())
        return np.concatenate(rows)

    def title(self, figure: str) -> str:
        """Name of a figure: "FID" and "KID" alone are those of FID's Inception; others name the extractor."""
        if self.is_fid:
            known = figure.replace("frechet distance", "FID").replace("kernel distance", "KID")
            known += " (Inception)" if known == figure else ""
            return known if self.resize == "clean" else f"{known} [{self.resize}]"
        return f"{figure} [{self.name}]"


def extractor(name: str = "scattering", weights: str | None = None, *, resize: str = "clean", device: str = "cpu",
              ) -> Extractor:
    """Build an extractor of EXTRACTORS; `weights`: a local file, or "download".

    ConfigError: no such extractor, weights missing or of another network.
    """
    if name not in EXTRACTORS:
        raise ConfigError(f"features: no such extractor, got '{name}'. {did_you_mean(name, EXTRACTORS)}One of "
                          f"{', '.join(EXTRACTORS)}")
    resized([], 1, resize)                                                  # a wrong mode is said at once
    if name == "scattering":
        if weights is not None:
            raise ConfigError(f"features: scattering has no weights, got '{weights}'. Leave them out, or choose one of "
                              f"{', '.join(pretrained.NETWORKS)}")
        return Extractor(f"scattering-{resize}", LENGTH, SIDE_PX, resize, scattering, device=device)
    loaded = pretrained.load(name, weights, device)
    return Extractor(f"{loaded.name}-{resize}", loaded.length, loaded.side_px, resize, loaded.network, loaded.is_fid,
                     device)


def compare(real: Sequence[Picture], made: Sequence[Picture], extract: Extractor, *, seed: int = 0,
            ) -> dict[str, float | None]:
    """Every figure of core/metrics/distribution.py under its name; None for those that need more pictures.

    With them, `diversity` (core/metrics/diversity.py) of the made ones, each in the cluster of its nearest real one.
    """
    rows, made_rows = extract(real), extract(made)
    fewest = min(len(rows), len(made_rows))
    names = ("precision", "recall", "density", "coverage")
    found: dict[str, float | None] = dict.fromkeys(
        ["kernel distance", "kernel distance standard error", "frechet distance", *names, DIVERSITY])
    if fewest >= 2:
        found["frechet distance"] = frechet_distance(rows, made_rows)
    if fewest >= KERNEL_LEAST:
        kernel = kernel_distance(rows, made_rows, seed=seed)
        found |= {"kernel distance": kernel.value, "kernel distance standard error": kernel.standard_error}
    if fewest > NEIGHBOURS:
        manifold = precision_recall_density_coverage(rows, made_rows)
        found |= {name: getattr(manifold, name) for name in names}
    if fewest:
        found[DIVERSITY] = diversity(feature_distances(made_rows), nearest(feature_distances(made_rows, rows))).value
    return {extract.title(name): value for name, value in found.items()}


def defect_crops(picture: np.ndarray, mask: np.ndarray, *, context: float = 0.25) -> list[np.ndarray]:
    """A square crop round each connected part of a mask [H, W], with `context` of its longer side on every side.

    The picture is uint8, uint16 or float [H, W, 3]; it is mirrored beyond its border. DataError: sizes that differ.
    """
    if picture.shape[:2] != mask.shape:
        raise DataError(f"mask: of another size than the picture, got {mask.shape} for {picture.shape[:2]}. Give one "
                        "of its size")
    return [_square(picture, box, context) for box in _boxes(mask)]


def _boxes(mask: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    for crop, x, y in component_crops(mask):
        yield x, y, x + crop.shape[1], y + crop.shape[0]


def _square(picture: np.ndarray, box: tuple[int, int, int, int], context: float) -> np.ndarray:
    x1, y1, x2, y2 = box
    side = max(x2 - x1, y2 - y1)
    side += 2 * round(context * side)
    rows, columns = (np.arange(side) + (low + high - side) // 2 for low, high in ((y1, y2), (x1, x2)))
    return picture[np.ix_(_mirrored(rows, picture.shape[0]), _mirrored(columns, picture.shape[1]))]


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    """Places beyond the border, mirrored at the outermost pixel."""
    if length == 1:
        return np.zeros_like(places)
    around = places % (2 * length - 2)
    return np.minimum(around, 2 * length - 2 - around)
