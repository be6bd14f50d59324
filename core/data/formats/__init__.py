"""Labelled data sets in and out, in any of the formats of FORMATS."""
import inspect
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from ...errors import ConfigError, DataError, did_you_mean
from ..records import Dataset

# Name -> module with LAYOUT (one line for --help and errors), HOLDS (what it has a place for beside boxes and classes),
# fits(root), read(root, ...) and write(dataset, root, ...).
FORMATS: dict[str, ModuleType] = {name: import_module(f".{name}", __name__) for name in (
    "midg", "deeppcb", "yolo", "coco", "voc", "labelme", "masks", "good")}

UNLABELLED = ("error", "skip", "good")


def read(root: Path, format: str = "auto", *, unlabelled: str = "skip", classes: Iterable[str] | None = None,
         **options) -> Dataset:
    """Read the labelled set in a folder.

    unlabelled  what an image without its label file is: "error"; "skip", kept as `verified=False`, neither defective
                nor good; "good", defect-free. Formats that know a mask an image refuse a missing one but under "good"
    classes     the only labels allowed, in their order; None takes those found (the format's own order, else by name)
    options     what one format takes beyond that, such as `colours` (masks) or `line_width_px` (labelme)

    DataError: all problems of the reading, one line each with its file (20 lines at most, then their number).
    ConfigError: no such format or option.
    """
    root = Path(root)
    if unlabelled not in UNLABELLED:
        raise ConfigError(f"unlabelled: no such choice, got '{unlabelled}'. One of {', '.join(UNLABELLED)}")
    if format != "auto":
        check_format(format)
    _check_folder(root)
    module = FORMATS[detect(root) if format == "auto" else format]
    _check_options(module.read, options)
    return module.read(root, unlabelled=unlabelled, classes=classes, **options)


def detect(root: Path) -> str:
    """The name of the one format that fits a folder. DataError: none does, or more than one.

    Where this project has written COCO and others into one folder, it is COCO, which holds all that they do.
    """
    root = Path(root)
    _check_folder(root)
    fitting = [name for name, module in FORMATS.items() if name != "good" and module.fits(root)]
    if not fitting and FORMATS["good"].fits(root):          # nothing but images: only where no labels were found
        return "good"
    if not fitting:
        raise DataError(f"{root}: no labelled data set that is known here, got {_listing(root)}. Looked for:\n"
                        + layouts())
    if "coco" in fitting and FORMATS["coco"].is_own(root):
        return "coco"
    if len(fitting) > 1:
        raise DataError(f"{root}: more than one format fits, got {' and '.join(fitting)}. "
                        f"Say which with --format {fitting[0]}")
    return fitting[0]


def write(dataset: Dataset, root: Path, format: str, *, images: str = "copy", **options) -> None:
    """Write a data set into a folder; files of the same name are overwritten, no other file is touched.

    images: "copy" puts every image in root/images; "keep" writes label files only, round images that lie in root/images
    already, so that several formats can share them (deeppcb and midg copy all the same: they find by place and name).
    Formats with a place for the defect-free twin (midg, deeppcb, coco) get it too.
    OutputError: the folder cannot be written.
    """
    root = Path(root)
    module = check_format(format)
    if images not in ("copy", "keep"):
        raise ConfigError(f"images: no such choice, got '{images}'. One of copy, keep")
    _check_options(module.write, options)
    module.write(dataset, root, images=images, **options)


def losses(dataset: Dataset, format: str) -> list[str]:
    """What a data set holds that a format has no place for, one line each, for the user."""
    instances = [instance for record in dataset.records for instance in record.instances]
    held = {
        "defects": (len(instances), "defects have no place at all"),
        "shapes": (sum(item.has_shape for item in instances), "defects have a shape and become boxes"),
        "ignore": (sum(item.ignore for item in instances), "defects are to be ignored and are left out"),
        "good": (len(dataset.good), "good images are left out"),
        "unlabelled": (sum(not record.verified for record in dataset.records), "unlabelled images are left out"),
        "clean": (sum(record.clean is not None for record in dataset.records), "defect-free twins are left out"),
    }
    places = (*check_format(format).HOLDS, *(["defects"] if format != "good" else []))
    return [f"{format}: {count} {what}" for key, (count, what) in held.items() if count and key not in places]


def layouts() -> str:
    """One line a format, for --help and for errors."""
    return "\n".join(f"  {name:<8} {module.LAYOUT}" for name, module in FORMATS.items())


def check_format(name: str) -> ModuleType:
    """The module of a format. ConfigError: there is none of that name."""
    if name not in FORMATS:
        raise ConfigError(f"--format: no such format, got '{name}'. {did_you_mean(name, FORMATS)}"
                          f"One of {', '.join(FORMATS)}")
    return FORMATS[name]


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, got {'a file' if root.exists() else 'nothing there'}. Check the path")


def _check_options(function, options: dict) -> None:
    known = [name for name, parameter in inspect.signature(function).parameters.items()
             if parameter.kind is parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise ConfigError(f"{function.__module__.rpartition('.')[2]}: no such option, got '{name}'. "
                              f"{did_you_mean(name, known)}One of {', '.join(known)}")


def _listing(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    return f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''}" if names else "an empty folder"
