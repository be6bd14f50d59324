"""The course of a study: its plan, its arms one after the other, and the table at any time."""
import time
from collections.abc import Sequence

from ..errors import ConfigError, OutputError, did_you_mean
from ..lock import lock, unlock
from ..progress import span
from . import arms
from .arms import Arm, arms_of
from .page import write_page
from .pools import alone_in
from .sets import prepare
from .settings import StudyConfig
from .table import make_table, shown
from .tasks import TASKS
from .work import arm_folder, result_of, run_arm


def no_such_task(given: str) -> str:
    return f"--task: no such task, got '{given}'. {did_you_mean(given, TASKS)}One of {', '.join(TASKS)}"


def plan(config: StudyConfig) -> list[str]:
    """One command an arm, in the order in which they are best run."""
    return [arms.command(arm, config.output) for arm in arms_of(config)]


def ready(config: StudyConfig) -> dict:
    """The study's data on disk; see sets.prepare."""
    with alone_in(config.output):
        return prepare(config)


def run_one(config: StudyConfig, name: str, command: Sequence[str]) -> None:
    """Run one arm by its name. ConfigError: the study has no such arm."""
    named = {arm.name: arm for arm in arms_of(config)}
    if name not in named:
        raise ConfigError(f"--arm: no such arm, got '{name}'. {did_you_mean(name, named)}--plan lists them")
    run_arm(config, ready(config), named[name], command)


def run_all(config: StudyConfig, command: Sequence[str]) -> None:
    """Run every arm that is not finished and that no other process works on."""
    facts, every = ready(config), arms_of(config)
    todo = [arm for arm in every if result_of(config, arm) is None]
    began, done = time.monotonic(), 0
    for arm in todo:
        if taken(config, arm):
            print(f"{arm.name}: another process is at work on it", flush=True)
            continue
        left = f", about {span((time.monotonic() - began) / done * (len(todo) - done))} left" if done else ""
        print(f"arm {len(every) - len(todo) + done + 1} of {len(every)}: {arm.name}{left}", flush=True)
        run_arm(config, facts, arm, command)
        done += 1


def taken(config: StudyConfig, arm: Arm) -> bool:
    """Whether another process works on the arm."""
    folder = arm_folder(config.output, arm)
    if not folder.is_dir():
        return False
    try:
        lock(folder)
    except OutputError:
        return True
    unlock(folder)
    return False


def tell(config: StudyConfig) -> int:
    """Write study.json and report.html of the arms that are finished, and print the table; exit code 1 without any."""
    facts = ready(config)
    results = {arm: result for arm in arms_of(config) if (result := result_of(config, arm)) is not None}
    missing = [arm.name for arm in arms_of(config) if arm not in results]
    if not results:
        print("no arm is finished yet")
        return 1
    table = make_table(config, facts, results)
    print(shown(table))
    if missing:
        print(f"{len(missing)} arms are missing: {', '.join(missing[:6])}{' ...' if len(missing) > 6 else ''}")
    print(f"report: {write_page(config, facts, results, table)}")
    return 0
