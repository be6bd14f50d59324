"""What a `train_eval_infer.config` of the earlier segmenter means here, as values of this project's config.

    values, notes = config_values(Path("train_eval_infer.config"))

Its folders are the split's: ROOT/train/images and masks, ROOT/valid/..., ROOT/test/... .
"""
from pathlib import Path

from core.data.images import is_image
from core.errors import ConfigError, did_you_mean

from .legacy_file import EarlierFile, is_earlier, read_file
from .settings import ACTIVATIONS

NETWORK = "TensorFlowFlexUNet"
LOSSES = {"categorical_crossentropy": "ce", "sparse_categorical_crossentropy": "ce", "categorical_focal_crossentropy":
          "focal", "binary_crossentropy": "bce"}
OPTIMIZERS = {"adam": "adam", "adamw": "adamw"}
USUAL_EPOCH_STEPS = 400         # of the earlier generator mode
LEAST_TILE_PX = 128
SAMPLE_MAP = {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2, (0, 0, 255): 3}


def config_values(path: Path) -> tuple[dict, list[str]] | None:
    """Nested values of SegmentConfig and notes, a line each, on keys without effect or with another one.

    None: the file is not of the earlier code. ConfigError: an unknown key, a wrong value, what has no counterpart.
    """
    if not is_earlier(path):
        return None
    earlier = read_file(path)
    notes = list(earlier.notes)
    values = {"data": data(earlier, notes), "augment": augment(earlier, notes), "network": network(earlier),
              "loss": {"name": chosen(earlier, "model", "loss", "categorical_crossentropy", LOSSES)},
              "optim": optim(earlier), "infer": infer(earlier, notes), "loop": loop(earlier, notes),
              "watch": watch(earlier, notes), "panels": panels(earlier),
              "panels_whole": bool(earlier.get("train", "epoch_change_infer", True))}
    return values, notes


def network(earlier: EarlierFile) -> dict:
    """The section `network`; its keys have the earlier defaults where the file leaves them out."""
    name = earlier.get("model", "model", NETWORK)
    if name != NETWORK:
        raise ConfigError(f"{earlier.where('model', 'model')}: no network of that name is rebuilt here, got '{name}'. "
                          f"{did_you_mean(name, [NETWORK])}Only {NETWORK} is; write a config with network.name instead")
    kernel = square(earlier, "base_kernels", (3, 3))
    activation = earlier.get("model", "activation", "relu")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"{earlier.where('model', 'activation')}: no such activation, got '{activation}'. "
                          f"{did_you_mean(activation, ACTIVATIONS)}One of {', '.join(ACTIVATIONS)}")
    return {"name": "flexunet", "base_filters": needed(earlier, "base_filters"), "base_kernel": kernel,
            "levels": earlier.get("model", "num_layers", 6), "dilation": square(earlier, "dilation", (1, 1)),
            "dropout": float(earlier.get("model", "dropout_rate", 0)), "activation": activation,
            "batch_norm": earlier.get("model", "normalization", False),
            "input_scale": 1.0 if earlier.get("model", "input_normalize", True) else 255.0}


def data(earlier: EarlierFile, notes: list[str]) -> dict:
    """The section `data`: one root for the three folders, the colours, and crops of the earlier tiles' size."""
    form = str(earlier.get("mask", "mask_file_format", ".png"))
    if form.lstrip(".") != "png":
        raise ConfigError(f"{earlier.where('mask', 'mask_file_format')}: masks are read as PNG, got '{form}'. "
                          "Convert them to index PNG")
    order = earlier.get("image", "color_order", "RGB")
    if order != "RGB":
        raise ConfigError(f"{earlier.where('image', 'color_order')}: images are read as RGB, got '{order}'. "
                          "The earlier code could not read it either; take it out")
    sides = [earlier.get("model", key, 512) for key in ("image_width", "image_height")]
    if sides[0] != sides[1]:
        notes.append(f"{earlier.where('model', 'image_height')}: crops are square and {min(sides)} px long here")
    notes.append(f"{earlier.path}: crops are drawn at native scale from every image, half of them on defects and 30 % "
                 "on clean area; the earlier code resized whole tiles, all with a defect")
    return {"root": str(root_of(earlier)), "format": "masks", "colours": colours(earlier), "crop_px": min(sides),
            "channels": earlier.get("model", "image_channels", 3)}


def colours(earlier: EarlierFile) -> dict[str, list[int]]:
    """Class name -> RGB in the order of their indices; the names are the numbers."""
    table = earlier.get("mask", "rgb_map", SAMPLE_MAP)
    where = earlier.where("mask", "rgb_map")
    numbered = isinstance(table, dict) and all(isinstance(number, int) for number in table.values())
    if not numbered or sorted(table.values()) != list(range(len(table))) or not all(
            isinstance(colour, tuple) and len(colour) == 3 for colour in table):
        raise ConfigError(f"{where}: not a map of colours to 0, 1, 2, ..., got {str(table)[:60]}. "
                          "Write {(0, 0, 0): 0, (255, 0, 0): 1}")
    count = needed(earlier, "num_classes")
    if count != len(table) and not (count == 1 and len(table) == 2):
        raise ConfigError(f"{earlier.where('model', 'num_classes')}: not as many classes as colours, got {count} for "
                          f"{len(table)} in rgb_map. Correct one of them")
    ordered = sorted(table.items(), key=lambda item: item[1])
    return {"background" if number == 0 else str(number): list(colour) for colour, number in ordered}


def root_of(earlier: EarlierFile) -> Path:
    """The folder that holds train/images, train/masks, valid/images, ... . ConfigError: they do not lie so."""
    roots = {}
    for section in ("train", "valid", "test"):
        for key, ending in (("images_dir", "images"), ("masks_dir", "masks")):
            given = earlier.get(section, key)
            if given is None and section == "test":
                continue
            if given is None:
                raise ConfigError(f"{earlier.path}: [{section}] {key} is missing. Say where its {ending} lie")
            place = Path(str(given).replace("\\", "/").rstrip("/"))
            if place.name != ending or place.parent.name not in (section, "validation", "val"):
                raise ConfigError(f"{earlier.where(section, key)}: not a folder {section}/{ending}, got '{given}'. Lay "
                                  "the set out as ROOT/train/images, ROOT/train/masks, ROOT/valid/images, ...")
            roots.setdefault(earlier.path.parent / place.parent.parent, f"{section} {key}")
    if len(roots) > 1:
        raise ConfigError(f"{earlier.path}: the folders of one set lie apart, got {' and '.join(map(str, roots))}. Put "
                          "them under one root")
    return next(iter(roots))


def optim(earlier: EarlierFile) -> dict:
    return {"optimizer": chosen(earlier, "model", "optimizer", "Adam", OPTIMIZERS), "schedule": "constant",
            "learning_rate": float(earlier.get("model", "learning_rate", 1e-4)), "warmup_steps": 0,
            "clip_value": float(earlier.get("model", "clipvalue", 0.2)), "ema_half_life_steps": None,
            "weight_decay": 0.004}


def loop(earlier: EarlierFile, notes: list[str]) -> dict:
    """Epochs become steps: by `steps_per_epoch` in generator mode, else by the number of training images."""
    batch, epochs = earlier.get("train", "batch_size", 4), earlier.get("train", "epochs", 100)
    folder = root_of(earlier) / "train" / "images"
    if earlier.get("model", "generator", False):
        epoch = earlier.get("train", "steps_per_epoch", USUAL_EPOCH_STEPS)
    elif folder.is_dir():
        epoch = max(1, -(-sum(map(is_image, folder.iterdir())) // max(1, batch)))
    else:
        epoch = USUAL_EPOCH_STEPS
        notes.append(f"{folder}: not there, so an epoch is taken to be {epoch} steps; loop.steps says how many in all")
    return {"steps": epochs * epoch, "batch_size": batch, "evaluate_every": epoch, "save_every": epoch}


def watch(earlier: EarlierFile, notes: list[str]) -> dict:
    """Early end and the rate's reducer, by the validation loss as before; the best weights too."""
    patience = earlier.get("train", "patience", 10)
    reduces = earlier.get("train", "learning_rate_reducer", False)
    if reduces:
        notes.append(f"{earlier.where('train', 'learning_rate_reducer')}: the rate drops after "
                     f"{earlier.get('train', 'reducer_patience', 4)} epochs here; in the earlier code it never did")
    return {"metric": "loss", "better": "lower", "stop_after": patience if patience > 0 else None,
            "reduce_after": earlier.get("train", "reducer_patience", 4) if reduces else None,
            "reduce_factor": float(earlier.get("train", "reducer_factor", 0.4))}


def infer(earlier: EarlierFile, notes: list[str]) -> dict:
    """Tiles of the earlier size with its margin on either side, at native scale and blended."""
    core, margin = earlier.get("tiledinfer", "split_size", 512), earlier.get("tiledinfer", "overlapping", 64)
    notes.append(f"{earlier.path}: tiles of {core + 2 * margin} px are blended over {2 * margin} px at native scale; "
                 "the earlier code squeezed them to the network's size and cut them hard")
    return {"mode": "blend", "tile_px": max(core + 2 * margin, LEAST_TILE_PX), "overlap_px": 2 * margin}


def augment(earlier: EarlierFile, notes: list[str]) -> dict:
    """Off but in generator mode; then the earlier kinds, drawn anew for each crop."""
    if not (earlier.get("model", "generator", False) and earlier.get("generator", "augmentation", True)):
        return {"enabled": False}
    flips = [earlier.get("augmentor", key, True) for key in ("hflip", "vflip")]
    if flips[0] != flips[1]:
        notes.append(f"{earlier.where('augmentor', 'hflip')}: flips go both ways here, or none does")
    angles = earlier.get("augmentor", "angles", [90, 180, 270]) if earlier.get("augmentor", "rotation", True) else []
    odd = [abs((angle + 180) % 360 - 180) for angle in angles if angle % 90]
    shrinks = earlier.get("augmentor", "shrinks", [0.8])
    bright = earlier.get("augmentor", "brightening", False)
    return {"flip": any(flips), "turn": any(angle % 360 for angle in angles if angle % 90 == 0),
            "rotate_deg": float(max(odd, default=0)), "scale": [float(min([1.0, *shrinks])), 1.0], "perspective": 0.0,
            "elastic_px": 4.0 if earlier.get("augmentor", "deformation", False) else 0.0,
            "brightness": 0.1 if bright else 0.0, "contrast": 0.2 if bright else 0.0, "gamma": 0.0, "colour": 0.0,
            "blur_sigma_px": 0.0, "noise": 0.0, "jpeg_quality": None}


def panels(earlier: EarlierFile) -> int:
    wanted = earlier.get("train", "epoch_change_infer", True) or earlier.get("train", "epoch_change_tiled_infer", False)
    return earlier.get("train", "num_infer_images", 6) if wanted else 0


def chosen(earlier: EarlierFile, section: str, key: str, default: str, names: dict[str, str]) -> str:
    """The counterpart of a name, whatever its case. ConfigError: it has none."""
    given = str(earlier.get(section, key, default))
    if given.lower() not in names:
        raise ConfigError(f"{earlier.where(section, key)}: '{key}' has no counterpart, got '{given}'. "
                          f"{did_you_mean(given, names)}One of {', '.join(names)}")
    return names[given.lower()]


def needed(earlier: EarlierFile, key: str) -> int:
    value = earlier.get("model", key)
    if value is None:
        raise ConfigError(f"{earlier.path}: [model] {key} is missing. The earlier code had no default for it")
    return value


def square(earlier: EarlierFile, key: str, default: tuple[int, int]) -> int:
    """The side of a (side, side). ConfigError: it is none."""
    given = earlier.get("model", key, default)
    if not (isinstance(given, tuple) and len(given) == 2 and given[0] == given[1]):
        raise ConfigError(f"{earlier.where('model', key)}: '{key}' must be two equal numbers, got {given}. "
                          f"Write ({default[0]},{default[1]})")
    return given[0]
