"""The protocol between the road and whatever makes a defect: copy-paste, a GAN, a diffusion model."""
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ..data.records import Dataset

if TYPE_CHECKING:
    from .bank import DefectBank

Box = tuple[int, int, int, int]         # x1, y1, x2, y2 in px, x2 and y2 exclusive


@dataclass(frozen=True, kw_only=True)
class Request:
    """One defect to be made, in a window cut from a normal image at its native resolution.

    image   float32 [3, H, W] in 0..1, RGB: the normal window, box well inside where the image is large enough
    box     where the defect is to be, in px of the window
    mask    bool [H, W], the wanted shape; None leaves the shape to the generator. The box is then its bounds
    label   class name
    rng     the only source of randomness; equal requests with equal generators of numbers give equal results
    """
    image: torch.Tensor
    box: Box
    label: str
    rng: np.random.Generator
    mask: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a generator made of a request.

    image   float32 [3, H, W] in 0..1: the window with the defect; what it holds where `alpha` is 0 is never used
    alpha   float32 [H, W] in 0..1: how much of `image` replaces the normal window at each pixel
    source  where it came from, for the manifest (such as the name of the copied record); None: nowhere
    misfit  how badly it suits its surroundings, 0 (as if it had grown there) to about 1; None: not known
    shape   bool [H, W], the defect itself where the generator knows it (a labelled shape, laid there); None: the label
            is found from the difference alone
    """
    image: torch.Tensor
    alpha: torch.Tensor
    source: str | None = None
    misfit: float | None = None
    shape: torch.Tensor | None = None


class DefectGenerator(Protocol):
    """Makes defects. Pickled to worker processes, so it holds plain data only."""

    name: str           # "copypaste", "midg", "crg": what --method calls it
    copies: bool        # true where copying a training defect is the method: the gate's near-copy rule is off then
    models: str         # hash of the weights that it draws with (trained.weights_hash); "" for a method without any
    window_px: int      # side of the window that it wants round a box; a larger box gets itself and a margin

    @classmethod
    def build(cls, dataset: Dataset, bank: "DefectBank", output: Path, settings: Any = None, *,
              device: str = "auto") -> "DefectGenerator":
        """Get ready from the training records; what it trains, it keeps below the run's output folder.

        settings  the configuration's section named as the method; None: not given
        device    where its networks are trained, and draw
        Started again after a kill, it goes on with what it was training and ends with the same generator.
        """
        ...

    def generate(self, request: Request) -> Generated: ...
