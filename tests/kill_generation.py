"""Kills a generation at random moments, starts it again each time, and compares its folder with an uninterrupted run's.

    python tests/kill_generation.py --kills 100
"""
import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.sets import write_coco  # noqa: E402


def command(data: Path, output: Path, count: int, workers: int) -> list[str]:
    return [sys.executable, str(ROOT / "scripts/augment.py"), "--data", str(data), "--output", str(output),
            "--count", str(count), "--write", "yolo,masks", "--workers", str(workers)]


def digests(folder: Path) -> dict[str, str]:
    """Every file's hash but of those that hold times, commands or the folder's name; no half of a file may be left."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in ("report.html", "config.yaml", "run.json")}


def killed_run(data: Path, output: Path, count: int, kills: int, seed: int, workers: int = 2) -> int:
    """Run to the end through up to `kills` SIGKILLs spread over the making of the images; return how many struck."""
    draw, struck = random.Random(seed), 0
    manifest = output / "manifest.jsonl"
    while True:
        child = subprocess.Popen(command(data, output, count, workers), stdout=subprocess.DEVNULL)
        before = manifest.read_bytes().count(b"\n") if manifest.exists() else 0
        share = max(1, (count - before) // max(kills - struck, 1)) if struck < kills else None
        target = None if share is None else min(before + draw.uniform(0, 2 * share), count - 1)
        while child.poll() is None:
            lines = manifest.read_bytes().count(b"\n") if manifest.exists() else 0
            if target is not None and lines >= target and lines < count:
                time.sleep(draw.uniform(0, 0.05))
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        if child.wait() == 0:
            return struck
        if child.returncode != -signal.SIGKILL:
            raise SystemExit(f"the command failed with exit code {child.returncode}")
        struck += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--count", type=int, default=400, help="images to make")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = write_coco(Path(folder) / "data")
        subprocess.run(command(data, Path(folder) / "whole", given.count, 2), check=True, stdout=subprocess.DEVNULL)
        struck = killed_run(data, Path(folder) / "killed", given.count, given.kills, given.seed)
        whole, killed = digests(Path(folder) / "whole"), digests(Path(folder) / "killed")
    differing = sorted(name for name in set(whole) | set(killed) if whole.get(name) != killed.get(name))
    print(f"{struck} kills, {len(whole)} files, {len(differing)} differ {differing[:5]}")
    return 1 if differing or not struck else 0


if __name__ == "__main__":
    sys.exit(main())
