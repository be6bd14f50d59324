"""Made micrographs of flexible circuits with exposed copper, its exact mask and the defect-free twin.

Gold-plated conductors on nearly black film; where the plating is missing, reddish-brown copper in a soft grey-green
halo. A mask holds the pixels that the defect covers by a quarter or more (its halo in part): what is left of the halo
and the camera's blur ends within REACH_PX of the mask, beyond which picture and twin are equal. Holes, dark blots on
borders and scratches are parts of the good circuit: they are in both pictures and not labelled.
"""
import cv2
import numpy as np

from ..errors import ConfigError
from .checks import check_defects, check_size
from .conductors import Circuit, draw_circuit
from .sample import Defect, Sample
from .spots import draw_spot

CLASSES = ("exposed_copper",)
SIZE = (224, 224)
LEAST_PX = 64
LEAST_AREA_PX = 20
CRUMB_PX = 6                                  # smaller parts of a spot are not labelled
CIRCUITS = 10                                 # drawn until one has room for a defect
REACH_PX = 8
COVER = 0.25                                  # from this share on a pixel counts as defect


def draw(rng: np.random.Generator, size: tuple[int, int] = SIZE, *, defects: int | None = None) -> Sample:
    """Draw a micrograph of `size` (width, height) px with at most `defects` spots; None: 1 to 3, or more."""
    check_size(size, LEAST_PX)
    check_defects(defects)
    if defects is None:
        defects = int(rng.choice([1, 1, 1, 2, 2, 3])) * max(round(size[0] * size[1] / 150_000), 1)
    for _ in range(CIRCUITS):
        circuit = draw_circuit(rng, size)
        colour, found = _with_spots(rng, circuit, defects)
        if found or not defects:
            break
    else:
        raise ConfigError(f"size: no room for a defect, got {size[0]}x{size[1]} px. Give a larger size")
    clean, image = circuit.expose(circuit.colour), circuit.expose(colour)
    near = np.zeros(clean.shape[:2], np.uint8)
    for defect in found:
        near |= defect.mask
    near = cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH_PX + 1, 2 * REACH_PX + 1)))
    return Sample(image=np.where(near[..., None] > 0, image, clean), clean=clean, defects=tuple(found))


def _with_spots(rng: np.random.Generator, circuit: Circuit, wanted: int) -> tuple[np.ndarray, list[Defect]]:
    """The circuit's colour with spots on it, each apart from the others and from what else lies there."""
    colour, found, taken = circuit.colour.copy(), [], circuit.confusers.copy()
    for _ in range(40 * wanted):
        spot = draw_spot(rng, circuit) if len(found) < wanted else None
        if spot is None:
            continue
        mask = _without_crumbs(spot.cover(taken.shape) >= COVER)
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        if np.count_nonzero(mask) < LEAST_AREA_PX or (grown & taken).any():
            continue
        taken |= grown
        spot.paint(colour)
        found.append(Defect(label=CLASSES[0], mask=mask))
    return colour, found


def _without_crumbs(mask: np.ndarray) -> np.ndarray:
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= CRUMB_PX
    kept[0] = False
    return kept[parts] if count > 2 else mask
