"""PCB defects as changes of the layout: where each kind can be, its size against the trace, its shape."""
from dataclasses import dataclass

import cv2
import numpy as np

from .board import Scene
from .drawing import fill, patch_outline, stroke, turned

APART_PX = 6                                  # between two defects, and to the picture's border
LEAST_AREA_PX = 12
TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A place on a trace: its middle, the unit vector along it, to one side of it, its width and net."""
    at: np.ndarray
    along: np.ndarray
    side: np.ndarray
    width: float
    net: int


class Faults:
    """Puts defects on one scene, each apart from the others."""

    def __init__(self, rng: np.random.Generator, scene: Scene):
        self.rng, self.scene, self.layout = rng, scene, scene.layout
        self.metal = scene.pads > 0
        self.taken = np.zeros(scene.pads.shape, bool)
        self.segments = [(trace, start, end) for trace in scene.plan.traces
                         for start, end in zip(trace.points[:-1], trace.points[1:])]
        self.room = None

    def add(self, kind: str) -> np.ndarray | None:
        """Add one defect: its exact mask, bool [H, W]; None where this board has no place for it."""
        make = getattr(self, f"add_{kind}")
        for _ in range(TRIES):
            found = make()
            if found is not None:
                layout, mask = found
                if self.is_allowed(mask):
                    self.layout = layout
                    side = 2 * APART_PX + 1
                    self.taken |= cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
                    return mask
        return None

    def is_allowed(self, mask: np.ndarray) -> bool:
        inner = mask[APART_PX:-APART_PX, APART_PX:-APART_PX]
        area = np.count_nonzero(mask)
        return (area >= LEAST_AREA_PX and np.count_nonzero(inner) == area and not self.taken[mask].any()
                and float(self.scene.print[mask].mean()) < 0.3)

    # ---- the six kinds

    def add_missing_hole(self):
        """A pad that was not drilled."""
        pads = [number for number, pad in enumerate(self.scene.plan.pads)
                if pad.hole >= 5 and (pad.at > APART_PX).all() and (pad.at < np.array(self.scene.size) - APART_PX).all()
                and number not in self.layout.undrilled]
        if not pads:
            return None
        number = int(self.rng.choice(pads))
        mask = np.zeros(self.taken.shape, bool)
        solder = self.scene.solders[number]
        (x1, y1, x2, y2), (height, width) = solder.box, mask.shape
        left, top = max(x1, 0), max(y1, 0)
        cover = solder.hole_cover()[top - y1:height - y1, left - x1:width - x1]
        mask[top:y2, left:x2] = cover >= 0.5
        return self.layout.without_hole(number), mask

    def add_open_circuit(self):
        """A gap right through a trace."""
        spot = self.find_spot()
        if spot is None:
            return None
        share = self.rng.uniform(0.35, 0.95) if spot.width < 18 else self.rng.uniform(0.22, 0.6)
        gap = max(share * spot.width, 4.0)
        reach = 0.5 * spot.width + 2.5
        across = np.linspace(-reach, reach, 5)
        ragged = 0.07 * gap + 0.25
        edges = [np.stack([sign * gap / 2 + self.rng.normal(0, ragged, 5), across], 1) for sign in (-1, 1)]
        outline = np.concatenate([edges[0], edges[1][::-1]])
        outline = turned(outline, self.rng.normal(0, 0.22))
        return self.cut(self.onto(spot, outline), spot.net)

    def add_mouse_bite(self):
        """A bite, or a few side by side, out of the edge of a trace."""
        spot = self.find_spot()
        if spot is None:
            return None
        outlines, place = [], 0.0
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            deep = np.clip(self.rng.uniform(0.3, 0.62) * spot.width, 2.4, 0.7 * spot.width)
            long = max(self.rng.uniform(0.3, 0.85) * spot.width, 2.4)
            centre = np.array([place, spot.width / 2 + 0.12 * deep])
            outlines.append(self.onto(spot, patch_outline(self.rng, centre, (long, deep), 0, 0.13)))
            place += long * self.rng.uniform(0.7, 1.3)
        return self.cut(outlines, spot.net)

    def add_spur(self):
        """A tooth or a ledge that grows out of the edge of a trace."""
        spot = self.find_spot()
        if spot is None:
            return None
        gap = self.clear_px(spot.at + spot.side * spot.width / 2, spot.side, spot.net)
        high = min(self.rng.uniform(0.4, 0.95) * spot.width, 0.72 * gap)
        if high < 3:
            return None
        base, low = spot.width / 2, 0.25 * spot.width
        kind = self.rng.random()
        if kind < 0.4:                                                    # a tooth
            foot, tip = self.rng.uniform(0.4, 0.9) * spot.width, self.rng.uniform(0.05, 0.25) * spot.width
            lean = self.rng.normal(0, 0.25) * high
            outline = np.array([(-foot, base - low), (-foot * 0.9, base + 0.1 * high), (lean - tip, base + high),
                                (lean + tip, base + 0.93 * high), (foot, base + 0.15 * high), (foot, base - low)])
        elif kind < 0.75:                                                 # a ledge with round ends
            outline = patch_outline(self.rng, np.array([0, base]), (self.rng.uniform(0.8, 2.2) * spot.width, high), 0,
                                    0.05)
        else:
            outline = patch_outline(self.rng, np.array([0, base + 0.2 * high]),
                                    (self.rng.uniform(0.5, 1.0) * spot.width, 0.8 * high), 0, 0.14)
        return self.lay(self.onto(spot, outline), spot.net)

    def add_short(self):
        """A bridge from a trace to the copper next to it."""
        spot = self.find_spot()
        if spot is None:
            return None
        ray = turned(spot.side[None], self.rng.normal(0, 0.3))[0]
        start = spot.at + spot.side * spot.width / 2
        gap = self.clear_px(start, ray, spot.net)
        rules = self.scene.plan.rules
        if not 3 <= gap <= max(4 * rules.clearance, 2.2 * rules.pitch) or not self.is_inside(start + ray * (gap + 4)):
            return None
        wide = max(self.rng.uniform(0.35, 0.85) * spot.width, 3.0)
        root = 0.35 * spot.width + 1
        way = np.array([start - ray * root, start + ray * gap * self.rng.uniform(0.3, 0.7), start + ray * (gap + root)])
        way[1] += spot.along * self.rng.normal(0, 0.06) * gap
        patch = self.layer()
        stroke(patch, way, wide)
        other = self.net_at(start + ray * (gap + 1.5))
        return self.lay_patch(patch, {spot.net, other})

    def add_spurious_copper(self):
        """An island of copper where there should be none."""
        if self.room is None:
            empty = (self.scene.nets == 0).astype(np.uint8)
            self.room = cv2.distanceTransform(empty, cv2.DIST_L2, 3)
        rules = self.scene.plan.rules
        thick = max(self.rng.uniform(0.35, 0.95) * rules.width, 4.0)
        rows, columns = (self.rng.integers(APART_PX, side - APART_PX, 80) for side in self.room.shape)
        roomy = np.flatnonzero(self.room[rows, columns] > thick / 2 + 2)
        if not len(roomy):
            return None
        y, x = rows[roomy[0]], columns[roomy[0]]
        centre, patch = np.array([x + 0.5, y + 0.5]), self.layer()
        angle = rules.angle + self.rng.integers(4) * np.pi / 4
        if self.rng.random() < 0.3:
            angle = self.rng.uniform(0, np.pi)
        if self.rng.random() < 0.7:
            half = turned(np.array([[self.rng.uniform(0.5, 3.5) * rules.width, 0]]), angle)[0]
            bend = self.rng.normal(0, 0.05, 2) * np.hypot(*half)
            stroke(patch, np.array([centre - half, centre + bend, centre + half]), thick)
        else:
            radii = (self.rng.uniform(0.8, 1.8) * thick, 0.75 * thick)
            fill(patch, patch_outline(self.rng, centre, radii, angle, 0.08))
        return self.lay_patch(patch, set())

    # ---- places

    def find_spot(self) -> Spot | None:
        """A place on a trace inside the picture, bare of pads and prints, on a random side of it."""
        if not self.segments:
            return None
        low, high = np.full(2, APART_PX + 2.0), np.array(self.scene.size) - APART_PX - 2.0
        for _ in range(12):
            trace, start, end = self.segments[self.rng.integers(len(self.segments))]
            span = end - start
            length = float(np.hypot(*span))
            at = start + span * self.rng.random()
            if length < 1.5 * trace.width or (at < low).any() or (at > high).any():
                continue
            x, y = at.astype(int)
            if self.metal[y, x] or self.taken[y, x] or self.scene.nets[y, x] != trace.net:
                continue
            along = span / length
            side = np.array([-along[1], along[0]]) * (1 if self.rng.random() < 0.5 else -1)
            return Spot(at=at, along=along, side=side, width=trace.width, net=trace.net)
        return None

    def onto(self, spot: Spot, outline: np.ndarray) -> np.ndarray:
        """An outline in (along, side) px to picture coordinates."""
        return spot.at + outline[:, :1] * spot.along + outline[:, 1:] * spot.side

    def is_inside(self, point: np.ndarray) -> bool:
        return bool((point >= 0).all() and (point < self.scene.size).all())

    def net_at(self, point: np.ndarray) -> int:
        return int(self.scene.nets[int(point[1]), int(point[0])]) if self.is_inside(point) else 0

    def clear_px(self, start: np.ndarray, ray: np.ndarray, net: int) -> float:
        """How far from a trace's edge the next net's copper is; 0 where its own comes first; at most 3 pitches."""
        far = int(3 * self.scene.plan.rules.pitch)
        for step in range(2, far):
            met = self.net_at(start + ray * step)
            if met:
                return float(step) if met != net else 0.0
        return float(far)

    # ---- changes

    def layer(self) -> np.ndarray:
        return np.zeros(self.taken.shape, np.uint8)

    def cut(self, outlines, net: int):
        """Take copper of one net away within the outlines; pads stay."""
        patch = self.layer()
        for outline in outlines if isinstance(outlines, list) else [outlines]:
            fill(patch, outline)
        own = cv2.dilate((self.scene.nets == net).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        patch[~own] = 0
        copper = self.layout.copper
        kept = np.minimum(copper, 255 - patch)
        return self.changed(kept)

    def lay(self, outline: np.ndarray, net: int):
        patch = self.layer()
        fill(patch, outline)
        return self.lay_patch(patch, {net})

    def lay_patch(self, patch: np.ndarray, nets: set[int]):
        """Add copper, which may touch no other net than `nets`."""
        met = self.scene.nets[cv2.dilate(patch, np.ones((5, 5), np.uint8)) > 0]
        if not np.isin(met[met > 0], list(nets)).all():
            return None
        return self.changed(np.maximum(self.layout.copper, patch))

    def changed(self, copper: np.ndarray):
        """The layout with this copper, and the mask: pixels whose copper changed by half or more and is to be seen."""
        mask = (cv2.absdiff(copper, self.layout.copper) > 127) & ~self.metal
        return self.layout.with_copper(copper), mask
