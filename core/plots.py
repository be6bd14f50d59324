"""Plots as inline SVG that takes colours and type from the page, so that they fit light, dark and paper."""
from collections.abc import Sequence

import cv2
import numpy as np

from .report import Markup, number, tag

WIDTH = 500                 # px, the width of every plot; the page shrinks it where there is less room
LETTER = 7.6                # px, mean width of a letter
LEGEND = 26                 # px above the plot for the names of the series

Series = dict[str, np.ndarray]


def histogram(series: Series, unit: str, *, log: bool = False, bins: int = 24, height: int = 220,
              kinds: Sequence[int] | None = None) -> Markup | None:
    """Shares of each series' values by size, on common bins; None where there is no value.

    `log` spaces the bins by ratio, for values > 0; `kinds` are the colours' numbers. The share is of the series' own
    values, so that few compare with many.
    """
    series = {name: np.asarray(values, float) for name, values in series.items()}
    kinds = range(len(series)) if kinds is None else kinds
    pooled = np.concatenate(list(series.values())) if series else np.zeros(0)
    if not len(pooled):
        return None
    axis = Axis.over(pooled, 44, WIDTH - 10, log=log)
    edges = axis.spaced(bins)
    shares = {name: np.histogram(axis.held(values), edges)[0] / max(len(values), 1) for name, values in series.items()}
    up = Axis.over(np.array([0, max(share.max() for share in shares.values())]), height - 44, LEGEND + 8)
    content = [*_rules(up, 44, WIDTH - 10, percent=True), *_ticks(axis, height - 44, unit)]
    for kind, share in zip(kinds, shares.values()):
        heights = [up(value) for value in share]
        path = f"M{axis(edges[0]):.1f} {up(0):.1f}" + "".join(
            f"V{top:.1f}H{axis(right):.1f}" for top, right in zip(heights, edges[1:])) + f"V{up(0):.1f}"
        content += [tag("path", d=path + "z", class_=f"area s{kind}"), tag("path", d=path, class_=f"line s{kind}")]
    names = [f"{name} ({number(len(values), 9)})" for name, values in series.items()]
    return _svg([*_legend(names, kinds), *content], height, f"Histogram: {unit}")


def bars(rows: Sequence[str], series: Series) -> Markup | None:
    """Horizontal bars, one a row and series, each with its number; None where there is no row."""
    if not rows:
        return None
    left = _label_width(rows)
    thick, pitch = 9, 11 * len(series) + 9
    axis = Axis.over(np.array([0, max(1, *(max(values) for values in series.values()))]), left, WIDTH - 52, nice=False)
    content = []
    for r, row in enumerate(rows):
        top = LEGEND + r * pitch + 4
        content.append(_label(row, left - 8, top + (pitch - 9) / 2))
        for kind, values in enumerate(series.values()):
            y = top + 11 * kind
            end = axis(values[r])
            content += [tag("rect", x=left, y=y, width=f"{end - left:.1f}", height=thick, class_=f"bar s{kind}"),
                        _text(number(values[r], 9), end + 5, y + thick / 2, "value")]
    return _svg([*_legend(list(series)), *content], LEGEND + len(rows) * pitch + 4, "Bars: " + ", ".join(series))


def spreads(rows: Sequence[str], series: dict[str, Sequence[np.ndarray]], unit: str, *,
            log: bool = False) -> Markup | None:
    """Where the values of each row and series lie: a line over 10..90 %, a bar over 25..75 %, a mark at the median."""
    pooled = np.concatenate([np.zeros(0), *(values for column in series.values() for values in column)])
    if not len(pooled):
        return None
    left, pitch = _label_width(rows), 11 * len(series) + 9
    bottom = LEGEND + len(rows) * pitch + 4
    axis = Axis.over(pooled, left, WIDTH - 10, log=log)
    content = _ticks(axis, bottom, unit, top=LEGEND)
    for r, row in enumerate(rows):
        top = LEGEND + r * pitch + 4
        content.append(_label(row, left - 8, top + (pitch - 9) / 2))
        for kind, column in enumerate(series.values()):
            if len(column[r]):
                content += _spread(axis, np.asarray(column[r], float), top + 11 * kind + 4.5, kind)
    return _svg([*_legend(list(series)), *content], bottom + 40, f"Spread by class: {unit}")


def intervals(rows: Sequence[str], series: dict[str, Sequence[tuple[float, float, float] | None]],
              unit: str) -> Markup | None:
    """A mark at each row's value and a line over its interval, (value, low, high); None where there is no value.

    A low or high that is NaN leaves out the line. The line of zero is drawn.
    """
    pooled = np.array([value for column in series.values() for one in column if one is not None for value in one])
    if not len(pooled):
        return None
    left, pitch = _label_width(rows), 11 * len(series) + 9
    bottom = LEGEND + len(rows) * pitch + 4
    axis = Axis.over(np.append(pooled[np.isfinite(pooled)], 0), left, WIDTH - 10)
    zero = f"{axis(0):.1f}"
    content = [*_ticks(axis, bottom, unit, top=LEGEND), tag("line", x1=zero, x2=zero, y1=LEGEND, y2=bottom,
                                                            class_="base")]
    for r, row in enumerate(rows):
        top = LEGEND + r * pitch + 4
        content.append(_label(row, left - 8, top + (pitch - 9) / 2))
        for kind, column in enumerate(series.values()):
            if column[r] is not None:
                value, low, high = column[r]
                y = top + 11 * kind + 4.5
                if np.isfinite(low) and np.isfinite(high):
                    content.append(tag("line", x1=f"{axis(low):.1f}", x2=f"{axis(high):.1f}", y1=y, y2=y,
                                       class_=f"line s{kind}"))
                content.append(tag("circle", cx=f"{axis(value):.1f}", cy=y, r=3.5, class_=f"bar s{kind}"))
    return _svg([*_legend(list(series)), *content], bottom + 40, f"Intervals: {unit}")


def density(points: np.ndarray, kind: int, name: str, *, cells: int = 24, peak: float | None = None) -> Markup | None:
    """Where points [N, 2] of x, y in 0..1 lie on the image; None where there is none. At most 150 are drawn as dots.

    Smoothed by a Gaussian of 1/20 of the side. `peak` is the density of full colour; by default this plot's own.
    """
    if not len(points):
        return None
    values = _smoothed(points, cells)
    side, content = 264, []
    step = side / cells
    levels = np.rint(values / (peak or values.max()) * 20).clip(0, 20).astype(int)
    for row, column in zip(*levels.nonzero()):
        content.append(tag("rect", x=f"{column * step:g}", y=f"{row * step:g}", width=f"{step:g}", height=f"{step:g}",
                           fill_opacity=f"{levels[row, column] * 0.042:.3g}"))
    dots = [tag("circle", cx=f"{x * side:.1f}", cy=f"{y * side:.1f}", r=1.8) for x, y in points if len(points) <= 150]
    frame = tag("rect", x=0.5, y=0.5, width=side - 1, height=side - 1, class_="frame")
    return _svg([tag("g", *content, class_=f"heat s{kind}", shape_rendering="crispEdges"),
                 tag("g", *dots, class_="dots"), frame], side, name, width=side)


def density_peak(point_sets: Sequence[np.ndarray], cells: int = 24) -> float | None:
    """The highest density among sets of points, so that their plots can share one scale; None where all are empty."""
    return max((float(_smoothed(points, cells).max()) for points in point_sets if len(points)), default=None)


def curves(series: dict[str, tuple[np.ndarray, np.ndarray]], x_unit: str, y_unit: str, *, log: bool = False,
           height: int = 240) -> Markup | None:
    """Lines through (x, y) of each series, such as a loss by step; values that are not finite break the line."""
    finite = {name: [np.asarray(values, float) for values in pair] for name, pair in series.items() if len(pair[0])}
    if not finite:
        return None
    pooled = np.concatenate([y[np.isfinite(y)] for _, y in finite.values()])
    across = Axis.over(np.concatenate([x for x, _ in finite.values()]), 52, WIDTH - 10, nice=False)
    up = Axis.over(pooled if len(pooled) else np.array([0, 1]), height - 44, LEGEND + 8, log=log)
    content = [*_rules(up, 52, WIDTH - 10), *_ticks(across, height - 44, x_unit)]
    for kind, (x, y) in enumerate(finite.values()):
        path, drawing = "", False
        for px, py in zip(x, y):
            if np.isfinite(py):
                path += f"{'L' if drawing else 'M'}{across(px):.1f} {up(py):.1f}"
            drawing = bool(np.isfinite(py))
        content.append(tag("path", d=path, class_=f"line s{kind}"))
    return _svg([*_legend(list(finite)), *content], height, f"{y_unit} by {x_unit}")


class Axis:
    """Turns values into px between two ends, linear or by ratio."""

    def __init__(self, low: float, high: float, start_px: float, end_px: float, *, log: bool = False):
        self.low, self.high, self.start_px, self.end_px, self.log = low, high, start_px, end_px, log

    @classmethod
    def over(cls, values: np.ndarray, start_px: float, end_px: float, *, log: bool = False,
             nice: bool = True) -> "Axis":
        """The axis that holds all values; `nice` ends it on round numbers."""
        low, high = float(np.min(values)), float(np.max(values))
        if log:
            low, high = max(low, 1e-9), max(high, 1e-9)
            return cls(low / 1.1, high * 1.1, start_px, end_px, log=True)
        if low == high:
            low, high = (low - 0.5, high + 0.5) if low else (0.0, 1.0)
        if nice:
            step = _step(high - low)
            low, high = np.floor(low / step + 1e-9) * step, np.ceil(high / step - 1e-9) * step
        return cls(low, high, start_px, end_px)

    def __call__(self, value: float) -> float:
        scale = np.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        return self.start_px + (scale(max(value, self.low) if self.log else value) - low) / (high - low) * (
            self.end_px - self.start_px)

    def spaced(self, count: int) -> np.ndarray:
        return (np.geomspace if self.log else np.linspace)(self.low, self.high, count + 1)

    def held(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values, self.low, self.high)

    def ticks(self) -> list[float]:
        if not self.log:
            step = _step(self.high - self.low)
            first, last = np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9)
            return [k * step for k in range(int(first), int(last) + 1)]
        decades = range(int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high))) + 1)
        parts = (1, 2, 5) if self.high / self.low < 300 else (1,)
        inside = [part * 10.0 ** k for k in decades for part in parts if self.low <= part * 10.0 ** k <= self.high]
        return inside or [float(f"{(self.low * self.high) ** 0.5:.2g}")]


def _spread(axis: Axis, values: np.ndarray, y: float, kind: int) -> list[Markup]:
    low, first, median, third, high = (axis(value) for value in np.percentile(values, (10, 25, 50, 75, 90)))
    return [tag("line", x1=f"{low:.1f}", x2=f"{high:.1f}", y1=y, y2=y, class_=f"line s{kind}"),
            tag("rect", x=f"{first:.1f}", y=y - 3, width=f"{max(third - first, 1):.1f}", height=6,
                class_=f"bar s{kind}"),
            tag("line", x1=f"{median:.1f}", x2=f"{median:.1f}", y1=y - 4.5, y2=y + 4.5, class_="median")]


def _smoothed(points: np.ndarray, cells: int) -> np.ndarray:
    """Density of points [N, 2] in 0..1 on a square of cells, in shares a cell; nothing leaks over the border."""
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=cells, range=((0, 1), (0, 1)))
    smooth = cv2.GaussianBlur(counts, (0, 0), cells / 20, borderType=cv2.BORDER_REFLECT)
    return smooth / len(points)


def _step(span: float) -> float:
    """The round distance of ticks that gives about five of them."""
    rough = span / 5
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * part for part in (1, 2, 5, 10) if power * part >= rough * 0.999))


def _rules(axis: Axis, left: float, right: float, *, percent: bool = False) -> list[Markup]:
    rules = []
    for value in axis.ticks():
        y = round(axis(value), 1)
        shown = f"{number(value * 100)} %" if percent else number(value, 3)
        rules += [tag("line", x1=left, x2=right, y1=y, y2=y, class_="rule"), _text(shown, left - 6, y, "tick end")]
    return rules


def _ticks(axis: Axis, bottom: float, unit: str, *, top: float | None = None) -> list[Markup]:
    marks = [tag("line", x1=axis.start_px, x2=axis.end_px, y1=bottom, y2=bottom, class_="base")]
    for value in axis.ticks():
        x = round(axis(value), 1)
        marks += [tag("line", x1=x, x2=x, y1=bottom if top is None else top, y2=bottom + 4, class_="rule"),
                  _text(number(value, 3), x, bottom + 13, "tick middle")]
    return [*marks, _text(unit, (axis.start_px + axis.end_px) / 2, bottom + 31, "unit middle")]


def _legend(names: Sequence[str], kinds: Sequence[int] | None = None) -> list[Markup]:
    content, x = [], 2.0
    for kind, name in zip(range(len(names)) if kinds is None else kinds, names):
        content += [tag("rect", x=x, y=5, width=10, height=10, class_=f"bar s{kind}"),
                    _text(name, x + 15, 10.5, "name")]
        x += 15 + len(name) * LETTER + 18
    return content


def _label_width(rows: Sequence[str]) -> float:
    return min(max(len(row) for row in rows) * LETTER + 10, 190)


def _label(name: str, x: float, y: float) -> Markup:
    """The name of a row, cut where it is too long; the whole name shows under the pointer."""
    fits = int(180 / LETTER)
    shown = name if len(name) <= fits else name[:fits - 1] + "…"
    return tag("text", tag("title", name), shown, x=round(x, 1), y=round(y, 1), class_="name end")


def _text(content: str, x: float, y: float, class_: str) -> Markup:
    return tag("text", content, x=round(x, 1), y=round(y, 1), class_=class_)


def _svg(content: list[Markup], height: float, title: str, width: float = WIDTH) -> Markup:
    return tag("svg", tag("title", title), *content, viewBox=f"0 0 {width} {height:g}", width=width,
               height=f"{height:g}", role="img", class_="plot")
