"""Anomaly detection from good images as a task of the training loop.

The loop trains what learns by gradients: the network of synthetic defects whose features PatchCore and PaDiM compare,
or FastFlow and EfficientAD on features that are trained already. Each evaluation fits the model on the good images, and
leaves it in the run as memory.pt, with its thresholds.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from core.data import splits
from core.ema import Average
from core.experiment import tell
from core.schedules import cosine, warmup
from core.task import Phase

from .anomaly import check_count
from .anomaly_apply import apply
from .anomaly_data import Crops, Images, good_of, open_data
from .anomaly_evaluate import fitted, measure
from .anomaly_export import export
from .anomaly_settings import AnomalyConfig
from .defect_network import STRIDE, DefectNetwork
from .feature_sources import build
from .screen import KINDS, MEMORY, Limits

SPLITS = "splits.json"


class AnomalyTask:
    """Model 9. `run` keeps the splits, so that a run that goes on has the same."""
    Config = AnomalyConfig

    def __init__(self, config: AnomalyConfig, device: torch.device, run: Path | None = None, keep: bool = True):
        self.config, self.device = config, device
        dataset, found = open_data(config.data, None if run is None else run / SPLITS)
        self.classes = dataset.classes
        self.learned, self.held_out = good_of(dataset, "train"), good_of(dataset, "val")
        self.test = dataset.of_split("test")
        check_count(len(self.held_out), config.threshold.false_alarms)
        self.network = DefectNetwork(config.train.widths) if config.learns == "features" else None
        if config.features.kind in ("random", "filters"):
            tell([f"features.kind {config.features.kind}: features that have learned nothing find little, and are for "
                  "comparison alone. Take synthetic-defect, or weights from a file"])
        self.features = build(config.features, device, self.network, config.loop.seed)
        self.model = KINDS[config.model.name](self.features, config.model).to(device)
        self.limits: Limits | None = None
        self.told: dict[str, float] | None = None           # where nothing learns, one evaluation is like another
        self.modules: dict[str, nn.Module] = {}
        if self.network is not None:
            self.modules["features"] = self.network.to(device, memory_format=torch.channels_last)
        if config.learns == "model":
            self.model.begin(Images(self.learned, config.data, self.features.light, device).tiles())
            self.modules["model"] = self.model.trained
        self.averages: dict[str, Average] = {}
        self.phases = tuple(self._phase(name, module) for name, module in self.modules.items())
        with_defects = config.learns == "features" or config.model.name == "efficientad"
        self.train_data = Crops(self.learned, config.data, config.train, self.features.light, config.loop.seed,
                                with_defects)
        if run is not None and keep:
            splits.save(run / SPLITS, found)

    def losses(self, phase: str, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, defects = batch
        if phase == "model":
            return self.model.losses(images, defects)
        logits = self.network(images.to(memory_format=torch.channels_last)).float()
        target = functional.avg_pool2d(defects, STRIDE, ceil_mode=True)
        chance = logits.sigmoid()
        overlap = (2 * (chance * target).sum() + 1) / ((chance + target).sum() + 1)
        return {"pixels": functional.binary_cross_entropy_with_logits(logits, target), "dice": 0.5 * (1 - overlap)}

    def evaluate(self, folder: Path) -> dict[str, float]:
        """Fit the model, and measure it on held-out good images and all defective ones; see detect.anomaly_evaluate."""
        if self.told is not None:
            return self.told
        with torch.autocast(self.device.type, enabled=False):       # distances are scored in float32 later, too
            self.limits = fitted(self.model, self.learned, self.held_out, self.config, self.device)
            values = measure(self.model, self.limits, self.test, self.classes, self.config, self.device, folder)
        values = {"threshold": self.limits.image, **values}
        if self.config.learns == "nothing":
            self.told = values
        return values

    def summarise(self, run: Path) -> None:
        """Leave the fitted model in the run, where it is this evaluation's."""
        if self.limits is None:                             # the evaluation was on record already
            if (run / MEMORY).is_file():
                return
            with torch.no_grad():
                self.limits = fitted(self.model.eval(), self.learned, self.held_out, self.config, self.device)
        limits = {**vars(self.limits), "scores": list(self.limits.scores)}
        self.model.save(run / MEMORY, **limits)
        self.limits = None

    @classmethod
    def apply(cls, run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
              on: torch.device) -> dict[str, float]:
        """See detect.anomaly_apply."""
        return apply(run, inputs, output, overrides, on)

    @classmethod
    def export(cls, run: Path, output: Path, overrides: Sequence[str], images: Path | None) -> dict[str, object]:
        """See detect.anomaly_export."""
        return export(run, output, overrides, images)

    def _phase(self, name: str, module: nn.Module) -> Phase:
        train = self.config.train
        optimizer = optim.AdamW([p for p in module.parameters() if p.requires_grad], train.learning_rate,
                                weight_decay=train.weight_decay)
        rate = warmup(cosine(train.learning_rate, self.config.loop.steps), train.warmup_steps)
        return Phase(name=name, optimizer=optimizer, learning_rate=rate)
