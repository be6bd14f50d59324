"""`--method midg`: models 1 and 3, trained on the labelled set or at hand already, draw new defects."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from core.augment import compose
from core.augment.bank import Crop, DefectBank
from core.augment.blending import in_black_and_white, two_level
from core.augment.copypaste import CopyPaste
from core.augment.fitting import Fit, laid
from core.augment.generator import Generated, Request
from core.augment.settings import MidgSettings
from core.augment.trained import Place, weights_hash
from core.data import shapes
from core.data.records import Dataset, Instance, Record
from core.device import choose
from core.errors import ConfigError
from core.experiment import tell
from core.task import LoopConfig

from .data import ALONE, boxed, grown
from .habits import Habits
from .infer import Painter
from .networks import SIZE_STEP_PX
from .outlines import deformed
from .pieces import in_one_piece
from .rims import trimmed
from .seats import seated
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
from .task import DefectTask, EdgeTask, MidgTask
from .tones import toned

# What the settings are called in a model's configuration.
KEYS = {"steps": "loop.steps", "width": "network.width", "size_px": "data.size_px", "batch_size": "loop.batch_size"}
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
MOVES = 10                          # tries to make a shape join, each up to half a px farther away
MARGIN_PX = 3, 3                    # of the masks round a shape: always the same, or the networks must guess the rim
LISTED_MARGIN_PX = 2, 6             # of the published rectangles


@dataclass
class MidgGenerator:
    """A DefectGenerator that paints defects with trained networks.

    donors  lends the shapes of real defects, and says where they fit; none of their pixels are used
    """
    painter: Painter
    donors: CopyPaste
    name: str = "midg"
    copies: bool = False
    models: str = ""
    window_px: int = LEAST_WINDOW_PX
    habits: Habits = Habits()

    @classmethod
    def build(cls, dataset: Dataset, bank: DefectBank, output: Path, settings: MidgSettings | None = None, *,
              device: str = "auto") -> "MidgGenerator":
        """Train what is not trained yet, below `output` or in `settings.checkpoints`; use what is, and say so.

        ConfigError: trained models are of other classes or settings. Stopped: a signal came; the same call goes on.
        """
        settings = settings or MidgSettings()
        place = Place.of("midg", settings, KEYS, bank, output)
        chosen = choose(device)
        if not place.own:
            tell(DefectTask.adopt(place.folder))        # weight files of the earlier code are models too
        wanted = {name: model_config(name, bank, settings, chosen) for name in TASKS}

        def task_of(name: str, config: ModelConfig, run: Path) -> MidgTask:
            own = None if config.data.root or config.data.lists else learned_from(dataset, bank)
            return TASKS[name](config, chosen, dataset=own, run=run)

        place.train(wanted, task_of, chosen)
        painter = named(Painter.load(place.folder, device), bank.labels)
        place.check_classes(painter.classes, bank.labels)
        return cls(painter, CopyPaste(bank), models=weights_hash(part[1] for part in painter.parts if part is not None),
                   window_px=painter.data.size_px, habits=Habits.of(bank.crops))

    def generate(self, request: Request) -> Generated:
        window = np.ascontiguousarray(request.image.numpy().transpose(1, 2, 0))
        fit, drawing = None, None
        if request.mask is not None:
            shape = drawing = request.mask.numpy().astype(bool)
        else:
            fit = self.donors.choose(window, request.box, request.label, request.rng)
            shape = self._shape(window, fit, request)
            drawing = shape if self.habits.is_filling(request.label) else None
        hole = self._hole(shape, request.rng)
        painted = self.painter.paint(request.image, hole, request.label, request.rng, drawing=drawing)
        paint, coloured, in_tone = painted.image.numpy().transpose(1, 2, 0), True, None
        if request.label in self.habits.tones:
            in_tone = toned(window, paint, shape, solid=drawing is not None,
                            joined=self.habits.is_joined(request.label))
            paint, coloured = (paint, False) if in_tone is None else (in_tone, True)
        alpha = trimmed(window, paint, painted.alpha)
        known = None
        if fit is not None and drawing is not None and not self.habits.is_joined(request.label):
            known, alpha = torch.from_numpy(shape), np.where(shape, painted.alpha, alpha)
        whole = True
        if fit is not None and known is None and max(shape.shape) > self.painter.data.size_px:
            known = torch.from_numpy(shape)                 # a large faint one comes in patches
            alpha, whole = in_one_piece(alpha)
        misfit = None
        if fit is not None:
            made = np.where(alpha[..., None] > 0, paint, window)
            fits = (whole and coloured and self.habits.sits(window, shape, request.label)
                    and self.habits.joins(window, made, alpha > 0.5, request.label)
                    and self.habits.is_seen(alpha > 0.5, request.label)
                    and self._is_familiar(window, request.label))
            misfit = fit.strangeness if fits else 1.0
        if painted.grain is not None and in_tone is None and not two_level(window):     # a tone has its grain already
            paint = (paint + painted.grain.numpy().transpose(1, 2, 0)).clip(0, 1)
        if two_level(window):                               # a scan in black and white has no grey but at its rims
            paint, alpha = in_black_and_white(paint), alpha > 0
        return Generated(image=torch.from_numpy(np.ascontiguousarray(paint.transpose(2, 0, 1), np.float32)),
                         alpha=torch.from_numpy(alpha.astype(np.float32)), misfit=misfit, shape=known)

    def _shape(self, window: np.ndarray, fit: Fit, request: Request) -> np.ndarray:
        """bool [H, W]: the real defect's shape, moved to where its class sits, deformed as far as the real ones differ,
        and moved a little more to where it joins what is there as its class does.

        Where no try does, it is taken undeformed: whether the painted one joins is for others to judge.
        """
        label, draw = request.label, request.rng
        seat = self.habits.seats.get(label)
        if seat is not None:                                # it has its size from what it sits on, and its own form
            fit = replace(fit, scale=(float(np.sqrt(np.prod(fit.scale))),) * 2)
        pixels, _, mask = laid(fit, window.shape)
        whole = mask > 0.5
        if not whole.any():
            whole = boxed([request.box], window.shape[:2], 0)
        if seat is not None:
            whole = seated(window, whole, seat, draw)
        colour = np.median(pixels[whole], axis=0)
        for reach in range(MOVES):
            place = moved(whole, draw.integers(-reach, reach + 1, 2) // 2) if label in self.habits.joints else whole
            shape = deformed(place, draw)
            made = np.where(shape[..., None], colour, window)
            if self.habits.suits(window, shape, label) and self.habits.joins(window, made, shape, label):
                return shape
        return whole

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


def named(painter: Painter, labels: tuple[str, ...]) -> Painter:
    """Networks that learnt from the earlier code's lists know one class, which has no name there: it is the set's only
    one. The lists' masks are rectangles a little larger than the defects, so such are made here too.

    ConfigError: the set has several.
    """
    if painter.classes == (ALONE,) and painter.data.fit == "whole":
        if len(labels) > 1:
            raise ConfigError(f"midg.checkpoints: these models draw one kind of defect, without a name, got a set with "
                              f"{', '.join(labels)}. Give a set of one class")
        painter.classes = labels
        painter.data = painter.data.model_copy(update={"masks": "box", "margin_px": LISTED_MARGIN_PX})
    return painter


def moved(mask: np.ndarray, by: np.ndarray) -> np.ndarray:
    """bool [H, W]: the mask moved by whole px (x, y); as it is, where that would take it out of the window."""
    x, y = (int(step) for step in by)
    result = cv2.warpAffine(mask.astype(np.uint8), np.float32([[1, 0, x], [0, 1, y]]), mask.shape[::-1],
                            flags=cv2.INTER_NEAREST) > 0
    return result if result.sum() == mask.sum() else mask


def model_config(name: str, bank: DefectBank, settings: MidgSettings, device: torch.device) -> ModelConfig:
    """The configuration of a model that is trained here."""
    fast = device.type == "cuda"
    loop = LoopConfig(
        steps=settings.steps, batch_size=settings.batch_size, workers=2 if fast else 0,
        precision="bfloat16" if fast else "float32", save_every=max(1, settings.steps // SAVES),
        evaluate_every=settings.steps, report_every=max(1, settings.steps // (2 * SAVES)))
    shared = {
        "loop": loop, "data": data_config(bank, settings), "sheet": SheetConfig(samples=24),
        "optimizer": OptimizerConfig(learning_rate=LEARNING_RATE, decay_steps=settings.steps)}
    if name == "midg-edge":
        return EdgeConfig(network=EdgeNetworkConfig(width=settings.width), loss=EDGE_LOSS, **shared)
    levels = {} if settings.attention else {"attention_levels": 0}
    return DefectConfig(network=DefectNetworkConfig(width=settings.width, **levels), **shared)


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
