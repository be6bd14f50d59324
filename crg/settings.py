"""The configs of models 5 and 6: what is learnt from, the network, the loss, and how it learns."""
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.task import LoopConfig

from .networks import CONTEXT, DEFECT, Shape
from .sampler_settings import SamplerConfig, ScheduleConfig


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkConfig(Section):
    """Section `network`: the U-Net. The number of classes comes from the data."""
    size_px: int = Field(ge=8, description="side of the square images that it learns from")
    width: int = Field(ge=32, multiple_of=32, description="channels of the first level")
    multipliers: tuple[int, ...] = Field(min_length=1, description="channels of each level over `width`")
    blocks: int = Field(2, ge=1, description="residual blocks of a level")
    attention_px: tuple[int, ...] = Field((16, 8), description="sides of the levels that have attention")
    head_channels: int = Field(32, ge=1, description="channels of an attention head")
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def can_be_built(self) -> "NetworkConfig":
        if problems := self.shape(0).problems():
            raise ValueError("; ".join(problems))
        return self

    def shape(self, classes: int) -> Shape:
        return Shape(**self.model_dump(), classes=classes)


def like(shape: Shape) -> NetworkConfig:
    return NetworkConfig(size_px=shape.size_px, width=shape.width, multipliers=shape.multipliers, blocks=shape.blocks,
                         attention_px=shape.attention_px, head_channels=shape.head_channels)


class DataConfig(Section):
    """What both models know of their data."""
    root: Path | None = Field(None, description="folder of a labelled set, in any layout of scripts/convert.py --help, "
                              "or of images as the earlier loader takes them (format: named)")
    format: str = Field("auto", description="the set's format by name, where two fit; named: a folder of images, each "
                        "called CLASS_anything, with the defect in its middle")
    ratios: tuple[float, float, float] = Field((0.9, 0.1, 0.0), description="train, val, test, where the set has no "
                                               "splits itself")
    turns: bool = Field(True, description="images are mirrored and turned by quarters")
    unlabelled: Literal["skip", "good", "error"] = Field("skip", description="what an image without a label file is")


class ContextDataConfig(DataConfig):
    """Section `data` of model 5: defect-free images, and the defect-free twins of others."""
    fit: Literal["crop", "whole"] = Field("crop", description="crop: a square cut out anywhere at native resolution, "
                                          "mirrored beyond the border; whole: the image squeezed, as published")


class DefectDataConfig(DataConfig):
    """Section `data` of model 6: patches round the defects, at native resolution."""
    classes: tuple[str, ...] | None = Field(None, description="labels to learn, in the order of their numbers; null: "
                                            "all of the set")
    jitter_px: int = Field(2, ge=0, description="how far a patch's middle may lie from its defect's, each way")
    balance: bool = Field(True, description="every class is seen equally often")
    largest: float = Field(1.0, gt=0, description="defects longer than this many sides of a patch are left out")


class LossConfig(Section):
    """Section `loss`."""
    variance: float = Field(1.0, ge=0, description="weight of the variational bound, which teaches the variance")
    noisiest: float = Field(1.0, gt=0, le=1, description="learn the timesteps up to this share of the schedule: the "
                            "sampler starts at an eighth of it, and a small model need not know the rest")


class OptimizerConfig(Section):
    """Section `optimizer`: AdamW."""
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0, description="the rate rises to its full value over so many steps")
    decay_steps: int | None = Field(None, ge=1, description="the rate falls to 0 in this many steps; null: it does not")


class EmaConfig(Section):
    """Section `ema`: the average of the weights, which is what is evaluated and used."""
    half_life_steps: float = Field(6931.0, gt=0, description="6931 is the published rate of 0.9999 a step")


class SheetConfig(Section):
    """Section `sheet`: what an evaluation looks at."""
    samples: int = Field(32, ge=1, description="held-out images, each with fixed noise, that the loss is measured on")
    shown: int = Field(16, ge=0, description="images that the average generates for the contact sheet")
    steps: int = Field(20, ge=1, description="DDIM steps for those")


class ModelConfig(Section):
    """Sections of both models."""
    loop: LoopConfig
    start_from: Path | None = Field(None, description="weights of guided diffusion's form to begin with")
    schedule: ScheduleConfig = ScheduleConfig(respacing="")
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    ema: EmaConfig = EmaConfig()
    sheet: SheetConfig = SheetConfig()

    @field_validator("schedule")
    @classmethod
    def whole(cls, schedule: ScheduleConfig) -> ScheduleConfig:
        if schedule.respacing:
            raise ValueError(f"a model learns every timestep, got respacing '{schedule.respacing}'. Leave it empty")
        return schedule


class ContextConfig(ModelConfig):
    """Config of model 5, crg-context."""
    network: NetworkConfig = like(CONTEXT)
    data: ContextDataConfig = ContextDataConfig()


class DefectConfig(ModelConfig):
    """Config of model 6, crg-defect."""
    network: NetworkConfig = like(DEFECT)
    data: DefectDataConfig = DefectDataConfig()


class SourceConfig(Section):
    """Where a trained model is: a run of this project, or a file of weights together with the network's shape."""
    run: Path | None = Field(None, description="run, or the experiment that holds it")
    weights: Path | None = Field(None, description="state dict (.pt) of guided diffusion's form")
    network: NetworkConfig | None = Field(None, description="shape of the weights' network; a run knows its own")

    @model_validator(mode="after")
    def one_of_them(self) -> "SourceConfig":
        if (self.run is None) == (self.weights is None):
            raise ValueError("give one of run and weights")
        if (self.weights is None) != (self.network is None):
            raise ValueError("weights need `network`, their shape; a run must not have it")
        return self


class PlacesConfig(Section):
    """Points that are chosen, like the places of a labelled set's defects, in place of text files."""
    data: Path = Field(description="labelled set, in any layout of scripts/convert.py --help, whose defects show where "
                       "such defects lie")
    format: str = Field("auto", description="the set's format by name, where two fit")
    count: int = Field(60, ge=1, description="points, spread over the images; classes take turns")
    classes: tuple[str, ...] | None = Field(None, description="null: all that the model knows and the set shows")


class PaintConfig(Section):
    """One run of the sampler over a folder of images and points."""
    images: Path = Field(description="folder of defect-free images with a text file each: `class x y` a line, x and y "
                         "in 0..1, or a YOLO row, whose box the fast sampler keeps to; without text files where "
                         "`places` is given")
    places: PlacesConfig | None = Field(None, description="choose the points; text files are not read then")
    classes: Path | None = Field(None, description="JSON file of class names and their numbers; null: the model's own")
    output: Path = Path("images")
    seed: int = Field(0, ge=0, description="every line of every image has noise of its own, from this and its place")
    fit: Literal["window", "whole"] = Field("window", description="window: work round the point at native resolution; "
                                            "whole: on the image squeezed to the context model's size, as published")
    paste: bool = Field(True, description="away from the defect the image is put back, grey level for grey level; "
                        "false: the context model's image is the result, as published")
    retries: int = Field(3, ge=0, description="further tries, each with its own noise, where no defect is to be seen")
    keep_unseen: bool = Field(False, description="write the pictures on which no defect is to be seen too, without a "
                              "label, as published")
    write: tuple[str, ...] = Field(("coco", "yolo", "masks"), description="label formats")
    batch_size: int = Field(1, ge=1, description="lines at a time; does not change the images, but for rounding")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks; the rest is float32")
    compile: bool = Field(False, description="torch.compile the networks: a long start, then faster")
    context: SourceConfig = Field(description="model 5, or weights like checkpoint-256-defect-free.pt")
    defect: SourceConfig = Field(description="model 6, or weights like checkpoint-64-defect.pt")
    sampler: SamplerConfig = SamplerConfig()
