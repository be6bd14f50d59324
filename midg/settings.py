"""The configs of models 1 to 4: what is learnt from, the networks, their losses, and how they learn."""
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.task import LoopConfig

from .losses import DEFAULT_WEIGHTS
from .networks import LEAST_SIZE_PX, SIZE_STEP_PX


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ListsConfig(Section):
    """Lists of the earlier code, each a folder, a text file with one path a line, or an image; paired by stem."""
    image: Path = Field(description="images with defects")
    mask: Path = Field(description="white rectangles or shapes round the defects")
    inpaint: Path | None = Field(None, description="the same images without defects; null: they are made once")


class SplitListsConfig(Section):
    train: ListsConfig
    val: ListsConfig | None = None


class DataConfig(Section):
    """Section `data`: windows round the defects of a labelled set."""
    root: Path | None = Field(None, description="folder of a labelled set, in any layout of scripts/convert.py --help")
    format: str = Field("auto", description="the set's format by name, where two fit")
    lists: SplitListsConfig | None = Field(None, description="lists of the earlier code in place of root")
    classes: tuple[str, ...] | None = Field(None, description="labels to learn, in the order of their numbers; null: "
                                            "all of the set. More than one: the networks take the class as an input")
    ratios: tuple[float, float, float] = Field((0.85, 0.15, 0.0), description="train, val, test, where the set has no "
                                               "splits itself")
    size_px: int = Field(224, ge=LEAST_SIZE_PX, description="side of a window, a multiple of 16")
    fit: Literal["window", "whole"] = Field("window", description="window: cut round a defect at native resolution "
                                            "(one longer than half of it is shrunk); whole: the image's middle square, "
                                            "resized, as the earlier code did")
    shift: float = Field(0.25, ge=0, le=0.5, description="how far, in sides, a window may leave its defect's middle")
    turns: bool = Field(True, description="windows are mirrored and turned by quarters")
    colours: Literal["kept", "permuted"] = Field("kept", description="permuted: in half of the windows red, green and "
                                                 "blue change places, where parts come in several colours")
    masks: Literal["box", "shape", "mixed"] = Field("mixed", description="what is to be painted: a rectangle round "
                                                    "each defect, its shape, or one of both by chance")
    margin_px: tuple[int, int] = Field((2, 6), description="least and most px by which masks exceed their defects")
    sigma: float = Field(3.0, gt=0, description="of Canny's Gaussian, px")
    engine: str = Field("patch", description="takes defects out where there is no twin; see scripts/inpaint.py")
    engine_model: Path | None = Field(None, description="big-lama.pt, for engine lama or iopaint")

    @field_validator("size_px")
    @classmethod
    def fits_the_networks(cls, size: int) -> int:
        if size % SIZE_STEP_PX:
            raise ValueError(f"must be a multiple of {SIZE_STEP_PX} px, got {size}. Write "
                             f"{max(LEAST_SIZE_PX, round(size / SIZE_STEP_PX) * SIZE_STEP_PX)}")
        return size

    @field_validator("margin_px")
    @classmethod
    def in_order(cls, margin: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= margin[0] <= margin[1]:
            raise ValueError(f"must be two px numbers from 0 on, the smaller one first, got {list(margin)}")
        return margin


class EdgeNetworkConfig(Section):
    """Section `network` of the edge model."""
    width: int = Field(64, ge=1, description="channels of the first level; the published networks have 64")
    mask_channel: bool = Field(True, description="the mask is a plane of the input; false for earlier weights")
    line_threshold: float | None = Field(0.3, gt=0, lt=1, description="edges in use are lines of 1 px, as Canny's, "
                                         "where the map is highest and reaches this; null: the soft map, as published")


class DefectNetworkConfig(Section):
    """Section `network` of the defect models; blend, grain and noise_channel are false for earlier weights."""
    width: int = Field(64, ge=1, description="channels of the first level; the published networks have 64")
    noise_channel: bool = Field(True, description="a plane of noise is an input: what grain is made of")
    blend: bool = Field(True, description="the paint has an opacity, so that the mask's border does not show")
    grain: bool = Field(True, description="in use, the paint gets the grain that training defects have beyond it; "
                        "where blend is on")
    attention_levels: int = Field(2, ge=0, le=4, description="levels with edge attention, from the finest; 0: none")
    edge_threshold: float = Field(0.5, ge=0, lt=1, description="attention is paid where the edge map is above it")
    legacy_attention: bool = Field(False, description="reproduction: every value but an exact 0 is an edge")


class GanConfig(Section):
    """What the losses of all models have in common."""
    gan: Literal["nsgan", "lsgan", "hinge"] = "nsgan"
    update: Literal["correct", "legacy"] = Field("correct", description="legacy, for reproduction: the discriminator "
                                                 "also takes the generator's gradient, as published")
    judged: Literal["pasted", "raw"] = Field("pasted", description="what losses and discriminator see: the result as "
                                             "it is used, or (published) what was painted outside the mask too")


class EdgeLossConfig(GanConfig):
    """Section `loss` of the edge model: weights.

    Published are the first two, and no edges. Most pixels are no edge, so that what matches features in the mean draws
    none: the in-mask edge loss outweighs them.
    """
    adversarial: float = Field(1.0, ge=0)
    feature_matching: float = Field(DEFAULT_WEIGHTS["feature_matching"], ge=0)
    edges: float = Field(300.0, ge=0, description="in-mask edge loss; 0: none, as published")
    edges_kind: Literal["dice", "bce"] = Field("bce", description="bce: edges and the rest count half each; dice: F "
                                               "score")
    tolerance_px: int = Field(0, ge=0, description="an edge this near to a true one is not wrong")
    threshold: float = Field(0.5, gt=0, lt=1, description="above it a soft map counts as an edge, in figures")

    @model_validator(mode="after")
    def learns_something(self) -> "EdgeLossConfig":
        if not (self.adversarial or self.feature_matching or self.edges):
            raise ValueError("adversarial, feature_matching and edges are all 0, so that nothing is learnt. Raise one")
        return self

    @property
    def is_judged(self) -> bool:
        """Whether there is a discriminator."""
        return self.adversarial > 0 or self.feature_matching > 0


class DefectLossConfig(GanConfig):
    """Section `loss` of the defect models: weights."""
    adversarial: float = Field(DEFAULT_WEIGHTS["adversarial"], ge=0)
    l1: float = Field(DEFAULT_WEIGHTS["l1"], ge=0)
    perceptual: float = Field(DEFAULT_WEIGHTS["perceptual"], ge=0)
    style: float = Field(DEFAULT_WEIGHTS["style"], ge=0)
    features: str = Field("texture", description="none, texture (no weights needed), download, or a file of VGG19")
    legacy_l1: bool = Field(False, description="reproduction: scaled by the batch's mean mask")

    @property
    def is_judged(self) -> bool:
        """Whether there is a discriminator."""
        return self.adversarial > 0


class OptimizerConfig(Section):
    """Section `optimizer`: Adam for each network."""
    learning_rate: float = Field(2e-4, gt=0, description="generators")
    discriminator_factor: float = Field(0.1, gt=0, description="the discriminators' rate is learning_rate times this")
    betas: tuple[float, float] = (0.0, 0.9)
    decay_steps: int | None = Field(None, ge=1, description="rates fall to 0 in this many steps; null: they do not")


class EmaConfig(Section):
    """Section `ema`: the generators' averages, which are what is evaluated and used."""
    half_life_steps: float = Field(500.0, gt=0)


class SheetConfig(Section):
    """Section `sheet`: the held-out windows that an evaluation looks at."""
    samples: int = Field(64, ge=1, description="windows that figures are taken from")
    shown: int = Field(12, ge=0, description="of those, on the contact sheet")


class ModelConfig(Section):
    """Sections of every model."""
    loop: LoopConfig
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    ema: EmaConfig = EmaConfig()
    sheet: SheetConfig = SheetConfig()

    @model_validator(mode="after")
    def says_where_the_data_are(self) -> "ModelConfig":
        if self.data.root is not None and self.data.lists is not None:
            raise ValueError("data.root and data.lists are both given. Leave one out")
        return self


class EdgeConfig(ModelConfig):
    """Config of model 1, midg-edge."""
    network: EdgeNetworkConfig = EdgeNetworkConfig()
    loss: EdgeLossConfig = EdgeLossConfig()


class GivenEdgesConfig(ModelConfig):
    """Config of model 2, midg-inpaint."""
    network: DefectNetworkConfig = DefectNetworkConfig()
    loss: DefectLossConfig = DefectLossConfig()


class DefectConfig(GivenEdgesConfig):
    """Config of model 3, midg-defect."""
    edges: Path | None = Field(None, description="run or experiment of model 1; null: midg-edge beside this run")
    given_share: float = Field(0.25, ge=0, le=1, description="of the windows, on the true edges, so that drawn shapes "
                               "are understood too; published: 0")


class JointConfig(ModelConfig):
    """Config of model 4, midg-joint."""
    edge_network: EdgeNetworkConfig = EdgeNetworkConfig()
    edge_loss: EdgeLossConfig = EdgeLossConfig()
    network: DefectNetworkConfig = DefectNetworkConfig()
    loss: DefectLossConfig = DefectLossConfig()
    given_share: float = Field(0.25, ge=0, le=1, description="of the windows, on the true edges")
    joint: float = Field(0.1, ge=0, description="weight of the defect's losses in the edge generator's turn")
