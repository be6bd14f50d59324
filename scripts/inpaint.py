"""Take the defects out of images by their masks, which gives MIDG its normal backgrounds."""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    from core.registry import resolve

EPILOG = """Engines:
  patch    material of the same picture that fits best; needs no weights, and is the best of the three that need none
  telea    OpenCV: colours run in from the border, along the fastest path
  ns       OpenCV: colours run in from the border, as a fluid
  lama     the network that MIDG was published with: big-lama.pt, a TorchScript file
  iopaint  the same file through the iopaint command, in its own environment (make iopaint)

Files are paired by name without suffix; a single mask file serves all images. White (127 and brighter) is filled, and
every other pixel stays as it is. A mask of another size is stretched to its image."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", "--image", type=Path, required=True, metavar="PATH",
                      help="folder, image, or list with one path a line")
    made.add_argument("--masks", "--mask", type=Path, required=True, metavar="PATH", help="the same for the masks")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results, NAME.png")
    made.add_argument("--engine", default="patch", help="how to fill (below); %(default)s where not given")
    made.add_argument("--model", metavar="PATH",
                      help="big-lama.pt for lama and iopaint; looked for where iopaint keeps it where not given; "
                           "`download` fetches it there (196 MB)")
    made.add_argument("--device", default="auto", help="for lama and iopaint: auto, cpu, cuda, cuda:N, mps")
    made.add_argument("--overwrite", action="store_true",
                      help="write into a folder that has files in it; only files of the same names are replaced")
    return made


def main() -> None:
    given = parser().parse_args()
    written, notes = resolve("midg.inpaint:inpaint_files")(
        given.images, given.masks, given.output, engine=given.engine, model=given.model, device=given.device,
        overwrite=given.overwrite)
    for note in notes:
        print(f"note: {note}")
    print(f"{written} images without defects in {given.output}")


if __name__ == "__main__":
    run_command(main)
