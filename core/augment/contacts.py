"""How a defect joins what is round it: an open cuts a trace through, a short bridges two, a spur grows out of one."""
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from .bank import Crop

REACHES_PX = (2, 1, 3)
MOST = 3                    # from here on it is "many"
SHORTEST_PX = 2             # a contact, and a gap between two, are at least this long on the rim
FEWEST_CROPS = 5            # real defects of a class needed to learn its rule
USUAL = 0.85, 0.95          # share of them that must have one number, or one of two in a row, for a rule


def contacts(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, reach_px: int = 2) -> int:
    """The number of places, 0 to MOST, where the defect's rim meets material of the defect's own colour.

    clean, made  uint8 or uint16 windows [H, W, 3]; mask bool [H, W], not empty; reach_px: how far out the rim lies.
    A rim pixel counts where the clean material is nearer to the defect's colour than to what the defect covers.
    """
    before, after = (np.median(image[mask], axis=0).astype(np.float32) for image in (clean, made))
    axis = after - before
    like = ((clean.astype(np.float32) - before) @ axis / max(float(axis @ axis), 1e-6)) > 0.5
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=reach_px)
    outlines, _ = cv2.findContours(rim, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0]
    return min(_runs(like[outline[:, 1], outline[:, 0]]), MOST)


def joins(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, usual: tuple[int, int]) -> bool:
    """Whether the defect has a usual number of contacts, seen at one of REACHES_PX: soft rims are wide."""
    return any(usual[0] <= contacts(clean, made, mask, reach) <= usual[1] for reach in REACHES_PX)


def usual_contacts(crops: Sequence[Crop]) -> dict[str, tuple[int, int]]:
    """By class, the fewest and most contacts of nearly all its real defects; classes without a rule are left out.

    One number where that will do, else two in a row of which the lower is the more frequent.
    """
    found: dict[str, Counter] = {}
    for crop in crops:
        found.setdefault(crop.label, Counter())[contacts(crop.clean, crop.pixels, crop.mask)] += 1
    rules = {label: _rule(counts) for label, counts in found.items()}
    return {label: rule for label, rule in rules.items() if rule is not None}


def _rule(counts: Counter) -> tuple[int, int] | None:
    number, total = counts.most_common(1)[0][0], sum(counts.values())
    if total < FEWEST_CROPS or number == MOST:
        return None
    ranges = ((number, number), (number, number + 1))
    return next((usual for usual, share in zip(ranges, USUAL) if sum(counts[n] for n in set(usual)) >= share * total),
                None)


def _runs(flags: np.ndarray) -> int:
    """Runs of true along a closed line, gaps and runs shorter than SHORTEST_PX left out."""
    for value in (False, True):
        flags = _without_short(flags, value)
    if flags.all() or not flags.any():
        return int(flags.all())
    return int((flags & ~np.roll(flags, 1)).sum())


def _without_short(flags: np.ndarray, value: bool) -> np.ndarray:
    """The closed line with runs of `value` shorter than SHORTEST_PX turned over."""
    if (flags == flags[0]).all():
        return flags
    start = int(np.flatnonzero(flags != np.roll(flags, 1))[0])
    line = np.roll(flags, -start)
    edges = np.flatnonzero(np.diff(line)) + 1
    for begin, end in zip([0, *edges], [*edges, len(line)]):
        if line[begin] == value and end - begin < SHORTEST_PX:
            line[begin:end] = not value
    return np.roll(line, start)
