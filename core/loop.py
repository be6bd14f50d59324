"""The one training loop: save and report when due, then draw a batch and let each phase take its step."""
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from . import checkpoint
from .device import Processes, Search, autocast, memory_gib, numerics, processes, to_device
from .errors import ConfigError, TrainingError
from .feeding import batches
from .files import writing
from .phase import Turn
from .runlog import Means, RunLog, shown
from .seeding import seed_step
from .signals import StopRequest
from .task import LoopConfig, Task
from .watch import Standing, standing


def train(task: Task, loop: LoopConfig, run: Path, *, device: torch.device) -> int:
    """Train until `loop.steps` or a signal; return the exit code: 0, 143 after SIGTERM, 130 after Ctrl-C.

    run     the folder that core.runlog.open_run has made. Started again, training goes on from its last checkpoint
    """
    with processes(device) as team, numerics(loop.deterministic), thawed_again(task), StopRequest() as stop:
        means, clock = Means(), Clock(device)
        parts = {**parts_of(task), "report": means}
        step = resume(run, parts, loop, team, device)
        turns, search = Turn.of(task, loop, device, team), Search(loop.deterministic)
        feed = batches(task.train_data, loop, step, device, team)

        with contextlib.closing(feed), RunLog(run, step, loop.steps, writes=team.rank == 0) as log:
            log.say(f"{run}: step {step} of {loop.steps} on {device}; {parameter_counts(task)}")
            log.pictures(step, run / "samples")
            watched = watch(task, log, team, device)
            while True:
                signum = team.largest(stop.signum, device)
                last = step == loop.steps or signum > 0

                # Save. Step 0 is included: a full disk shows before training, not after it.
                path = checkpoint.path_of(run, step)
                if team.rank == 0 and (step % loop.save_every == 0 or last) and not path.exists():
                    log.sync()
                    checkpoint.save(path, step, parts)
                    checkpoint.prune(run, loop.keep)

                # Evaluate, at step 0 too. What is on record already is not repeated.
                due = (step % loop.evaluate_every == 0 or step == loop.steps) and signum == 0
                if team.rank == 0 and due and log.evaluated != step:
                    samples = run / "samples" / f"step-{step:08d}"
                    values, seconds = evaluate(task, loop, samples, step, device)
                    log.pictures(step, samples)
                    log.write("evaluate", step, values, {"seconds": seconds})
                    log.say(f"step {step}: evaluated in {seconds:.1f} s: {shown(values)}")

                # Heed what the evaluations say: keep the best weights, drop the rate, end early.
                if due:
                    watched = watch(task, log, team, device)
                    if team.rank == 0 and watched.best_step == step:
                        checkpoint.save(checkpoint.best_path(run), step, parts)
                    if team.rank == 0 and watched.ended and not path.exists():
                        checkpoint.save(path, step, parts)
                    if team.rank == 0 and hasattr(task, "summarise"):
                        task.summarise(run)
                if watched.ended:
                    log.say(f"step {step}: ended early, for {task.watch.stop_after} evaluations were no better")
                if last or watched.ended:
                    break
                if due and team.largest(stop.signum, device):       # it came while this process evaluated: no more step
                    continue

                # Draw a batch.
                with clock.waiting():
                    batch = to_device(next(feed), device)
                search.heed(batch)

                # Let each phase take its step.
                with clock.working(), memory_advice(step, loop):
                    seed_step(loop.seed, step, team.rank)
                    for turn in turns:
                        if step % turn.phase.every == 0:
                            means.add(turn.take(batch, step, rate_drop(task, watched)))
                    step += 1
                    for average in task.averages.values():
                        average.update(step)
                log.advance()

                # Report.
                if step % loop.report_every == 0 or step == loop.steps:
                    values, timing = means.take(), clock.take()
                    log.write("train", step, values, timing)
                    log.say(f"step {step}: {shown(losses_in(values))}; {shown(timing)}; {log.time_left()}")

            if signum == 0:
                return 0
            log.say(f"stopped by signal {signum} at step {step}, which is saved; the same command goes on from there")
            return 128 + signum


def dry_run(task: Task, loop: LoopConfig, *, device: torch.device) -> int:
    """Step 0 alone: save and evaluate into a folder that is thrown away, take one step; return the exit code 0."""
    print(parameter_counts(task))
    with tempfile.TemporaryDirectory() as folder, numerics(loop.deterministic), thawed_again(task):
        path = checkpoint.path_of(Path(folder), 0)
        checkpoint.save(path, 0, parts_of(task))
        print(f"step 0: a checkpoint takes {path.stat().st_size / 2**20:.1f} MiB")
        values, seconds = evaluate(task, loop, Path(folder) / "samples", 0, device)
        print(f"step 0: evaluated in {seconds:.1f} s: {shown(values)}")
        alone = loop.model_copy(update={"workers": 0})
        batch = to_device(next(batches(task.train_data, alone, 0, device, Processes())), device)
        with memory_advice(0, loop):
            seed_step(loop.seed, 0)
            for turn in Turn.of(task, loop, device, Processes()):
                print(f"step 0: {shown(turn.take(batch, 0))}")
    print("dry run: everything is in order, nothing is kept")
    return 0


def watch(task: Task, log: RunLog, team: Processes, device: torch.device) -> Standing:
    """How the run stands by its record, the same in all processes; see core.watch and `watch` of core.task.Watched."""
    config = getattr(task, "watch", None)
    if config is None:
        return Standing()
    mine = standing(log.evaluations(config.metric), config)
    return Standing(mine.best_step, team.largest(mine.drops, device), bool(team.largest(int(mine.ended), device)))


def rate_drop(task: Task, watched: Standing) -> float:
    """What the learning rates are multiplied by."""
    return task.watch.reduce_factor ** watched.drops if watched.drops else 1.0


def parts_of(task: Task) -> dict[str, checkpoint.Stateful]:
    """What a checkpoint holds, by name."""
    return {
        **{f"module/{name}": module for name, module in task.modules.items()},
        **{f"average/{name}": average for name, average in task.averages.items()},
        **{f"optimizer/{phase.name}": phase.optimizer for phase in task.phases},
    }


def resume(run: Path, parts: Mapping[str, checkpoint.Stateful], loop: LoopConfig, team: Processes,
           device: torch.device) -> int:
    """Load the newest checkpoint, if there is one, and return its step. A damaged one is an error, not passed over."""
    paths = checkpoint.found(run)
    step = checkpoint.restore(paths[-1], parts) if paths else 0
    if step > loop.steps:
        raise ConfigError(f"loop.steps: {run} is at step {step} already, got {loop.steps}. Raise it or choose another "
                          "folder")
    if team.largest(step, device) != step:
        raise ConfigError(f"{run}: another process sees a later checkpoint, got step {step} here. Use a folder that "
                          "all processes share")
    return step


def evaluate(task: Task, loop: LoopConfig, folder: Path, step: int,
             device: torch.device) -> tuple[dict[str, float], float]:
    """The task's metrics and the seconds they took; modules are as before afterwards."""
    began = time.perf_counter()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    parts = [part for module in task.modules.values() for part in module.modules()]
    modes = [part.training for part in parts]
    for part in parts:
        part.training = False
    try:
        with torch.no_grad(), Search.off(), autocast(device, loop.precision), memory_advice(step, loop):
            seed_step(loop.seed, step)
            values = task.evaluate(folder)
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode            # not train(): a part that its task keeps in evaluation mode stays there
    if not any(folder.iterdir()):
        folder.rmdir()
    return values, time.perf_counter() - began


def parameter_counts(task: Task) -> str:
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in task.modules.items()}
    return ", ".join(f"{name} {count:,} parameters" for name, count in counts.items())


def losses_in(values: Mapping[str, float]) -> dict[str, float]:
    """What a line on the screen has room for; the rest is on record."""
    return {name: value for name, value in values.items() if not name.endswith(("/grad_norm", "/learning_rate"))}


@contextlib.contextmanager
def thawed_again(task: Task) -> Iterator[None]:
    """Within, phases freeze each other's parameters; afterwards every parameter is as it was."""
    before = [(p, p.requires_grad) for module in task.modules.values() for p in module.parameters()]
    try:
        yield
    finally:
        for parameter, learns in before:
            parameter.requires_grad_(learns)


@contextlib.contextmanager
def memory_advice(step: int, loop: LoopConfig) -> Iterator[None]:
    """Within: a GPU's memory that does not suffice is an error that says which key to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"step {step}: the device's memory does not suffice, got loop.batch_size = "
                            f"{loop.batch_size}. Lower it, or set loop.precision to bfloat16; the last checkpoint is "
                            "sound") from error


class Clock:
    """Where the time of the steps since the last report went."""

    def __init__(self, device: torch.device):
        self.device, self.waited, self.worked, self.steps = device, 0.0, 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.waited += time.perf_counter() - began

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.worked += time.perf_counter() - began
        self.steps += 1

    def take(self) -> dict[str, float]:
        """Seconds a step, the share of them spent waiting for data (0..1), memory in GiB; and begin anew."""
        seconds, memory = self.waited + self.worked, memory_gib(self.device)
        timing = {"seconds_per_step": seconds / self.steps, "data_wait": self.waited / seconds}
        self.waited, self.worked, self.steps = 0.0, 0.0, 0
        return timing if memory is None else {**timing, "memory_gib": memory}
