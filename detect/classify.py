"""The patch classifier as a task of the training loop: good or defective, calibrated, with a heat map."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional
from torchvision.models import get_weight

from core.data import splits
from core.data.images import read_image, write_bytes, write_image
from core.data.records import Record
from core.data.shapes import instance_mask
from core.ema import Average
from core.errors import ConfigError, DataError
from core.experiment import tell
from core.metrics import calibration
from core.schedules import cosine, warmup
from core.task import Phase
from core.visualise import grid, overlay, shown, white_point
from core.weight_files import read_weights

from . import classify_networks
from .classify_apply import apply
from .classify_settings import ClassifierConfig, ClassifyConfig, ClassifyOptimConfig
from .data import LEAST_PX, Windows, defect_mask, examples, open_data
from .history import image_figures, read_kept, write_history
from .networks import parameters_by_decay
from .patches import Judged, PatchJudge, heated, scaled
from .score_picture import score_picture

SPLITS, FIGURES = "splits.json", "figures.json"
PUBLISHED = {"resnet18": "ResNet18_Weights.IMAGENET1K_V1", "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
             "efficientnet_b0": "EfficientNet_B0_Weights.IMAGENET1K_V1",
             "efficientnet_b4": "EfficientNet_B4_Weights.IMAGENET1K_V1"}


class Patches(Windows):
    """Training samples: an image float32 [3, P, P] in 0..1, and 1.0 where a defect is in it, else 0.0."""

    def __getitem__(self, index_and_draw: tuple[int, int]) -> tuple[Tensor, float]:
        image, target = super().__getitem__(index_and_draw)
        height, width = image.shape[1:]
        side = self.config.crop_px
        padded = functional.pad(image[None], (0, side - width, 0, side - height), mode="replicate")[0]
        return padded, float(len(target["boxes"]) > 0)

    @staticmethod
    def collate(samples: list[tuple[Tensor, float]]) -> tuple[Tensor, Tensor]:
        return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


class ClassifyTask:
    """Model 10. `run` keeps the splits, and the temperature and the threshold of the best evaluation."""
    Config = ClassifyConfig

    def __init__(self, config: ClassifyConfig, device: torch.device, run: Path | None = None, keep: bool = True):
        self.config, self.device, self.watch, self.run = config, device, config.watch, run
        dataset, found = open_data(config.data, None if run is None else run / SPLITS, shapes=False)
        self.train_data = Patches(dataset.of_split("train"), dataset.classes, config.data, config.augment,
                                  config.loop.seed)
        if config.data.good_share and not self.train_data.good:
            raise DataError(f"{config.data.root}: no good image to learn from, got {len(dataset.defective)} defective "
                            "ones. Add some, or set data.unlabelled to good where images without a label file are")
        self.held_out = dataset.of_split(config.data.evaluate_on)
        if not self.held_out:
            raise DataError(f"{config.data.root}: no image to evaluate on, got none in '{config.data.evaluate_on}'. "
                            "Raise its share in data.ratios, or label more parts")
        if keep and not any(item for record in self.held_out for item in record.instances if not item.ignore):
            tell([f"note: no defect in {config.data.evaluate_on}: no threshold is chosen there and threshold.value "
                  f"{config.threshold.value:g} counts. Label defects on more parts, or raise its share"])
        self.network = build(config.network).to(device)
        self.modules: dict[str, nn.Module] = {"network": self.network}
        self.averages: dict[str, Average] = {}
        self.phases = (Phase(name="network", optimizer=optimizer_of(self.network, config.optim),
                             learning_rate=warmup(cosine(config.optim.learning_rate, config.loop.steps),
                                                  config.optim.warmup_steps)),)
        if run is not None and keep:
            splits.save(run / SPLITS, found)

    def losses(self, phase: str, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, truth = batch
        logits, _ = self.network(scaled(images, self.config.network.side_px))
        return {"cross_entropy": functional.binary_cross_entropy_with_logits(logits, truth)}

    def evaluate(self, folder: Path) -> dict[str, float]:
        """patch/NAME of all patches of the held-out images, and image/NAME where an image is as bad as its worst one.

        On val the temperature and the threshold are chosen; on test those of the best evaluation on val are used.
        All figures, with intervals, go into figures.json.
        """
        on = self.config.data.evaluate_on
        judge = PatchJudge(self.network, self.config, 1.0, self.device)
        logits, truth, scores, panels = [], [], [], []
        pictured = {record.name for record in examples(self.held_out, self.config.panels)}
        for record in self.held_out:
            pixels = read_image(record.image)
            judged = judge(pixels)
            logits += judged.logits.tolist()
            truth += defective(record, judged)
            scores.append(max(judged.logits.tolist(), default=-100.0))
            if record.name in pictured:
                panels.append((record, pixels, judged))
        warmth = calibration.temperature(logits, truth) if on == "val" else read_kept(self.run, "temperature", 1.0)
        calm = np.array(logits) / warmth
        patch = {"patch/temperature": warmth, "patch/nll": calibration.log_loss(calm, truth),
                 "patch/nll_raw": calibration.log_loss(logits, truth),
                 "patch/calibration_error": calibration.calibration_error(calibration.chance(calm), truth),
                 "patch/calibration_error_raw": calibration.calibration_error(
                     calibration.chance(np.array(logits)), truth),
                 "patch/accuracy": float(np.mean((calm > 0) == np.array(truth)))}
        chances = calibration.chance(np.array(scores) / warmth)
        figures = patch | image_figures(self.held_out, chances, on, self.run, self.config.threshold)
        write_bytes(folder / FIGURES, (json.dumps(figures, indent=1) + "\n").encode())
        if "image/threshold" in figures:
            bad = [not record.is_good for record in self.held_out]
            write_image(folder / "scores.png", score_picture(chances, bad, figures["image/threshold"]))
        for record, pixels, judged in panels:
            write_image(folder / f"{record.name.replace('/', '_')}.png", panel(record, pixels, judged))
        return {name: value for name, value in figures.items() if not name.endswith(("_low", "_high"))}

    def summarise(self, run: Path) -> None:
        write_history(run, self.watch)

    @classmethod
    def samples(cls, config: ClassifyConfig) -> int:
        """Samples of one epoch: each defective training image once, and the good ones beside them."""
        dataset, _ = open_data(config.data, shapes=False)
        return len(Windows(dataset.of_split("train"), dataset.classes, config.data, config.augment, 0))

    @classmethod
    def apply(cls, run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
              on: torch.device) -> dict[str, float]:
        """See detect.classify_apply."""
        return apply(run, inputs, output, overrides, on)


def build(config: ClassifierConfig) -> classify_networks.PatchClassifier:
    """The network of a config, with its weights. Raises ConfigError, CheckpointError."""
    if config.weights == "none":
        return classify_networks.build(config.name)
    state = (get_weight(PUBLISHED[config.name]).get_state_dict(check_hash=True) if config.weights == "download"
             else read_weights(Path(config.weights)))
    try:
        return classify_networks.build(config.name, state)
    except ValueError as error:
        raise ConfigError(f"network.weights: of another network than {config.name}, got {config.weights}: {error}"
                          ) from error


def optimizer_of(network: nn.Module, config: ClassifyOptimConfig) -> optim.Optimizer:
    decayed, plain = parameters_by_decay(network)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return optim.AdamW(groups, config.learning_rate)


def defective(record: Record, judged: Judged) -> list[bool]:
    """Whether a defect reaches into each patch by more than a few pixels."""
    mask = defect_mask(record)
    least = min(LEAST_PX, int(np.count_nonzero(mask)))
    return [least > 0 and int(np.count_nonzero(mask[y:y + height, x:x + width])) >= least
            for x, y, width, height in judged.windows]


def panel(record: Record, pixels: np.ndarray, judged: Judged) -> np.ndarray:
    """Truth beside the heat map."""
    image = shown(pixels, white_point([pixels]))
    true = overlay(image, [instance_mask(item, record.size) for item in record.instances], fill=0)
    return grid([[true, heated(image, judged.heat)]], column_labels=["truth", f"heat, chance {judged.chance:.3f}"])
