"""Trained models at work on windows of any size: a defect of a class in a box.

    painter = Painter.load(Path("checkpoints/board"))
    pixels, alpha = painter.paint(window, box, "spur", rng(0, 1))
"""
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch

from core import config as configs
from core.device import choose, one_thread
from core.errors import ConfigError, did_you_mean

from .batch import Job
from .fast import FastSampler
from .models import Model, find_run, from_run
from .networks import Shape, UNet
from .sampler import Sampler
from .sampler_settings import FastConfig, MaskConfig, SamplerConfig, WalkConfig
from .settings import ContextConfig, DefectConfig, ModelConfig
from .views import Box, allowed_in, faded, support, window_of

SLACK = 1.6                     # the patch is at least so many times as long as the box
MASK = MaskConfig(min_difference=0.03)      # no disc is made up where there is no defect


class Painter:
    """Two networks on a device, and a sampler. Pickled, it is plain arrays, and builds its networks where it arrives.

    parts   of the context and of the defect model: the network's shape and its weights
    """

    def __init__(self, classes: tuple[str, ...], parts: tuple[tuple[Shape, dict[str, np.ndarray]], ...],
                 config: SamplerConfig, device: str = "auto"):
        self.classes, self.parts, self.config, self.device_name = classes, parts, config, device
        self.device = choose(device)
        models = [Model(network_of(*part), classes, self.device) for part in parts]
        kind = FastSampler if config.kind == "fast" else Sampler
        self.sampler = kind(*models, config, parts[1][0].size_px)

    @classmethod
    def load(cls, folder: Path, kind: Literal["fast", "exact"] = "fast", device: str = "auto") -> "Painter":
        """Of an experiment with runs of crg-context and crg-defect. CheckpointError, ConfigError: they do not fit."""
        runs = [find_run(folder, model) for model in (ContextConfig, DefectConfig)]
        names = tuple((runs[1] / "classes.txt").read_text(encoding="utf-8").splitlines())
        networks = [from_run(run, model, classes)
                    for run, model, classes in zip(runs, (ContextConfig, DefectConfig), (0, len(names)))]
        if networks[1].shape.size_px > networks[0].shape.size_px:
            raise ConfigError(f"{folder}: the patches of crg-defect are larger than the squares of crg-context, got "
                              f"{networks[1].shape.size_px} px for {networks[0].shape.size_px}. Train one of them anew")
        config = sampler_config(kind, [configs.load(model, run / "config.yaml")
                                       for run, model in zip(runs, (ContextConfig, DefectConfig))])
        parts = tuple((network.shape, {key: value.numpy() for key, value in network.state_dict().items()})
                      for network in networks)
        return cls(names, parts, config, device)

    def __getstate__(self) -> tuple:
        return self.classes, self.parts, self.config, self.device_name

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)

    @property
    def window_px(self) -> int:
        return self.parts[0][0].size_px

    def paint(self, window: np.ndarray, box: Box, label: str, draw: np.random.Generator,
              shape: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The window uint8 [H, W, 3] with a defect in the box, and how much of it replaces the clean one, [H, W].

        draw    all randomness
        shape   bool [H, W]: the defect stays inside of it; None: inside the box and a margin
        A box that a patch cannot hold is painted in a smaller picture, and the difference enlarged.
        """
        side = self.parts[1][0].size_px
        scale = min(1.0, side / (SLACK * max(box[2] - box[0], box[3] - box[1])))
        small = window if scale == 1 else cv2.resize(window, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        there = allowed_in(box, window.shape[:2]) if shape is None else faded(cv2.dilate(
            shape.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        allowed = there if scale == 1 else cv2.resize(there, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        made, alpha = self.paint_patch(small, (box[0] + box[2]) * scale / 2, (box[1] + box[3]) * scale / 2, label, draw,
                                       allowed)
        if scale == 1:
            return made, alpha
        difference = cv2.resize(made.astype(np.float32) - small, window.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        larger = np.clip(np.rint(window + difference), 0, 255).astype(np.uint8)
        enlarged = np.clip(cv2.resize(alpha, window.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
        return larger, np.where(there > 0, enlarged, 0)

    def paint_patch(self, window: np.ndarray, x: float, y: float, label: str, draw: np.random.Generator,
                    allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At the models' own scale, round a point."""
        view = window_of(window, int(x), int(y), self.window_px, self.parts[1][0].size_px)
        job = Job(clean=view.signed, corner=view.corner, label=self.number_of(label),
                  generator=torch.Generator().manual_seed(int(draw.integers(2 ** 62))))
        around = window_of(np.repeat(allowed[..., None], 3, axis=2), int(x), int(y), self.window_px, view.side).pixels
        left, top = view.corner
        inside = np.ascontiguousarray(around[top:top + view.side, left:left + view.side, 0])
        limits = (torch.from_numpy(inside)[None, None],) if isinstance(self.sampler, FastSampler) else ()
        with one_thread():
            painted = self.sampler.paint([job], self.device, *limits)
        made = np.clip(np.rint((painted.image[0].float().cpu().numpy() + 1) * 127.5), 0, 255).astype(np.uint8)
        alpha = support(painted.mask[0, 0].float().cpu().numpy() * inside, view, paste=True) * around[..., 0]
        whole = np.zeros(window.shape[:2], np.float32)
        at, of = view.overlap(whole.shape)
        whole[at] = alpha[of]
        return view.put_back(made.transpose(1, 2, 0)), whole

    def number_of(self, label: str) -> int:
        """The class's number. ConfigError: the model has not learnt it."""
        if label not in self.classes:
            raise ConfigError(f"class: not learnt, got '{label}'. {did_you_mean(label, self.classes)}The models know "
                              f"{', '.join(self.classes)}")
        return self.classes.index(label)


def sampler_config(kind: str, learnt: list[ModelConfig]) -> SamplerConfig:
    """A sampler that begins no noisier than the models, context and defect, have learnt."""
    schedule, fast = learnt[0].schedule, FastConfig()
    respaced = {**schedule.model_dump(), "respacing": str(min(250, schedule.steps))}
    config = SamplerConfig(kind=kind, mask=MASK, walk=WalkConfig(finish=True), schedule=respaced)
    kept = len(config.schedule.build())
    known = [int(model.loss.noisiest * kept) - 1 for model in learnt]
    start, defect_start = max(min(fast.start, *known), 1), min(fast.defect_start, known[1])
    alone = {"defect_start": defect_start} if defect_start > start else {"defect_steps": 0}
    return config.model_copy(update={"fast": FastConfig(start=start, **alone)})


def network_of(shape: Shape, weights: dict[str, np.ndarray]) -> UNet:
    with torch.device("meta"):
        network = UNet(shape)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, assign=True)
    return network
