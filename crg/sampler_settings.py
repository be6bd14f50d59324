"""The keys of the CRG sampler, with the published values as defaults; constants that were hidden in code are keys here.

`exact` is the published algorithm. What departs from it (a stride, fewer iterations, a window) is off by default.
"""
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .diffusion import Schedule

Share = Annotated[float, Field(ge=0, le=1)]
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ScheduleConfig(BaseModel):
    """Noise schedule, the same for both models."""
    model_config = STRICT

    steps: int = Field(1000, ge=2, description="timesteps that the models were trained with")
    kind: Literal["linear", "cosine"] = "linear"
    respacing: str = Field("250", description="steps that are kept: '250', '10,20,30' or 'ddim50'; '' for all")

    @model_validator(mode="after")
    def can_be_built(self) -> "ScheduleConfig":
        self.build()
        return self

    def build(self) -> Schedule:
        return Schedule.build(self.steps, self.kind, self.respacing)


class WalkConfig(BaseModel):
    """Which noise levels are visited, from `start` down to 0; every jump goes back up and down again."""
    model_config = STRICT

    start: int = Field(30, ge=1, description="index of the noise put on the clean image; 30 of 250 is a std of 0.38")
    steps: int = Field(250, ge=1, description="steps of the walk over the whole schedule (num_inference_steps)")
    time_travel: bool = Field(True, description="go over each stretch `passes` times; false: straight down")
    jump: int = Field(10, ge=1, description="length of a stretch, in steps")
    passes: int = Field(3, ge=1, description="1: no jumps back")
    jumps_where: str = Field("none", pattern=r"^(none|firstp-\d+(\.\d+)?|lastp-\d+(\.\d+)?|firstn-\d+|lastn-\d+)$",
                             description="leaves jumps out: firstp-P, lastp-P (percent), firstn-K, lastn-K (steps)")
    spacing: Literal["linear", "quad"] = Field("linear", description="of the steps without time travel")
    stride: int = Field(1, ge=1, description="without time travel: visit every so many-th step only")
    eta: float = Field(0.0, ge=0, le=1, description="of DDIM: 0 deterministic, 1 as noisy as DDPM")
    finish: bool = Field(False, description="take the last noise off too, a std of 0.01 that the published way leaves: "
                         "one evaluation of the context model more")


class MaskConfig(BaseModel):
    """The guidance mask: how far the defect model's patch differs from the clean patch, as a soft map."""
    model_config = STRICT

    enabled: bool = Field(True, description="false: every pixel of the patch is drawn to the defect model's")
    temperature: float = Field(0.3, gt=0, description="of the sigmoid over the difference, which is scaled to 0..1")
    blur_sigma_px: float = Field(1.0, ge=0)
    center_weight: float = Field(1.0, ge=0, description="how much the middle counts more")
    radial_decay: float = Field(0.15, gt=0, description="std of that, in half diagonals")
    components: bool = Field(True, description="keep only parts that reach the middle and are large enough")
    min_area_ratio: Share = Field(0.01, description="of a part, over the patch's area")
    center_region_ratio: float = Field(0.2, gt=0, description="size of the middle disc")
    disc_divisor: float = Field(2.5, gt=0, description="the disc's std is center_region_ratio * sqrt(2) over this")
    adaptive_threshold: bool = Field(True, description="false: `fixed_threshold`")
    threshold_factor: float = Field(0.6, gt=0, description="times the mask's mean over the middle disc")
    threshold_range: tuple[Share, Share] = (0.05, 0.8)
    fixed_threshold: Share = 0.2
    accumulate: bool = Field(True, description="average over the steps, then scale to 0..1")
    accumulation_beta: Share = Field(0.9, description="weight of the past")
    adaptive_beta: bool = Field(True, description="from beta_min at no noise to accumulation_beta at the most")
    beta_min: Share = 0.5
    background_below: float = Field(0.01, ge=0, description="where the mask is less, the patch is to stay as it is")
    min_difference: float = Field(0.0, ge=0, le=2, description="the mask is 0 where the patches differ by less, of 2; "
                                  "0 is the published way, which makes a disc where there is no defect at all")

    @field_validator("threshold_range")
    @classmethod
    def in_order(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] > bounds[1]:
            raise ValueError(f"the lower bound comes first, got {list(bounds)}")
        return bounds


class GuidanceConfig(BaseModel):
    """The gradient steps on the image that make the context model agree with the defect model inside the mask."""
    model_config = STRICT

    iterations_first: int = Field(2, ge=0, description="gradient steps at the index `iterations_from`")
    iterations_last: int = Field(2, ge=0, description="at the noisiest index, in a straight line between")
    iterations_from: int = Field(0, ge=0, description="below this index there is no guidance")
    learning_rate: float = Field(0.1, gt=0)
    learning_rate_growth: float = Field(1.012, gt=0, description="with every step down")
    line_search: bool = Field(True, description="shrink a step that does not lower the loss")
    shrink: float = Field(0.8, gt=0, lt=1)
    max_shrinks: int = Field(100, ge=1, description="then the image stays as it is for this step")
    regulariser: float = Field(1e-4, ge=0, description="holds the image near where the guided step began")
    regulariser_growth: float = Field(1.01, gt=0)
    defect_weight: float = Field(1e5, ge=0, description="inside the mask, towards the defect model's patch")
    background_weight: float = Field(1e4, ge=0, description="in the patch outside the mask, towards the clean image")
    outside_weight: float = Field(5e4, ge=0, description="outside the patch, towards the clean image")
    plain_patch_weight: float = Field(10.0, ge=0, description="without a mask: the patch, a sum of squares")
    plain_outside_weight: float = Field(0.06, ge=0, description="without a mask: outside the patch, a sum of squares")
    move_patch: bool = Field(False, description="the defect model's image takes the gradient steps too")
    prediction_steps: int = Field(1, ge=1, description="DDIM steps in which the context model predicts the clean image")
    before_jumps: bool = Field(True, description="one guided step more before each way back up")
    reseed_every: int = Field(0, ge=0, description="before jumps at multiples of this index, start the patch anew "
                                                   "from the context model's image; 0: at index 0 alone")

    def iterations(self, index: int, steps: int) -> int:
        """Gradient steps at one of `steps` indices."""
        if index < self.iterations_from:
            return 0
        if index >= steps - 1:
            return self.iterations_last
        share = (index - self.iterations_from) / max(steps - self.iterations_from - 1, 1)
        return round(self.iterations_first + share * (self.iterations_last - self.iterations_first))


class FastConfig(BaseModel):
    """A few steps straight down, with the prediction corrected in place of the image: no gradients, no search."""
    model_config = STRICT

    defect_start: int = Field(170, ge=1, description="index of the noise from which the defect model alone draws the "
                              "patch, before both begin at `start`: the noisier, the less is left of the clean one")
    defect_steps: int = Field(12, ge=0, description="evaluations of the defect model alone; 0: both begin with the "
                              "clean image")
    start: int = Field(60, ge=1, description="index of the noise put on the clean image")
    steps: int = Field(8, ge=1, description="evaluations of either model")
    strength: float = Field(1.0, gt=0, le=1, description="how much of the difference to the defect model's patch, "
                            "inside the mask, and to the clean image, outside, is taken over")
    class_pull: float = Field(4.0, ge=0, description="what a class changes in the defect model's patch, against the "
                              "mean of all classes, is multiplied by this; other than 1 it takes an evaluation of "
                              "each class")
    open_share: Share = Field(0.5, description="of the steps, the first ones take the defect model's patch over "
                              "wherever a defect may be, the others where it differs from the clean one")

    @model_validator(mode="after")
    def steps_fit(self) -> "FastConfig":
        if self.defect_steps and self.defect_start <= self.start:
            raise ValueError(f"defect_start must be above start {self.start}, got {self.defect_start}. Raise it, or "
                             "set defect_steps to 0")
        return self


class SamplerConfig(BaseModel):
    """One sampler."""
    model_config = STRICT

    kind: Literal["exact", "fast"] = Field("exact", description="exact: as published, sections walk and guidance; "
                                           "fast: section fast")
    schedule: ScheduleConfig = ScheduleConfig()
    walk: WalkConfig = WalkConfig()
    mask: MaskConfig = MaskConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    fast: FastConfig = FastConfig()

    @model_validator(mode="after")
    def walk_fits_the_schedule(self) -> "SamplerConfig":
        kept = len(self.schedule.build())
        walk_indices(self.walk, kept)
        for name in ("start", *(["defect_start"] if self.fast.defect_steps else [])):
            if self.kind == "fast" and getattr(self.fast, name) >= kept:
                raise ValueError(f"fast.{name} must be below the {kept} steps that schedule.respacing keeps, got "
                                 f"{getattr(self.fast, name)}")
        return self


def walk_indices(walk: WalkConfig, kept: int) -> list[int]:
    """The indices of the schedule in the order in which they are visited. ValueError where there are fewer than two."""
    if walk.start >= kept:
        raise ValueError(f"walk.start must be below the {kept} steps that schedule.respacing keeps, got {walk.start}")
    if walk.time_travel:
        if kept % walk.steps:
            raise ValueError(f"walk.steps must divide the {kept} steps that schedule.respacing keeps, or "
                             f"walk.time_travel be false, got {walk.steps}")
        indices = [index * (kept // walk.steps) for index in travel(walk, kept)]
    else:
        indices = straight(walk, kept)
    if len(indices) < 2:
        raise ValueError(f"walk.start is too small: the walk has no step, got {walk.start}. Raise it")
    return indices


def travel(walk: WalkConfig, kept: int) -> list[int]:
    """Down to 0, each stretch of `jump` steps over again until its budget is spent (RePaint, Lugmayr et al. 2022)."""
    first = min(int(walk.start * walk.steps / kept), walk.steps)
    left = {foot: walk.passes - 1 for foot in range(0, first - walk.jump, walk.jump) if jumps_at(foot, walk, kept)}
    visited, index = [], first
    while index >= 1:
        index -= 1
        visited.append(index)
        if left.get(index, 0) > 0:
            left[index] -= 1
            visited += range(index + 1, index + walk.jump + 1)
            index += walk.jump
    return visited


def jumps_at(foot: int, walk: WalkConfig, kept: int) -> bool:
    kind, _, number = walk.jumps_where.partition("-")
    if kind == "none":
        return True
    value = float(number)
    return not {"firstp": foot < kept * (1 - value / 100), "lastp": foot > kept * value / 100,
                "firstn": foot < kept - value, "lastn": foot > value}[kind]


def straight(walk: WalkConfig, kept: int) -> list[int]:
    if walk.spacing == "linear":
        spread = [round(number * kept / walk.steps) for number in range(walk.steps)]
    else:
        top = (0.8 * kept) ** 0.5
        spread = [int((number * top / max(walk.steps - 1, 1)) ** 2) for number in range(walk.steps)]
    indices = sorted({index for index in spread if index <= walk.start}, reverse=True)
    return indices if walk.stride == 1 else sorted({*indices[::walk.stride], 0}, reverse=True)
