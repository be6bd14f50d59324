"""Paint defects at points of defect-free images with two diffusion models, each trained here or published."""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    from core.registry import resolve

EPILOG = """\
examples:
  python scripts/sample_generation.py --conf_path confs/pcb_gen.yml
  python scripts/sample_generation.py --conf_path configs/crg-paint.yaml --set images=datasets/clean --device cuda
  python scripts/sample_generation.py --conf_path configs/crg-paint.yaml --set places.data=datasets/board
  torchrun --nproc-per-node 4 scripts/sample_generation.py --conf_path configs/crg-paint.yaml
  python scripts/sample_generation.py --describe checkpoint/checkpoint-64-defect.pt

The configuration is this project's (configs/crg-paint.yaml) or the earlier code's pcb_gen.yml, read as it is; keys of
it that have no effect are named with the reason. --set takes this project's names. The same command again goes on.
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, epilog=EPILOG, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--conf_path", "--config", type=Path, default=Path("confs/pcb_gen.yml"), metavar="FILE",
                      help="configuration (default: %(default)s)")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key; repeatable")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    made.add_argument("--overwrite", action="store_true", help="write into a folder that has other files in it")
    made.add_argument("--describe", type=Path, metavar="FILE", help="say what a file of weights is, no more")
    return made


def main() -> int:
    given = parser().parse_args()
    if given.describe is not None:
        print(resolve("crg.legacy_weights:describe")(given.describe))
        return 0
    return resolve("crg.command:paint")(given.conf_path, given.set, given.device, given.overwrite)


if __name__ == "__main__":
    run_command(main)
