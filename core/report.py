"""A self-contained HTML page of headings, tables, figures and pictures: all escaped, nothing loaded from elsewhere."""
import base64
import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from .data import images

VOID = {"br", "hr", "img", "input", "link", "meta", "path", "rect", "line", "circle", "use"}
THIN_SPACE = "\u202f"


class Markup(str):
    """Text that is HTML already: `tag` puts it in as it is, and escapes every other string."""


def tag(name: str, /, *children, **attributes) -> Markup:
    """Return one HTML or SVG element.

    children    Markup stays as it is, None is left out, anything else is escaped as text
    attributes  `class_` is class, `_` becomes `-`; None and False leave one out, True gives it no value
    """
    opened = name
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            opened += f" {key}"
        elif value is not None and value is not False:
            opened += f' {key}="{html.escape(str(value))}"'
    return Markup(f"<{opened}/>" if name in VOID else f"<{opened}>{joined(children)}</{name}>")


def joined(children: Iterable) -> Markup:
    """Children one after the other, escaped where they are not Markup."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(str(child))
                          for child in children if child is not None))


def number(value: float, digits: int = 2) -> str:
    """A number for reading: whole numbers in groups of three, others to `digits` significant digits; NaN is a dash."""
    if value != value:
        return "–"
    if float(value).is_integer() or abs(value) >= 10 ** digits:
        return f"{round(value):,}".replace(",", THIN_SPACE)
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def data_uri(data: bytes, kind: str) -> str:
    """Bytes of a picture as an address that holds them; `kind` is "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


class Page:
    """Collects content section by section; `render` gives the whole page as text, `write` puts it on disk."""

    def __init__(self, title: str, *, over: str = "DefectForge", under: str | None = None):
        """`over` is the small line above the title, `under` the one below it."""
        self.title = title
        self.head = tag("header", tag("p", over, class_="over"), tag("h1", title),
                        tag("p", under, class_="under") if under else None)
        self.sections: list[tuple[str, str, list[Markup]]] = []
        self.pictures: dict[str, str] = {}

    def section(self, title: str, *content: Markup | None) -> None:
        """Begin a section and put the content under its heading."""
        self.sections.append((f"part-{len(self.sections) + 1}", title, []))
        self.add(*content)

    def add(self, *content: Markup | None) -> None:
        """Put content under the last heading. Text goes through `text` or `tag` first: ValueError says where not."""
        for item in content:
            if item is not None and not isinstance(item, Markup):
                raise ValueError(f"content must be Markup, so that nothing is left unescaped, got {str(item)[:60]!r}")
            if item is not None:
                self.sections[-1][2].append(item)

    def picture(self, key: str, uri: str) -> None:
        """Keep a full-size picture for the viewer; links made with `full=key` open it."""
        self.pictures[key] = uri

    def render(self) -> str:
        """Return the page."""
        here = Path(__file__)
        contents = tag("nav", *(tag("a", title, href=f"#{name}") for name, title, _ in self.sections))
        parts = [tag("section", tag("h2", title), *content, id=name) for name, title, content in self.sections]
        stored = json.dumps(self.pictures, sort_keys=True).replace("<", "\\u003c")
        body = tag("body", tag("main", self.head, contents if len(self.sections) > 2 else None, *parts), _viewer(),
                   tag("script", Markup(stored), type="application/json", id="pictures"),
                   tag("script", Markup(here.with_suffix(".js").read_text(encoding="utf-8"))))
        head = tag("head", tag("meta", charset="utf-8"), tag("title", self.title),
                   tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                   tag("style", Markup(here.with_suffix(".css").read_text(encoding="utf-8"))))
        return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all. OutputError: no space, no right."""
        images.write_bytes(path, self.render().encode("utf-8", "replace"))
        return path


def text(*children, note: bool = False) -> Markup:
    """A paragraph; `note` sets it small and quiet."""
    return tag("p", *children, class_="note" if note else None)


def code(content: str) -> Markup:
    """Lines to be copied, such as a command or a configuration."""
    return tag("pre", tag("code", content))


def bullets(items: Sequence[str]) -> Markup | None:
    """A list of remarks; None where there is none."""
    return tag("ul", *(tag("li", item) for item in items)) if items else None


def facts(items: Sequence[tuple[str, str]]) -> Markup:
    """The few figures that matter most, large: (name, value)."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in items), class_="facts")


def table(header: Sequence[str], rows: Sequence[Sequence], *, total: Sequence | None = None) -> Markup:
    """A table: numbers right-aligned and grouped, zero a quiet dot, None empty. `total` is a last line set apart.

    Every row begins with its name.
    """
    numeric = [k > 0 and not any(isinstance(row[k], str) for row in rows) for k in range(len(header))]
    head = tag("tr", *(tag("th", name, scope="col", class_="n" if is_number else None)
                       for name, is_number in zip(header, numeric)))
    body = tag("tbody", *(tag("tr", *_cells(row, numeric)) for row in rows))
    foot = tag("tfoot", tag("tr", *_cells(total, numeric))) if total is not None else None
    return tag("div", tag("table", tag("thead", head), body, foot), class_="wide", tabindex="0")


def figure(content: Markup | None, title: str, caption: str = "") -> Markup | None:
    """A plot or picture under its title; None where there is nothing to show."""
    if content is None:
        return None
    return tag("figure", tag("p", title, class_="title"), content, tag("figcaption", caption) if caption else None)


def figures(*items: Markup | None) -> Markup:
    """Figures side by side where there is room."""
    return tag("div", *items, class_="figures")


def _cells(row: Sequence, numeric: Sequence[bool]) -> list[Markup]:
    cells = [tag("th", row[0], scope="row")]
    for value, is_number in zip(row[1:], numeric[1:]):
        quiet = is_number and value == 0
        told = number(value, 3) if isinstance(value, (int, float)) else value
        shown = "" if value is None else "·" if quiet else told
        cells.append(tag("td", shown, class_="n zero" if quiet else "n" if is_number else None))
    return cells


def _viewer() -> Markup:
    def button(name: str, sign: str, label: str) -> Markup:
        return tag("button", sign, type="button", data_do=name, title=label, aria_label=label)

    bar = tag("div", tag("p", id="viewer-caption", aria_live="polite"), tag("a", "original file", id="viewer-original"),
              button("back", "←", "Previous picture (left arrow)"), button("on", "→", "Next picture (right arrow)"),
              button("zoom", "⤢", "Whole picture or enlarged (space)"), button("close", "×", "Close (Escape)"),
              class_="bar")
    stage = tag("div", tag("div", tag("img", id="viewer-image", alt=""), id="viewer-frame"), id="viewer-stage",
                tabindex="-1", autofocus=True)
    return tag("dialog", bar, stage, id="viewer", aria_labelledby="viewer-caption")
