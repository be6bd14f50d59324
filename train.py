"""Train a model, or go on with its training: the same command again goes on from the last checkpoint."""
import sys
from pathlib import Path

from core.command import run_command, starting

with starting():
    from core import experiment, loop, product, registry
    from core.config import to_yaml
    from core.device import choose, rank
    from core.runlog import open_run

EPILOG = """\
examples:
  python train.py --list
  python train.py --model NAME --checkpoints checkpoints/pcb --set data.root=datasets/pcb
  python train.py --model model1 --epochs 80 --batch-size 2 --lr 0.003         (a product: model detect on its images)
  python train.py --model my_network:Task --checkpoints checkpoints/mine --config mine.yaml --dry-run
  torchrun --nproc-per-node 4 train.py --model NAME --checkpoints checkpoints/pcb

the folder of an experiment:
  DIR/config.yml     the config, or one section a model, named as the model; read where --config is not given.
                     Models 1 to 4 read MIDG's own flat upper-case file as well, and say which of its keys are dead
  DIR/MODEL/         one run: config.yaml, log.txt, metrics.jsonl, step-*.pt, samples/; enough for test.py
"""


def main() -> int:
    parser = experiment.parser(__doc__, EPILOG)
    parser.add_argument("--config", type=Path, metavar="FILE", help="config; see configs/ and configs/README.md")
    parser.add_argument("--dry-run", action="store_true", help="build everything, run one step, keep nothing")
    product.add_options(parser)
    given = parser.parse_args()
    if given.list:
        print(registry.listing())
        return 0
    product.take(given)
    model, task_type = experiment.chosen_model(given.model)
    if not given.dry_run:
        experiment.needed(given.checkpoints, "--checkpoints", "Give the folder of the experiment; it may be a new one")
        experiment.adopt(task_type, given.checkpoints)
    config = experiment.training_config(model, task_type, given.checkpoints, given.config, given.set)
    if short := product.overrides(given, task_type, config):
        config = experiment.training_config(model, task_type, given.checkpoints, given.config, [*given.set, *short])
    device = choose(given.device)
    folder = None if given.checkpoints is None else experiment.run_folder(given.checkpoints, model)
    task = experiment.build(task_type, config, device, folder, keep=not given.dry_run and rank() == 0)
    config = getattr(task, "config", config)
    if given.dry_run:
        print(to_yaml(config))
        return loop.dry_run(task, config.loop, device=device)
    run = open_run(folder, config.model_dump(mode="json"), command=sys.argv, rank=rank())
    return loop.train(task, config.loop, run, device=device)


if __name__ == "__main__":
    run_command(main)
