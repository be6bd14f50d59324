"""What every kind of made data returns: the picture, its defect-free twin, and each defect's exact pixels."""
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One drawn defect: its class name and its exact pixels in the picture, bool [H, W]."""
    label: str
    mask: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A made picture.

    image    uint8 [H, W, 3] RGB with the defects
    clean    uint8 [H, W, 3], the defect-free twin: same board, light and noise; equal to `image` away from the defects
    defects  in drawing order; none for a good part
    """
    image: np.ndarray
    clean: np.ndarray
    defects: tuple[Defect, ...] = ()

    def index_mask(self, classes: tuple[str, ...]) -> np.ndarray:
        """uint8 [H, W]: 0 outside the defects, else 1 + the position of the class in `classes`; later ones on top."""
        mask = np.zeros(self.image.shape[:2], np.uint8)
        for defect in self.defects:
            mask[defect.mask] = 1 + classes.index(defect.label)
        return mask
