"""Write a trained segmenter or anomaly model as an ONNX file, after holding its answers against the network's own."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import experiment
    from core.errors import ConfigError, OutputError


def parser() -> Parser:
    made = Parser(description=__doc__, epilog="Needs: pip install -r requirements-extras.txt. "
                  "The file runs without this project: python scripts/run_onnx.py --help")
    made.add_argument("--checkpoints", "--path", type=Path, required=True, metavar="DIR", help="of the experiment")
    made.add_argument("--model", default="segment", metavar="N|NAME", help="its model (default: %(default)s)")
    made.add_argument("--output", type=Path, required=True, metavar="FILE.onnx")
    made.add_argument("--input", type=Path, metavar="DIR", help="pictures on which the answers are compared as well")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a config key; repeatable")
    made.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
    return made


def main() -> None:
    given = parser().parse_args()
    if given.output.suffix.lower() != ".onnx":
        raise OutputError(f"--output: a file of another kind, got {given.output}. Name it something.onnx")
    if given.output.exists() and not given.overwrite:
        raise OutputError(f"--output: a file is there already, got {given.output}. Choose another name, or --overwrite")
    model, task_type = experiment.chosen_model(given.model)
    if not hasattr(task_type, "export"):
        raise ConfigError(f"--model {given.model}: not one that can be exported. The segmenter and anomaly models are")
    run = experiment.finished_run(given.checkpoints, model)
    found = task_type.export(run, given.output, given.set, given.input)
    same = f"; same label: {100 * found['same_label']:.3f} % of the pixels" if "same_label" in found else ""
    print(f"largest difference of {found.get('of', 'a probability')}: {found['difference']:.2g}{same}")
    print(f"{given.output}: {found['mebibytes']:.1f} MiB, from {run}")


if __name__ == "__main__":
    run_command(main)
