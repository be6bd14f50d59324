"""The page of a study: what was compared, the answer, tables and plots with their error bars, examples, cost."""
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .. import config as configs
from ..plots import curves, intervals
from ..report import Markup, Page, bullets, code, data_uri, facts, figure, figures, number, table, tag, text
from .arms import Arm, whole_command
from .examples import EACH, changes, compared, pictures
from .sets import tested
from .settings import ALL, NONE, REAL, StudyConfig
from .table import factor_of, told_gain, with_interval
from .tasks import TASKS

PAGE = "report.html"
OVER = {"over_none": "over none", "over_copypaste": "over copy-paste of the same scale"}


def write_page(config: StudyConfig, facts_: dict, results: Mapping[Arm, dict], made: dict) -> Path:
    """Write report.html into the study's folder from the table and the arms' results."""
    page = Page("Does the generated data help?", over="DefectForge · study",
                under=f"{config.task}, {Path(config.data).name}, {shots_told(config)}, {_plural(config.seeds, 'seed')}")
    page.section("Answer", *answer(made, whole_command(config)))
    page.section("Table", main_table(made), text(HOW_TO_READ.format(drawn=drawn_told(made)), note=True))
    page.section("Gains", *gain_figures(made))
    page.section("By class and size", *other_tables(made))
    page.section("Examples", *examples(config, made, results))
    page.section("Data", *data_told(made, facts_))
    page.section("Cost", *cost(made, results))
    page.section("Configuration", code(configs.to_yaml(config)))
    return page.write(config.output / PAGE)


HOW_TO_READ = ("Means over seeds; ± is half of Student's 95 % interval of the mean over seeds, each of which draws its "
               "own shots, generator and network. In brackets: 95 % of {drawn}, the same draws for both sides. A gain "
               "is told from chance where both intervals leave out 0. Values are hundredths but for counts. "
               "The row all learns from every real defect of the training split: where it gains little over none, "
               "the training limits more than the data do, and little can be expected of generated ones.")


def answer(made: dict, command: str) -> list[Markup | None]:
    """One line a row on whether it helped, by both intervals of the main figure."""
    main = made["main"][0]
    told = [verdict(row, main) for row in made["rows"] if row["method"] != NONE]
    base = next((row for row in made["rows"] if row["method"] == NONE), None)
    shown = [] if base is None else [(f"{main} without generated data", with_interval(base["values"][main], main))]
    compared = [row for row in made["rows"] if "over_none" in row]
    best = max((row for row in compared if row["method"] != ALL), default=None,
               key=lambda row: row["values"][main]["mean"])
    for row in (best, *(row for row in compared if row["method"] == ALL)):
        if row is not None:
            shown += [(f"{main}, {row['name']}", with_interval(row["values"][main], main)),
                      ("gain over none", told_gain(row["over_none"][main]))]
    return [facts(shown) if shown else None, bullets(told), code(command)]


def verdict(row: dict, main: str) -> str:
    """What may be said of a row, such as "midg-1x: +3.1 over none; over seeds [..]: told from chance by ..."."""
    parts = []
    for title, name in OVER.items():
        if title in row:
            found = row[title][main]
            parts.append(f"{told_gain(found)} {name} ({certainty(found)})")
    return f"{row['name']}: {'; '.join(parts) or 'nothing to compare with'}"


def certainty(found: dict) -> str:
    """Whether the gain is told from chance, over seeds and over test images."""
    sides = {"over seeds": ("seeds_low", "seeds_high"), "over test images": ("images_low", "images_high")}
    told = []
    for name, (low, high) in sides.items():
        if low in found and not math.isnan(found[low]):
            sure = found[low] > 0 or found[high] < 0
            told.append(f"{name} {'not chance' if sure else 'could be chance'}")
    return ", ".join(told) if told else "one seed: nothing is known of chance"


def main_table(made: dict) -> Markup:
    main = _known(made, made["main"])
    rows = [[row["name"], *(with_interval(row["values"][name], name) for name in main),
             told_gain(row.get("over_none", {}).get(main[0])), told_gain(row.get("over_copypaste", {}).get(main[0])),
             str(len(row["seeds"]))] for row in made["rows"]]
    return table(["learned from", *main, f"{main[0]} over none", "over copy-paste", "seeds"], rows)


def gain_figures(made: dict) -> list[Markup | None]:
    """Gain by row with both intervals, and the figure by scale."""
    main, plots = made["main"][0], []
    for title, name in OVER.items():
        rows = [row for row in made["rows"] if title in row]
        series = {"over seeds": [_interval(row[title][main], "seeds") for row in rows],
                  "over test images": [_interval(row[title][main], "images") for row in rows]}
        plots.append(figure(intervals([row["name"] for row in rows], series, f"gain in {main}, hundredths"),
                            f"Gain {name}", "Mark: mean. Line: 95 % interval."))
    return [figures(*plots, scale_plot(made))]


def scale_plot(made: dict) -> Markup | None:
    """The main figure by how much generated data there is; 0 is none."""
    main, lines = made["main"][0], {}
    base = [(0.0, row["values"][main]["mean"]) for row in made["rows"] if row["method"] == NONE]
    for row in made["rows"]:
        if row["method"] not in REAL and not row["variant"]:
            lines.setdefault(row["method"], list(base)).append((row["scale"], row["values"][main]["mean"]))
    series = {name: tuple(np.array(points).T * [[1], [100]]) for name, points in lines.items() if len(points) > 1}
    return figure(curves(series, "generated images a real defective one", f"{main}, hundredths"),
                  f"{main} by scale", "Means over seeds; 0 is none. See the gains for the error bars.")


def other_tables(made: dict) -> list[Markup]:
    """Every other figure, with its gain over none."""
    names = [name for name in made["rows"][0]["values"] if name not in made["main"]]
    values = table(["learned from", *names], [
        [row["name"], *(with_interval(row["values"][name], name) if name in row["values"] else "–" for name in names)]
        for row in made["rows"]])
    gained = [row for row in made["rows"] if "over_none" in row]
    if not gained:
        return [values]
    gains = table(["gain over none", *names], [
        [row["name"], *(told_gain(row["over_none"][name]) if factor_of(name) == 100 and name in row["over_none"]
                        else "–" for name in names)] for row in gained])
    return [values, gains]


def examples(config: StudyConfig, made: dict, results: Mapping[Arm, dict]) -> list[Markup | None]:
    """The test images that changed most between none and the best row with generated data."""
    name = compared(made)
    if name is None:
        return [text("Nothing to compare: examples need the method none beside another one.")]
    records, classes = tested(config)
    found = changes(config, name, results, records, classes)
    shown: list[Markup | None] = [text(f"{name} against none: each picture's own figure ({TASKS[config.task].image}) "
                                       "rose or fell by the number at its left, in hundredths.", note=True)]
    for title, picked in (("For better", found[::-1][:EACH]), ("For worse", found[:EACH])):
        picked = [one for one in picked if one[0] and (one[0] > 0) == (title == "For better")]
        data = pictures(config, picked, records, classes)
        shown.append(None if data is None else figure(tag("img", src=data_uri(data, "jpeg"), alt=title), title))
    return shown


def data_told(made: dict, facts_: dict) -> list[Markup | None]:
    """The split, the shots, and what each row learned from."""
    split = table(["split", "images", "with defects", "groups", *facts_["classes"]], [
        [name, side["images"], side["defective"], side["groups"],
         *(side["defects"].get(label, 0) for label in facts_["classes"])]
        for name, side in (("train", facts_["train"]), ("test", facts_["test"]),
                           *((f"shots of seed {seed}", one) for seed, one in facts_["shots"].items() if seed != ALL))])
    learned = table(["learned from (first seed)", "real images", "times", "real defects", "generated images",
                     "generated defects", "good images"], [learned_row(row) for row in made["rows"]])
    return [split, text("Defects by class. The split is by group and picture, kept in splits.json; shots are whole "
                        "images, so a class that comes in company may have more than was asked for. Generators and "
                        "networks read the shots and defect-free pictures of the training split alone.", note=True),
            learned, bullets(facts_["notes"])]


def learned_row(row: dict) -> list:
    one = row["learned_from"][str(row["seeds"][0])]
    return [row["name"], one["real"]["images"], one["real_repeated"], sum(one["real"]["defects"].values()),
            one["generated"]["images"], sum(one["generated"]["defects"].values()), one["good"]]


def cost(made: dict, results: Mapping[Arm, dict]) -> list[Markup]:
    """Minutes by row: means over its arms."""
    rows = []
    for row in made["rows"]:
        spent = [result["minutes"] for arm, result in results.items() if arm.row.name == row["name"]]
        rows.append([row["name"], *(number(float(np.mean([one[key] for one in spent])), 3) for key in
                                    ("generation", "training"))])
    return [table(["learned from", "generation, minutes", "training and test, minutes"], rows),
            text("Means over arms, on the machines that ran them. Generation includes training the generator; arms of "
                 "one method and seed share it, and each is told the whole.", note=True)]


def shots_told(config: StudyConfig) -> str:
    return "all real defects" if config.shots is None else f"{config.shots} real defects a class"


def drawn_told(made: dict) -> str:
    test = made["test"]
    if made["drawn"] == "groups":
        return f"1,000 draws of the {test['groups']} groups of test images"
    few = f", which show {test['groups']} groups: fewer witnesses than it seems" if test["groups"] < test["images"] \
        else ""
    return f"1,000 draws of the {test['images']} test images{few}"


def _known(made: dict, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in made["rows"][0]["values"]]


def _interval(found: dict, of: str) -> tuple[float, float, float]:
    nan = float("nan")
    return tuple(100 * value for value in (found["gain"], found.get(f"{of}_low", nan), found.get(f"{of}_high", nan)))


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
