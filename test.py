"""Evaluate a trained model, or apply it to files: load its run's best or newest checkpoint, write figures, pictures."""
import json
from pathlib import Path

from core.command import run_command, starting

with starting():
    from core import checkpoint, config, experiment, loop, registry
    from core.device import choose
    from core.errors import CheckpointError, ConfigError
    from core.files import whole_file

EPILOG = """\
examples:
  python test.py --model NAME --checkpoints checkpoints/pcb
  python test.py --model NAME --checkpoints checkpoints/pcb --set data.root=datasets/other --output results
  python test.py --model 3 --checkpoints checkpoints/pcb --input good --mask places --output results
  python test.py --model crg --config configs/crg-paint.yaml

The run's folder is all that it needs: config.yaml and a checkpoint. --set changes keys of that config for this test.
"""


def main() -> int:
    parser = experiment.parser(__doc__, EPILOG)
    for name, text in experiment.INPUTS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=text)
    parser.add_argument("--class", dest="label", metavar="NAME", help="with --input: draw this class alone, not each")
    parser.add_argument("--config", type=Path, metavar="FILE", help="of models that work together, such as crg")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where results go (default: RUN/test/step-N)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    given = parser.parse_args()
    if given.list:
        print(registry.listing())
        return 0
    if given.model in registry.TOGETHER:
        return registry.resolve(registry.TOGETHER[given.model][0])(given)
    model, task_type = experiment.chosen_model(given.model)
    if given.config is not None:
        raise ConfigError(f"--config: only for crg, got '{given.config}'. A run has its own; --set changes its keys")
    folder = experiment.needed(given.checkpoints, "--checkpoints", "Give the folder of the experiment")
    experiment.adopt(task_type, folder)
    run = experiment.finished_run(folder, model)
    paths, best = checkpoint.found(run), checkpoint.best_path(run)      # best: of models that watch their evaluations
    if not paths and not best.is_file():
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    path = best if best.is_file() else paths[-1]
    inputs = experiment.inputs(task_type, folder, given)
    overrides = [*given.set, *experiment.one_class(task_type, inputs, given.label)]
    usual = inputs.pop("output", run / "test" / path.stem)
    output = experiment.free(given.output or usual, given.overwrite)

    device = choose(given.device)
    if inputs:
        values = {"checkpoint": str(path), **task_type.apply(run, inputs, output, overrides, device)}
    else:
        values = evaluated(task_type, path, overrides, output, device)
    output.mkdir(parents=True, exist_ok=True)       # an evaluation without pictures leaves no folder
    with whole_file(output / ("applied.json" if inputs else "metrics.json")) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")
    for name, value in values.items():
        if name not in ("checkpoint", "step"):
            print(f"{name}: {value:g}")
    print(f"{output}: results of {path}")
    return 0


def evaluated(task_type: type, path: Path, overrides: list[str], output: Path, device) -> dict:
    """The task's figures on its own held-out data, with where they come from."""
    settings = config.load(task_type.Config, path.parent / "config.yaml", overrides)
    task = experiment.build(task_type, settings, device, path.parent, keep=False)
    wanted = {name: part for name, part in loop.parts_of(task).items() if not name.startswith("optimizer/")}
    step = checkpoint.restore(path, wanted, whole=False)
    values, _ = loop.evaluate(task, settings.loop, output, step, device)
    return {"checkpoint": str(path), "step": step, **values}


if __name__ == "__main__":
    run_command(main)
