"""Made circuit boards with the six defects of PKU-Market-PCB, their exact masks and their defect-free twins.

A defect is a change of the layout (copper etched, hole drilled); picture and twin are the same rendering of the two
layouts. A mask holds the pixels whose layout changed by half or more. Camera blur carries the change a little further:
beyond `board.REACH_PX` from the mask the two pictures are equal.
"""
from collections.abc import Callable

import cv2
import numpy as np

from ..errors import ConfigError
from .board import REACH_PX, Layout, Scene
from .checks import check_choice, check_defects, check_size
from .faults import Faults
from .layout import draw_plan
from .sample import Defect, Sample

CLASSES = ("missing_hole", "mouse_bite", "open_circuit", "short", "spur", "spurious_copper")
SIZE = (256, 256)
LEAST_PX = 96
STYLES = ("colour", "binary")
BOARDS = 10                                   # drawn until one has room for a defect


def draw(rng: np.random.Generator, size: tuple[int, int] = SIZE, *, defects: int | None = None,
         style: str = "colour") -> Sample:
    """Draw a board of `size` (width, height) px.

    defects  how many at most (a crowded or empty board may have room for fewer); None: 1 to 4, more on a larger board
    style    "colour", a photograph; "binary", a black and white scan as in DeepPCB
    """
    check_size(size, LEAST_PX)
    check_choice("style", style, STYLES)
    check_defects(defects)
    if defects is None:
        defects = int(rng.integers(1, 5 + min(size[0] * size[1] // 400_000, 8)))
    for _ in range(BOARDS):
        plan = draw_plan(rng, size)
        if style == "binary" and rng.random() < 0.85:
            plan.pours.clear()                                            # DeepPCB's boards have hardly any
        scene = Scene(rng, plan)
        faults, found = Faults(rng, scene), []
        for kind in [CLASSES[number] for _ in range(defects + 1) for number in rng.permutation(len(CLASSES))]:
            mask = faults.add(kind) if len(found) < defects else None
            if mask is not None:
                found.append(Defect(label=kind, mask=mask))
        if found or not defects:
            break
    else:
        raise ConfigError(f"size: no room for a defect, got {size[0]}x{size[1]} px. Give a larger size")
    render = scene.render if style == "colour" else scene.scan
    clean = render(scene.layout)
    image = clean.copy()
    for defect in found:
        _develop(image, render, faults.layout, defect.mask)
    return Sample(image=image, clean=clean, defects=tuple(found))


def _develop(image: np.ndarray, render: Callable, layout: Layout, mask: np.ndarray) -> None:
    """Show the changed layout in the neighbourhood of one defect's mask; the rest of the picture cannot differ."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    margin = 3 * REACH_PX                                                 # so that no blur meets the window's border
    top, left = max(y - margin, 0), max(x - margin, 0)
    window = (slice(top, min(y + height + margin, mask.shape[0])), slice(left, min(x + width + margin, mask.shape[1])))
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH_PX + 1, 2 * REACH_PX + 1))
    near = cv2.dilate(mask[window].astype(np.uint8), near) > 0
    image[window][near] = render(layout, window)[near]
