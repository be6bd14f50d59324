"""A folder of made pictures: images, defect-free twins, labels, and the recipe that makes the same again."""
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from ..data import formats, images, shapes
from ..data.records import Dataset, Instance, Record
from ..errors import ConfigError, OutputError, did_you_mean
from ..files import append, whole_lines, writing
from ..progress import Progress
from ..seeding import rng
from ..signals import StopRequest
from ..workers import in_order
from . import KINDS, VERSION, check_options, make

RECIPE, MANIFEST = "recipe.json", "manifest.jsonl"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes a set; `options` are those of the kind's draw. Every other key but `count` shapes each picture."""
    kind: str
    count: int
    seed: int = 0
    size: tuple[int, int] | None = None       # (width, height) px; None: the kind's own
    good_share: float = 0.3                   # of the pictures, chance to be free of defects
    options: dict = field(default_factory=dict)
    product: str | None = None                # pictures go to images/PRODUCTgood and images/PRODUCTdefect
    version: int = VERSION


def make_set(recipe: Recipe, folder: Path, write: Sequence[str] = ("coco",), *, workers: int = 1,
             overwrite: bool = False) -> Dataset:
    """Make a set in `folder`: images/, clean/ (twins of the defective ones), labels in the formats `write`, the recipe.

    Started again after a kill it goes on, and ends with the same bytes; a larger count adds to what is there.
    ConfigError: a wrong recipe or format. OutputError: files in the way that are no such set's, or another recipe's.
    """
    _check(recipe, write, workers)
    lines = _open(recipe, folder, overwrite)
    todo = range(len(lines), recipe.count)
    with open(folder / MANIFEST, "ab", buffering=0) as manifest, StopRequest() as stop, \
            Progress(recipe.count, "images", done=len(lines)) as progress:
        for line in in_order(partial(draw_picture, recipe, folder), todo, workers):
            with writing(folder / MANIFEST):
                append(manifest, (json.dumps(line) + "\n").encode())
            lines.append(line)
            progress.step()
            if stop.signum and len(lines) < recipe.count:
                raise stop.error(len(lines), recipe.count)
    dataset = _dataset(recipe, folder, lines)
    for name in write:
        formats.write(dataset, folder, name, images="keep")
    return dataset


def draw_picture(recipe: Recipe, folder: Path, index: int) -> dict:
    """Draw picture `index`, write it and its twin; its manifest line."""
    good = rng(recipe.seed, index, 1).random() < recipe.good_share
    options = {**recipe.options, "defects": 0} if good else recipe.options
    sample = make(recipe.kind, recipe.seed, index, recipe.size, **options)
    name = f"{recipe.kind}_{index:05d}.png"
    if recipe.product is not None:
        name = f"{recipe.product}{'defect' if sample.defects else 'good'}/{name}"
    for part in ("images", "clean") if sample.defects else ("images",):
        (folder / part / name).parent.mkdir(exist_ok=True)
    images.write_image(folder / "images" / name, sample.image)
    if sample.defects:
        images.write_image(folder / "clean" / name, sample.clean)
    found = [shapes.mask_instance(defect.mask, defect.label) for defect in sample.defects]
    return {"index": index, "image": f"images/{name}", "clean": f"clean/{name}" if found else None,
            "size": [sample.image.shape[1], sample.image.shape[0]],
            "instances": [{"label": item.label, "box": item.box, "rle": item.rle} for item in found]}


def _check(recipe: Recipe, write: Sequence[str], workers: int) -> None:
    check_options(recipe.kind, recipe.options)
    for name, value, least in (("count", recipe.count, 1), ("seed", recipe.seed, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigError(f"{name}: too small, got {value}. Give {least} or more")
    if not 0 <= recipe.good_share <= 1:
        raise ConfigError(f"good: not a share, got {recipe.good_share}. Give 0 to 1")
    writers = [name for name, module in formats.FORMATS.items() if hasattr(module, "write")]
    if recipe.product is not None and not re.fullmatch(r"[\w.-]+", recipe.product):
        raise ConfigError(f"product: not a folder's name, got '{recipe.product}'. Letters, digits, . _ - alone")
    for name in write:
        if name not in writers:
            raise ConfigError(f"write: no such format, got '{name}'. {did_you_mean(name, writers)}"
                              f"One of {', '.join(writers)}")
    make(recipe.kind, recipe.seed, 0, recipe.size, **recipe.options)      # a wrong size shows before the folder


def _open(recipe: Recipe, folder: Path, overwrite: bool) -> list[dict]:
    """Make or reopen the folder; the manifest lines of pictures that are done."""
    before = _read_recipe(folder)
    if before is None and folder.exists() and any(folder.iterdir()) and not overwrite:
        found = sorted(path.name for path in folder.iterdir())
        raise OutputError(f"{folder}: the output folder has files in it, got {', '.join(found[:3])}"
                          f"{' ...' if len(found) > 3 else ''}. Choose an empty folder or say --overwrite")
    wanted = json.loads(json.dumps(asdict(recipe)))
    lines = list(map(json.loads, whole_lines(folder / MANIFEST))) if before is not None else []
    if before is not None and not overwrite:
        for key in wanted:
            if key != "count" and before.get(key) != wanted[key]:
                raise OutputError(f"{folder}: made by another recipe, got {key} {wanted[key]} where it was "
                                  f"{before.get(key)}. Choose an empty folder or say --overwrite")
        if len(lines) > recipe.count:
            raise OutputError(f"{folder}: already holds more, got count {recipe.count} where {len(lines)} are made. "
                              f"Choose an empty folder or say --overwrite")
    elif overwrite:
        _forget(folder, lines)
        lines = []
    try:
        for name in ("images", "clean"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made, got '{error.strerror}'. Choose another output") from error
    images.write_bytes(folder / RECIPE, (json.dumps(wanted, indent=1) + "\n").encode())
    return lines


def _read_recipe(folder: Path) -> dict | None:
    path = folder / RECIPE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise OutputError(f"{path}: not a recipe, got '{error}'. Choose an empty folder or say --overwrite") from error
    return found if isinstance(found, dict) and "kind" in found else None


def _forget(folder: Path, lines: list[dict]) -> None:
    """Remove the pictures of an earlier set, by its own manifest; other files stay."""
    for line in lines:
        for name in (line["image"], line["clean"]):
            if name:
                (folder / name).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)


def _dataset(recipe: Recipe, folder: Path, lines: list[dict]) -> Dataset:
    records = []
    for line in lines:
        name = line["image"].removeprefix("images/").removesuffix(".png")
        found = tuple(Instance(label=item["label"], box=tuple(item["box"]), rle=item["rle"])
                      for item in line["instances"])
        records.append(Record(image=folder / line["image"], name=name, size=tuple(line["size"]), instances=found,
                              clean=folder / line["clean"] if line["clean"] else None, group=name))
    return Dataset(root=folder, format="synthetic", classes=KINDS[recipe.kind].CLASSES, records=tuple(records))
