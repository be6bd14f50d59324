"""Made micrographs of flexible circuits with exposed copper, its exact mask and the defect-free twin.

Gold-plated conductors on nearly black film; where the plating is missing, reddish-brown copper in a soft grey-green
halo. A mask holds the pixels that the defect covers by a quarter or more (its halo in part): what is left of the halo
and the camera's blur ends within REACH_PX of the mask, beyond which picture and twin are equal. Holes, dark blots on
borders and scratches are parts of the good circuit: they are in both pictures and not labelled.
"""
import cv2
import numpy as np

from .conductors import draw_circuit
from .drawing import check_size
from .sample import Defect, Sample
from .spots import draw_spot

CLASSES = ("exposed_copper",)
SIZE = (224, 224)
LEAST_PX = 64
REACH_PX = 8
COVER = 0.25                                  # from this share on a pixel counts as defect


def draw(rng: np.random.Generator, size: tuple[int, int] = SIZE, *, defects: int | None = None) -> Sample:
    """Draw a micrograph of `size` (width, height) px with at most `defects` spots; None: 1 to 3, or more."""
    check_size(size, LEAST_PX)
    if defects is None:
        defects = int(rng.choice([1, 1, 1, 2, 2, 3])) * max(round(size[0] * size[1] / 150_000), 1)
    circuit = draw_circuit(rng, size)
    clean = circuit.expose(circuit.colour)
    colour, found, taken = circuit.colour.copy(), [], circuit.confusers.copy()
    for _ in range(defects * 40):
        spot = draw_spot(rng, circuit) if len(found) < defects else None
        if spot is None:
            continue
        mask = spot.cover(taken.shape) >= COVER
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        if np.count_nonzero(mask) < 20 or (grown & taken).any():
            continue
        taken |= grown
        spot.paint(colour)
        found.append(Defect(label=CLASSES[0], mask=mask))
    image = circuit.expose(colour)
    near = np.zeros(taken.shape, np.uint8)
    for defect in found:
        near |= defect.mask
    near = cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH_PX + 1, 2 * REACH_PX + 1)))
    return Sample(image=np.where(near[..., None] > 0, image, clean), clean=clean, defects=tuple(found))
