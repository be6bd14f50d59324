"""Drafting the plan of a made circuit board: components on a grid, traces routed at 45 and 90 degrees."""
import cv2
import numpy as np

from .drawing import turned
from .footprints import FOOTPRINTS, HEAVY, Footprint
from .plan import GROUND, Pad, Plan, Rules, Trace, draw_rules
from .routes import octilinear, offset, ways

COARSE = 0.5                                  # the map in which free ways are looked for, pixels a pixel


def draw_plan(rng: np.random.Generator, size: tuple[int, int]) -> Plan:
    """Lay out one board, somewhat larger than the picture of `size` (width, height) that shows it."""
    for _ in range(20):
        plan = _Drafter(rng, size, draw_rules(rng, size)).draft()
        inside = [pad for pad in plan.pads if pad.hole and _is_inside(pad.at, size, 0.5 * max(pad.size))]
        middles = [(trace.points[:-1] + trace.points[1:]) / 2 for trace in plan.traces]
        if inside and sum(_is_inside(point, size, 0) for points in middles for point in points) >= 3:
            break
    return plan


def _is_inside(point: np.ndarray, size: tuple[int, int], margin: float) -> bool:
    return bool((point >= margin).all() and (point <= np.array(size) - margin).all())


class _Drafter:
    """Places components and routes nets, keeping a coarse map of which net owns which place."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], rules: Rules):
        self.rng, self.size, self.rules = rng, size, rules
        self.margin = 1.2 * rules.pitch + 0.05 * max(size)
        self.extent = np.array(size) + 2 * self.margin
        columns, rows = np.ceil(self.extent * COARSE).astype(int)
        self.owner = np.zeros((rows, columns), np.int16)
        self.taken = np.zeros((rows, columns), np.uint8)
        self.plan = Plan(rules=rules, size=size)
        self.nets = GROUND

    def draft(self) -> Plan:
        if self.rng.random() < (0.25 if self.rules.heavy else 0.45):
            self.add_bus()
        area = float(np.prod(self.extent)) / self.rules.pitch ** 2
        wanted = self.rng.uniform(0.10, 0.19) if self.rules.heavy else self.rng.uniform(0.07, 0.14)
        kinds = HEAVY if self.rules.heavy else FOOTPRINTS
        weights = self.rng.dirichlet([weight for _, weight in kinds])
        for _ in range(max(int(wanted * area), 4)):
            self.add_component(kinds[self.rng.choice(len(kinds), p=weights)][0])
        self.route_neighbours()
        self.route_outwards()
        self.join_ground()
        self.add_pours()
        self.to_picture()
        return self.plan

    # ---- components

    def add_component(self, footprint) -> None:
        drawn: Footprint = footprint(self.rng, self.rules)
        grid = self.rules.pitch / 2
        for _ in range(4):
            at = np.round(self.rng.uniform(0, 1, 2) * self.extent / grid) * grid
            low, high = drawn.bounds[0] + at, drawn.bounds[1] + at
            window = self.window(low, high, self.rules.clearance)
            if window and not self.taken[window].any():
                self.taken[window] = 1
                self.place(drawn, at)
                return

    def place(self, drawn: Footprint, at: np.ndarray) -> None:
        for place, size, shape, hole in drawn.pads:
            self.nets += 1
            self.plan.pads.append(Pad(at=at + place, size=size, shape=shape, hole=hole, net=self.nets))
            self.claim_pad(self.plan.pads[-1])
        self.plan.lines += [line + at for line in drawn.lines]
        self.plan.texts += [(word, place + at, height) for word, place, height in drawn.texts]

    def claim_pad(self, pad: Pad) -> None:
        low, high = (pad.at - np.array(pad.size) / 2) * COARSE, (pad.at + np.array(pad.size) / 2) * COARSE
        x1, y1 = np.maximum(np.floor(low), 0).astype(int)
        x2, y2 = np.maximum(np.ceil(high), 0).astype(int)
        self.owner[y1:y2, x1:x2] = pad.net

    def window(self, low, high, margin: float) -> tuple[slice, slice] | None:
        x1, y1 = (max(int((side - margin) * COARSE), 0) for side in low)
        x2, y2 = (int((side + margin) * COARSE) + 1 for side in high)
        return (slice(y1, y2), slice(x1, x2)) if x2 > x1 and y2 > y1 else None

    # ---- routes

    def is_free(self, points: np.ndarray, reach: float, *pads: Pad) -> bool:
        """Whether a way of half-width `reach` px meets no copper but the given pads; theirs it may touch, not cross."""
        window = self.window(points.min(0), points.max(0), reach)
        if window is None:
            return True
        owner = self.owner[window]
        if not owner.any():
            return True
        way = np.zeros(owner.shape, np.uint8)
        draw_way(way, points - np.array([window[1].start, window[0].start]) / COARSE, 2 * reach, 1)
        met = owner[way > 0]
        met = met[met != 0]
        own = sum(pad.size[0] * pad.size[1] for pad in pads) * COARSE ** 2
        for pad in pads:
            met = met[met != pad.net] if len(met) <= 1.15 * own + 4 else met
        return not len(met)

    def add_trace(self, points: np.ndarray, width: float, net: int) -> None:
        self.plan.traces.append(Trace(points=points, width=width, net=net))
        draw_way(self.owner, points, width, net)
        low, high = points.min(0), points.max(0)
        if min(high - low) < 2 * width:                                   # straight: keep components off it
            window = self.window(low, high, width)
            if window:
                self.taken[window] = 1

    def try_ways(self, pad: Pad, mate: Pad) -> bool:
        width = min(self.width_of_route(pad), 0.92 * min(mate.size))
        for points in ways(self.rng, pad.at, mate.at, self.rules.pitch):
            if self.is_free(points, width / 2 + self.rules.clearance, pad, mate):
                self.add_trace(points, width, pad.net)
                self.merge(pad.net, mate.net)
                return True
        return False

    def merge(self, kept: int, gone: int) -> None:
        if kept == gone:
            return
        self.owner[self.owner == gone] = kept
        for item in (*self.plan.pads, *self.plan.traces):
            if item.net == gone:
                item.net = kept

    def width_of_route(self, pad: Pad) -> float:
        width = self.rules.width
        if pad.shape != "smd" and self.rng.random() < 0.12:
            width *= self.rng.uniform(1.5, 2.6)
        return float(min(width, 0.92 * min(pad.size)))

    def route_neighbours(self) -> None:
        """Join pads with others nearby."""
        pads = self.plan.pads
        places = np.array([pad.at for pad in pads]).reshape(-1, 2)
        for number in self.rng.permutation(len(pads)):
            if self.rng.random() < 0.18:
                continue
            pad, distance = pads[number], np.abs(places - places[number]).max(1)
            near = np.argsort(distance)[1:9]
            near = near[distance[near] < 9 * self.rules.pitch]
            for other in self.rng.permutation(near)[:3]:
                if pads[other].net != pad.net and self.try_ways(pad, pads[other]):
                    break

    def route_outwards(self) -> None:
        """Lead some pads, or rows of them, out of the picture."""
        pads = self.plan.pads
        for number in self.rng.permutation(len(pads)):
            if self.rng.random() > 0.35:
                continue
            pad = pads[number]
            side = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])[self.rng.integers(4)]
            if pad.shape == "smd":
                side = np.array([np.sign(self.rng.random() - 0.5), 0]) if pad.size[0] > pad.size[1] else \
                    np.array([0, np.sign(self.rng.random() - 0.5)])
            reach = self.rng.uniform(0.3, 1) * self.extent.max() if self.rng.random() < 0.6 else self.extent.max()
            first = self.rng.uniform(0.8, 4) * self.rules.pitch
            cross = np.array([side[1], side[0]]) * np.sign(self.rng.random() - 0.5)
            slant = self.rng.uniform(0.5, 5) * self.rules.pitch
            points = np.array([pad.at, pad.at + side * first, pad.at + side * (first + slant) + cross * slant,
                               pad.at + side * (first + slant + reach) + cross * slant])
            width = self.width_of_route(pad)
            if self.is_free(points, width / 2 + self.rules.clearance, pad):
                self.add_trace(points, width, pad.net)
            elif self.is_free(points[:3], width / 2 + self.rules.clearance, pad):
                self.end_at_via(points[:3], width, pad.net)

    def end_at_via(self, points: np.ndarray, width: float, net: int) -> None:
        across = max(0.5 * self.rules.pitch, 2.1 * width)
        if self.is_free(points[-1:].repeat(2, 0), across / 2 + self.rules.clearance):
            self.add_trace(points, width, net)
            via = Pad(at=points[-1], size=(across, across), shape="round", hole=0.5 * across, net=net)
            self.plan.pads.append(via)
            self.claim_pad(via)

    def add_bus(self) -> None:
        """Parallel traces across the board, bent together."""
        count = int(self.rng.integers(3, 5 if self.rules.heavy else 9))
        step = self.rules.width + self.rules.clearance * self.rng.uniform(1.0, 1.9)
        width, height = self.extent
        start = self.rng.uniform(0.15, 0.85) * height
        first, slant = self.rng.uniform(0.1, 0.6) * width, self.rng.uniform(0.05, 0.45) * min(width, height)
        way = np.array([(-9.0, start), (first, start),
                        (first + slant, start + slant * np.sign(height / 2 - start)),
                        (width + 9, start + slant * np.sign(height / 2 - start))])
        if self.rng.random() < 0.5:
            way = way[:3] + np.array([[0, 0], [0, 0], [width, width * np.sign(height / 2 - start)]])
        if self.rng.random() < 0.5:
            way = way[:, ::-1] * [width / height, height / width]
            way = octilinear(way)
        for number in range(count):
            points = offset(way, (number - count / 2) * step)
            self.nets += 1
            self.add_trace(points, self.rules.width, self.nets)
            draw_way(self.taken, points, 2 * (self.rules.width + self.rules.clearance), 1)

    # ---- ground

    def join_ground(self) -> None:
        """Make some pads without a trace, and rarely others, part of the ground net."""
        routed = {trace.net for trace in self.plan.traces}
        for pad in self.plan.pads:
            if pad.net not in routed and pad.shape != "smd" and self.rng.random() < 0.55:
                pad.net, pad.spokes = GROUND, True

    def add_pours(self) -> None:
        kind = self.rng.random()
        width, height = self.extent
        if kind < 0.2:
            return
        if kind < 0.65:
            self.plan.pours.append(np.array([(0, 0), (width, 0), (width, height), (0, height)]) * 1.2 - 0.1 * width)
            return
        for _ in range(self.rng.integers(1, 4)):
            half = self.rng.uniform(0.2, 0.6, 2) * self.extent
            centre = self.rng.uniform(0.1, 0.9, 2) * self.extent
            cut = self.rng.uniform(0, 0.5) * half.min()
            x, y = half
            corners = [(-x, -y), (x - cut, -y), (x, cut - y), (x, y), (cut - x, y), (-x, y - cut)]
            self.plan.pours.append(np.array(corners) + centre)

    # ---- the picture

    def to_picture(self) -> None:
        """Turn the board a little and move its middle to the picture's."""
        plan, shift = self.plan, self.rng.uniform(-0.4, 0.4, 2)
        middle = np.array(self.size) / 2 + shift

        def move(points):
            return turned(points - self.extent / 2, self.rules.angle) + middle

        for pad in plan.pads:
            pad.at = move(pad.at)
        for trace in plan.traces:
            trace.points = move(trace.points)
        plan.pads = [pad for pad in plan.pads if _is_inside(pad.at, self.size, -max(pad.size) - self.rules.pitch)]
        plan.pours = [move(outline) for outline in plan.pours]
        plan.lines = [move(line) for line in plan.lines]
        plan.texts = [(word, move(place), height) for word, place, height in plan.texts]


def draw_way(coarse: np.ndarray, points: np.ndarray, width: float, value: int) -> None:
    """Draw a polyline given in px of the picture on a coarse map."""
    corners = np.round(points * COARSE).astype(np.int32)
    cv2.polylines(coarse, [corners], False, int(value), max(int(np.ceil(width * COARSE)), 1))
