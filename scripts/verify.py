"""Check a labelled data set: one page of problems, counts by class and split, sizes; and the same as report.html."""
import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core.data import formats, images, verify
    from core.data.problems import KINDS, LEVELS, grouped, shortened
    from core.data.summary import summarise
    from core.errors import DataError, OutputError
    from core.files import writing
    from core.progress import Progress
    from core.verify_page import class_rows, verdict, write_page


def parser() -> Parser:
    made = Parser(description=__doc__, epilog=f"Formats:\n{formats.layouts()}")
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="the labelled set")
    made.add_argument("--format", default="auto", help="its format; found out where not given")
    made.add_argument("--unlabelled", default="skip", help="skip, good or error: what an image without a label file is")
    made.add_argument("--classes", metavar="A,B", help="the only class names allowed")
    made.add_argument("--output", type=Path, metavar="FILE.html", help="write the page of problems and plots")
    made.add_argument("--summary", type=Path, metavar="FILE.json", help="write the figures as JSON")
    made.add_argument("--overwrite", action="store_true", help="replace --output and --summary where they exist")
    made.add_argument("--no-decode", action="store_true", help="labels and file headers only: no image is read")
    made.add_argument("--workers", type=int, default=os.cpu_count(), help="threads that read images")
    return made


def main() -> int:
    given = parser().parse_args()
    _check_outputs(given)
    report = checked(given)
    summary = summarise(report)
    if given.output:
        write_page(given.output, report, summary)
    if given.summary:
        images.write_bytes(given.summary, (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    print("\n".join(page(report, summary)))
    return report.exit_code


def checked(given: argparse.Namespace) -> verify.Report:
    """Read the set with the reader that trains, then check it."""
    try:
        dataset = formats.read(given.data, given.format, unlabelled=given.unlabelled,
                               classes=given.classes.split(",") if given.classes else None)
    except DataError as error:
        return verify.refused(error)
    with Progress(len(dataset), "images") as progress:
        return verify.check(dataset, decode=not given.no_decode, workers=given.workers, on_record=progress.step)


def page(report: verify.Report, summary: dict) -> list[str]:
    """The lines that are printed."""
    lines = []
    if report.dataset:
        whole = summary["splits"]["all"]
        lines = [f"{report.dataset.root} ({report.dataset.format}): {whole['images']} images, {whole['good']} "
                 f"defect-free, {whole['instances']} defects on {whole['defective']}, {whole['groups']} objects", "",
                 *_columns(*class_rows(summary))]
    for level in LEVELS:
        for code, found in grouped(report.of(level)):
            lines += ["", f"{level.upper()}: {KINDS[code][1]} ({len(found)})"]
            lines += [f"  {line}" for message in shortened(found) for line in message.splitlines()]
    return [*lines, "", f"{verdict(report)}; {report.seconds:.1f} s"
            + ("" if report.decoded else "; no image was read")]


def _columns(header: list[str], rows: list[list], total: list) -> list[str]:
    cells = [[_cell(value) for value in row] for row in (header, *rows, total)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    return ["  ".join(cell.rjust(width) if k else cell.ljust(width)
                      for k, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in cells]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value)


def _check_outputs(given: argparse.Namespace) -> None:
    for option, path, suffix in (("--output", given.output, ".html"), ("--summary", given.summary, ".json")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise OutputError(f"{option}: a file of another kind, got {path}. Name it something{suffix}")
        if path.exists() and not given.overwrite:
            raise OutputError(f"{option}: a file is there already, got {path}. Choose another name, or --overwrite")
        with writing(path.parent):                      # now, not when all images have been read
            path.parent.mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    run_command(main)
