"""What `test.py --model crg` and scripts/sample_generation.py do: paint as a configuration says."""
import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from core.device import choose
from core.errors import ConfigError

from .generation import paint_folder
from .legacy import paint_config

UNUSED = ("checkpoints", "input", "mask", "edge", "inpaint", "label")       # options of test.py for single models


def main(given: argparse.Namespace) -> int:
    """Of test.py's options. ConfigError: one that belongs to a single model, or no --config."""
    for name in UNUSED:
        if getattr(given, name) is not None:
            option = "class" if name == "label" else name
            raise ConfigError(f"--{option}: not for model 'crg', whose configuration says it all, got "
                              f"'{getattr(given, name)}'. Leave it out")
    if given.config is None:
        raise ConfigError("--config: missing. Give a file like configs/crg-paint.yaml, or an earlier pcb_gen.yml")
    output = [] if given.output is None else [f"output={json.dumps(str(given.output))}"]
    return paint(given.config, [*given.set, *output], given.device, given.overwrite)


def paint(path: Path, overrides: Sequence[str], device: str, overwrite: bool) -> int:
    """Exit code 1 where no defect at all could be painted."""
    config, notes = paint_config(path, overrides)
    for note in notes:
        print(note, file=sys.stderr)
    totals = paint_folder(config, choose(device), overwrite=overwrite)
    print(f"{config.output}: {totals.painted} images with a defect; {totals.rejected} points without a visible one")
    return 0 if totals.painted or config.keep_unseen else 1
