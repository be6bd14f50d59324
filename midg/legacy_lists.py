"""Lists of images as the earlier MIDG code took them, and their samples, paired by the files' stems.

A list is a folder, an image, or a text file with one path a line (blanks in names are part of them).
"""
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from core.data.images import is_image
from core.errors import DataError

from .legacy import Earlier, Role, Split

# The published README, config and folders differ in these names: each is tried for the others.
SPELLINGS = (("dataset", "datasets"), ("inpaint", "inpaint2"), ("mask", "mask2"))


def read_samples(earlier: Earlier, split: Split, roles: Sequence[Role] = ("image", "mask", "inpaint"),
                 given: Mapping[Role, Path] | None = None) -> tuple[list[dict[Role, Path]], list[str]]:
    """The samples of a split, {role: image file} each, and notes on what was found elsewhere than the config says.

    given   lists that replace the config's, from the command line. Where it has the image but no inpaint, the image is
            its own background: it is a normal one
    DataError: a list is missing or empty, a file in it is missing, or a stem has no partner.
    """
    given = dict(given or {})
    if "image" in given:
        given.setdefault("inpaint", given["image"])
    lists, notes, shared = {}, [], set()
    for role in roles:
        source = given.get(role) or earlier.list_of(role, split)
        if source is None:
            key = {"image": "", "mask": "_MASK", "inpaint": "_INPAINTING", "edge": "_EDGE"}[role]
            raise DataError(f"{earlier.path}: {split.upper()}{key}_FLIST is needed, got nothing. Name a list there")
        place, moved = place_of(source, earlier)
        notes += moved
        lists[role] = read_list(place)
        if is_image(place):
            shared.add(role)
    return paired(lists, shared), notes


def read_list(source: Path) -> list[Path]:
    """The image files that a folder (sorted), a list or an image stands for; at least one. Raises DataError."""
    source = Path(source)
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if is_image(path) and path.is_file())
    elif not source.is_file():
        raise DataError(f"{source}: no such folder, list or image. Check the path; scripts/flist2.py makes lists")
    elif is_image(source):
        found = [source]
    else:
        found = read_lines(source)
    if not found:
        raise DataError(f"{source}: names no image, got an empty {'folder' if source.is_dir() else 'list'}. "
                        "Put images there, or make the list anew with scripts/flist2.py")
    return found


def read_lines(source: Path) -> list[Path]:
    """The paths in a text file. They start at the working directory, or at a folder above the list where they fit."""
    data = source.read_bytes()
    if b"\0" in data:
        raise DataError(f"{source}: not a list of images, got binary data. Give a folder, a list or an image")
    text = data.decode("utf-8-sig", "surrogateescape")          # names may be any bytes; scripts/flist2.py keeps them
    lines = [Path(line.strip()) for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    base = next((base for base in (Path(), *source.resolve().parents) if (base / lines[0]).is_file()), Path())
    found = [base / line for line in lines]
    missing = [line for line, path in zip(lines, found) if not path.is_file()]
    if missing:
        raise DataError(f"{source}: {len(missing)} of its {len(lines)} files are missing, such as '{missing[0]}'. "
                        f"Make the list anew with scripts/flist2.py, or start where its paths begin")
    return found


def paired(lists: Mapping[Role, Sequence[Path]], shared: Collection[Role] = ()) -> list[dict[Role, Path]]:
    """One {role: path} a stem, in the order of the first list. DataError names stems without partner, or twice there.

    shared      roles whose one file serves all images, whatever its name: a single mask was given, say
    """
    by_stem = {role: stems(role, paths) for role, paths in lists.items()}
    first = next(iter(by_stem))
    for role, named in by_stem.items():
        if role == first or role in shared:
            continue
        for here, there, have in ((role, first, named), (first, role, by_stem[first])):
            alone = [stem for stem in have if stem not in by_stem[there]]
            if alone:
                raise DataError(f"{have[alone[0]]}: {here} without {there}, got no '{alone[0]}' among "
                                f"{len(by_stem[there])} files{more(alone)}. Files are paired by name; add or remove it")
    return [{role: named.get(stem) or next(iter(named.values())) for role, named in by_stem.items()}
            for stem in by_stem[first]]


def stems(role: str, paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise DataError(f"{path}: the {role} list has this name twice, got {found[path.stem]} too. Files are "
                            "paired by name; keep one")
        found[path.stem] = path
    return found


def place_of(source: Path, earlier: Earlier) -> tuple[Path, list[str]]:
    """Where a list of an earlier config is, and a note if that is not where the config says."""
    place, moved = located(source, (Path(), *earlier.path.resolve().parents[:4]))
    return place, [f"{source}: not there; read from {place}"] if moved else []


def located(path: Path, bases: Iterable[Path]) -> tuple[Path, bool]:
    """Where a path is, and whether that is not where it was said to be: from the working directory, as written."""
    for spelled in spellings(Path(path)):
        for base in bases:
            if (base / spelled).exists():
                return base / spelled, bool(base.parts) or spelled != path
    return Path(path), False


def spellings(path: Path) -> list[Path]:
    """The path as written, then in the other spellings; a kind's folder within KIND is also called images."""
    choices = []
    for above, part in zip(("", *path.parts), path.parts):
        same = next((group for group in SPELLINGS if part in group), ("images",) if part == above else ())
        choices.append([part, *(other for other in same if other != part)])
    return [Path(*parts) for parts in itertools.product(*choices)]


def more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more such)" if len(names) > 1 else ""
