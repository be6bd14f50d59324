"""Weights of the earlier MIDG code made into runs of this project, and the other way round."""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    from core.registry import resolve

EPILOG = """\
EdgeModel_gen.pth and InpaintingModel_gen.pth in DIR, with EdgeModel_dis.pth and InpaintingModel_dis.pth where they are,
become DIR/midg-edge and DIR/midg-defect. train.py and test.py do the same by themselves. --to-earlier writes such files
from the runs; that needs networks of the published form: network.mask_channel, noise_channel and blend false.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", "--path", type=Path, required=True, metavar="DIR", help="the experiment")
    parser.add_argument("--to-earlier", type=Path, metavar="OUT", help="write the earlier code's files there")
    given = parser.parse_args()
    if given.to_earlier is None:
        print("\n".join(resolve("midg.adopted:adopt_all")(given.checkpoints)))
        return
    for path in resolve("midg.adopted:write_earlier")(given.checkpoints, given.to_earlier):
        print(path)


if __name__ == "__main__":
    run_command(main)
