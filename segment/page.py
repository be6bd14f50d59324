"""An evaluation on one page: the main figures, classes, what is taken for what, the worst images."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.metrics import segmentation as seg
from core.report import Markup, Page, data_uri, facts, figure, figures, number, table, tag, text
from core.visualise import encode_jpeg

FACTS = {"miou_defects": "mean IoU of the defect classes", "defect_iou": "IoU, defect against background",
         "object_recall": "defects found", "spurious_an_image": "false parts an image",
         "clean_tiles_alarmed": "clean tiles with an alarm", "images_missed": "defective images without a hit",
         "good_images_alarmed": "good images with an alarm", "seam_ratio": "label changes on tile lines over elsewhere"}
EXPLAINED = ("One confusion matrix over all pixels gives IoU, Dice, precision and recall. Pixel accuracy is no measure "
             "of defects: it is high where most is background. In the error pictures red is found where nothing is, "
             "blue is missed, yellow has the wrong class.")


def write_page(path: Path, values: Mapping[str, float], spans: Mapping[str, tuple[float, float]], matrix: np.ndarray,
               names: Sequence[str], images: int, worst: Sequence[tuple[str, np.ndarray]]) -> None:
    """`values` are figures by name, `spans` their 95 % intervals, `worst` panels uint8 [H, W, 3] with their names."""
    page = Page("Evaluation", under=f"{number(images)} images, {number(int(matrix.sum()))} px")
    page.section("Figures", facts([(shown, stated(values[name], spans.get(name))) for name, shown in FACTS.items()
                                   if name in values]), text(EXPLAINED, note=True))
    each = seg.by_class(matrix)
    page.section("Classes", table(
        ("class", "IoU", "Dice", "precision", "recall", "true px", "predicted px"),
        [(name, *(number(float(column[at]), 3) for column in (each.iou, each.dice, each.precision, each.recall)),
          int(matrix[at].sum()), int(matrix[:, at].sum())) for at, name in enumerate(names)]))
    page.section("Confusion", confusion_table(matrix, names),
                 text("Shares of each true class's pixels, by predicted class.", note=True))
    if worst:
        page.section("Worst images", figures(*(figure(picture(panel), name) for name, panel in worst)))
    page.write(path)


def confusion_table(matrix: np.ndarray, names: Sequence[str]) -> Markup:
    """Rows are the truth; each cell is shaded by its share of the row."""
    shares = seg.ratio(matrix, matrix.sum(1, keepdims=True))
    head = tag("tr", tag("th", "truth"), *(tag("th", name) for name in names))
    rows = [tag("tr", tag("th", name, scope="row"), *(shaded(float(share)) for share in row))
            for name, row in zip(names, shares)]
    return tag("table", tag("thead", head), tag("tbody", *rows))


def shaded(share: float) -> Markup:
    if np.isnan(share):
        return tag("td", "–")
    return tag("td", f"{100 * share:.1f} %", style=f"background: rgba(66, 114, 178, {0.7 * share:.2f})")


def picture(pixels: np.ndarray) -> Markup:
    return tag("img", src=data_uri(encode_jpeg(pixels, 85), "jpeg"), alt="image, truth, prediction, error",
               style="max-width: 100%")


def stated(value: float, span: tuple[float, float] | None) -> str:
    return number(value, 3) + (f" ({number(span[0], 3)} to {number(span[1], 3)})" if span else "")
