"""The report's pictures of defects: cut at native scale, outlined, linked to full pictures within a budget of bytes."""
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..data import images, shapes
from ..report import Markup, Page, data_uri, joined, number, tag
from ..visualise import cut, edge_path, encode_jpeg, fill_path, reduced, shown, square_window
from .compose import bounds

FULL_BYTES = 10_000_000         # all full pictures together, before base64 adds a third
CARD_PX, ROW_PX = 192, 96       # largest sides of the panels on a wide screen, in px of the page
TIMES = (6, 4, 3, 2, 1)         # how many px of the page a pixel may take; both sides are whole multiples
PATH_LETTERS = 40_000           # an outline longer than this is drawn from a coarser mask


@dataclass
class Pictures:
    """Makes panels for a page.

    output   folder of the page, which links lead away from
    white    level shown as white, for deep images
    share    bytes that one full picture may take
    """
    page: Page
    output: Path
    white: int
    share: int
    lossy_keys: set[str] = field(default_factory=set)      # of full pictures whose files show more than the page

    def keep_full(self, key: str, pixels: np.ndarray) -> None:
        """Embed a full picture once: lossless, as JPEG, or reduced, whichever is the first within its share."""
        if key in self.page.pictures:
            return
        data, kind = encode_full(shown(pixels, self.white), self.share)
        self.page.picture(key, data_uri(data, kind))
        if kind == "jpeg" and pixels.dtype == np.uint8:
            self.lossy_keys.add(key)

    def card(self, line: dict, defect_number: int, made: np.ndarray, clean: np.ndarray, clean_path: Path) -> Markup:
        """Clean, defect and label of one defect side by side, with what it is."""
        entry, size = line["defects"][defect_number], tuple(line["size"])
        box = entry["box"]
        side = min(card_side(max(box[2] - box[0], box[3] - box[1])), max(size))
        window = square_window(box, size, side)
        keys = f"source {line['source']}", f"image {line['index']}"
        self.keep_full(keys[0], clean)
        self.keep_full(keys[1], made)
        named = f"{entry['label']}, image {line['index']}"
        shared = {"size": size, "box": box, "side": side, "panel_px": CARD_PX}
        before, after = cut(clean, window), cut(made, window)
        panels = (
            self._panel(before, f"{named}: clean", full=keys[0], href=address(clean_path, self.output), **shared),
            self._panel(after, f"{named}: defect", full=keys[1], href=line["image"], **shared),
            self._panel(after, f"{named}: label", full=keys[1], href=line["image"], **shared,
                        marks=marks(line), window=window))
        return tag("div", tag("div", *panels, class_="panels"), _caption(line, entry, side), class_="card")

    def generated(self, line: dict, defect_number: int, made: np.ndarray, side: int) -> Markup:
        """One panel of a row: a generated defect, `side` px of its picture."""
        entry, size = line["defects"][defect_number], tuple(line["size"])
        pixels = cut(made, square_window(entry["box"], size, side))
        title = f"{entry['label']}, generated, image {line['index']}"
        return self._panel(pixels, title, size=size, box=entry["box"], side=side, panel_px=ROW_PX,
                           full=f"image {line['index']}", href=line["image"])

    def real(self, crop, side: int, original: Path | None) -> Markup:
        """One panel of a row: a training defect at the same scale; its image is read where its window is too small."""
        height, width = crop.mask.shape
        box = bounds(crop.mask) or (0, 0, width, height)
        pixels = cut(crop.pixels, square_window(box, (width, height), side))
        if original is not None and pixels.shape[:2] != (side, side):
            pixels = cut(images.read_image(original), square_window(crop.box, crop.image_size, side))
        return self._panel(pixels, f"{crop.label}, real, {crop.record}", size=crop.image_size, box=crop.box, side=side,
                           panel_px=ROW_PX, href=None if original is None else address(original, self.output))

    def _panel(self, pixels: np.ndarray, title: str, *, size, box, side: int, panel_px: int, full: str | None = None,
               href: str | None = None, marks: Markup | None = None, window=None) -> Markup:
        crisp = panel_px > side
        uri = encode_crop(reduced(shown(pixels, self.white), round(panel_px * 1.5)), lossless=crisp)
        height, width = pixels.shape[:2]
        style = None if height == width == side else f"width:{width / side:.2%};height:{height / side:.2%}"
        middle = f"{(box[0] + box[2]) / 2 / size[0]:.3f} {(box[1] + box[3]) / 2 / size[1]:.3f}"
        drawn = marks and tag("svg", marks, viewBox=f"{window[0]} {window[1]} {width} {height}", style=style,
                              class_="marks", aria_hidden="true")
        better = pixels.dtype == np.uint8 and (full not in self.page.pictures or full in self.lossy_keys)
        return tag("a", tag("img", src=uri, alt=title, style=style, class_="crisp" if crisp else None), drawn,
                   class_="zoom", href=href or "#", title=title, data_full=full, data_size=f"{size[0]} {size[1]}",
                   data_middle=middle, data_better=better and href is not None and in_browser(href))


def times(side: float, panel_px: int) -> int:
    """How many px of the page a pixel takes so that `side` of them fit into a panel; 0: they have to be reduced."""
    return next((factor for factor in TIMES if factor * side <= panel_px), 0)


def card_side(extent_px: float) -> int:
    """The side in px of the image that a card shows: at least twice the defect's, whole pixels filling the panel."""
    factor = times(2 * extent_px, CARD_PX)
    return CARD_PX // factor if factor else round(2 * extent_px)


def cell_px(side: int) -> int:
    """The width in px of the page of a row's panels that show `side` px of the image."""
    return side * times(side, ROW_PX) or ROW_PX


def address(path: Path, output: Path) -> str | None:
    """Where the page in folder `output` finds a file; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        return quote(Path(os.path.relpath(path.resolve(), output.resolve())).as_posix())
    except ValueError:                                      # on another drive
        return path.resolve().as_uri()


def in_browser(name: str) -> bool:
    """Whether browsers show files of this kind."""
    return Path(name).suffix.lower() not in (".tif", ".tiff")


def encode_crop(pixels: np.ndarray, *, lossless: bool) -> str:
    """A small picture: PNG where asked for or hardly larger than a good JPEG."""
    stored = pixels[..., 0] if images.is_grey(pixels) else pixels
    png = images.encode_png(np.ascontiguousarray(stored))
    if lossless or len(png) < 6000:
        return data_uri(png, "png")
    jpeg = encode_jpeg(pixels, 93)
    return data_uri(png, "png") if len(png) <= 1.3 * len(jpeg) else data_uri(jpeg, "jpeg")


def encode_full(pixels: np.ndarray, share: int) -> tuple[bytes, str]:
    """A full picture within `share` bytes and its kind: PNG, else JPEG, else JPEG of a reduced picture."""
    if pixels.shape[0] * pixels.shape[1] <= 1_500_000:
        png = images.encode_png(np.ascontiguousarray(pixels[..., 0]) if images.is_grey(pixels) else pixels)
        if len(png) <= share:
            return png, "png"
    jpeg, side = encode_jpeg(pixels, 92), max(pixels.shape[:2])
    while len(jpeg) > share and side > 64:
        side = int(side * min(0.9, (share / len(jpeg)) ** 0.5 * 0.97))
        jpeg = encode_jpeg(reduced(pixels, side), 88)
    return jpeg, "jpeg"


def marks(line: dict) -> Markup:
    """Labels of the whole image as SVG in its px: made ones, and those that it had before."""
    return joined(tag("g", *(_mark(entry) for entry in line[kind]), class_=name)
                  for kind, name in (("carried", "carried"), ("defects", "made")) if line[kind])


def _mark(entry: dict) -> Markup:
    x1, y1, x2, y2 = entry["box"]
    frame = tag("rect", x=f"{x1 - 1:g}", y=f"{y1 - 1:g}", width=f"{x2 - x1 + 2:g}", height=f"{y2 - y1 + 2:g}")
    if not entry.get("rle"):
        return tag("g", frame)
    mask, x, y = shapes.tight(shapes.rle_to_mask(entry["rle"]), 0, 0)
    step = 1
    fill, edge = fill_path(mask), edge_path(mask)
    while len(fill) + 2 * len(edge) > PATH_LETTERS:
        step *= 2
        coarse = mask[::step, ::step]
        fill, edge = fill_path(coarse), edge_path(coarse)
    placed = f"translate({x} {y})" + (f" scale({step})" if step > 1 else "")
    lines = [tag("path", d=path, class_=name) for path, name in ((fill, "fill"), (edge, "rim"), (edge, "edge"))]
    return tag("g", frame, tag("g", *lines, transform=placed))


def _caption(line: dict, entry: dict, side: int) -> Markup:
    x1, y1, x2, y2 = entry["box"]
    scale = CARD_PX / side
    told = [f"image {line['index']}", f"{number(x2 - x1)} × {number(y2 - y1)} px",
            f"shown at {scale:.2g}×"]
    told += [f"{name.replace('_', ' ')} {number(value)}" for name, value in sorted(entry.get("figures", {}).items())
             if name == "contrast"]
    origin = f"on {line['source']}" + (f", from {entry['from']}" if entry.get("from") else "")
    return tag("p", tag("b", entry["label"]), " · " + " · ".join(told), tag("br"), origin, class_="caption")
