"""The configuration of the segmenter: data, augmentation, network, loss, optimiser, tiles, training."""
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.task import LoopConfig
from core.watch import WatchConfig

ACTIVATIONS = ("relu", "mish", "elu", "silu", "gelu", "tanh", "leaky_relu")


class Section(BaseModel):
    """Strict and unchangeable: an unknown key is an error."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CompactConfig(Section):
    """The default: residual U-Net on a coarser grid."""
    name: Literal["compact"] = "compact"
    fold_px: Literal[1, 2, 4, 8] = Field(
        2, description="so many px by as many become one place of the grid; 4: faster, and sees more in the same time")
    widths: tuple[int, ...] = Field((16, 32, 64, 128, 256), min_length=2, description="channels on the grid and on "
                                    "coarser ones, each of half the resolution; multiples of 16 are fastest")
    contrast: bool = Field(True, description="a channel more: grey levels against those around, for few images")


class FlexUNetConfig(Section):
    """FlexUNet as published; the defaults are those of the aluminium project."""
    name: Literal["flexunet"]
    base_filters: int = Field(16, ge=1, description="channels of level 0, doubled at each level")
    base_kernel: int = Field(11, ge=1, description="odd, px; 2 less at each level, at least 3")
    levels: int = Field(8, ge=2, le=10, description="encoder levels with the bridge")
    dilation: int = Field(1, ge=1, description="of level 0; 1 less at each level")
    dropout: float = Field(0.05, ge=0, lt=1, description="rate of a level is this times its number")
    activation: Literal[ACTIVATIONS] = "relu"
    batch_norm: bool = Field(False, description="after each activation")
    input_scale: float = Field(1.0, gt=0, description="255 for networks that were trained on 0..255")

    @model_validator(mode="after")
    def _rates_below_one(self) -> "FlexUNetConfig":
        if self.base_kernel % 2 == 0:
            raise ValueError(f"'base_kernel' must be odd, got {self.base_kernel}")
        if self.dropout * (self.levels - 1) >= 1:
            raise ValueError(f"'dropout' times {self.levels - 1} must be below 1, got {self.dropout}")
        return self


class SmallUNetConfig(Section):
    """The two-level U-Net of the synthetic surfaces."""
    name: Literal["small-unet"]
    filters: int = Field(32, ge=1, description="channels of the first block, doubled at each level")
    batch_norm: bool = True


class SmpConfig(Section):
    """A network of segmentation-models-pytorch, which is an extra: requirements-extras.txt."""
    name: Literal["smp"]
    decoder: Literal["unet", "unetplusplus", "deeplabv3plus", "segformer", "fpn"] = "unet"
    encoder: str = Field("resnet34", description="as the library names it")
    weights: Path | None = Field(None, description="local file with the encoder's weights (state dict); null: none")


NetworkConfig = Annotated[CompactConfig | FlexUNetConfig | SmallUNetConfig | SmpConfig, Field(discriminator="name")]


class LossConfig(Section):
    """Pixel loss, overlap loss, or their sum."""
    name: Literal["ce", "bce", "focal", "dice", "ce+dice", "bce+dice", "focal+dice"] = Field(
        "ce+dice", description="with bce: one class, one output")
    class_weights: tuple[float, ...] | Literal["balanced"] | None = Field(
        None, description="of the pixel loss, background first; bce: [background, defect]; balanced: rare ones more")
    focal_gamma: float = Field(2.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of ce and bce")
    dice_weight: float = Field(1.0, gt=0, description="of the overlap loss in a sum")
    dice_background: bool = Field(False, description="the background counts as a class of the overlap loss")


class AugmentConfig(Section):
    """Chances and ranges of the changes to training crops; geometry is drawn once for image and mask."""
    enabled: bool = True
    flip: bool = Field(True, description="left-right and up-down, each half of the time")
    turn: bool = Field(True, description="by 0, 90, 180 or 270 degrees")
    rotate_deg: float = Field(10.0, ge=0, le=180, description="largest further turn to either side")
    scale: tuple[float, float] = Field((0.8, 1.25), description="least and largest enlargement")
    perspective: float = Field(0.05, ge=0, lt=0.5, description="largest shift of a corner, as a part of the side")
    elastic_px: float = Field(4.0, ge=0, description="standard deviation of a smooth shift")
    warp_chance: float = Field(0.5, ge=0, le=1, description="of turning further, scaling, tilting and bending")
    brightness: float = Field(0.15, ge=0, le=1, description="largest shift, of full scale")
    contrast: float = Field(0.25, ge=0, lt=1, description="largest change of the factor 1")
    gamma: float = Field(0.25, ge=0, lt=1, description="largest change of the exponent 1")
    colour: float = Field(0.05, ge=0, lt=1, description="largest change of a channel's gain; none on grey images")
    blur_sigma_px: float = Field(1.0, ge=0, description="largest; on one crop in five")
    noise: float = Field(0.03, ge=0, le=1, description="largest deviation, of full scale; on one crop in three")
    jpeg_quality: int | None = Field(60, ge=5, le=100, description="least; on one crop in five; null: none")

    glare: float = Field(0.0, ge=0, le=1, description="brightest streak of light, of full scale; on one crop in five")
    paste: float = Field(0.0, ge=0, le=1, description="chance of a defect of another training image on a crop, turned "
                         "and bent like it and in its light")

    @model_validator(mode="after")
    def _ordered(self) -> "AugmentConfig":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"'scale' must be two numbers above 0, the smaller first, got {list(self.scale)}")
        return self


class DataConfig(Section):
    """Which set, how it is read and split, and how crops are drawn from it."""
    root: Path = Field(description="folder of the labelled set")
    format: str = Field("auto", description="as scripts/convert.py --help lists them; auto: found out")
    classes: tuple[str, ...] | None = Field(None, description="the labels that count, in order; null: those of the set")
    colours: dict[str, tuple[int, int, int]] | None = Field(
        None, description="class: [R, G, B] of coloured masks; null: colours.json, or index masks")
    unknown_colours: Literal["error", "ignore"] = Field("error", description="pixels of a colour that is in no class")
    clean_rings: bool = Field(False, description="coloured and index masks: every blob takes its most frequent class")
    minimum_px: int = Field(1, ge=1, description="smaller parts of a mask are dropped")
    unlabelled: Literal["skip", "good", "error"] = Field("skip", description="what an image without a label file is")
    merge: bool = Field(False, description="all classes become one, 'defect'")
    channels: Literal[1, 3] = Field(3, description="1: images are made grey")
    ratios: tuple[float, float, float] = Field((0.7, 0.15, 0.15), description="train, val, test, by group")
    split_seed: int = Field(0, ge=0)
    splits: Path | None = Field(None, description="a splits.json to keep; null: made, and kept in the run folder")
    extra: tuple[Path, ...] = Field(
        (), description="further labelled sets that only train, with all their images: made ones, or generated")
    extra_share: float = Field(0.5, ge=0, le=1, description="of the crops, from those sets")
    duplicates: Literal["error", "keep"] = Field(
        "error", description="the same or nearly the same picture in two splits that the set itself gives")
    evaluate_on: Literal["train", "val", "test", "all"] = Field(
        "val", description="what evaluations look at; train: for false_alarms.csv, see hard; all: of another set")
    crop_px: int = Field(256, ge=16, description="side of a training crop, at native scale; a multiple of 32 for the "
                         "default network")
    defect_share: float = Field(0.5, ge=0, le=1, description="crops centred on a defect, classes in turn")
    clean_share: float = Field(0.3, ge=0, le=1, description="crops without any defect")
    reduced_share: float = Field(0.0, ge=0, le=1, description="crops of the image made smaller, for infer.context")
    reduced_by: int = Field(4, ge=2, le=16, description="how much smaller, per side")
    hard: Path | None = Field(
        None, description="false_alarms.csv of an evaluation on train: every other clean crop lies on one of them")
    epoch_crops: int | None = Field(None, ge=1, description="crops that are called an epoch; null: a crop an image")
    cache_mib: int = Field(512, ge=0, description="decoded images kept in memory, for each worker")

    @model_validator(mode="after")
    def _shares(self) -> "DataConfig":
        if self.defect_share + self.clean_share > 1:
            raise ValueError(f"'defect_share' and 'clean_share' must be at most 1 together, got {self.defect_share} "
                             f"and {self.clean_share}")
        return self


class OptimConfig(Section):
    """How the weights learn."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["constant", "cosine", "poly"] = "cosine"
    warmup_steps: int = Field(50, ge=0)
    weight_decay: float = Field(0.01, ge=0, description="of adamw")
    clip_value: float | None = Field(None, gt=0, description="each element of the gradient is cut to this; null: not")
    ema_half_life_steps: float | None = Field(100, gt=0, description="of the averaged weights; null: no average")


class InferConfig(Section):
    """How a whole image is segmented."""
    mode: Literal["exact", "blend"] = Field(
        "exact", description="exact: as if the image went through the network at once; blend: overlapping tiles")
    tile_px: int = Field(2048, ge=16, description="longest side of a tile, with its overlap; grows to hold the halo")
    overlap_px: int = Field(128, ge=0, description="of blend")
    batch: int = Field(1, ge=1, description="tiles a call")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: twice as fast where the processor has it; exact to 1e-2 instead of 1e-4")
    flips: bool = Field(False, description="average over the four mirrorings")
    context: float = Field(0.0, ge=0, le=1, description="weight of a second pass over the image made smaller; the "
                           "network must have learned on such crops: data.reduced_share")
    context_by: int = Field(4, ge=2, le=16, description="how much smaller, per side; as data.reduced_by")
    threshold: float = Field(0.5, gt=0, lt=1, description="of networks with one output")
    minimum_px: int = Field(0, ge=0, description="smaller predicted parts are dropped; not from images in bands")
    probabilities: bool = Field(False, description="test.py --input: write those of each class in 255ths, as PNG")
    colour: bool = Field(False, description="test.py --input: write the labels as RGB PNG, beside the index PNG")
    reject_px: dict[str, int] = Field({}, description="class: least area of a part for which an image is NG; else 1")
    bands_above_mpx: int = Field(
        200, ge=1, description="test.py --input: larger TIFF and BMP are read and written in bands of rows")


class SegmentConfig(Section):
    """One training of a segmenter."""
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    network: NetworkConfig = CompactConfig()
    start: Path | None = Field(
        None, description="checkpoint of another run whose weights to begin with (fine-tuning); null: drawn anew")
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    infer: InferConfig = InferConfig()
    loop: LoopConfig
    watch: WatchConfig | None = Field(
        WatchConfig(metric="miou_defects"), description="the figure that keeps the best weights and may end training")
    panels: int = Field(4, ge=0, description="images shown at each evaluation: image, truth, prediction, error")
    panels_whole: bool = Field(False, description="and what the network says of the image made as small as a crop")
