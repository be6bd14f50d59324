"""The page of a verification: what is wrong with a data set, what is in it, and plots of classes, sizes and places."""
from pathlib import Path

import numpy as np

from . import plots
from .data.problems import KINDS, LEVELS, grouped, shortened
from .data.summary import counted
from .data.verify import Report
from .report import Markup, Page, facts, figure, figures, table, tag, text

CLASSES_SHOWN = 12          # in plots with one picture a class
PLACES = "display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 264px)); gap: 24px 32px"


def verdict(report: Report) -> str:
    """Such as "1 error, 3 warnings, 2 notes"."""
    counts = [(level, len(report.of(level))) for level in LEVELS]
    return ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts)


def class_rows(summary: dict) -> tuple[list[str], list[list], list]:
    """Header, rows and total of the table of classes: instances (and images) by split, then quantiles of the area."""
    splits = [name for name in summary["splits"] if name != "all"]
    names = ["all", *splits] if len(splits) > 1 or splits not in ([], ["none"]) else ["all"]
    header = ["class", *(f"{name}: {what}" for name in names for what in ("images", "defects")),
              "area 5 %, px", "median, px", "95 %, px"]
    rows = []
    for label in summary["classes"]:
        row = [label]
        for name in names:
            found = summary["splits"][name]["classes"][label]
            row += [found["images"], found["instances"]]
        rows.append([*row, *_three(summary["splits"]["all"]["classes"][label]["area_px"])])
    rows.append(["defect-free", *(value for name in names for value in (summary["splits"][name]["good"], None)),
                 None, None, None])
    total = ["all", *(value for name in names for value in (summary["splits"][name]["images"],
                                                             summary["splits"][name]["instances"])),
             *_three(summary["splits"]["all"]["area_px"])]
    return header, rows, total


def write_page(path: Path, report: Report, summary: dict) -> Path:
    """Write the page as one file. OutputError: no space, no right."""
    title = report.dataset.root.resolve().name if report.dataset else "A data set that cannot be read"
    page = Page(title, over="Verification", under=verdict(report))
    page.section("Problems", *_problems(report))
    if report.dataset:
        whole = summary["splits"]["all"]
        page.section("Contents", facts([("images", f"{whole['images']:,}"), ("defect-free", f"{whole['good']:,}"),
                                        ("defects", f"{whole['instances']:,}"), ("objects", f"{whole['groups']:,}"),
                                        ("classes", f"{len(summary['classes'])}"), ("format", summary["format"])]))
        header, rows, total = class_rows(summary)
        page.add(table(header, rows, total=total), _sizes(whole))
        _plots(page, report, summary)
    return page.write(path)


def _problems(report: Report) -> list[Markup]:
    content = []
    for level in LEVELS:
        kinds = grouped(report.of(level))
        if not kinds and level != "note":
            content.append(text(f"No {level}s.", note=True))
        for code, lines in kinds:
            content.append(tag("h3", f"{level.capitalize()}: {KINDS[code][1]}",
                               tag("span", len(lines), class_="count")))
            content.append(tag("ul", *(tag("li", line, style="white-space: pre-wrap") for line in shortened(lines))))
    return content


def _sizes(whole: dict) -> Markup:
    sizes = list(whole["sizes"].items())
    listed = ", ".join(f"{size} ({count})" for size, count in sizes[:12]) + (", …" if len(sizes) > 12 else "")
    pixels = whole["pixels"]
    mean, spread = ([f"{value:.3f}" for value in pixels[key]] for key in ("mean", "std")) if pixels else ((), ())
    levels = f" Red, green, blue in 0..1: mean {', '.join(mean)}; standard deviation {', '.join(spread)}."
    return text(f"Image sizes: {listed}.{levels if pixels else ''}", note=True)


def _plots(page: Page, report: Report, summary: dict) -> None:
    defects = counted(report.examined)
    if not defects:
        return
    classes = [label for label in summary["classes"] if summary["splits"]["all"]["classes"][label]["instances"]]
    splits = [name for name in summary["splits"] if name != "all"] or ["all"]
    counts = {name: np.array([summary["splits"][name]["classes"][label]["instances"] for label in classes])
              for name in splits}
    sides = [np.sqrt([max(defect.area_px, 1) for defect in defects if defect.label == label]) for label in classes]
    page.section("Classes", figures(
        figure(plots.bars(classes, counts), "Defects of each class" + (", by split" if len(splits) > 1 else "")),
        figure(plots.spreads(classes, {"defects": sides}, "square root of area, px", log=True),
               "Size of the defects of each class", "Line 10 to 90 %, bar 25 to 75 %, mark at the median.")))
    aspects = np.array([defect.width_px / defect.height_px for defect in defects if defect.height_px])
    page.section("Sizes", figures(
        figure(plots.histogram({"defects": np.concatenate(sides)}, "square root of area, px", log=True),
               "Size of all defects"),
        figure(plots.histogram({"defects": aspects}, "width by height", log=True), "Shape of the boxes")))
    places = {label: np.array([defect.centre for defect in defects if defect.label == label]) for label in classes}
    shown = [figure(plots.density(np.array([defect.centre for defect in defects]), 0, "all classes"), "All classes")]
    if len(classes) > 1:
        shown += [figure(plots.density(places[label], 0, label), label) for label in classes[:CLASSES_SHOWN]]
    page.section("Places", text("Where the middles of the defects lie, each image stretched to a square."),
                 tag("div", *shown, style=PLACES))


def _three(found: dict | None) -> list[float | None]:
    return [found[q] if found else None for q in ("5", "50", "95")]
