"""Check rework rules: contradictions, rules that never count, and verdicts on inspections that are done."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import config, registry
    from core.errors import ConfigError

EPILOG = """examples:
  python scripts/rework_rules.py --rules configs/rework.yaml
  python scripts/rework_rules.py --rules mine.yaml --results output/model1/inference_results/TIME --labels judged.csv

The results are those of scripts/inference.py with --rules: what it measured is judged anew, without the detector. For
another mm_per_px, sealing face or outline inspect again. The table has the columns image (as in summary.csv) and
verdict (good, rework, review or reject)."""


def main() -> None:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--rules", type=Path, required=True, metavar="FILE", help="such as configs/rework.yaml")
    made.add_argument("--results", type=Path, metavar="DIR", help="of an inspection with rules: which never held there")
    made.add_argument("--labels", type=Path, metavar="CSV", help="verdicts of a person on these images: how they agree")
    given = made.parse_args()
    if given.labels and not given.results:
        raise ConfigError(f"--labels: goes with --results, got {given.labels} alone. Give the inspection's output")
    rules = config.load(registry.resolve("detect.rework:RulesConfig"), given.rules)
    seen = registry.resolve("detect.rework_check:measured")(given.results) if given.results else {}
    truth = registry.resolve("detect.rework_check:labels")(given.labels, list(seen)) if given.labels else {}
    for line in registry.resolve("detect.rework_check:check")(rules, seen, truth):
        print(line)


if __name__ == "__main__":
    run_command(main)
