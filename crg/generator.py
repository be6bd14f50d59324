"""`--method crg`: models 5 and 6, trained on the labelled set or at hand already, paint new defects."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.augment import compose
from core.augment.bank import DefectBank
from core.augment.blending import in_black_and_white, two_level
from core.augment.copypaste import CopyPaste
from core.augment.fitting import laid
from core.augment.generator import Generated, Request
from core.augment.settings import CrgSettings
from core.augment.trained import Place, weights_hash
from core.data import images
from core.data.records import Dataset
from core.device import choose
from core.task import LoopConfig

from .infer import Painter
from .settings import (
    ContextConfig,
    ContextDataConfig,
    DefectConfig,
    DefectDataConfig,
    EmaConfig,
    LossConfig,
    ModelConfig,
    NetworkConfig,
    OptimizerConfig,
    SheetConfig,
)
from .task import ContextTask, DefectTask, DiffusionTask

# What the settings are called in a model's configuration.
KEYS = {"steps": "loop.steps", "width": "network.width", "patch_px": "network.size_px",
        "batch_size": "loop.batch_size"}
TASKS = {"crg-context": ContextTask, "crg-defect": DefectTask}
LEAST_PATCH_PX, LARGEST_PATCH_PX = 32, 64
ROOM = 1.25                         # a patch is so many times as long as nine tenths of the defects at least
SAVES = 10                          # checkpoints of a training, so that a kill costs no more than a tenth of it
SHEET = SheetConfig(samples=16, shown=8)
NOISIEST = {"crg-context": 0.3, "crg-defect": 0.8}     # shares of the schedule: the sampler begins below them


@dataclass
class CrgGenerator:
    """A DefectGenerator that paints with two diffusion models; the box says where and how large, not which shape.

    donors  real defects that move the box to where what is round it is as round one of them; none of their pixels and
            shapes are used. None: the box is taken as it is
    """
    painter: Painter
    donors: CopyPaste | None = None
    name: str = "crg"
    copies: bool = False
    models: str = ""
    window_px: int = 2 * LEAST_PATCH_PX

    @classmethod
    def build(cls, dataset: Dataset, bank: DefectBank, output: Path, settings: CrgSettings | None = None, *,
              device: str = "auto") -> "CrgGenerator":
        """Train what is not trained yet, below `output` or in `settings.checkpoints`; use what is, and say so.

        ConfigError: trained models are of other classes or settings. Stopped: a signal came; the same call goes on.
        """
        settings = settings or CrgSettings()
        place = Place.of("crg", settings, KEYS, bank, output)
        chosen = choose(device)
        wanted = {name: model_config(name, bank, settings, chosen) for name in TASKS}

        def task_of(name: str, config: ModelConfig, run: Path) -> DiffusionTask:
            return TASKS[name](config, chosen, dataset=dataset if config.data.root is None else None, run=run)

        place.train(wanted, task_of, chosen)
        painter = Painter.load(place.folder, settings.sampler, device)
        place.check_classes(painter.classes, bank.labels)
        return cls(painter, CopyPaste(bank), models=weights_hash(part[1] for part in painter.parts if part is not None),
                   window_px=painter.window_px)

    def generate(self, request: Request) -> Generated:
        window, box, misfit = images.to_pixels(request.image), request.box, None
        target = np.ascontiguousarray(request.image.numpy().transpose(1, 2, 0))
        shape = None if request.mask is None else request.mask.numpy().astype(bool)
        if shape is None and self.donors is not None:
            fit = self.donors.choose(target, box, request.label, request.rng)
            box, misfit = compose.bounds(laid(fit, target.shape)[2] > 0.5) or box, fit.strangeness
        made, alpha = self.painter.paint(window, box, request.label, request.rng, shape)
        if two_level(target):                               # a scan in black and white has no grey but at its rims
            made, alpha = in_black_and_white(made / 255).astype(np.uint8) * 255, (alpha > 0).astype(np.float32)
        return Generated(image=images.to_tensor(made), alpha=torch.from_numpy(alpha), misfit=misfit)


def model_config(name: str, bank: DefectBank, settings: CrgSettings, device: torch.device) -> ModelConfig:
    """The configuration of a model that is trained here."""
    fast, context = device.type == "cuda", name == "crg-context"
    patch = settings.patch_px or patch_px(bank)
    steps, turns = settings.steps, all(len(turns) == 8 for turns in bank.turns.values())
    shared = {
        "loop": LoopConfig(
            steps=steps, batch_size=max(settings.batch_size // (2 if context else 1), 1), workers=2 if fast else 0,
            precision="bfloat16" if fast else "float32", clip_norm=1.0, save_every=max(1, steps // SAVES),
            evaluate_every=steps, report_every=max(1, steps // (2 * SAVES))),
        "loss": LossConfig(noisiest=NOISIEST[name]),
        "optimizer": OptimizerConfig(learning_rate=1e-3, warmup_steps=min(50, steps), decay_steps=steps),
        "ema": EmaConfig(half_life_steps=max(steps / 20, 1)),
        "sheet": SHEET}
    multipliers = (1, 1, 2, 2) if context else (1, 2, 2)
    size = 2 * patch if context else patch
    network = NetworkConfig(size_px=size, width=settings.width, multipliers=multipliers, blocks=1, head_channels=16,
                            attention_px=(size >> len(multipliers) - 1,))
    if context:
        return ContextConfig(network=network, data=ContextDataConfig(turns=turns), **shared)
    return DefectConfig(network=network, data=DefectDataConfig(turns=turns, classes=bank.labels), **shared)


def patch_px(bank: DefectBank) -> int:
    """Side of a patch that nine tenths of the defects fit into, a multiple of 8 within limits."""
    longer = np.percentile([max(crop.size_px) for crop in bank.crops], 90)
    return int(np.clip(-(-ROOM * longer // 8) * 8, LEAST_PATCH_PX, LARGEST_PATCH_PX))
