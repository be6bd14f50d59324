"""The configuration of anomaly detection from good images: data, features, model, training, thresholds."""
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.task import LoopConfig

from .efficientad import EfficientADConfig
from .fastflow import FastFlowConfig
from .feature_sources import FeaturesConfig
from .foreground import ForegroundConfig
from .padim import PadimConfig
from .patchcore import PatchCoreConfig
from .products import Section


class AnomalyDataConfig(Section):
    """Which set, how it is split, and how an image is made ready."""
    root: Path = Field(description="good images; defective ones with masks among them are for the figures alone")
    format: str = Field("auto", description="as scripts/convert.py --help lists them; auto: found out")
    unlabelled: Literal["skip", "good", "error"] = Field("good", description="what an image without a label file is")
    ratios: tuple[float, float, float] = Field((0.6, 0.2, 0.2), description="of the good images, by part: learned "
                                               "from, to set the threshold on, to measure on with all defective ones")
    split_seed: int = Field(0, ge=0)
    splits: Path | None = Field(None, description="a splits.json to keep; null: made, and kept in the run folder")
    resize_px: tuple[int, int] | None = Field(None, description="width and height that images are brought to; null: "
                                                                "native scale. Padim and other sizes need it")
    scale: float = Field(1.0, gt=0, le=1, description="by which images are made smaller, where resize_px is null")
    tile_px: int = Field(1024, ge=64, description="larger images are looked at in tiles of this side")
    foreground: ForegroundConfig = Field(ForegroundConfig(method="none"), description="otsu: only the part is learned "
                                                                                      "and scored")


class PatchCoreModel(PatchCoreConfig):
    name: Literal["patchcore"] = "patchcore"


class PadimModel(PadimConfig):
    name: Literal["padim"]
    aligned: bool = Field(False, description="parts lie alike on all images, pixel by pixel; nothing is fitted without")

    @model_validator(mode="after")
    def _known_to_be_aligned(self) -> "PadimModel":
        if not self.aligned:
            raise ValueError("'aligned' must be said to be true for padim, which compares a place with the same place "
                             "of other images, got false. Choose patchcore for parts that lie anywhere")
        return self


class FastFlowModel(FastFlowConfig):
    name: Literal["fastflow"]


class EfficientADModel(EfficientADConfig):
    name: Literal["efficientad"]


ModelConfig = Annotated[PatchCoreModel | PadimModel | FastFlowModel | EfficientADModel, Field(discriminator="name")]


class TrainConfig(Section):
    """How what is trained is trained: the network of synthetic defects, FastFlow, EfficientAD."""
    crop_px: int = Field(128, ge=32, description="side of a training crop")
    widths: tuple[int, ...] = Field((16, 32, 64, 96), min_length=3, description="channels of the network of synthetic "
                                                                                "defects at 1/2, 1/4, 1/8, ...")
    learning_rate: float = Field(3e-3, gt=0)
    warmup_steps: int = Field(50, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    defects: tuple[float, ...] = Field((0.3, 0.55, 0.15), min_length=2, description="chance of no, one, two, ... "
                                                                                    "synthetic defects on a crop")
    stretch: float = Field(0.35, ge=0, le=1, description="of a crop's sides: up to e to this power, smaller or larger")
    varied: bool = Field(True, description="crops differ in light and contrast, and some show an end of the part; "
                                           "before defects are pasted")
    cache_mib: int = Field(512, ge=0, description="decoded images kept in memory, for each worker")


class ThresholdConfig(Section):
    """Where good ends: by held-out good images alone."""
    false_alarms: float = Field(0.01, gt=0, lt=1, description="share of further good images that may be rejected; 0.01 "
                                                              "takes 99 held-out good images, 0.05 takes 19")
    minimum_px: int = Field(0, ge=0, description="smaller parts of a map above the threshold are no finding")


class AnomalyConfig(Section):
    """One model of what is good."""
    data: AnomalyDataConfig
    features: FeaturesConfig = FeaturesConfig()
    model: ModelConfig = PatchCoreModel()
    train: TrainConfig = TrainConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    loop: LoopConfig
    panels: int = Field(8, ge=0, description="images shown at each evaluation: image, map, finding, truth")

    @property
    def learns(self) -> Literal["features", "model", "nothing"]:
        """What the training loop trains."""
        if self.model.name in ("fastflow", "efficientad"):
            return "model"
        return "features" if self.features.kind == "synthetic-defect" else "nothing"

    @model_validator(mode="after")
    def _consistent(self) -> "AnomalyConfig":
        if self.learns == "nothing" and self.loop.steps != 1:
            raise ValueError(f"'loop.steps' must be 1 for {self.model.name} on features that are not trained "
                             f"({self.features.kind}), got {self.loop.steps}")
        if self.learns == "model" and self.features.kind == "synthetic-defect":
            raise ValueError(f"'features.kind' must be trained already for {self.model.name}, got 'synthetic-defect'. "
                             "Train patchcore first, then give its run: kind network, file DIR/anomaly")
        return self
