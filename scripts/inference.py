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
    from core.errors import CheckpointError, ConfigError, did_you_mean
    from core.files import whole_file

EPILOG = """examples:
  python scripts/inference.py --model model1 --image patch.bmp
  python scripts/inference.py --model model1 --folder patches
  python scripts/inference.py --model model1 --full-image frame.bmp --rules configs/rework.yaml
  python scripts/inference.py --model model1 --evaluate
  python scripts/inference.py --model model1 --hybrid --evaluate     (what an anomaly screen saves and misses)

The detector is the best of OUTPUT/PRODUCT/runs, or OUTPUT/PRODUCT/checkpoints/best_model.pth where that alone was
copied here. Results go to OUTPUT/PRODUCT/inference_results/TIME: summary.csv, defects/NAME.json,
overlays/NAME.jpg, numbers/NAME.png (each defect's pixels by its id + 1), and coco and labelme, which
can be corrected by hand and learned from again. Killed, the same command with --output DIR goes on in DIR."""
WAYS = {"image": "a patch: no background is looked for", "folder": "a folder of patches, and those below it",
        "full_image": "a whole frame: background, tiles, merging; or a folder of frames"}


def parser() -> Parser:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--model", "--product", metavar="NAME", help="the product")
    for name, text in WAYS.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="PATH", help=text)
    made.add_argument("--evaluate", action="store_true", help="figures on the test images, at the threshold of val")
    made.add_argument("--hybrid", nargs="?", const="screen", choices=("screen", "or"), metavar="MODE",
                      help="with the product's anomaly model: it screens, and Mask R-CNN looks at what it flags; or: "
                           "both look at everything, and either may reject")
    made.add_argument("--checkpoint", type=Path, metavar="FILE", help="a best_model.pth or latest.pth of the product")
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
    if given.rules and given.evaluate and not given.hybrid:
        raise ConfigError(f"--rules: not for --evaluate, whose figures are those of the threshold, got {given.rules}. "
                          "Leave it out, or inspect images with it")
    product = given.output_root / given.model
    source = detector(given.checkpoint, product)
    output = given.output or product / "inference_results" / time.strftime("%Y%m%d-%H%M%S")
    if given.evaluate:
        experiment.free(output, given.overwrite)
    device = choose(given.device)
    whole = [] if chosen != ["image"] and chosen != ["folder"] else ["frame.foreground.method=none"]
    if given.hybrid:
        limit = product / "hybrid.json"
        both = registry.resolve("detect.hybrid:load")(source, product / "runs" / "anomaly", [*whole, *given.set],
                                                      device, rules=given.rules, mode=given.hybrid, limit=limit)
        if given.evaluate:
            values = registry.resolve("detect.hybrid:measure")(both, source, product, limit)
            write_metrics(output, values)
        else:
            values = judged(both, both.inspector.detector.classes, getattr(given, chosen[0]), output, given.overwrite)
        for line in told(values):
            print(line)
    elif given.evaluate:
        for line in told(evaluated(source, product, given.set, output, device)):
            print(line)
    else:
        inspector = registry.resolve("detect.apply:load")(source, [*whole, *given.set], device, given.rules)
        values = judged(inspector, inspector.detector.classes, getattr(given, chosen[0]), output, given.overwrite)
        for name, value in values.items():
            print(f"{name}: {value:g}")
    print(f"{output}: results")


def judged(judge, classes: tuple[str, ...], source: Path, output: Path, overwrite: bool) -> dict[str, float]:
    """See detect.apply.judge_files. A command that was killed goes on where --output holds its own results."""
    identity = judge.identity
    if not registry.resolve("detect.apply:goes_on")(output, identity):
        experiment.free(output, overwrite)
    return registry.resolve("detect.apply:judge_files")(judge, classes, source, output, None if overwrite else identity)


def detector(given: Path | None, product: Path) -> Path:
    """The run of a product, or the file with its detector. Raises ConfigError."""
    file = given or product / "checkpoints" / "best_model.pth"
    run = product / "runs" / "detect"
    if given is None and (run / "config.yaml").is_file():
        learned = registry.resolve("detect.portable:learned_from")(run)
        if learned not in (None, product.resolve()):
            raise ConfigError(f"{run}: a detector of product '{learned.name}', got --model {product.name}. Every "
                              "product has its own: train it, or name the other one")
        return run
    if given is None and not file.is_file():
        there = sorted({path.parents[1].name for ending in ("runs/detect", "checkpoints/best_model.pth")
                        for path in product.parent.glob(f"*/{ending}")})
        raise ConfigError(f"--model {product.name}: no trained detector in {product}. "
                          f"{did_you_mean(product.name, there)}Trained ones are {', '.join(there) or 'none'}; "
                          f"train.py --model {product.name} trains one")
    registry.resolve("detect.portable:of_product")(file, product.name)
    return file


def evaluated(source: Path, product: Path, overrides: list[str], output: Path, device) -> dict[str, float]:
    """Every figure of a detector on the test images, also as metrics.json; the threshold is that of val."""
    _, task_type = experiment.chosen_model("detect")
    usual = ["data.evaluate_on=test", f"data.root={product}"]
    if source.is_file():
        kept = registry.resolve("detect.portable:read")(source)
        settings = config.load(task_type.Config, None, [*usual, f"threshold.value={kept.threshold}", *overrides],
                               values=kept.config.model_dump(mode="json"))
        task = experiment.build(task_type, settings, device, None, keep=False)
        registry.resolve("detect.portable:put_in")(task.network, kept, source)
        step = kept.step
    else:
        settings = config.load(task_type.Config, source / "config.yaml", [*usual, *overrides])
        task = experiment.build(task_type, settings, device, source, keep=False)
        best, paths = checkpoint.best_path(source), checkpoint.found(source)
        if not best.is_file() and not paths:
            raise CheckpointError(f"{source}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
        step = checkpoint.load_part(best if best.is_file() else paths[-1], "module/network", task.network)
    loop.evaluate(task, settings.loop, output, step, device)
    values = json.loads((output / "figures.json").read_text())
    write_metrics(output, {"checkpoint": str(source), "step": step, **values})
    return values


def write_metrics(output: Path, values: dict) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / "metrics.json") as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")


def told(values: dict[str, float]) -> list[str]:
    """The figures that matter, each with its interval where it has one."""
    lines = []
    for name, value in values.items():
        if name.endswith(("_low", "_high", "_q1", "_q2", "_q3", "_q4")) or name.count("/") > 1:
            continue
        between = f" ({values[f'{name}_low']:.3f} to {values[f'{name}_high']:.3f})" if f"{name}_low" in values else ""
        lines.append(f"{name}: {value:.4g}{between}")
    return lines


if __name__ == "__main__":
    run_command(main)
