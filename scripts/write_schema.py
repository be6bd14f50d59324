"""Renew configs/schema/: the JSON schemas with which an editor checks the config files."""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    from core import schema


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.parse_args()
    for path in schema.write():
        print(path)


if __name__ == "__main__":
    run_command(main)
