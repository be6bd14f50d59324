"""How well a drawn edge map agrees with the true one: precision and recall at a tolerance in px."""
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import ConfigError, DataError
from .image import Picture, to_maps, to_mask


@dataclass(frozen=True)
class EdgeCounts:
    """Numbers of edge pixels; those of several pictures add up to the figures of all (`a + b`, or `sum(all, NONE)`).

    drawn, drawn_right    edge pixels of the drawn map; those of them with a true one within the tolerance
    true, true_found      edge pixels of the true map; those of them with a drawn one within the tolerance
    """
    drawn: int = 0
    drawn_right: int = 0
    true: int = 0
    true_found: int = 0

    @property
    def precision(self) -> float:
        """Share of the drawn edges that are right. Nothing drawn: 0, or 1 where there was nothing to draw."""
        return self.drawn_right / self.drawn if self.drawn else float(not self.true)

    @property
    def recall(self) -> float:
        """Share of the true edges that were found. No true edge: 0, or 1 where none was drawn either."""
        return self.true_found / self.true if self.true else float(not self.drawn)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def __add__(self, other: "EdgeCounts") -> "EdgeCounts":
        return EdgeCounts(self.drawn + other.drawn, self.drawn_right + other.drawn_right, self.true + other.true,
                          self.true_found + other.true_found)


NONE = EdgeCounts()


def edge_counts(drawn: Picture, true: Picture, mask: Picture | None = None, *, tolerance_px: float = 0,
                threshold: float = 0.5) -> EdgeCounts:
    """Compare edge maps [H, W], [N, H, W] or [N, 1, H, W]; a batch is counted together.

    Maps are bool, uint8, uint16 or floats in 0..1; an edge is what is above `threshold`. The distance is Euclidean
    (2 px: the 12 nearest neighbours and the pixel). In a mask both maps are cut to it first, so that the background's
    edges just outside do not count as hits. MIDG's training log has tolerance 0, threshold 0.5, in the mask.
    """
    if tolerance_px < 0:
        raise ConfigError(f"tolerance_px: negative, got {tolerance_px}. Give 0 or more")
    found, wanted = to_maps(drawn, "drawn edges"), to_maps(true, "true edges")
    if found.shape != wanted.shape:
        raise DataError(f"edge maps: of different sizes, got {found.shape} and {wanted.shape}. Give maps of one size")
    inside = to_mask(mask, found.shape)
    found, wanted = ((maps if maps.dtype == bool else maps > threshold) & inside for maps in (found, wanted))
    pairs = [EdgeCounts(int(one.sum()), int((one & _near(other, tolerance_px)).sum()),
                        int(other.sum()), int((other & _near(one, tolerance_px)).sum()))
             for one, other in zip(found, wanted)]
    return sum(pairs, NONE)


def _near(edges: np.ndarray, tolerance_px: float) -> np.ndarray:
    if tolerance_px == 0 or not edges.any():
        return edges
    return ndimage.distance_transform_edt(~edges) <= tolerance_px
