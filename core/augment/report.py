"""The page by which a person judges a run: what was made and why not, pictures, distributions, times, configuration."""
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from ..data import images
from ..plots import bars, density, density_peak, histogram, spreads
from ..report import Markup, Page, bullets, code, facts, figure, figures, number, table, tag, text
from ..visualise import white_point
from .gate import visibility
from .panels import FULL_BYTES, ROW_PX, Pictures, cell_px, times
from .tally import Defect, Tally, choose, class_names, evenly, read_tally, sizes_px

SHEET_IMAGES = 24           # at least this many on the contact sheet, and one a class up to MOST_CARDS
MOST_CARDS = 40
ROW_CROPS, ALL_CROPS = 12, 480      # crops in a row; in all rows together
GATE_FIGURES = {            # what the gate measures, in the order of being shown
    "contrast": "contrast: mean change in the label, of full scale",
    "visibility": "visibility: change over the noise seen at its size",
    "likeness": "likeness: correlation with a training defect",
    "growth": "growth: side of the label over that of the wanted box",
    "cover": "cover: share of the window that the label takes"}
GATE_KINDS = {"real": 0, "kept": 1, "rejected": 4}              # colours
MEASURED = 400              # real defects that the gate's figures are taken of


def write_report(output: Path, *, run: dict, bank, sources: dict[str, Path], timings: dict,
                 originals: dict[str, Path] | None = None) -> Path:
    """Write `report.html` from `output`/manifest.jsonl and `output`/images, and return its path.

    run      data, method, count, seed, config, classes, notes, commands (the lines that started it, oldest first)
    bank     `crops`: the training defects (label, record, pixels, clean, mask, box, image_size)
    sources  name of a normal image -> its file
    timings  images_per_second, seconds, stages (name -> s), workers, hardware; each may be missing
    originals  name of a training record -> its file, for more of the picture than a crop holds

    Equal runs give equal bytes but for the section "Time".
    """
    content = Content(read_tally(output / "manifest.jsonl"), run, list(bank.crops))
    tally = content.tally
    page = Page(f"{number(tally.images_kept, 9)} defect {'image' if tally.images_kept == 1 else 'images'} "
                f"by {run['method']}", over="DefectForge · augmentation report",
                under=f"from {Path(run['data']).name or run['data']}, seed {run['seed']}")
    page.section("Summary", *summary(content))
    sheet, rows = draw_pictures(content, page, output, sources, originals or {})
    page.section("Contact sheet", *sheet)
    page.section("Real and generated", *rows)
    page.section("Distributions", *distributions(content))
    page.section("Counts", counts(content))
    page.section("Time", *time_spent(timings))
    page.section("Configuration", code(_as_yaml(run["config"])))
    return page.write(output / "report.html")


@dataclass
class Content:
    """All that the sections draw on."""
    tally: Tally
    run: dict
    crops: list

    @cached_property
    def classes(self) -> list[str]:
        return class_names(self.tally, self.run["classes"], [crop.label for crop in self.crops])

    @cached_property
    def real(self) -> dict[str, list]:
        """Training defects by class."""
        return self._grouped(self.crops)

    @cached_property
    def made(self) -> dict[str, list[Defect]]:
        """Generated defects by class."""
        return self._grouped(self.tally.defects)

    def _grouped(self, items: list) -> dict[str, list]:
        groups = {label: [] for label in self.classes}
        for item in items:
            groups[item.label].append(item)
        return groups


def summary(content: Content) -> list[Markup | None]:
    """The large figures, the command, the remarks, and what was rejected and why."""
    tally, run = content.tally, content.run
    failed = len(tally.offsets) - tally.images_kept
    told = [("images asked for", number(run["count"], 9)), ("made", number(tally.images_kept, 9)),
            ("without a defect that passed", number(failed, 9)), ("defects wanted", number(tally.wanted, 9)),
            ("drawn", number(len(tally.defects), 9)), ("attempts", number(tally.attempts, 9))]
    if tally.attempts:
        told.append(("of the attempts kept", f"{len(tally.defects) / tally.attempts:.0%}".replace("%", " %")))
    if tally.carried:
        told.append(("labels that the backgrounds had", number(tally.carried, 9)))
    return [facts(told), code("\n".join(run["commands"])), bullets(run["notes"]),
            tag("h3", "Kept and rejected attempts"), _reasons(content)]


def counts(content: Content) -> Markup:
    """Real and generated, class by class."""
    rows = [[label, len(real), len({crop.record for crop in real}), len(made), len({defect.index for defect in made}),
             _middle([crop.mask.sum() for crop in real]), _middle([defect.area_px for defect in made])]
            for label, real, made in ((label, content.real[label], content.made[label]) for label in content.classes)]
    total = ["all", len(content.crops), len({crop.record for crop in content.crops}), len(content.tally.defects),
             content.tally.images_kept, None, None]
    return table(["class", "real defects", "on images", "generated defects", "on images",
                  "median size of the real, px", "of the generated, px"], rows, total=total if len(rows) > 1 else None)


def distributions(content: Content) -> list[Markup | None]:
    """Class counts, sizes and positions, real against generated, and what the gate measured."""
    classes, real, made = content.classes, content.real, content.made
    areas = {"real": [crop.mask.sum() for crop in content.crops],
             "generated": [defect.area_px for defect in content.tally.defects]}
    unit = "size: square root of the area, px"
    plots = [
        figure(bars(classes, {"real": [len(real[label]) for label in classes],
                              "generated": [len(made[label]) for label in classes]}), "Defects by class"),
        figure(spreads(classes, {"real": [sizes_px([crop.mask.sum() for crop in real[label]]) for label in classes],
                                 "generated": [sizes_px([d.area_px for d in made[label]]) for label in classes]},
                       unit, log=True), "Sizes by class",
               "Line: 10 to 90 % of the defects. Bar: 25 to 75 %. Mark: median."),
        figure(histogram({name: sizes_px(values) for name, values in areas.items() if values}, unit, log=True,
                         kinds=[kind for kind, values in enumerate(areas.values()) if values]), "Sizes of all classes",
               "Share of the real and of the generated defects in each bin."),
        _positions(content), *_gate_figures(content)]
    return [figures(*plots)]


def time_spent(timings: dict) -> list[Markup | None]:
    """Speed, and where the time went."""
    told = [(name, f"{number(timings[key], 3)}{unit}") for key, name, unit in (
        ("images_per_second", "images a second", ""), ("seconds", "time", " s"), ("workers", "processes", ""))
        if timings.get(key) is not None]
    stages = timings.get("stages") or {}
    whole = sum(stages.values())
    rows = [[stage, float(f"{seconds:.3g}"), round(100 * seconds / whole) if whole else None]
            for stage, seconds in stages.items()]
    return [facts(told) if told else None,
            table(["stage", "seconds, all processes", "share, %"], rows) if rows else None,
            text(str(timings["hardware"]), note=True) if timings.get("hardware") else None]


def draw_pictures(content: Content, page: Page, output: Path, sources: dict[str, Path],
                  originals: dict[str, Path]) -> tuple[list[Markup], list[Markup]]:
    """The contact sheet and the rows of crops. Every picture is read once, and only what is shown is kept."""
    tally, classes = content.tally, content.classes
    on_sheet = choose(tally, classes, min(max(SHEET_IMAGES, len(classes)), MOST_CARDS))
    each = max(3, min(ROW_CROPS, ALL_CROPS // (2 * max(len(classes), 1))))
    in_rows = {label: evenly(content.made[label], each) for label in classes}
    sides = {label: _row_side(content, label, originals) for label in classes}
    real = {label: evenly(content.real[label], each) for label in classes}
    cleans = {}                                             # the picture that was read last, for images that share one
    cards, crops = {}, {}
    pictures = None
    for index in sorted({defect.index for defect in [*on_sheet, *(d for row in in_rows.values() for d in row)]}):
        line = tally.line(index)
        made = images.read_image(output / line["image"])
        pictures = pictures or _pictures(page, output, content, len(on_sheet), made)
        for defect in (defect for defect in on_sheet if defect.index == index):
            path = Path(sources[line["source"]])
            cleans = cleans if path in cleans else {path: images.read_image(path)}
            cards[defect] = pictures.card(line, defect.number, made, cleans[path], path)
        for defect in (defect for row in in_rows.values() for defect in row if defect.index == index):
            crops[defect] = pictures.generated(line, defect.number, made, sides[defect.label])
    pictures = pictures or _pictures(page, output, content, 1)
    rows = []
    for label in classes:
        shown = [pictures.real(crop, sides[label], originals.get(crop.record)) for crop in real[label]]
        rows.append(_class_rows(label, shown, len(content.real[label]), [crops[defect] for defect in in_rows[label]],
                                len(content.made[label]), sides[label]))
    few = all(len(found) <= ROW_CROPS // 2 for found in [*real.values(), *in_rows.values()])
    return _sheet([cards[defect] for defect in on_sheet]), _explained_rows(rows, few)


def _pictures(page: Page, output: Path, content: Content, cards: int, *samples: np.ndarray) -> Pictures:
    white = white_point([*samples, *(crop.pixels for crop in content.crops[:64])])
    return Pictures(page, output, white, FULL_BYTES // (2 * max(cards, 1)))


def _sheet(cards: list[Markup]) -> list[Markup]:
    if not cards:
        return [text("No image was kept. The table above says why.")]
    return [text("From left to right: the clean picture, the same place with the defect, and its label, outlined along "
                 "the edges of its pixels. Labels that the picture had before are blue. A click opens the whole "
                 "picture; there the arrow keys step from clean to defect to label in the same place, space enlarges "
                 "and Escape closes.", note=True), tag("div", *cards, class_="sheet")]


def _explained_rows(rows: list[Markup], few: bool) -> list[Markup]:
    return [text("Real training defects above, generated ones below, chosen evenly over the set. Within a class all "
                 "have the same scale.", note=True),
            tag("div", *rows, class_="pairs" if few and len(rows) > 1 else None)]


def _class_rows(label: str, real: list, real_count: int, made: list, made_count: int, side: int) -> Markup:
    rows = []
    for kind, name, crops, count in ((0, "real", real, real_count), (1, "generated", made, made_count)):
        told = f"all {count}" if len(crops) == count else f"{len(crops)} of {number(count, 9)}"
        rows.append(tag("p", f"{name}, {told if count else 'none'}", class_=f"rowname s{kind}"))
        rows.append(tag("div", *crops, class_="row", style=f"--cell:{cell_px(side)}px") if crops else None)
    scale = f"{cell_px(side) // side}×" if cell_px(side) >= side else f"{ROW_PX / side:.2g}×"
    heading = tag("h3", label, tag("span", f"{side} px wide, at {scale}", class_="count"))
    return tag("div", heading, *rows, class_="group")


def _row_side(content: Content, label: str, originals: dict[str, Path]) -> int:
    """Side in px of a class's crops: most of its defects fit with room round them.

    Where the real pictures are not at hand, no more than the windows of nearly all real crops fill.
    """
    real, made = content.real[label], content.made[label]
    extents = [max(crop.box[2] - crop.box[0], crop.box[3] - crop.box[1]) for crop in real]
    extents += [max(d.box[2] - d.box[0], d.box[3] - d.box[1]) for d in made]
    if not extents:
        return ROW_PX
    large = float(np.percentile(extents, 75))
    least, wanted = max(1.2 * large, 16), max(2 * large, ROW_PX / 3)
    held = [min(crop.mask.shape) for crop in real if crop.record not in originals]
    held = float(np.percentile(held, 10)) if held else 4 * wanted
    side = max(least, min(wanted, held))
    side = min(side, float(np.median([min(crop.image_size) for crop in real] or [min(d.size) for d in made])))
    factor = times(max(least, 0.7 * side), ROW_PX)
    return min(ROW_PX // factor, int(max(least, held))) if factor else int(side)


def _reasons(content: Content) -> Markup | None:
    tally = content.tally
    reasons = sorted(sum(tally.rejected.values(), Counter()).items(), key=lambda item: (-item[1], item[0]))
    names = [reason for reason, _ in reasons[:6]]
    rows = []
    for label in content.classes:
        kept, refused = len(content.made[label]), tally.rejected.get(label, Counter())
        others = [sum(count for reason, count in refused.items() if reason not in names)] if len(reasons) > 6 else []
        rows.append([label, kept + sum(refused.values()), kept, *(refused[name] for name in names), *others])
    total = ["all", *(sum(column) for column in list(zip(*rows))[1:])] if len(rows) > 1 else None
    header = ["class", "attempts", "kept", *names, *(["other reasons"] if len(reasons) > 6 else [])]
    return table(header, rows, total=total) if rows else None


def _positions(content: Content) -> Markup | None:
    points = {
        "real": np.array([((crop.box[0] + crop.box[2]) / 2 / crop.image_size[0],
                           (crop.box[1] + crop.box[3]) / 2 / crop.image_size[1]) for crop in content.crops]),
        "generated": np.array([defect.centre for defect in content.tally.defects])}
    peak = density_peak(list(points.values()))
    plots = [tag("figure", density(found, kind, f"Positions, {name}", peak=peak), tag("figcaption", name))
             for kind, (name, found) in enumerate(points.items()) if len(found)]
    return figure(tag("div", *plots, class_="pair") if plots else None, "Positions",
                  "Middles of the defects on the image, whose sides are taken as 1. Both plots have the same scale of "
                  "density; up to 150 defects are also drawn as dots.")


def _gate_figures(content: Content) -> list[Markup | None]:
    """What the gate measured: on real defects where it can, on kept and on rejected attempts."""
    tally, real = content.tally, {}
    for crop in evenly(content.crops, MEASURED):
        for name, value in visibility(crop.clean, crop.pixels, crop.mask).items():
            real.setdefault(name, []).append(value)
    found = {*tally.kept, *tally.refused}
    plots = []
    for name in [*(name for name in GATE_FIGURES if name in found), *sorted(found - set(GATE_FIGURES))]:
        series = {"real": real.get(name, []), "kept": tally.kept.get(name, []), "rejected": tally.refused.get(name, [])}
        held = {key: values for key, values in series.items() if values}
        low, high = min(map(min, held.values())), max(map(max, held.values()))
        plot = histogram(held, GATE_FIGURES.get(name, name), kinds=[GATE_KINDS[key] for key in held],
                         log=low > 0 and high > 50 * low)
        plots.append(figure(plot, f"Gate: {name}",
                            f"Share of the {', of the '.join(held)} defects in each bin."))
    return plots


def _as_yaml(config: dict) -> str:
    plain = json.loads(json.dumps(config, default=str))
    return yaml.safe_dump(plain, sort_keys=True, allow_unicode=True, width=110, default_flow_style=None).rstrip()


def _middle(areas: Sequence[float]) -> float | None:
    return round(float(np.median(sizes_px(areas))), 1) if len(areas) else None
