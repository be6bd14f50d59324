"""The earlier segmenter's `train_eval_infer.config`: its INI dialect, read as data, never run, with every key known."""
import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigError, did_you_mean

# Keys that mean something here: section -> names.
READ = {
    "model": ("model", "generator", "image_width", "image_height", "image_channels", "input_normalize", "normalization",
              "num_classes", "base_filters", "base_kernels", "num_layers", "dropout_rate", "dilation", "activation",
              "optimizer", "learning_rate", "clipvalue", "loss"),
    "train": ("epochs", "batch_size", "patience", "images_dir", "masks_dir", "learning_rate_reducer",
              "reducer_patience", "reducer_factor", "steps_per_epoch", "epoch_change_infer",
              "epoch_change_tiled_infer", "num_infer_images"),
    "valid": ("images_dir", "masks_dir"),
    "test": ("images_dir", "masks_dir"),
    "tiledinfer": ("split_size", "overlapping"),
    "mask": ("mask_file_format", "rgb_map"),
    "image": ("color_order",),
    "generator": ("augmentation",),
    "augmentor": ("hflip", "vflip", "rotation", "angles", "shrinks", "deformation", "brightening"),
}
NUMBERS = ("image_width", "image_height", "image_channels", "num_classes", "base_filters", "num_layers",
           "dropout_rate", "learning_rate", "clipvalue", "epochs", "batch_size", "patience", "reducer_patience",
           "reducer_factor", "steps_per_epoch", "num_infer_images", "split_size", "overlapping")
FLAGS = ("generator", "input_normalize", "normalization", "learning_rate_reducer", "epoch_change_infer",
         "epoch_change_tiled_infer", "augmentation", "hflip", "vflip", "rotation", "deformation", "brightening")
LISTS = ("angles", "shrinks")
CONSOLE = "the command line prints what matters"
OTHER_NETWORK = "it belongs to an architecture that is not rebuilt here"
LEGACY_LOADER = "it belongs to the earlier loader of two-class masks"
SHIFTED = "image and mask were bent differently by it; augment.elastic_px and augment.perspective bend both alike"
# Keys that do not: (section, key) or (section, None) for all of a section -> why.
UNREAD = {
    ("model", "final_activation"): "one output goes through a sigmoid, several go through softmax",
    ("model", "dropout_seed_fixing"): "all randomness follows from loop.seed",
    ("model", "metrics"): "every figure is reported; dice_coef_multiclass is soft_pixel_accuracy by its right name",
    ("model", "show_summary"): "the earlier code did not read it either", ("model", "color_order"): "images are RGB",
    **{("model", key): OTHER_NETWORK for key in (
        "filters", "max_filter", "base_ksize", "filter_num_begin", "depth", "stack_num_down", "stack_num_up",
        "patch_size", "num_heads", "window_size", "num_mlp", "shift_window", "filter_num", "embed_dim",
        "num_transformer", "mlp_activation", "batch_norm", "pool", "backbone", "weights", "freeze_backbone",
        "freeze_batch_norm", "efficientnet")},
    ("dataset", "class_name"): "there is one reader, and the masks say how many classes they hold",
    ("train", "metrics"): "train_metrics.csv holds every figure",
    **{("train", key): "nothing is ever deleted; --checkpoints names the folder" for key in ("model_dir", "eval_dir")},
    **{("train", key): "panels lie in samples/ of the run" for key in (
        "epoch_change_infer_dir", "epoch_change_tiled_infer_dir")},
    ("train", "validation_steps"): "every held-out image is evaluated, once",
    **{("train", key): "the earlier code did not read it either" for key in ("create_backup", "save_weights_only")},
    ("eval", None): "test.py evaluates whole images, whatever the batch",
    ("infer", None): "give test.py --input and --output",
    **{("tiledinfer", key): "give test.py --input and --output" for key in ("images_dir", "output_dir")},
    ("infer3d", None): "volumes are not read; cut them into images",
    ("mask", "mask_datatype"): "the earlier code did not use it either",
    **{("mask", key): LEGACY_LOADER for key in ("binarize", "threshold", "blur")},
    **{("generator", key): CONSOLE for key in ("debug", "verbose")},
    **{("generator", key): LEGACY_LOADER for key in ("generated_images_dir", "generated_masks_dir")},
    ("augmentor", "shears"): "augment.perspective tilts", ("augmentor", "distortion"): SHIFTED,
    ("augmentor", "sharpening"): "blur, noise and JPEG change the sharpness",
    ("augmentor", "barrdistortion"): SHIFTED, ("augmentor", "pincdistortion"): SHIFTED,
    ("deformation", None): SHIFTED, ("distortion", None): SHIFTED, ("sharpening", None): "there is no such change here",
    ("brightening", None): "augment.brightness and augment.contrast are drawn anew for each crop",
    ("barrdistortion", None): SHIFTED, ("pincdistortion", None): SHIFTED, ("debug", None): CONSOLE,
}


@dataclass(frozen=True)
class Value:
    """A value with its place, such as "train_eval_infer.config:12"."""
    value: object
    where: str


@dataclass(frozen=True)
class EarlierFile:
    """The keys that mean something here, by section, and a note for each of the others."""
    path: Path
    values: Mapping[str, Mapping[str, Value]]
    notes: tuple[str, ...]

    def get(self, section: str, key: str, default: object = None) -> object:
        found = self.values.get(section, {}).get(key)
        return default if found is None or found.value is None else found.value

    def where(self, section: str, key: str) -> str:
        found = self.values.get(section, {}).get(key)
        return found.where if found else f"{self.path}, [{section}] {key}"


def is_earlier(path: Path) -> bool:
    """Whether a file is of that dialect: a line [model] stands in it, as in no YAML file of this project."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"^\[\s*model\s*\]\s*$", text, re.MULTILINE | re.IGNORECASE) is not None


def read_file(path: Path) -> EarlierFile:
    """Read the file. ConfigError names every unknown key and every value that is no Python literal, by its line."""
    values: dict[str, dict[str, Value]] = {}
    problems, notes, section = [], [], ""
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), 1):
        where, text = f"{path}:{number}", line.strip()
        if not text or text[0] in ";#":
            continue
        if header := re.fullmatch(r"\[\s*(\w+)\s*\]\s*(;.*)?", text):
            section = header[1].lower()
            if section not in sections():
                problems.append(f"{where}: unknown section [{section}]. {did_you_mean(section, sections())}".rstrip())
            continue
        key, equals, literal = (part.strip() for part in text.partition("="))
        if not equals or not re.fullmatch(r"\w+", key):
            word = re.match(r"\w*", text)[0]
            problems.append(f"{where}: no 'key = value', got '{text[:40]}'. Write {word} = ... in one line")
            continue
        if section not in sections():
            continue
        problem, note = keep(values.setdefault(section, {}), section, key.lower(), literal, where)
        problems += [problem] * bool(problem)
        notes += [note] * bool(note)
    if problems:
        raise ConfigError("\n".join(problems))
    return EarlierFile(Path(path), values, tuple(notes))


def keep(values: dict[str, Value], section: str, key: str, literal: str, where: str) -> tuple[str, str]:
    """Add one key to `values`, or return what is wrong with it, or why it is not read."""
    reason = UNREAD.get((section, key)) or UNREAD.get((section, None))
    if reason is not None:
        return "", f"{where}: [{section}] {key} is not read: {reason}"
    if key not in READ[section]:
        known = [*READ[section], *(name for part, name in UNREAD if part == section and name)]
        return (f"{where}: unknown key '{key}' in [{section}]. {did_you_mean(key, known)}The earlier code took its "
                "default without a word"), ""
    try:
        value = ast.literal_eval(without_comment(literal))
    except (ValueError, SyntaxError):
        return f"{where}: '{key}' is no number, text, list or dict, got {literal[:60]}. Put text in quotes", ""
    if value is not None and (advice := wrong_kind(key, value)):
        wanted, way_out = advice
        return f"{where}: '{key}' must be {wanted}, got {literal[:60]}. Write {way_out}", ""
    values[key] = Value(value, where)
    return "", ""


def wrong_kind(key: str, value: object) -> tuple[str, str] | None:
    """What the value of a key must be, and how to write it, where it is something else."""
    if key in NUMBERS and not isinstance(value, (int, float)):
        return "a number", "it without quotes"
    if key in FLAGS and value not in (True, False):
        return "True or False", "one of them without quotes"
    if key in LISTS and not (isinstance(value, (list, tuple)) and all(isinstance(one, (int, float)) for one in value)):
        return "a list of numbers", "them as in [0.8]"
    return None


def without_comment(literal: str) -> str:
    """The value without a comment behind it that begins with a blank and a semicolon, unless in quotes."""
    return re.sub(r"""^((?:[^"';]|"[^"]*"|'[^']*')*?)\s;.*$""", r"\1", literal).strip()


def sections() -> list[str]:
    return sorted({*READ, *(section for section, _ in UNREAD)})
