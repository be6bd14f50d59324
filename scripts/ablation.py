"""What made pictures are worth on real ones: train on real, on made, on made then real and on both; one table."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import config as configs
    from core.device import choose
    from core.errors import ConfigError, OutputError
    from core.registry import find, resolve

FIXED = ("data.merge=true",)


def parser() -> Parser:
    made = Parser(description=__doc__, epilog="""\
example, with the material of the real tiles under the made defects (half a minute, then 4 trainings a seed):
  python scripts/make_synthetic.py --kind metal --textures datasets/magnetic_tile --count 600 --write masks \\
      --output datasets/made-tiles
  python scripts/ablation.py --data datasets/magnetic_tile --made datasets/made-tiles --output runs/ablation \\
      --config configs/segment-magnetic-tile.yaml --steps 600 --seeds 3 --set data.channels=1
The same command goes on after a kill. All classes are one, unless --set data.merge=false.""")
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="the real set; its test split measures")
    made.add_argument("--made", type=Path, required=True, metavar="DIR", help="the made set")
    made.add_argument("--output", type=Path, required=True, metavar="DIR", help="for runs, arms.csv and ablation.html")
    made.add_argument("--config", type=Path, default=Path("configs/segment.yaml"), metavar="FILE",
                      help="of the segmenter (default: %(default)s)")
    made.add_argument("--steps", type=int, default=600, help="of each training (default: %(default)s)")
    made.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default: %(default)s)")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a config key; repeatable")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    return made


def main() -> None:
    given = parser().parse_args()
    if given.seeds < 1 or given.steps < 1:
        raise ConfigError(f"--seeds, --steps: too small, got {given.seeds} and {given.steps}. Give 1 or more")
    if given.output.exists() and any(given.output.iterdir()) and not (given.output / "splits.json").is_file():
        raise OutputError(f"{given.output}: has files in it that are of no such table. Give another --output")
    wanted = (f"data.root={given.data}", f"loop.steps={given.steps}", f"loop.evaluate_every={given.steps}",
              f"loop.save_every={max(1, given.steps // 4)}")
    settings = configs.load(resolve(find("segment").target).Config, given.config, [*FIXED, *wanted, *given.set])
    rows = resolve("segment.ablation:ablation")(settings, given.made, given.output, seeds=given.seeds,
                                                device=choose(given.device))
    for line in resolve("segment.ablation:summary")(rows):
        print("  ".join(cell.ljust(24) for cell in line).rstrip())
    print(f"{given.output}: arms.csv, ablation.html, pictures.png")


if __name__ == "__main__":
    run_command(main)
