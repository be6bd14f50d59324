"""Cut a labelled set of large images into tiles, split by photographed object: images/ and index masks/ a split.

Training does not need it (crops are drawn from the whole images); other tools and comparisons may.
"""
import csv
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    import cv2
    import numpy as np

    from core.data import formats, splits
    from core.data.formats.label_image import IGNORED, parse_colour
    from core.data.formats.masks import index_mask
    from core.data.images import encode_png, read_image, write_bytes
    from core.errors import ConfigError, DataError, OutputError
    from core.files import writing
    from core.progress import Progress
    from core.tiling import starts

FOLDERS = {"train": "train", "val": "valid", "test": "test"}
FITS = ("flush", "stretch", "pad")
READING = ("colours", "unknown_colours", "clean_rings")     # passed on to the reader where they are given


def parser() -> Parser:
    made = Parser(description=__doc__, epilog="Formats:\n" + formats.layouts())
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the set")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the tiles")
    made.add_argument("--format", default="auto", metavar="F", help="the set's format; found out without")
    made.add_argument("--side", type=int, default=512, metavar="PX", help="of a tile (default: 512)")
    made.add_argument("--fit", default="flush", help="flush: the last tile ends with the image (default); stretch: the "
                      "image is resized to whole tiles, as in the published set; pad: black beyond the image")
    made.add_argument("--skip-empty", action="store_true", help="leave tiles without a defect out, as in the published "
                      "set; a network that never saw clean metal finds defects on it")
    made.add_argument("--unlabelled", default="skip", help="skip, good or error: what an image without a label file is")
    made.add_argument("--colours", nargs="+", metavar="CLASS=R,G,B", help="masks: the colours of the classes, in the "
                      "order of their numbers; else colours.json, or index masks")
    made.add_argument("--unknown-colours", help="masks: error, or ignore")
    made.add_argument("--clean-rings", action="store_true", default=None, help="masks: one class a connected blob")
    made.add_argument("--ratios", default="0.8,0.15,0.05", metavar="A,B,C", help="train, valid, test (default: "
                      "%(default)s), by object: no image has tiles in two of them")
    made.add_argument("--seed", type=int, default=0, help="of the split")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    return made


def main() -> int:
    given = parser().parse_args()
    check(given)
    if given.colours:
        given.colours = dict(parse_colour("--colours", text) for text in given.colours)
    options = {name: value for name in READING if (value := getattr(given, name)) is not None}
    dataset = formats.read(given.data, given.format, unlabelled=given.unlabelled, **options)
    dataset = splits.apply(dataset, splits.split(dataset, ratios=ratios(given.ratios), seed=given.seed))
    counts, rows = dict.fromkeys(FOLDERS, 0), []
    with Progress(len(dataset), "images") as progress:
        for record in dataset.records:
            pixels, labels = read_image(record.image), index_mask(record, dataset.classes)
            for name, tile, mask in tiles(pixels, labels, given.side, given.fit):
                if record.verified and (not given.skip_empty or ((mask > 0) & (mask != IGNORED)).any()):
                    stem = f"{record.name.replace('/', '_')}_{name}"
                    write_tile(given.output / FOLDERS[record.split], stem, tile, mask)
                    rows.append((f"{FOLDERS[record.split]}/images/{stem}.png", splits.group_of(record)))
                    counts[record.split] += 1
            progress.step()
    if not rows:
        raise DataError(f"{given.data}: no tile, got none with a {'defect' if given.skip_empty else 'label'} from "
                        f"{len(dataset)} images. Label some{', or leave out --skip-empty' * given.skip_empty}")
    write_lists(given.output, dataset.classes, rows)
    print(f"{len(rows)} tiles of {given.side} px from {len(dataset)} images: "
          + ", ".join(f"{count} {FOLDERS[split]}" for split, count in counts.items()) + f" in {given.output}")
    small = sum(min(record.size) < given.side for record in dataset.records)
    if small and given.fit == "flush":
        print(f"{small} of the images are smaller than a tile of {given.side} px and were filled up with black")
    return 0


def check(given) -> None:
    if given.fit not in FITS:
        raise ConfigError(f"--fit: no such choice, got '{given.fit}'. One of {', '.join(FITS)}")
    if given.side < 1:
        raise ConfigError(f"--side: must be at least 1 px, got {given.side}")
    if not given.overwrite and given.output.exists() and (not given.output.is_dir() or any(given.output.iterdir())):
        raise OutputError(f"{given.output}: has files in it. Choose an empty folder or say --overwrite")


def ratios(text: str) -> tuple[float, float, float]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--ratios: three numbers of sum 1, got '{text}'. As in 0.8,0.15,0.05") from error
    return shares


def tiles(pixels: np.ndarray, labels: np.ndarray, side: int, fit: str):
    """Yield (ROWxCOLUMN, pixels [side, side, 3], labels uint8 [side, side]); an image below a tile is padded."""
    rows, columns = (-(-length // side) for length in labels.shape)
    size = columns * side, rows * side
    if fit == "stretch":
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    elif fit == "pad" or min(labels.shape) < side:
        beyond = ((0, size[1] - labels.shape[0]), (0, size[0] - labels.shape[1]))
        pixels, labels = np.pad(pixels, (*beyond, (0, 0))), np.pad(labels, beyond)
    for row, y in enumerate(starts(labels.shape[0], side, 0)):
        for column, x in enumerate(starts(labels.shape[1], side, 0)):
            yield f"{row}x{column}", pixels[y:y + side, x:x + side], labels[y:y + side, x:x + side]


def write_tile(folder: Path, stem: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    for name, data in (("images", pixels), ("masks", labels)):
        path = folder / name / f"{stem}.png"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, encode_png(np.ascontiguousarray(data)))


def write_lists(folder: Path, classes: tuple[str, ...], rows: list[tuple[str, str]]) -> None:
    """classes.json, and index.csv, from which a reader knows which tiles show one object."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("image", "group"), *rows])
    write_bytes(folder / "index.csv", text.getvalue().encode())
    names = {str(number): name for number, name in enumerate(classes, 1)}
    write_bytes(folder / "classes.json", (json.dumps(names, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    run_command(main)
