"""Command line that trains a toy model, for tests that start it as a user or torchrun would."""
import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from core.device import choose, rank  # noqa: E402
from core.errors import DefectForgeError  # noqa: E402
from core.loop import train  # noqa: E402
from core.runlog import open_run  # noqa: E402
from tests.toys import ToyConfig, ToyGan, ToySegmenter, settings  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", choices=("gan", "segmenter"), default="segmenter")
    parser.add_argument("--device", default="cpu")
    for name, default in (("steps", 20), ("batch-size", 4), ("workers", 0), ("save-every", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        device = choose(options.device)
        config = ToyConfig(loop=settings(options.steps, batch_size=options.batch_size, workers=options.workers,
                                         save_every=options.save_every))
        task = {"gan": ToyGan, "segmenter": ToySegmenter}[options.model](config, device)
        run = open_run(options.run, config.model_dump(mode="json"), rank=rank())
        return train(task, config.loop, run, device=device)
    except DefectForgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
