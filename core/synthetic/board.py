"""From a board's plan to its picture: copper, solder mask, tin, holes and print, seen through one camera."""
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .drawing import blurred, fill, slope, smooth_noise, stroke, turned
from .layout import COARSE
from .looks import Look, draw_look
from .plan import GROUND, Plan
from .solder import Solder, solder_patch

REACH_PX = 8                                  # no change of the layout is seen further away than this


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is etched and drilled. copper uint8 [H, W], pads apart; undrilled: numbers of pads whose hole is missing."""
    copper: np.ndarray
    undrilled: frozenset[int] = frozenset()

    def with_copper(self, copper: np.ndarray) -> "Layout":
        return replace(self, copper=copper)

    def without_hole(self, pad: int) -> "Layout":
        return replace(self, undrilled=self.undrilled | {pad})


class Scene:
    """One board under one camera: whatever of it does not depend on the defects is drawn once."""

    def __init__(self, rng: np.random.Generator, plan: Plan):
        self.plan, self.size = plan, plan.size
        self.look: Look = draw_look(rng, plan.rules)
        self.pads = self._draw_pads()
        self.layout = Layout(copper=cv2.max(self._draw_traces(), self._draw_pour(rng)))
        self.nets = self._draw_nets()
        self.openness = self._openness()
        self.print = self._draw_print()
        self.shadow = _moved(self.print, -1.6 * self.look.light[0], -1.6 * self.look.light[1])
        self._draw_fields(rng)
        self.solders = [self._solder(rng, pad) for pad in plan.pads]

    def _solder(self, rng: np.random.Generator, pad) -> Solder | None:
        reach = np.hypot(*pad.size) / 2 + 3
        inside = (pad.at > -reach).all() and (pad.at < np.array(self.size) + reach).all()
        return Solder(pad, self.look, self.plan.rules.angle, rng) if inside else None

    # ---- layers

    def _layer(self) -> np.ndarray:
        return np.zeros(self.size[::-1], np.uint8)

    def _draw_traces(self) -> np.ndarray:
        layer = self._layer()
        for trace in self.plan.traces:
            stroke(layer, trace.points, trace.width)
        return layer

    def _draw_pads(self) -> np.ndarray:
        layer = self._layer()
        for pad in self.plan.pads:
            self._draw_pad(layer, pad, 0)
        return layer

    def _draw_pour(self, rng: np.random.Generator) -> np.ndarray:
        """Ground copper wherever nothing else is near, slivers taken out, perforated on some boards."""
        layer, rules = self._layer(), self.plan.rules
        for outline in self.plan.pours:
            fill(layer, outline)
        for trace in self.plan.traces:
            stroke(layer, trace.points, trace.width + 2 * rules.clearance, 0)
        for pad in self.plan.pads:
            self._draw_pad(layer, pad, rules.clearance, 0)
        side = max(int(rules.pitch * rng.uniform(0.10, 0.2)), 2) * 2 + 1
        layer = cv2.morphologyEx(layer, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        if rng.random() < (0.15 if rules.heavy else 0.75):
            layer = self._perforated(rng, layer)
        for pad in self.plan.pads:
            if pad.spokes and self._is_poured(layer, pad):
                reach = max(pad.size) / 2 + rules.clearance + 2
                turn = rules.angle + (np.pi / 4 if rng.random() < 0.15 else 0)
                for quarter in range(4):
                    ray = turned(np.array([[reach, 0.0]]), turn + quarter * np.pi / 2)[0]
                    stroke(layer, np.array([pad.at, pad.at + ray]), max(0.75 * rules.width, 2.5))
        return layer

    def _is_poured(self, layer: np.ndarray, pad) -> bool:
        reach = max(pad.size) / 2 + self.plan.rules.clearance + 4
        x1, y1 = np.maximum(pad.at - reach, 0).astype(int)
        x2, y2 = np.maximum(pad.at + reach, 0).astype(int)
        ring = layer[y1:y2, x1:x2]
        return np.count_nonzero(ring) > 0.15 * (2 * reach) ** 2

    def _perforated(self, rng: np.random.Generator, layer: np.ndarray) -> np.ndarray:
        """Small windows in the pour on a grid, none near its edge."""
        rules = self.plan.rules
        step, wide = rules.pitch * rng.uniform(0.26, 0.36), rules.pitch * rng.uniform(0.075, 0.12)
        hatched = rng.random() < 0.12
        if hatched:
            step, wide = rules.pitch * rng.uniform(0.5, 0.7), rules.pitch * rng.uniform(0.28, 0.4)
        x, y = np.arange(self.size[0], dtype=np.float32) + 0.5, np.arange(self.size[1], dtype=np.float32)[:, None] + 0.5
        turn = rules.angle + (np.pi / 4 if hatched else 0)
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        away = np.maximum(np.abs(u % step - step / 2), np.abs(v % step - step / 2))
        holes = np.clip((wide / 2 - away) + 0.5, 0, 1)
        side = 2 * int(np.ceil(0.12 * rules.pitch + wide)) + 1
        deep = blurred(cv2.erode(layer, np.ones((side, side), np.uint8)), 0.8)
        return (layer * (1 - holes * (deep / 255.0))).astype(np.uint8)

    def _draw_pad(self, layer: np.ndarray, pad, grown: float, value: int = 255, *, smooth: bool = True) -> None:
        half_w, half_h = pad.size[0] / 2, pad.size[1] / 2
        if pad.shape in ("round", "oval"):
            axis = np.array([half_w - min(half_w, half_h), half_h - min(half_w, half_h)])
            axis = turned(axis[None], self.plan.rules.angle)[0]
            stroke(layer, np.array([pad.at - axis, pad.at + axis]), 2 * min(half_w, half_h) + 2 * grown, value,
                   smooth=smooth)
        else:
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half_w + grown, half_h + grown)
            fill(layer, turned(corners, self.plan.rules.angle) + pad.at, value, smooth=smooth)

    def _draw_nets(self) -> np.ndarray:
        """int16 [H, W]: whose copper a pixel is; 0 none."""
        nets = np.where(self.layout.copper > 127, GROUND, 0).astype(np.int16)
        for trace in self.plan.traces:
            stroke(nets, trace.points, trace.width - 0.5, trace.net, smooth=False)
        for pad in self.plan.pads:
            self._draw_pad(nets, pad, -0.25, pad.net, smooth=False)
        return nets

    def _draw_print(self) -> np.ndarray:
        """The silkscreen's cover, float32 [H, W] 0..1."""
        layer = self._layer()
        for line in self.plan.lines:
            stroke(layer, line, self.look.print_px)
        away = 2 * int(np.ceil(0.05 * self.plan.rules.pitch)) + 1
        pads = cv2.dilate(self.pads, np.ones((away, away), np.uint8))
        layer[pads > 0] = 0
        for word, place, height in self.plan.texts:
            self._write(layer, pads, word, place, height)
        return layer.astype(np.float32) / 255

    def _write(self, layer: np.ndarray, pads: np.ndarray, word: str, place: np.ndarray, height: float) -> None:
        """Print a component's name, unless a pad or another print is in its place."""
        thick = max(int(round(self.look.print_px * 0.8)), 1)
        (wide, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, height / 22, thick)
        x, y = np.round(place + [-wide / 2, high / 2]).astype(int).tolist()
        window = (slice(max(y - high - 3, 0), max(y + 4, 0)), slice(max(x - 3, 0), max(x + wide + 3, 0)))
        if not pads[window].any() and not layer[window].any():
            cv2.putText(layer, word, (x, y), cv2.FONT_HERSHEY_SIMPLEX, height / 22, 255, thick, cv2.LINE_AA)

    def _openness(self) -> np.ndarray:
        """How far from copper a bare place is, 0..1: wide bare areas look lighter than narrow channels."""
        small = cv2.resize(self.layout.copper, None, fx=COARSE / 2, fy=COARSE / 2, interpolation=cv2.INTER_AREA)
        spread = cv2.GaussianBlur(small.astype(np.float32) / 255, (0, 0), 0.35 * self.plan.rules.pitch * COARSE / 2)
        return np.clip(1 - 1.7 * cv2.resize(spread, self.size, interpolation=cv2.INTER_LINEAR), 0, 1)

    # ---- light and noise

    def _draw_fields(self, rng: np.random.Generator) -> None:
        size, look = self.size, self.look
        light = 1 + look.unevenness * slope(rng, size) + 0.02 * smooth_noise(rng, size, max(size) / 2)
        self.light = light * (1 + 0.012 * smooth_noise(rng, size, 0.35 * self.plan.rules.pitch))
        self.patchy = np.clip(0.5 + 0.8 * smooth_noise(rng, size, 0.9 * self.plan.rules.pitch), 0, 1.6)
        self.crumb = smooth_noise(rng, size, 1.8)
        bright = cv2.GaussianBlur(rng.standard_normal(size[::-1], np.float32), (3, 3), 0.6) * np.float32(1.9)
        self.noise = [look.noise * (bright + share * smooth_noise(rng, size, 2.3)) for share in (0.75, 0.25, 0.95)]
        self._dust(rng)

    def _dust(self, rng: np.random.Generator) -> None:
        """Specks and fibres on top of the board, part of the good board as well."""
        layer = self._layer()
        for _ in range(rng.poisson(self.size[0] * self.size[1] / 90_000)):
            at = rng.uniform(0, 1, 2) * self.size
            way = np.cumsum(rng.normal(0, 2.0, (rng.integers(2, 5), 2)), 0) + at
            stroke(layer, way, rng.uniform(0.8, 1.8), int(rng.integers(60, 150)))
        self.dust = layer.astype(np.float32) / 255 if layer.any() else None

    # ---- the picture

    def render(self, layout: Layout, window: tuple[slice, slice] | None = None) -> np.ndarray:
        """The picture of a layout, or of a window of it: uint8 [h, w, 3] RGB."""
        window = window or (slice(0, self.size[1]), slice(0, self.size[0]))
        look, seen = self.look, []
        planes = self._surface(layout, window)
        self._add_solder(planes, layout, window)
        light = self.light[window]
        for plane, noise, dust, way in zip(planes, self.noise, look.dust, (1, 0, -1)):
            if self.dust is not None:
                plane += (np.float32(dust) - plane) * self.dust[window]
            plane = blurred(plane, look.blur_px)
            if look.fringe_px and way:
                plane = _moved(plane, way * look.fringe_px, 0.4 * way * look.fringe_px)
            if look.sharpening:
                plane += np.float32(look.sharpening) * (plane - blurred(plane, 1.0))
            plane = np.maximum(plane * light, 0)
            plane += noise[window] * (np.float32(0.55) + np.float32(0.04) * np.sqrt(plane))
            seen.append(np.clip(plane + 0.5, 0, 255).astype(np.uint8))
        return cv2.merge(seen)

    def scan(self, layout: Layout, window: tuple[slice, slice] | None = None) -> np.ndarray:
        """The layout as a black and white scan: copper black, laminate and holes white; uint8 [h, w, 3]."""
        window = window or (slice(0, self.size[1]), slice(0, self.size[0]))
        metal = cv2.max(layout.copper, self.pads)
        for number, pad in enumerate(self.plan.pads):
            if pad.hole and number not in layout.undrilled:
                stroke(metal, pad.at + np.zeros((2, 1)), pad.hole, 0)
        rough = 14 * self.crumb[window] + 6 / self.look.noise * self.noise[0][window]
        level = blurred(metal, 0.9)[window] + np.clip(rough, -90, 90)
        return np.where(level > 127, np.uint8(0), np.uint8(255))[..., None].repeat(3, 2)

    def _surface(self, layout: Layout, window) -> list[np.ndarray]:
        """Laminate, copper under the mask, its lit and shaded edges, and the print: three planes float32 [h, w]."""
        look, crumb = self.look, self.crumb[window]
        copper = blurred(layout.copper[window].astype(np.float32) * np.float32(1 / 255), 0.5)
        rise = cv2.Sobel(copper, cv2.CV_32F, 1, 0, scale=look.light[0] / 4) \
            + cv2.Sobel(copper, cv2.CV_32F, 0, 1, scale=look.light[1] / 4)
        lit = np.clip(rise, 0, 1) * self.patchy[window] * np.float32(look.edge)
        shade = (1 - np.float32(0.35 * look.edge_shade) * np.clip(-rise, 0, 1)) * (1 + np.float32(look.grain) * crumb) \
            * (1 - np.float32(0.3) * self.shadow[window])
        ink = self.print[window] * (np.float32(look.print_cover) + np.float32(0.06) * crumb)
        bare, planes = self.openness[window], []
        colours = np.float32([look.channel, look.bare, look.copper, look.glint, look.ink])
        for channel, wide, metal, glint, white in colours.T:
            plane = channel + (wide - channel) * bare
            plane += copper * (metal - plane)
            plane += lit * (glint - plane)
            plane *= shade
            plane += ink * (white - plane)
            planes.append(plane)
        return planes

    def _add_solder(self, planes: list[np.ndarray], layout: Layout, window) -> None:
        y0, x0 = window[0].start, window[1].start
        height, width = planes[0].shape
        for number, solder in enumerate(self.solders):
            if solder is None:
                continue
            x1, y1, x2, y2 = solder.box
            left, top, right, bottom = max(x1 - x0, 0), max(y1 - y0, 0), min(x2 - x0, width), min(y2 - y0, height)
            if left >= right or top >= bottom:
                continue
            rgb, cover = solder_patch(solder, number not in layout.undrilled)
            inner = (slice(top + y0 - y1, bottom + y0 - y1), slice(left + x0 - x1, right + x0 - x1))
            for channel, plane in enumerate(planes):
                place = plane[top:bottom, left:right]
                place += cover[inner] * (rgb[inner][..., channel] - place)


def _moved(channel: np.ndarray, x_px: float, y_px: float) -> np.ndarray:
    height, width = channel.shape
    matrix = np.float32([[1, 0, x_px], [0, 1, y_px]])
    return cv2.warpAffine(channel, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
