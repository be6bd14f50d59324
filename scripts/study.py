"""Does generated data help on this set? One table with error bars, on test images that nobody learned from."""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import config as configs
    from core.augment import methods
    from core.errors import ConfigError
    from core.study import course, settings
    from core.study.settings import StudyConfig
    from core.study.tasks import TASKS

EPILOG = """\
examples:
  python scripts/study.py --data datasets/parts --task segment --methods none,copypaste --output runs/study
  python scripts/study.py --data datasets/pcb --task detect --methods none,copypaste,midg --scales 1,3 --seeds 3 \\
      --shots 10 --augment midg.steps=800 --set loop.steps=1500 --output runs/pcb-study
  python scripts/study.py --output runs/study --plan        one command an arm, for several machines or processes
  python scripts/study.py --output runs/study               go on: finished arms are not run again

The same command started twice shares the arms between the two processes.
"""


def parser() -> Parser:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--data", metavar="DIR", help="labelled set, in any format that is read")
    made.add_argument("--output", metavar="DIR", help="folder of the study; alone it goes on with the study there")
    made.add_argument("--task", help=f"what is trained: {', '.join(TASKS)}; anomaly: a segmenter whose maps are judged "
                      "by how they rank, by AUROC")
    made.add_argument("--methods", metavar="A,B", help=f"none, all (every real defect of the training split: "
                      f"what there is to gain), {', '.join(methods.METHODS)} (default: none,copypaste)")
    made.add_argument("--scales", metavar="1,2", help="generated images a real defective one (default: 1,2,3)")
    made.add_argument("--seeds", help="repetitions, each with its own shots, generator and network (default: 3)")
    made.add_argument("--shots", help="real defects a class to learn from, or all (default: 10)")
    made.add_argument("--classes", metavar="A,B", help="these alone: images that show others are left out")
    made.add_argument("--reduce", metavar="N", help="make images smaller by this factor, per side")
    made.add_argument("--merge", action="store_true", help="networks learn all classes as one; generators know them")
    made.add_argument("--format", help="format of the set; found out where not given")
    made.add_argument("--unlabelled", help="skip, good or error: what an image without a label file is")
    made.add_argument("--test-share", help="of the groups, where the set has no splits of its own (default: 0.4)")
    made.add_argument("--resplit", action="store_true", help="split anew, whatever splits the set gives itself")
    made.add_argument("--config", metavar="FILE", help="config of the network (default: configs/study-TASK.yaml)")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key of the network's config")
    made.add_argument("--augment", action="append", default=[], metavar="A.B=VALUE", help="a key of the generation")
    made.add_argument("--real-share", help="least share of real images among defective ones; they are repeated "
                      "(default: 0.5)")
    made.add_argument("--generated-only", action="store_true", help="also train on generated defects alone")
    made.add_argument("--ablate", metavar="A,B", help="; ".join(f"{name}: without {what}" for name, (what, _)
                                                                 in settings.ABLATIONS.items()))
    made.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps")
    made.add_argument("--workers", help="processes that generate")
    made.add_argument("--plan", action="store_true", help="list the arms, one command each, and stop")
    made.add_argument("--arm", metavar="NAME", help="run this arm alone")
    made.add_argument("--table", action="store_true", help="write the table and the report of what is finished")
    return made


def main() -> int:
    given = parser().parse_args()
    config = chosen(given)
    settings.keep(config)
    if given.plan:
        print("\n".join(course.plan(config)))
        return 0
    command = ["python", *sys.argv]
    if given.arm is not None:
        course.run_one(config, given.arm, command)
        return 0
    if not given.table:
        course.run_all(config, command)
    return course.tell(config)


def chosen(given) -> StudyConfig:
    """The study that the options describe; with --output alone, the one that is there."""
    if given.output is None:
        raise ConfigError("--output: missing. Give the folder of the study; it may be a new one")
    texts = {name: getattr(given, name) for name in ("data", "task", "format", "unlabelled", "config", "device")}
    numbers = {name: getattr(given, name) for name in
               ("seeds", "shots", "test_share", "real_share", "workers", "reduce")}
    lists = {name: getattr(given, name) for name in ("methods", "scales", "ablate", "classes")}
    overrides = [(f"{name}={quoted(value)}", f"--{name} {value}") for name, value in texts.items() if value is not None]
    overrides += [(f"{name}={'null' if value == 'all' else value}", f"--{name.replace('_', '-')} {value}")
                  for name, value in numbers.items() if value is not None]
    overrides += [(f"{name}=[{', '.join(quoted(word) if name != 'scales' else word for word in value.split(','))}]",
                   f"--{name} {value}") for name, value in lists.items() if value is not None]
    overrides += [(f"{name}=true", f"--{name.replace('_', '-')}") for name in ("resplit", "merge", "generated_only")
                  if getattr(given, name)]
    overrides += [(f"{name}=[{', '.join(map(quoted, getattr(given, name)))}]", f"--{name}") for name in
                  ("set", "augment") if getattr(given, name)]
    overrides.append((f"output={quoted(given.output)}", f"--output {given.output}"))
    kept = Path(given.output) / settings.KEPT
    for name in (given.methods or settings.NONE).split(","):
        if name.strip() not in settings.REAL:
            methods.find(name.strip())
    if given.task is not None and given.task not in TASKS:
        raise ConfigError(course.no_such_task(given.task))
    if not kept.is_file() and (given.data is None or given.task is None):
        raise ConfigError(f"--{'data' if given.data is None else 'task'}: missing. Give the labelled set and what is "
                          f"trained on it, {' or '.join(TASKS)}; or the --output of a study that was begun")
    return configs.load(StudyConfig, kept if kept.is_file() else None, overrides)


def quoted(text: str) -> str:
    """Text as it stands in YAML, so that a folder called "yes" stays what it is."""
    return json.dumps(text.strip())


if __name__ == "__main__":
    run_command(main)
