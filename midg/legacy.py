"""The earlier MIDG code's flat upper-case config.yml, read as it is.

    earlier = read_config(Path("checkpoints/exposed_copper/config.yml"))
    earlier.values.SIGMA, earlier.list_of("mask", "train"), earlier.notes

What its lists name is read by midg/legacy_lists.py, its weights by midg/legacy_weights.py.
"""
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.config import check
from core.config_yaml import Entry, Problem, read_file
from core.errors import ConfigError, did_you_mean

from .losses import DEFAULT_WEIGHTS

Split = Literal["train", "val", "test"]
Role = Literal["image", "mask", "inpaint", "edge"]
LIST_KEYS = {"image": "{}_FLIST", "mask": "{}_MASK_FLIST", "inpaint": "{}_INPAINTING_FLIST", "edge": "{}_EDGE_FLIST"}


class EarlierConfig(BaseModel):
    """The keys that mean something, named as in the file. Defaults are the earlier code's, but for the weights of the
    defect model: those are the shipped experiment's (see CHANGED_DEFAULTS)."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    MODEL: Literal[1, 2, 3, 4] = Field(1, description="1 edge, 2 defect from given edges, 3 defect, 4 joint")
    EDGE: Literal[1, 2] = Field(1, description="1 Canny, 2 the images of the edge lists")
    NMS: Literal[0, 1] = Field(1, description="given edges count only where Canny finds one too")
    SEED: int = Field(10, ge=0)
    DEBUG: Literal[0, 1] = Field(0, description="testing writes edges and masked images too")
    TRAIN_FLIST: Path | None = Field(None, description="defect images")
    VAL_FLIST: Path | None = None
    TEST_FLIST: Path | None = Field(None, description="normal images")
    TRAIN_MASK_FLIST: Path | None = None
    VAL_MASK_FLIST: Path | None = None
    TEST_MASK_FLIST: Path | None = None
    TRAIN_INPAINTING_FLIST: Path | None = None
    VAL_INPAINTING_FLIST: Path | None = None
    TEST_INPAINTING_FLIST: Path | None = None
    TRAIN_EDGE_FLIST: Path | None = None
    VAL_EDGE_FLIST: Path | None = None
    TEST_EDGE_FLIST: Path | None = None
    LR: float = Field(1e-4, gt=0, description="generator")
    D2G_LR: float = Field(0.1, gt=0, description="the discriminator's rate is LR times this")
    BETA1: float = Field(0.0, ge=0, lt=1)
    BETA2: float = Field(0.9, ge=0, lt=1)
    BATCH_SIZE: int = Field(8, ge=1)
    INPUT_SIZE: int = Field(256, ge=0, description="px, a multiple of 16; 0: the images' own")
    SIGMA: float = Field(2, ge=-1, description="of Canny; 0: 1 to 4 by chance; -1: no edges")
    MAX_ITERS: int = Field(2_000_000, ge=1, description="steps a model")
    EDGE_THRESHOLD: float = Field(0.5, ge=0, le=1, description="for precision and recall alone")
    L1_LOSS_WEIGHT: float = Field(DEFAULT_WEIGHTS["l1"], ge=0)
    FM_LOSS_WEIGHT: float = Field(DEFAULT_WEIGHTS["feature_matching"], ge=0, description="edge model")
    STYLE_LOSS_WEIGHT: float = Field(DEFAULT_WEIGHTS["style"], ge=0)
    CONTENT_LOSS_WEIGHT: float = Field(DEFAULT_WEIGHTS["perceptual"], ge=0)
    INPAINT_ADV_LOSS_WEIGHT: float = Field(DEFAULT_WEIGHTS["adversarial"], ge=0)
    GAN_LOSS: Literal["nsgan", "lsgan", "hinge"] = "nsgan"
    SAVE_INTERVAL: int = Field(1000, ge=0, description="steps; 0: never")
    SAMPLE_INTERVAL: int = Field(1000, ge=0, description="steps; 0: never")
    SAMPLE_SIZE: int = Field(12, ge=1, description="images of a contact sheet")
    EVAL_INTERVAL: int = Field(0, ge=0, description="steps; 0: never")
    LOG_INTERVAL: int = Field(10, ge=0, description="steps; 0: never")

    @field_validator("INPUT_SIZE")
    @classmethod
    def fits_the_networks(cls, size: int) -> int:
        if size and (size % 16 or size < 32):
            near = max(32, round(size / 16) * 16)
            raise ValueError(f"must be 0 or a multiple of 16 px from 32 on, got {size}. Write {near}")
        return size


DEAD_KEYS = {           # read and ignored: key -> why
    "MODE": "train.py trains and test.py tests",
    "GPU": "the device is chosen by --device, several by torchrun",
    "VERBOSE": "every part of the loss is in the log",
    "GAN_POOL_SIZE": "nothing in the earlier code read it",
    "NUM": "nothing in the earlier code read it",
    "PATH": "the folder is that of --checkpoints", "RESULTS": "the folder is that of --output",
    "DEVICE": "the device is chosen by --device",
    "MASK": "masks are those of the mask lists, which was its only value (6) that worked",
}
OTHERWISE = {           # key -> what it means here, where that is not what it meant
    "MODEL": "is not read: --model chooses the model",
    "DEBUG": "is not read: test.py writes edges and labels beside its pictures whatever it says",
    "SAMPLE_INTERVAL": "had no effect as published; here the smaller of it and EVAL_INTERVAL sets how often there are "
                       "figures and a contact sheet",
    "EVAL_INTERVAL": "had no effect as published; see SAMPLE_INTERVAL",
}
UNREAD_WITH_CANNY = ("NMS", *(LIST_KEYS["edge"].format(split) for split in ("TRAIN", "VAL", "TEST")))
CHANGED_DEFAULTS = {"STYLE_LOSS_WEIGHT": 1, "CONTENT_LOSS_WEIGHT": 1, "INPAINT_ADV_LOSS_WEIGHT": 0.01}


@dataclass(frozen=True)
class Earlier:
    """An earlier config as read: `notes` say, a line each, what of it has no effect or another one here."""
    path: Path
    values: EarlierConfig
    notes: tuple[str, ...]

    def list_of(self, role: Role, split: Split) -> Path | None:
        """The path that the file gives for one list, as written there."""
        return getattr(self.values, LIST_KEYS[role].format(split.upper()))


def is_earlier(path: Path) -> bool:
    """Whether a YAML file is a config of the earlier code: it has one of its upper-case keys. Raises ConfigError."""
    known = {*EarlierConfig.model_fields, *DEAD_KEYS}
    return not known.isdisjoint(read_file(Path(path), []).value)


def read_config(path: Path) -> Earlier:
    """Read and check a config.yml. ConfigError names every wrong value and every probable misspelling by its line."""
    problems: list[Problem] = []
    root = read_file(Path(path), problems)
    notes, live = [], {}
    for key, entry in root.value.items():
        if key in EarlierConfig.model_fields and entry.value is None:
            notes.append(f"{entry.where}: {key} is empty and stands at {default_of(key)}")
        elif key in EarlierConfig.model_fields:
            live[key] = whole(key, entry)
        elif key in DEAD_KEYS:
            notes.append(f"{entry.where}: {key} is not read: {DEAD_KEYS[key]}")
        elif hint := did_you_mean(key, [*EarlierConfig.model_fields, *DEAD_KEYS]):
            problems.append(Problem(entry.line, f"{entry.where}: unknown key '{key}'. {hint}The earlier code passed "
                                                "over it without a word"))
        else:
            notes.append(f"{entry.where}: {key} is not read: it meant nothing to the earlier code either")
    values, found = check(EarlierConfig, replace(root, value=live))
    problems = sorted([*problems, *found], key=lambda problem: problem.line)
    if problems:
        raise ConfigError("\n".join(problem.text for problem in problems))
    return Earlier(Path(path), values, (*notes, *effects(path, values, live)))


def effects(path: Path, values: EarlierConfig, given: dict[str, Entry]) -> list[str]:
    """What else a reader should know: keys without effect beside others, and defaults that are not the earlier ones."""
    notes = [f"{given[key].where}: {key} {what}" for key, what in OTHERWISE.items() if key in given]
    if values.EDGE == 1:
        notes += [f"{given[key].where}: {key} is not read with EDGE 1" for key in UNREAD_WITH_CANNY if key in given]
    return notes + [f"{path}: {key} is not given and stands at {default_of(key)}, as in the shipped experiment; the "
                    f"earlier code took {before}" for key, before in CHANGED_DEFAULTS.items() if key not in given]


def whole(key: str, entry: Entry) -> Entry:
    """2e6 for a whole number, as the earlier files write it, as 2000000."""
    value = entry.value
    if EarlierConfig.model_fields[key].annotation is int and isinstance(value, float) and value.is_integer():
        return replace(entry, value=int(value))
    return entry


def default_of(key: str) -> object:
    return EarlierConfig.model_fields[key].default
