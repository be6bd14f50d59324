"""The configuration of the detector: data, augmentation, network, optimiser, frames, verdicts, training."""
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.metrics.decisions import ThresholdConfig
from core.task import LoopConfig
from core.watch import WatchConfig

from .fullimage import FrameConfig
from .products import Section


class DataConfig(Section):
    """Which set, and how samples are drawn from it."""
    root: Path = Field(description="a product's folder of scripts/preprocess_to_coco.py, or any set with shapes")
    format: str = Field("auto", description="as scripts/convert.py --help lists them; auto: found out")
    classes: tuple[str, ...] | None = Field(None, description="the labels that count, in order; null: those of the set")
    unlabelled: Literal["skip", "good", "error"] = Field("skip", description="what an image without a label file is")
    ratios: tuple[float, float, float] = Field((0.7, 0.15, 0.15), description="train, val, test, by part")
    split_seed: int = Field(0, ge=0)
    splits: Path | None = Field(None, description="a splits.json to keep; null: made, and kept in the run folder")
    evaluate_on: Literal["val", "test"] = Field("val", description="what evaluations look at")
    crop_px: int = Field(640, ge=32, description="side of a training sample at native scale; smaller images are whole")
    good_share: float = Field(0.5, ge=0, lt=1, description="samples from good images, which are negatives")


class AugmentConfig(Section):
    """Chances and ranges of the changes to training samples; drawn once for image and masks."""
    flip: bool = Field(True, description="left-right and up-down, each half of the time")
    turn: bool = Field(True, description="by 0, 90, 180 or 270 degrees")
    brightness: float = Field(0.1, ge=0, le=1, description="largest shift, of full scale")
    contrast: float = Field(0.2, ge=0, lt=1, description="largest change of the factor 1")
    noise: float = Field(0.02, ge=0, le=1, description="largest deviation, of full scale; on one sample in three")
    copy_paste: float = Field(0.3, ge=0, le=1, description="chance of another image's defect, laid over a sample")


class NetworkConfig(Section):
    """Mask R-CNN."""
    name: Literal["resnet50", "resnet50-v2", "resnet18", "small"] = Field("resnet50", description="small: for a CPU")
    weights: str = Field("none", description="none, backbone:FILE, coco:FILE, or backbone:download, coco:download; "
                                             "checkpoint:FILE is a best_model.pth of one's own. Without, some thousand "
                                             "labelled defects are needed for what hundreds do")
    trainable_layers: int = Field(3, ge=0, le=5, description="last layers of a backbone with weights that learn")
    norm: Literal["auto", "frozen", "batch", "group"] = Field("auto", description="auto: frozen with weights")
    side_px: int = Field(640, ge=32, description="shorter side that images are scaled to; 800 helps pin-holes")
    anchors_px: tuple[int, int, int, int, int] | Literal["auto"] = Field(
        (16, 32, 64, 128, 256), description="sides at strides 4 to 64; auto: by the sizes of the training defects, "
                                            "and then written into the run's config.yaml")
    proposals: int = Field(1000, ge=10, description="regions looked at in evaluation; twice as many in training")
    regions: int = Field(512, ge=8, description="regions an image that the heads learn from")
    anchor_samples: int = Field(256, ge=2, description="anchors an image that the proposals learn from, at most half "
                                                       "of them on defects; fewer where defects are few and small")
    anchor_overlap: float = Field(0.7, ge=0.3, lt=1, description="intersection over union with a defect from which an "
                                  "anchor is one that proposals learn from; below it and above 0.3 it teaches nothing. "
                                  "0.5 where defects are long or of many shapes: few anchors reach 0.7")
    detections: int = Field(100, ge=1, description="most an image")

    @model_validator(mode="after")
    def _consistent(self) -> "NetworkConfig":
        kind, _, file = self.weights.partition(":")
        if self.weights != "none" and (kind not in ("backbone", "coco", "checkpoint") or not file):
            raise ValueError("'weights' must be none, backbone:FILE, coco:FILE or checkpoint:FILE, got "
                             f"{self.weights!r}")
        if self.norm == "frozen" and self.weights == "none":
            raise ValueError("'norm' must be group or batch without weights, for frozen statistics would normalise "
                             "nothing, got 'frozen'")
        if kind == "coco" and self.name in ("resnet18", "small") and file == "download":
            raise ValueError(f"'weights' must be none or a file for '{self.name}': there are no published ones, got "
                             f"{self.weights!r}")
        if kind == "checkpoint" and file == "download":
            raise ValueError(f"'weights' must name a file of one's own after 'checkpoint:', got {self.weights!r}")
        if kind == "backbone" and self.name == "small":
            raise ValueError(f"'weights' must be none or coco:FILE for 'small', got {self.weights!r}")
        return self


class OptimConfig(Section):
    """Stochastic gradient descent."""
    learning_rate: float = Field(0.005, gt=0, description="for a batch of 4")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, description="not of norms and biases")
    warmup_steps: int = Field(500, ge=0)
    drop_at: tuple[float, ...] = Field((0.6, 0.85), description="parts of all steps after which the rate drops tenfold")


class DetectConfig(Section):
    """One training of a detector."""
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    network: NetworkConfig = NetworkConfig()
    optim: OptimConfig = OptimConfig()
    frame: FrameConfig = FrameConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    loop: LoopConfig
    watch: WatchConfig | None = Field(
        WatchConfig(metric="segm/AP", stop_after=10), description="the figure that keeps the best weights")
    panels: int = Field(4, ge=0, description="images shown at each evaluation: truth beside prediction")
