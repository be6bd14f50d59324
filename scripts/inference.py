"""Inspect patches or whole frames of a product with its trained detector, or measure it on the test images."""
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import checkpoint, config, experiment, loop, registry
    from core.device import choose
    from core.errors import CheckpointError, ConfigError
    from core.files import whole_file

EPILOG = """examples:
  python scripts/inference.py --model model1 --image patch.bmp
  python scripts/inference.py --model model1 --folder patches
  python scripts/inference.py --model model1 --full-image frame.bmp --rules configs/rework.yaml
  python scripts/inference.py --model model1 --evaluate

The detector is that of OUTPUT/PRODUCT/checkpoints. Results go to OUTPUT/PRODUCT/inference_results/TIME: summary.csv,
defects/NAME.json, overlays/NAME.jpg, and coco and labelme, which can be corrected by hand and learned from again."""
WAYS = {"image": "a patch: no background is looked for", "folder": "a folder of patches, and those below it",
        "full_image": "a whole frame: background, tiles, merging; or a folder of frames"}


def parser() -> Parser:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--model", "--product", metavar="NAME", help="the product")
    for name, text in WAYS.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="PATH", help=text)
    made.add_argument("--evaluate", action="store_true", help="figures on the test images, at the threshold of val")
    made.add_argument("--output-root", type=Path, default=Path("output"), metavar="DIR", help="folder of the products")
    made.add_argument("--output", type=Path, metavar="DIR", help="where results go")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    made.add_argument("--rules", type=Path, metavar="FILE", help="rework rules; without, a threshold decides")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a config key; repeatable")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return made


def main() -> None:
    given = parser().parse_args()
    experiment.needed(given.model, "--model", "Give the name of the product")
    chosen = [name for name in WAYS if getattr(given, name) is not None]
    if len(chosen) + given.evaluate != 1:
        raise ConfigError("--image, --folder, --full-image, --evaluate: give exactly one of them, got "
                          f"{len(chosen) + given.evaluate}")
    model, task_type = experiment.chosen_model("detect")
    product = given.output_root / given.model
    if not (product / "checkpoints").is_dir():
        there = sorted(path.parent.name for path in given.output_root.glob("*/checkpoints"))
        raise ConfigError(f"--model {given.model}: no such product in {given.output_root}, got nothing there. "
                          f"Trained ones are {', '.join(there) or 'none'}")
    run = experiment.finished_run(product / "checkpoints", model)
    output = experiment.free(given.output or product / "inference_results" / time.strftime("%Y%m%d-%H%M%S"),
                             given.overwrite)
    device = choose(given.device)
    if given.evaluate:
        values = evaluated(task_type, run, given.set, output, device)
    else:
        whole = [] if chosen == ["full_image"] else ["frame.foreground.method=none"]
        values = registry.resolve("detect.apply:apply")(run, {"input": getattr(given, chosen[0])}, output,
                                                        [*whole, *given.set], device, given.rules)
    for name, value in values.items():
        print(f"{name}: {value:g}")
    print(f"{output}: results")


def evaluated(task_type: type, run: Path, overrides: list[str], output: Path, device) -> dict[str, float]:
    """The figures of the best weights on the test images, as metrics.json."""
    settings = config.load(task_type.Config, run / "config.yaml", ["data.evaluate_on=test", *overrides])
    task = experiment.build(task_type, settings, device, run, keep=False)
    best, paths = checkpoint.best_path(run), checkpoint.found(run)
    if not best.is_file() and not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    step = checkpoint.load_part(best if best.is_file() else paths[-1], "module/network", task.network)
    values, _ = loop.evaluate(task, settings.loop, output, step, device)
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / "metrics.json") as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")
    return values


if __name__ == "__main__":
    run_command(main)
