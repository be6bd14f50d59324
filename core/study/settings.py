"""The configuration of a study: which data, which network, which generators, how often."""
import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .. import config as configs
from ..augment import methods
from ..errors import ConfigError, did_you_mean
from ..files import whole_file, writing

NONE = "none"                       # the arm that learns from the real shots alone
ALL = "all"                         # the arm of every real defect of the training split: what there is to gain
REAL = (NONE, ALL)                  # arms without generated data
KEPT = "study.yaml"
ABLATIONS = {                       # name -> (what is left out, keys of the generation that do it)
    "gate": ("the quality gate", ("gate.enabled=false",)),
    "label": ("the tight label: the placed box stands for it", ()),
    "margin": ("boxes as wide as the real ones are drawn: they are tight", ()),
    "placement": ("learned positions: defects lie anywhere", ("placement.learned=false",)),
    "attention": ("edge attention (midg)", ("midg.attention=false",)),
}
MORE = ("methods", "scales", "seeds", "generated_only", "ablate", "device", "workers")     # may grow from call to call


class StudyConfig(BaseModel):
    """One study; its arms are every method at every scale with every seed."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: Path = Field(description="labelled set, in any format that is read")
    output: Path = Field(description="folder of the study")
    task: Literal["detect", "segment", "anomaly"] = Field(description="what is trained with and without generated "
                                                          "data; anomaly: a segmenter, judged by how its maps rank")
    methods: tuple[str, ...] = Field((NONE, "copypaste"), description="none, all (every real defect of the "
                                    "training split), and generators of scripts/augment.py")
    scales: tuple[float, ...] = Field((1, 2, 3), description="generated images a real defective one")
    seeds: int = Field(3, ge=1, description="shots, generator and network are drawn anew with each")
    shots: int | None = Field(10, ge=1, description="real defects a class to learn from; null: all there are")
    format: str = Field("auto", description="format of the set; auto: found out")
    unlabelled: Literal["skip", "good", "error"] = Field("skip", description="what an image without a label file is")
    test_share: float = Field(0.4, gt=0, lt=1, description="of the groups, where the set has no splits of its own")
    resplit: bool = Field(False, description="split anew, whatever splits the set gives itself")
    split_seed: int = Field(0, ge=0)
    config: Path | None = Field(None, description="config of the network; null: configs/study-TASK.yaml")
    set: tuple[str, ...] = Field((), description="A.B=VALUE over the network's config, the same for every arm")
    augment: tuple[str, ...] = Field((), description="A.B=VALUE over the generation, such as midg.steps=800")
    classes: tuple[str, ...] | None = Field(None, description="these alone: images that show others are left out")
    reduce: int = Field(1, ge=1, le=16, description="images are made smaller by this factor, per side")
    merge: bool = Field(False, description="networks learn all classes as one, 'defect'; generators know them apart")
    real_share: float = Field(0.5, ge=0, le=1, description="least share of real images among the defective ones of a "
                              "training set: real ones are repeated to reach it")
    generated_only: bool = Field(False, description="arms that learn from generated defects alone besides")
    ablate: tuple[str, ...] = Field((), description="arms without a part, at the first scale: gate, label, margin, "
                                                    "placement, attention")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    workers: int = Field(1, ge=1, description="processes that generate")

    @field_validator("methods")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for name in given:
            if name not in REAL:
                methods.find(name)
        return tuple(dict.fromkeys(given))

    @field_validator("scales")
    @classmethod
    def _positive(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or min(given) <= 0:
            raise ValueError(f"must be numbers above 0, got {list(given)}")
        return tuple(sorted(dict.fromkeys(given)))

    @field_validator("ablate")
    @classmethod
    def _ablatable(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for name in given:
            if name not in ABLATIONS:
                raise ValueError(f"no such part, got '{name}'. {did_you_mean(name, ABLATIONS)}One of "
                                 f"{', '.join(ABLATIONS)}")
        return tuple(dict.fromkeys(given))

    @property
    def one_class(self) -> bool:
        """Whether the networks learn all classes as one."""
        return self.merge or self.task == "anomaly"

    @property
    def fingerprint(self) -> str:
        """Of all that changes an arm's result."""
        return hashlib.sha256(json.dumps(_plain(self), sort_keys=True).encode()).hexdigest()[:12]


def keep(config: StudyConfig) -> None:
    """Write study.yaml, or check that the study in the folder is this one. ConfigError names each key that differs.

    Methods, scales, seeds and ablations may be added to a study: finished arms stay as they are.
    """
    path = config.output / KEPT
    if path.is_file():
        old, new = _plain(load(config.output)), _plain(config)
        other = [f"  {key}: was {old[key]!r}, is {new[key]!r}" for key in new if old.get(key) != new[key]]
        if other:
            listed = "\n".join(other)
            raise ConfigError(f"{config.output}: a study with other settings:\n{listed}\nPut them back, or choose "
                              "another --output")
    elif config.output.is_dir() and any(config.output.iterdir()):
        raise ConfigError(f"{config.output}: has files in it that are no study's. Choose another --output")
    with writing(config.output):
        config.output.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(configs.to_yaml(config).encode())


def load(folder: Path) -> StudyConfig:
    """The study in a folder. ConfigError: there is none."""
    if not (folder / KEPT).is_file():
        raise ConfigError(f"{folder}: no study there, got no {KEPT}. Begin one with --data and --task")
    return configs.load(StudyConfig, folder / KEPT).model_copy(update={"output": folder})


def _plain(config: StudyConfig) -> dict:
    values = config.model_dump(mode="json", exclude={*MORE, "output"})
    for key in ("data", "config"):
        values[key] = None if values[key] is None else str(Path(values[key]).resolve())
    return values
