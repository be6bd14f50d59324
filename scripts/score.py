"""Score label images that any program made against a labelled set: IoU, Dice, boundary F1, objects, worst images."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core.data import formats
    from core.data.formats.label_image import UNKNOWN_COLOURS, parse_colour
    from core.errors import ConfigError
    from core.experiment import free
    from core.files import whole_file
    from core.registry import resolve

TOLD = ("miou", "miou_defects", "defect_iou", "dice_defects", "pixel_accuracy", "boundary_f1_2px", "boundary_f1_8px",
        "object_recall", "spurious_an_image", "clean_tiles_alarmed", "seam_ratio")


def parser() -> Parser:
    made = Parser(description=__doc__, epilog=f"""\
example, the published predictions of large aluminium profiles:
  python scripts/score.py --data aluminum_large --predictions aluminum_large/published_predictions --output results \\
      --clean-rings --tile 512 --colours 1=255,0,0 2=0,255,0 3=0,0,255 4=255,255,0 5=0,255,255 6=255,0,255

Formats of the set:
{formats.layouts()}""")
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="the labelled set")
    made.add_argument("--predictions", type=Path, required=True, metavar="DIR",
                      help="label images, index or coloured, with the names of the set's images")
    made.add_argument("--output", type=Path, required=True, metavar="DIR",
                      help="for evaluation.csv, per_class.csv, per_image.csv, confusion.csv, evaluation.html, worst/")
    made.add_argument("--format", default="auto", help="of the set; found out where not given")
    made.add_argument("--classes", metavar="A,B", help="the labels that count, in their order")
    made.add_argument("--unlabelled", default="skip", help="skip, good or error: what an image without a label file is")
    made.add_argument("--colours", nargs="+", metavar="CLASS=R,G,B", help="colours of the classes, of masks and of "
                      "predictions; else colours.json, or index masks")
    made.add_argument("--unknown-colours", default="error", help="of masks and of predictions: error, or ignore: "
                      "pixels of a colour that is in no class do not count, and are no finding")
    made.add_argument("--clean-rings", action="store_true", help="masks: one class a connected blob")
    made.add_argument("--merge", action="store_true", help="all classes as one")
    made.add_argument("--tile", type=int, metavar="PX", help="side of the predictions' tiles, for the seam ratio")
    made.add_argument("--worst", type=int, default=8, metavar="N", help="how many of the worst images are shown")
    made.add_argument("--partial", action="store_true", help="score what is there; else a missing image is an error")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    return made


def main() -> None:
    given = parser().parse_args()
    check(given)
    data = {"root": given.data, "format": given.format, "unlabelled": given.unlabelled, "merge": given.merge,
            "clean_rings": given.clean_rings, "unknown_colours": given.unknown_colours}
    if given.colours:
        data["colours"] = dict(parse_colour("--colours", text) for text in given.colours)
    if given.classes:
        data["classes"] = tuple(name.strip() for name in given.classes.split(","))
    output = free(given.output, given.overwrite)
    values = resolve("segment.score:score")(given.predictions, output, data=data, tile_px=given.tile,
                                            panels=given.worst, partial=given.partial)
    with whole_file(output / "metrics.json") as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")
    for name in TOLD:
        if name in values:
            print(f"{name}: {values[name]:.4f}")
    for name in (name for name in values if name.startswith("iou/")):
        print(f"{name}: {values[name]:.4f}")
    print(f"{output}: tables, evaluation.html, worst/")


def check(given) -> None:
    for option, value, choices in (("--unlabelled", given.unlabelled, formats.UNLABELLED),
                                   ("--unknown-colours", given.unknown_colours, UNKNOWN_COLOURS)):
        if value not in choices:
            raise ConfigError(f"{option}: no such choice, got '{value}'. One of {', '.join(choices)}")
    for option, value, least in (("--tile", given.tile, 1), ("--worst", given.worst, 0)):
        if value is not None and value < least:
            raise ConfigError(f"{option}: must be at least {least}, got {value}")


if __name__ == "__main__":
    run_command(main)
