"""The configuration of the patch classifier: data, augmentation, network, optimiser, frames, verdicts, training."""
from typing import Literal

from pydantic import Field, model_validator

from core.metrics.decisions import ThresholdConfig
from core.task import LoopConfig
from core.watch import WatchConfig

from .foreground import ForegroundConfig
from .products import Section
from .settings import AugmentConfig, DataConfig


class ClassifierConfig(Section):
    """The network."""
    name: Literal["small", "resnet18", "resnet50", "efficientnet_b0", "efficientnet_b4"] = Field(
        "resnet18", description="small: on a CPU")
    weights: str = Field("none", description="none, a file of torchvision's ImageNet weights, or download")
    side_px: int = Field(320, ge=32, description="side that patches are scaled to")

    @model_validator(mode="after")
    def _consistent(self) -> "ClassifierConfig":
        if self.name == "small" and self.weights != "none":
            raise ValueError(f"'weights' must be none for 'small', which nobody has published, got {self.weights!r}")
        return self


class ClassifyOptimConfig(Section):
    """AdamW; the rate falls along half a cosine."""
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0, description="not of norms and biases")
    warmup_steps: int = Field(100, ge=0)


class TilesConfig(Section):
    """How an image larger than a patch is looked at."""
    overlap_px: int = Field(160, ge=0, description="px that neighbouring patches share at least")
    batch: int = Field(8, ge=1, description="patches a call")
    foreground: ForegroundConfig = ForegroundConfig(method="none")


class ClassifyConfig(Section):
    """One training of a patch classifier."""
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    network: ClassifierConfig = ClassifierConfig()
    optim: ClassifyOptimConfig = ClassifyOptimConfig()
    tiles: TilesConfig = TilesConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    loop: LoopConfig
    watch: WatchConfig | None = Field(
        WatchConfig(metric="patch/nll", better="lower", stop_after=10), description="what keeps the best weights")
    panels: int = Field(6, ge=0, description="images shown at each evaluation, with their heat maps")

    @model_validator(mode="after")
    def _advances(self) -> "ClassifyConfig":
        if self.tiles.overlap_px >= self.data.crop_px:
            raise ValueError(f"'tiles.overlap_px' must be below 'data.crop_px' {self.data.crop_px}, got "
                             f"{self.tiles.overlap_px}")
        return self
