"""Evaluate a trained model: load the newest checkpoint of its run, and write metrics and pictures."""
import json
from pathlib import Path

from core import checkpoint, config, experiment, loop, registry
from core.command import run_command
from core.device import choose
from core.errors import CheckpointError, OutputError
from core.files import whole_file

EPILOG = """\
examples:
  python test.py --model NAME --checkpoints checkpoints/pcb
  python test.py --model NAME --checkpoints checkpoints/pcb --set data.root=datasets/other --output results

The run's folder is all that it needs: config.yaml and a checkpoint. --set changes keys of that config for this test.
"""


def main() -> int:
    parser = experiment.parser(__doc__, EPILOG)
    parser.add_argument("--output", type=Path, metavar="DIR", help="where results go (default: RUN/test/step-N)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    given = parser.parse_args()
    if given.list:
        print(registry.listing())
        return 0
    model, task_type = experiment.chosen_model(given.model)
    folder = experiment.needed(given.checkpoints, "--checkpoints", "Give the folder of the experiment")
    run = experiment.finished_run(folder, model)
    paths = checkpoint.found(run)
    if not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    output = given.output or run / "test" / paths[-1].stem
    if not given.overwrite and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output}: has files in it. Give another --output, or --overwrite to write over them")

    settings = config.load(task_type.Config, run / "config.yaml", given.set)
    device = choose(given.device)
    task = experiment.build(task_type, settings, device)
    wanted = {name: part for name, part in loop.parts_of(task).items() if not name.startswith("optimizer/")}
    step = checkpoint.restore(paths[-1], wanted, whole=False)
    values, _ = loop.evaluate(task, settings.loop, output, step, device)
    output.mkdir(parents=True, exist_ok=True)       # an evaluation without pictures leaves no folder
    with whole_file(output / "metrics.json") as file:
        file.write(json.dumps({"checkpoint": str(paths[-1]), "step": step, **values}, indent=2).encode() + b"\n")
    for name, value in values.items():
        print(f"{name}: {value:g}")
    print(f"{output}: results of {paths[-1]}")
    return 0


if __name__ == "__main__":
    run_command(main)
