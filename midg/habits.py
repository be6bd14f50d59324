"""What the real defects of each class have in common, beyond what short trainings teach: how they join what is there,
where they sit on it, how round they are, and whose colour they have."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.augment.bank import Crop
from core.augment.contacts import Joint, joins, usual_contacts

from .outlines import Form, is_usual, usual_forms
from .rims import touches, usual_touch
from .seats import Seat, usual_seats
from .tones import usual_tones

SMALLEST = 0.7                      # of the smallest real defect's area: less is hardly to be seen
AGREEING = 2                        # reaches at which the rim has to touch as often as usual, of three


@dataclass(frozen=True)
class Habits:
    """By class; a class that has no such habit is left out."""
    joints: dict[str, Joint] = field(default_factory=dict)
    touch: dict[str, float] = field(default_factory=dict)       # least share of the rim that touches at once
    seats: dict[str, Seat] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    tones: frozenset[str] = frozenset()                         # in the colour of a material near by
    areas: dict[str, float] = field(default_factory=dict)       # least, px

    @classmethod
    def of(cls, crops: Sequence[Crop]) -> "Habits":
        return cls(usual_contacts(crops), usual_touch(crops), usual_seats(crops), usual_forms(crops),
                   usual_tones(crops), usual_areas(crops))

    def suits(self, window: np.ndarray, shape: np.ndarray, label: str) -> bool:
        """Whether a shape bool [H, W] is as round as its class is, and sits where it does."""
        form = self.forms.get(label)
        return (form is None or is_usual(shape, form)) and self.sits(window, shape, label)

    def sits(self, window: np.ndarray, shape: np.ndarray, label: str) -> bool:
        seat = self.seats.get(label)
        return seat is None or seat.fits(window, shape)

    def is_seen(self, mask: np.ndarray, label: str) -> bool:
        """Whether a painted defect is about as large as the smallest real one, at least."""
        return int(mask.sum()) >= self.areas.get(label, 0.0)

    def is_joined(self, label: str) -> bool:
        """Whether the class grows out of, or into, what is there."""
        return label in self.joints and self.joints[label].fewest > 0

    def is_filling(self, label: str) -> bool:
        """Whether the class fills its place with a material: its shape is known before it is painted."""
        return label in self.seats and label in self.tones

    def joins(self, window: np.ndarray, made: np.ndarray, mask: np.ndarray, label: str) -> bool:
        """Whether the defect that `made` has at `mask` joins what is there as its class does."""
        usual = self.joints.get(label)
        return usual is None or not mask.any() or (
            joins(window, made, mask, usual, agreeing=AGREEING)
            and touches(window, made, mask, self.touch.get(label, 0.0)))


def usual_areas(crops: Sequence[Crop]) -> dict[str, float]:
    """By class, the least area that is like a real defect's."""
    found: dict[str, list[int]] = {}
    for crop in crops:
        found.setdefault(crop.label, []).append(int(crop.mask.sum()))
    return {label: SMALLEST * min(areas) for label, areas in found.items()}
