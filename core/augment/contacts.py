"""How a defect joins what is round it: an open cuts a trace through, a short bridges two, a spur grows out of one."""
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .bank import Crop

REACHES_PX = (2, 1, 3)
MOST = 3                    # from here on it is "many"
SHORTEST_PX = 2             # a contact, and a gap between two, are at least this long on the rim
FEWEST_CROPS = 5            # real defects of a class needed to learn its rule
USUAL = 0.85, 0.95          # share of them that must have one number, or one of two in a row, for a rule
SHORTEST_PART, SLACK = 5, 0.9       # percentile of the real ones' share of the rim that touches; a little less will do


class Joint(NamedTuple):
    """How nearly all real defects of a class join what is round them: the fewest and most contacts, and the least
    share of the rim that is in contact. One that only comes near a trace has a smaller share than one that grows out
    of it."""
    fewest: int
    most: int
    least_share: float = 0.0


def contacts(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, reach_px: int = 2) -> int:
    """The number of places, 0 to MOST, where the defect's rim meets material of the defect's own colour.

    clean, made  uint8 or uint16 windows [H, W, 3]; mask bool [H, W], not empty; reach_px: how far out the rim lies.
    A rim pixel counts where the clean material is nearer to the defect's colour than to what the defect covers.
    """
    return min(_runs(_touching(clean, made, mask, reach_px)), MOST)


def share_of_rim(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, reach_px: int = 2) -> float:
    """The share of the rim that is in contact, 0..1; see `contacts`."""
    return float(_touching(clean, made, mask, reach_px).mean())


def _touching(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, reach_px: int) -> np.ndarray:
    """bool along the rim: where it is in contact."""
    before, after = (np.median(image[mask], axis=0).astype(np.float32) for image in (clean, made))
    axis = after - before
    like = ((clean.astype(np.float32) - before) @ axis / max(float(axis @ axis), 1e-6)) > 0.5
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=reach_px)
    outlines, _ = cv2.findContours(rim, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0]
    return like[outline[:, 1], outline[:, 0]]


def joins(clean: np.ndarray, made: np.ndarray, mask: np.ndarray, usual: Joint, *, agreeing: int = 1) -> bool:
    """Whether the defect has a usual number of contacts, seen at `agreeing` of REACHES_PX: soft rims are wide; and
    whether these are as long as they should be."""
    found = [contacts(clean, made, mask, reach) for reach in REACHES_PX]
    return (sum(usual.fewest <= number <= usual.most for number in found) >= agreeing
            and share_of_rim(clean, made, mask) >= usual.least_share)


def usual_contacts(crops: Sequence[Crop]) -> dict[str, Joint]:
    """By class, how nearly all its real defects join what is round them; classes without a rule are left out.

    One number of contacts where that will do, else two in a row of which the lower is the more frequent.
    """
    found: dict[str, list[np.ndarray]] = {}
    for crop in crops:
        found.setdefault(crop.label, []).append(_touching(crop.clean, crop.pixels, crop.mask, 2))
    rules = {label: _rule(Counter(min(_runs(rim), MOST) for rim in rims)) for label, rims in found.items()}
    return {label: Joint(*rule, SLACK * float(np.percentile([rim.mean() for rim in found[label]], SHORTEST_PART)))
            for label, rule in rules.items() if rule is not None}


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
