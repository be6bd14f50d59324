"""Kill a training at random moments, over and over, and compare what it ends with to a training left in peace.

    python tests/kill_training.py --kills 100
"""
import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core import checkpoint  # noqa: E402
from tests.children import differences, start, train_child  # noqa: E402
from tests.toys import settings  # noqa: E402


def kill_training(kills: int, folder: Path, model: str = "gan", workers: int = 0, seed: int = 0) -> list[str]:
    """Return what differs between a training that was killed `kills` times and one that was not; [] is right.

    Nine kills in ten come within the time of a few steps and saves, the others anywhere. A training that has ended
    before its kills are used up is started again on a new folder.
    """
    loop, chance = settings(steps=24, workers=workers, save_every=2, evaluate_every=6), random.Random(seed)
    calm = folder / "calm"
    finish(model, calm, loop)
    wrong, runs, done = [], 0, 0
    while done < kills:
        run, runs = folder / f"killed-{runs}", runs + 1
        while done < kills and not finished(run, loop):
            process = start(train_child, model, run, loop, -2, 0.01)
            moment = first_sign(process, run) + chance.uniform(0, 0.25 if chance.random() < 0.9 else 1.0)
            process.join(max(0.0, moment - time.monotonic()))
            if process.is_alive():
                process.kill()
                done += 1
                print(f"\r{done} kills", end="", file=sys.stderr, flush=True)
            process.join()
            if process.exitcode not in (0, -9):
                return [*wrong, f"{run}: exit code {process.exitcode}"]
        finish(model, run, loop)
        wrong += [f"{run}: {name}" for name in differences(run, calm)]
    return wrong


def first_sign(process, run: Path) -> float:
    """The moment when the child has written in its run folder, so that the kill hits the training and not its start."""
    log = run / "log.txt"
    size = log.stat().st_size if log.exists() else 0
    while process.is_alive() and (log.stat().st_size if log.exists() else 0) == size:
        time.sleep(0.002)
    return time.monotonic()


def finished(run: Path, loop) -> bool:
    return checkpoint.path_of(run, loop.steps).exists()


def finish(model: str, run: Path, loop) -> None:
    """Let a training run to its end; there it must have nothing more to do."""
    process = start(train_child, model, run, loop)
    process.join()
    if process.exitcode:
        sys.exit(f"{run}: a training that nobody killed ended with {process.exitcode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--model", choices=("gan", "segmenter"), default="gan")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which it kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = kill_training(options.kills, Path(folder), options.model, options.workers, options.seed)
    print("\r" + (f"{options.kills} kills, lost or different: {', '.join(wrong)}" if wrong else
                  f"{options.kills} kills, nothing lost, identical"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
