"""Write MIDG's lists of images: for ROOT and every folder below it, <folder>/<its name>.flist with one path a line."""
import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    from core.data.images import write_bytes
    from core.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def write_lists(root: Path) -> dict[Path, int]:
    """Write the lists and return list -> number of paths. DataError: no such folder, or a line break in a name.

    Paths are as walked: relative to the working directory where `root` is. A folder without images gets an empty list.
    Older lists of the same name are replaced.
    """
    if not root.is_dir():
        raise DataError(f"{root}: not a folder, got {'a file' if root.exists() else 'nothing there'}. Check --path")
    written = {}
    for here, folders, names in os.walk(root):
        folders.sort()
        folder = Path(here)
        images = [folder / name for name in sorted(names) if _is_listed(name)]
        path = folder / f"{folder.resolve().name}.flist"
        write_bytes(path, "".join(f"{image}\n" for image in images).encode("utf-8", "surrogateescape"))
        written[path] = len(images)
    return written


def _is_listed(name: str) -> bool:
    if not name.lower().endswith(SUFFIXES) or name.startswith("."):
        return False
    if "\n" in name or "\r" in name:
        raise DataError(f"{name!r}: a line break in a file's name, got one path on two lines. Rename the file")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, metavar="ROOT", help="folder whose folders are listed")
    root = parser.parse_args().path
    written = write_lists(root)
    for path, count in written.items():
        print(f"{path}: {count} images")
    print(f"{len(written)} lists written")


if __name__ == "__main__":
    run_command(main)
