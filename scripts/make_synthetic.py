"""Make a labelled set of drawn pictures: circuit boards, flexible circuits, metal, rubber rings."""
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core.errors import ConfigError
    from core.synthetic import KINDS
    from core.synthetic.write import Recipe, make_set


def parser() -> Parser:
    kinds = "\n".join(f"  {name:<7} {'x'.join(map(str, kind.SIZE)):<10} {', '.join(kind.CLASSES)}"
                      for name, kind in KINDS.items())
    made = Parser(description=__doc__, epilog=f"Kinds, their own size and classes:\n{kinds}")
    made.add_argument("--kind", required=True, help=", ".join(KINDS))
    made.add_argument("--count", required=True, type=int, help="pictures to make")
    made.add_argument("--seed", type=int, default=0, help="picture i depends on the seed and on i alone (default: 0)")
    made.add_argument("--output", required=True, type=Path, metavar="DIR",
                      help="folder for the set; the same command goes on after a kill, a larger count adds to it")
    made.add_argument("--write", metavar="A,B", help="label formats: coco (default), yolo, voc, masks, labelme, midg, "
                      "deeppcb")
    made.add_argument("--size", metavar="WxH", help="px; the kind's own where not given")
    made.add_argument("--good", type=float, default=0.3, metavar="SHARE", help="share without a defect (default: 0.3)")
    made.add_argument("--defects", type=int, metavar="N",
                      help="defects in a picture that is not good (0: all are good)")
    made.add_argument("--style", help="pcb: colour (default) or binary; metal: one surface instead of all")
    made.add_argument("--textures", metavar="DIR", help="metal: real pictures, of good parts or labelled, whose clean "
                      "material is taken for the surface, in their colour")
    made.add_argument("--patch", type=int, metavar="PX", help="oring: a square cut at the ring instead of the frame")
    made.add_argument("--product", metavar="NAME", help="images/NAMEgood and images/NAMEdefect with labelme files, as "
                      "scripts/preprocess_to_coco.py --model NAME reads them")
    made.add_argument("--classes", metavar="A,B", help="metal, oring: defects to draw")
    made.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    return made


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    options = {name: value for name in ("defects", "style", "textures", "patch")
               if (value := getattr(given, name)) is not None}
    if given.classes:
        options["classes"] = words(given.classes)
    recipe = Recipe(kind=given.kind, count=given.count, seed=given.seed, good_share=given.good, options=options,
                    size=read_size(given.size) if given.size else None, product=given.product)
    formats = words(given.write or ("labelme" if given.product else "coco"))
    began = time.monotonic()
    try:
        dataset = make_set(recipe, given.output, formats, workers=given.workers, overwrite=given.overwrite)
    except ConfigError as error:
        if str(error).split(":")[0] in vars(given):         # a key that stands for an option is named as it was typed
            raise ConfigError(f"--{error}") from error
        raise
    drawn = sum(len(record.instances) for record in dataset.records)
    wanted = len(dataset.defective) * (given.defects or 0)
    short = f" of {wanted} wanted (there was no room for more)" if drawn < wanted else ""
    print(f"{len(dataset)} images ({len(dataset.good)} without a defect), {drawn} defects{short} in {given.output}, "
          f"{time.monotonic() - began:.0f} s")
    return 0


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def read_size(text: str) -> tuple[int, int]:
    """(width, height) from "640x480", or from "640" for a square."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise ConfigError(f"--size: not a size, got '{text}'. Give width x height in px, such as 640x480")
    return int(sides[0]), int(sides[-1])


if __name__ == "__main__":
    run_command(main)
