"""`--method midg`: models 1 and 3, trained on the labelled set or at hand already, draw new defects."""
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core import checkpoint
from core import config as configs
from core.augment import compose
from core.augment.bank import Crop, DefectBank
from core.augment.blending import two_level
from core.augment.copypaste import CopyPaste
from core.augment.fitting import laid
from core.augment.generator import Generated, Request
from core.augment.settings import MidgSettings
from core.data import shapes
from core.data.records import Dataset, Instance, Record
from core.device import choose
from core.errors import ConfigError, Stopped
from core.loop import train
from core.runlog import open_run
from core.seeding import seed_step
from core.task import LoopConfig

from .data import boxed, grown
from .infer import Painter
from .networks import SIZE_STEP_PX
from .outlines import deformed
from .settings import (
    DataConfig,
    DefectConfig,
    DefectNetworkConfig,
    EdgeConfig,
    EdgeLossConfig,
    EdgeNetworkConfig,
    ModelConfig,
    OptimizerConfig,
    SheetConfig,
)
from .task import DefectTask, EdgeTask

FOLDER = "models"                   # of the run's output, where models are trained that are not at hand
TASKS = {"midg-edge": EdgeTask, "midg-defect": DefectTask}
LEAST_WINDOW_PX, LARGEST_WINDOW_PX = 64, 128
SIGMAS_PX = 1.0, 3.0                # least and most of Canny's Gaussian
FINE = 12                           # a defect is looked at with a Gaussian of about a twelfth of its size
SAVES = 10                          # checkpoints of a training, so that a kill costs no more than a tenth of it
LEARNING_RATE = 1e-3                # falls to 0 over the run: a short one needs larger steps than the published rate
COLOURFUL = 1.3                     # the strongest channel over the mean of the three
MIXED = 0.25                        # parts come in several colours where another one than the first has this share
ALIKE, FEWEST_ALIKE = 0.12, 0.1     # distance of two tints; share of the training defects whose part has the same
EDGE_LOSS = EdgeLossConfig(adversarial=0, feature_matching=0)       # a judge of edges needs more steps than it is worth
MARGIN_PX = 3, 3                    # of the masks round a shape: always the same, or the networks must guess the rim


@dataclass
class MidgGenerator:
    """A DefectGenerator that paints defects with trained networks.

    donors  lends the shapes of real defects, and says where they fit; none of their pixels are used
    """
    painter: Painter
    donors: CopyPaste
    name: str = "midg"
    copies: bool = False
    window_px: int = LEAST_WINDOW_PX

    @classmethod
    def build(cls, dataset: Dataset, bank: DefectBank, output: Path, settings: MidgSettings | None = None,
              ) -> "MidgGenerator":
        """Train what is not trained yet, below `output` or in `settings.checkpoints`; use what is.

        ConfigError: trained models are of other classes. Stopped: a signal came; the same call goes on with training.
        """
        settings = settings or MidgSettings()
        folder = settings.checkpoints or output / FOLDER
        for number, name in enumerate(TASKS):
            train_model(name, folder, dataset, bank, settings, f"model {number + 1} of {len(TASKS)}")
        painter = Painter.load(folder)
        for label in bank.labels:
            if label not in painter.classes:
                raise ConfigError(f"{folder}: its models have not learnt class '{label}', got "
                                  f"{', '.join(painter.classes)}. Give an experiment trained on these classes")
        return cls(painter, CopyPaste(bank), window_px=painter.data.size_px)

    def generate(self, request: Request) -> Generated:
        window = np.ascontiguousarray(request.image.numpy().transpose(1, 2, 0))
        fit, drawing = None, None
        if request.mask is not None:
            shape = drawing = request.mask.numpy().astype(bool)
        else:
            fit = self.donors.choose(window, request.box, request.label, request.rng)
            shape = deformed(donor_shape(fit, window.shape, request.box), request.rng)
        hole = self._hole(shape, request.rng)
        painted = self.painter.paint(request.image, hole, request.label, request.rng, drawing=drawing)
        image, alpha = painted.image, torch.from_numpy(painted.alpha)
        if two_level(window):                               # a scan in black and white has no grey but at its rims
            image, alpha = (image.mean(0, keepdim=True) > 0.5).float().expand(3, -1, -1), (alpha > 0).float()
        misfit = None if fit is None else fit.strangeness if self._is_familiar(window, request.label) else 1.0
        return Generated(image=image, alpha=alpha, misfit=misfit)

    def _is_familiar(self, window: np.ndarray, label: str) -> bool:
        """Whether enough defects were learnt on parts of this colour: networks paint others in colours they know."""
        learnt = np.stack([tint(crop.clean) for crop in self.donors.bank.of(label)])
        return bool((np.linalg.norm(learnt - tint(window), axis=1) < ALIKE).mean() >= FEWEST_ALIKE)

    def _hole(self, shape: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Where to paint, as in training: the shape, or a rectangle round it, and a margin."""
        data = self.painter.data
        margin = int(draw.integers(data.margin_px[0], data.margin_px[1] + 1))
        margin = round(margin * max(1.0, max(shape.shape) / data.size_px))      # px of a window that is shrunk
        return boxed([compose.bounds(shape)], shape.shape, margin) if data.masks == "box" else grown(shape, margin)


def donor_shape(fit, shape: tuple[int, ...], box) -> np.ndarray:
    """bool [H, W]: the pixels that a real defect comes to lie on; its box where none is left."""
    mask = laid(fit, shape)[2] > 0.5
    return mask if mask.any() else boxed([box], shape[:2], 0)


def train_model(name: str, folder: Path, dataset: Dataset, bank: DefectBank, settings: MidgSettings, which: str,
                ) -> None:
    """Train a model to its end, unless that is done. A run that is there goes on with its own configuration."""
    run, task_type = folder / name, TASKS[name]
    if (run / "config.yaml").is_file():
        config = configs.load(task_type.Config, run / "config.yaml")
    else:
        config = model_config(name, bank, settings)
    paths = checkpoint.found(run)
    if paths and paths[-1] == checkpoint.path_of(run, config.loop.steps):
        return
    device = choose("auto")
    print(f"{name} ({which}) learns from {len(bank.crops)} defects in {run}", flush=True)
    own = None if config.data.root or config.data.lists else learned_from(dataset, bank)
    seed_step(config.loop.seed, 0)
    task = task_type(config, device, dataset=own, run=run)
    code = train(task, config.loop, open_run(run, config.model_dump(mode="json"), command=sys.argv), device=device)
    if code:
        raise Stopped(f"stopped while {name} was learning; the same command goes on", code - 128)


def model_config(name: str, bank: DefectBank, settings: MidgSettings) -> ModelConfig:
    """The configuration of a model that is trained here."""
    fast = choose("auto").type == "cuda"
    loop = LoopConfig(
        steps=settings.steps, batch_size=settings.batch_size, workers=2 if fast else 0,
        precision="bfloat16" if fast else "float32", save_every=max(1, settings.steps // SAVES),
        evaluate_every=settings.steps, report_every=max(1, settings.steps // (2 * SAVES)))
    shared = {
        "loop": loop, "data": data_config(bank, settings), "sheet": SheetConfig(samples=24),
        "optimizer": OptimizerConfig(learning_rate=LEARNING_RATE, decay_steps=settings.steps)}
    if name == "midg-edge":
        return EdgeConfig(network=EdgeNetworkConfig(width=settings.width), loss=EDGE_LOSS, **shared)
    return DefectConfig(network=DefectNetworkConfig(width=settings.width), **shared)


def data_config(bank: DefectBank, settings: MidgSettings) -> DataConfig:
    """Windows that nine tenths of the defects fit into without being shrunk, within limits."""
    longer = np.array([max(crop.size_px) for crop in bank.crops])
    wanted = 2 * (float(np.percentile(longer, 90)) + 2 * MARGIN_PX[1])
    side = int(np.clip(-(-wanted // SIZE_STEP_PX) * SIZE_STEP_PX, LEAST_WINDOW_PX, LARGEST_WINDOW_PX))
    sigma = float(np.clip(round(np.median(longer) / FINE, 1), *SIGMAS_PX))
    masks = "box" if all(crop.mask_from == "box" for crop in bank.crops) else "shape"
    return DataConfig(size_px=settings.size_px or side, classes=bank.labels, sigma=sigma, turns=all_turns(bank),
                      margin_px=MARGIN_PX, masks=masks, colours="permuted" if several_colours(bank) else "kept")


def all_turns(bank: DefectBank) -> bool:
    """Whether a picture of the set may be turned any way and still look like one."""
    return all(len(turns) == 8 for turns in bank.turns.values())


def several_colours(bank: DefectBank) -> bool:
    """Whether many parts are mostly red, others green or blue: a defect's colour is then learnt from what is round it.

    Not for the sake of a few: it takes several times as many steps until colours are right.
    """
    tints = np.stack([tint(crop.clean) for crop in bank.crops])
    main = [int(each.argmax()) if each.max() > COLOURFUL / 3 else -1 for each in tints]
    return len({channel for channel in set(main) - {-1} if main.count(channel) >= MIXED * len(main)}) > 1


def tint(pixels: np.ndarray) -> np.ndarray:
    """float64 [3]: shares of red, green and blue in a picture [H, W, 3]; black is grey."""
    mean = pixels.reshape(-1, 3).mean(0, dtype=np.float64) + 1e-6
    return mean / mean.sum()


def learned_from(dataset: Dataset, bank: DefectBank) -> Dataset:
    """The records that the bank was cut out of, for training alone; boxes become the shapes that it found in them."""
    crops: dict[str, list[Crop]] = {}
    for crop in bank.crops:
        crops.setdefault(crop.record, []).append(crop)
    records = tuple(shaped(record, crops[record.name]) for record in dataset.records if record.name in crops)
    return replace(dataset, records=records)


def shaped(record: Record, crops: Sequence[Crop]) -> Record:
    instances = tuple(item if item.has_shape else _shaped(item, record.size, crops) for item in record.instances)
    return replace(record, instances=instances, split="train")


def _shaped(item: Instance, size: tuple[int, int], crops: Sequence[Crop]) -> Instance:
    """The instance with the shape of the crop that was cut out for it; as it is, where there is none."""
    def overlap(crop: Crop) -> float:
        width, height = (min(item.box[axis + 2], crop.box[axis + 2]) - max(item.box[axis], crop.box[axis])
                         for axis in (0, 1))
        area = (crop.box[2] - crop.box[0]) * (crop.box[3] - crop.box[1])
        return width * height / area if crop.label == item.label and min(width, height) > 0 else 0.0
    best = max(crops, key=overlap)
    if overlap(best) < 0.9 or best.mask_from == "box":
        return item
    return shapes.crop_instance(best.mask, *best.origin, size, item.label, ignore=item.ignore)
