"""The configuration of the main job: what to make, from what, where to put it."""
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Strict and unchangeable: an unknown key is an error."""
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlacementSettings(Section):
    """Where defects go and how large they are."""
    learned: bool = Field(True, description="positions like those of the real defects; false: anywhere that is free")
    scale: tuple[float, float] = Field((0.85, 1.2), description="real sizes are multiplied by a factor between these")
    size_px: tuple[int, int] | None = Field(
        None, description="least and most px of a defect's longer side; null: as the real ones")
    per_image: tuple[int, int] = Field((1, 3), description="fewest and most defects in an image")
    positions: Path | None = Field(None, description="given boxes or points (a CSV file) or shapes (a folder of masks)")
    shape: Path | None = Field(
        None, description="a drawn shape, white on black, or a folder of them, laid into each box")

    @model_validator(mode="after")
    def _ordered(self) -> "PlacementSettings":
        for name, least in (("scale", 0.01), ("size_px", 3), ("per_image", 1)):
            pair = getattr(self, name)
            if pair is not None and not least <= pair[0] <= pair[1]:
                raise ValueError(f"'{name}' must be two numbers from {least} on, the smaller first, got {list(pair)}")
        return self


class GateSettings(Section):
    """What is rejected, and how often another try is made."""
    enabled: bool = Field(True, description="false: keep all that has a label")
    retries: int = Field(
        20, ge=0, description="further tries at most, each with the next seed, where a defect is rejected: a third of "
        "all tries on its image, the others on two other normal images, made only where no defect at all was drawn")
    visibility: float | None = Field(
        None, gt=0, description="least contrast over the grain round it; null: what nearly all training defects reach")
    contrast: float = Field(0.02, ge=0, le=1, description="least mean change inside the label, of full scale")
    plain: float = Field(0.15, ge=0, description="mean change from which a defect is visible on any grain")
    outgrown: float = Field(2.0, gt=0, description="the label may be this many times wider or taller than its box")
    cover: float = Field(0.8, gt=0, le=1, description="largest share of the window that a label may cover")
    scatter: float = Field(0.6, gt=0, le=1, description="largest share of a label in specks outside its largest part")
    misfit: float = Field(0.55, gt=0, description="largest misfit to the surroundings, as a part of their contrast")
    contacts: bool = Field(True, description="a defect joins what is round it in as many places as the real ones do")
    near_copy: float = Field(0.88, gt=0, le=1, description="highest likeness to a training defect")


class MidgSettings(Section):
    """What `--method midg` trains where it finds no trained models.

    What differs from the default must suit models that are found.
    """
    checkpoints: Path | None = Field(
        None, description="experiment with the models midg-edge and midg-defect, trained there if need be; null: below "
        "the output")
    steps: int = Field(1500, ge=1, description="training steps of each of the two models")
    width: int = Field(12, ge=1, description="channels of the networks' first level; 64 as published")
    size_px: int | None = Field(None, ge=32, multiple_of=16, description="side of the square window that a defect is "
                                "learned and drawn in, a multiple of 16; null: by the defects' sizes")
    batch_size: int = Field(4, ge=1, description="windows a step")
    attention: bool = Field(True, description="a defect model that is trained here attends to edges; false: to measure "
                            "what that is worth")


class CrgSettings(Section):
    """What `--method crg` trains where it finds no trained models, and which sampler it uses.

    What differs from the default must suit models that are found.
    """
    checkpoints: Path | None = Field(
        None, description="experiment with the models crg-context and crg-defect, trained there if need be; null: "
        "below the output")
    sampler: Literal["fast", "exact"] = Field("fast", description="exact: as published, many times as long")
    steps: int = Field(2000, ge=1, description="training steps of each of the two models")
    width: int = Field(32, ge=32, multiple_of=32, description="channels of the networks' first level")
    patch_px: int | None = Field(None, ge=16, multiple_of=8, description="side of the patches that hold a defect; "
                                 "null: by the defects' sizes")
    batch_size: int = Field(16, ge=1, description="patches a step; half as many squares for crg-context")


class AugmentConfig(Section):
    """One run of the main job. `data`, `output` and `count` are all that most users give."""
    data: Path = Field(description="folder of the labelled set")
    output: Path = Field(description="folder for the new set")
    count: int = Field(100, ge=1, description="images to make")
    method: str = Field("copypaste", description="generator, as --list names it")
    format: str = Field("auto", description="format of the labelled set; auto: found out")
    seed: int = Field(0, ge=0, description="image i depends on the seed and on i alone")
    split: Literal["auto", "all", "train", "val", "test"] = Field(
        "auto", description="records to learn from and to draw on; auto: train where the set has splits, else all")
    classes: tuple[str, ...] | None = Field(None, description="classes to make; null: all that have a sample")
    unlabelled: Literal["skip", "good", "error"] = Field("skip", description="what an image without a label file is")
    good: Path | None = Field(None, description="a further folder of defect-free images")
    backgrounds: Literal["good", "all"] = Field(
        "good", description="good: defect-free images alone; all: also defective ones, whose labels are carried over")
    placement: PlacementSettings = PlacementSettings()
    gate: GateSettings = GateSettings()
    midg: MidgSettings | None = Field(None, description="for the method midg; null: all as by default")
    crg: CrgSettings | None = Field(None, description="for the method crg; null: all as by default")
    labels: Literal["tight", "drawn"] = Field(
        "tight", description="tight: the pixels that changed; drawn: boxes alone, as wide as the real ones are drawn")
    write: tuple[str, ...] = Field((), description="further label formats beside COCO: yolo, voc, masks, midg")
    workers: int = Field(1, ge=1, description="processes; the result does not depend on it")
    device: str = Field("auto", description="where networks are trained, and draw: auto, cpu, cuda, cuda:N, mps")


# What may differ when a run goes on: none of it changes an image. What these paths hold is known by its content.
FREE_KEYS = ("count", "workers", "device", "write", "labels", "output", "data", "good", "placement.positions",
             "placement.shape", "midg.checkpoints", "crg.checkpoints")


def plain(config: AugmentConfig) -> dict:
    """The configuration in plain values, with whole paths: the same from whatever folder it was given."""
    return json.loads(json.dumps(config.model_dump(), default=lambda path: str(path.resolve())))


def shaping(config: AugmentConfig) -> dict[str, object]:
    """The keys, such as "gate.retries", and plain values of all that shapes the images."""
    return {key: value for key, value in flat(plain(config)).items() if key not in FREE_KEYS}


def flat(values: dict, prefix: str = "") -> dict[str, object]:
    """{"gate": {"retries": 1}} -> {"gate.retries": 1}."""
    found = {}
    for key, value in values.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found
