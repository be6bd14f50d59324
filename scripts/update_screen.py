"""Let a fitted anomaly model learn from further good images, without a training."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import experiment, registry
    from core.device import choose

EPILOG = """example:
  python scripts/update_screen.py --checkpoints checkpoints/tile --good new-good-parts

The memory of PatchCore is spread out anew over what it held and the new images, and its thresholds are taken again
from the held-out good images of the training, which must still be there. The other models are fitted by train.py."""


def main() -> None:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--checkpoints", "--path", type=Path, required=True, metavar="DIR", help="of the experiment")
    made.add_argument("--good", type=Path, required=True, metavar="DIR", help="good images, and those below it")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    given = made.parse_args()
    model, _ = experiment.chosen_model("anomaly")
    run = experiment.finished_run(given.checkpoints, model)
    for line in registry.resolve("detect.anomaly_update:update")(run, given.good, choose(given.device)):
        print(line)


if __name__ == "__main__":
    run_command(main)
