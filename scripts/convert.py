"""Turn a labelled set of one format into one of another, or several sets into one."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core.data import formats
    from core.data.formats.label_image import parse_colour
    from core.data.merging import merged
    from core.errors import OutputError

# Options that one format's reader takes; those not given are not passed on.
READING = ("colours", "unknown_colours", "threshold", "clean_rings", "minimum_px", "full_masks", "line_width_px",
           "point_radius_px", "one_based")


def parser() -> Parser:
    made = Parser(description=__doc__, epilog="Formats:\n" + formats.layouts())
    made.add_argument("sources", type=Path, nargs="+", metavar="SRC", help="folder of the set; several become one set, "
                      "in which classes of one name are one, and sets without splits are trained on")
    made.add_argument("target", type=Path, metavar="DST", help="folder for the new set")
    made.add_argument("--from", "--format", dest="source_format", default="auto", metavar="F",
                      help="its format; found out without")
    made.add_argument("--to", dest="target_format", required=True, metavar="F", help="the new format")
    made.add_argument("--classes", metavar="A,B", help="the only classes allowed, in the order of their numbers")
    made.add_argument("--unlabelled", default="skip", help="skip, good or error: what an image without a label file is")
    made.add_argument("--overwrite", action="store_true",
                      help="write into a folder that has files in it; only files of the same names are replaced")
    only = made.add_argument_group("for one format only")
    only.add_argument("--colours", nargs="+", metavar="CLASS=R,G,B", help="masks: the colours of the classes")
    only.add_argument("--unknown-colours", help="masks: error, or ignore")
    only.add_argument("--threshold", type=int, help="masks: the grey level above which a pixel is a defect's")
    only.add_argument("--clean-rings", action="store_true", default=None, help="masks: one class a connected blob")
    only.add_argument("--minimum-px", type=int, help="masks: drop smaller parts")
    only.add_argument("--full-masks", help="masks: error, or keep those that cover their whole image")
    only.add_argument("--line-width-px", type=float, help="labelme: width of drawn lines")
    only.add_argument("--point-radius-px", type=float, help="labelme: radius of points")
    only.add_argument("--one-based", action="store_true", default=None, help="voc: pixels are counted from 1")
    return made


def main() -> None:
    given = parser().parse_args()
    formats.check_format(given.target_format)
    check_target(given.target, given.overwrite)
    options = {name: getattr(given, name) for name in READING if getattr(given, name) is not None}
    if given.colours:
        options["colours"] = dict(parse_colour("--colours", text) for text in given.colours)
    classes = [name.strip() for name in given.classes.split(",")] if given.classes else None
    dataset = merged([formats.read(source, given.source_format, unlabelled=given.unlabelled, classes=classes, **options)
                      for source in given.sources])
    formats.write(dataset, given.target, given.target_format)
    for note in (*dataset.notes, *formats.losses(dataset, given.target_format)):
        print(f"note: {note}")
    instances = sum(len(record.instances) for record in dataset.records)
    print(f"{len(dataset)} images, {instances} defects, {len(dataset.classes)} classes: "
          f"{dataset.format} -> {given.target_format} in {given.target}")


def check_target(folder: Path, overwrite: bool) -> None:
    """OutputError: the folder has files in it and may not be written into, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: not a folder, got a file. Choose another output")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        found = sorted(path.name for path in folder.iterdir())
        raise OutputError(f"{folder}: the output folder has files in it, got {', '.join(found[:3])}"
                          f"{' ...' if len(found) > 3 else ''}. Choose an empty folder or say --overwrite")


if __name__ == "__main__":
    run_command(main)
