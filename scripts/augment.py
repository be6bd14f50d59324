"""The main job on the command line: from a labelled set to an augmented one, with a report."""
import json
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import config as configs
    from core.augment import methods
    from core.augment.pipeline import augment
    from core.augment.settings import AugmentConfig
    from core.errors import ConfigError

# What an option's text means, and the options of each kind; some of them stand in a section of the configuration.
KINDS = {
    "text": ("data", "output", "method", "format", "split", "unlabelled", "good", "backgrounds", "positions",
             "shape", "device"),
    "number": ("count", "seed", "workers"),
    "words": ("classes", "write"),
    "pair": ("per_image", "size_px"),
}
SECTIONS = {"positions": "placement", "shape": "placement", "per_image": "placement", "size_px": "placement"}


def parser() -> Parser:
    made = Parser(description=__doc__, epilog="Generators:\n" + "\n".join(
        f"  {name:<12} {what}" for name, (_, what) in methods.METHODS.items()))
    made.add_argument("--config", type=Path, help="YAML file with the keys of configs/augment.yaml")
    made.add_argument("--data", metavar="DIR", help="labelled set, in any format that is read")
    made.add_argument("--format", help="its format; found out where not given")
    made.add_argument("--method", help="generator (below)")
    made.add_argument("--count", help="images to make")
    made.add_argument("--output", metavar="DIR", help="folder for the new set; the same command goes on after a kill")
    made.add_argument("--seed", help="image i depends on the seed and on i alone")
    made.add_argument("--split", help="auto, all, train, val or test: records to learn from and draw on")
    made.add_argument("--classes", metavar="A,B", help="classes to make")
    made.add_argument("--good", metavar="DIR", help="a further folder of defect-free images")
    made.add_argument("--unlabelled", help="skip, good or error: what an image without a label file is")
    made.add_argument("--backgrounds", help="good, or all: draw on defective images too and keep their labels")
    made.add_argument("--positions", metavar="PATH", help="CSV of boxes or points, or a folder of masks, to fill")
    made.add_argument("--shape", metavar="PATH", help="a drawn shape (contour or blob, white on black), or a folder of "
                      "them, for each defect")
    made.add_argument("--per-image", metavar="MIN,MAX", help="fewest and most defects in an image")
    made.add_argument("--size-px", metavar="MIN,MAX", help="least and most px of a defect's longer side")
    made.add_argument("--checkpoints", metavar="DIR", help="experiment whose models the method (midg, crg) uses, or "
                      "trains in it")
    made.add_argument("--device", help="where networks are trained, and draw: auto, cpu, cuda, cuda:N or mps")
    made.add_argument("--write", metavar="A,B", help="further label formats beside COCO: yolo, voc, masks, midg")
    made.add_argument("--workers", help="processes; as many as there are cores where not given")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key of the configuration")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    return made


def main() -> int:
    given = parser().parse_args()
    overrides = [(override(kind, option, value), f"--{option.replace('_', '-')} {value}")
                 for kind, options in KINDS.items() for option in options
                 if (value := getattr(given, option)) is not None]
    for name, what in (("data", "the labelled set"), ("output", "the new set, such as runs/more")):
        if given.config is None and not any(text.startswith(f"{name}=") for text, _ in overrides) \
                and not any(text.startswith(f"{name}=") for text in given.set):
            raise ConfigError(f"--{name}: missing. Give the folder of {what}")
    if given.workers is None and given.config is None:
        overrides.append(f"workers={os.cpu_count() or 1}")
    config = configs.load(AugmentConfig, given.config, overrides + given.set)
    if given.checkpoints is not None:
        overrides.append(checkpoints_of(config.method, given.checkpoints))
        config = configs.load(AugmentConfig, given.config, overrides + given.set)
    result = augment(config, overwrite=given.overwrite, command=shlex.join(["python", *sys.argv]))
    counts = result.counts
    for note in result.notes:
        print(f"note: {note}")
    print(f"{counts['kept']} of {counts['asked']} images in {config.output}, with {counts['drawn']} of "
          f"{counts['wanted']} defects wanted ({counts['attempts']} tries); report: {result.report}")
    if result.shortfall:
        print(result.shortfall)
    return 0 if counts["kept"] else 1


def checkpoints_of(method: str, folder: str) -> tuple[str, str]:
    """The override for --checkpoints, which belongs to the method. ConfigError: it has no models."""
    methods.find(method)
    if method not in AugmentConfig.model_fields:
        having = " or ".join(name for name in methods.METHODS if name in AugmentConfig.model_fields)
        raise ConfigError(f"--checkpoints: the method '{method}' has no models, got '{folder}'. Leave it out, or "
                          f"choose --method {having}")
    return f"{method}.checkpoints={json.dumps(folder)}", f"--checkpoints {folder}"


def override(kind: str, option: str, value: str) -> str:
    """The option as KEY=VALUE; text is quoted, so that a folder called "yes" or "a: b" stays what it is."""
    words = [word.strip() for word in value.split(",")]
    if kind == "words":
        value = json.dumps(words)
    elif kind == "text":
        value = json.dumps(value)
    elif kind == "pair":
        value = f"[{', '.join(word if set(word) <= set('0123456789.') else json.dumps(word) for word in words)}]"
    return f"{SECTIONS[option]}.{option}={value}" if option in SECTIONS else f"{option}={value}"


if __name__ == "__main__":
    run_command(main)
