"""Fit a model of anomalib, where that is installed, on a set's good images and measure it as model 9 is measured."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import experiment, registry
    from core.config import load

EPILOG = """example (in an environment with anomalib 2.x, which fetches its weights from the internet):
  python scripts/anomalib_model.py --model Padim --set root=datasets/part --output runs/padim

Without anomalib: train.py --model 9 with configs/anomaly.yaml. The same --set ratios and split_seed give both the same
images."""


def main() -> None:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--model", required=True, metavar="CLASS", help="of anomalib.models, such as Padim")
    made.add_argument("--output", type=Path, required=True, metavar="DIR")
    made.add_argument("--epochs", type=int, metavar="N", help="at most (default: the model's own)")
    made.add_argument("--false-alarms", type=float, default=0.05, metavar="SHARE",
                      help="of further good images (default: %(default)s)")
    made.add_argument("--set", action="append", default=[], metavar="A=VALUE", help="a key of model 9's data")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    given = made.parse_args()
    registry.resolve("detect.anomalib_adapter:package")()
    config = load(registry.resolve("detect.anomaly_settings:AnomalyDataConfig"), None, given.set)
    output = experiment.free(given.output, given.overwrite)
    values = registry.resolve("detect.anomalib_adapter:measure")(config, given.model, output, None, given.epochs,
                                                                 given.false_alarms)
    for name, value in values.items():
        print(f"{name}: {value:.4g}")
    print(f"{output}: results")


if __name__ == "__main__":
    run_command(main)
