"""Judges of generated defects, trained on real ones: which class is it, and which pixels are the defect?

    judges = trained_judges(real)
    judges.figures(made)
"""
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from core.augment.pipeline import augment
from core.augment.settings import AugmentConfig, MidgSettings
from core.data import formats, images, shapes
from core.data.records import Dataset
from core.schedules import cosine
from core.seeding import rng
from core.synthetic.write import Recipe, make_set

from .data import cut, grown
from .rim_figures import FIGURES, rim_figures

SIDE_PX = 64
STEPS, BATCH, RATE = 400, 16, 2e-3
CLASSIFIER_STEPS, CLASSIFIER_BATCH, CLASSIFIER_RATE = 5, 64, 3e-3      # small ones, for each of the segmenter's
OWN_PX = 5                      # a change this near to a label is its defect's; the others in a window are taken back
HELD_OUT = 5                    # every fifth picture is kept from the judges, to judge them by


def boards(folder: Path, learnt: int = 60, known: int = 400, count: int = 80, steps: int = 1600,
           ) -> Iterator[tuple[str, str, str]]:
    """Rows of scripts/bench.py, on made circuit boards: `learnt` and `known` images that the generator and the judges
    learn from, `count` to be judged. What is made and learnt stays in `folder`: after a kill the same call goes on."""
    for seed, (part, images_made) in enumerate({"learnt": learnt, "known": known}.items()):
        make_set(Recipe(kind="pcb", count=images_made, seed=seed, good_share=0.3, options={}, size=(256, 256)),
                 folder / part, ["coco"], workers=1)
    real = formats.read(folder / "known")
    judges = kept_judges(folder / "judges.pt", real)
    yield from rows("real, held out", judges.figures(real, held_out), "", "")
    for method, reaches in (("midg", ("reach >= 85 %", "reach >= 0.80")), ("copypaste", ("", ""))):
        made = augment(AugmentConfig(data=folder / "learnt", output=folder / method, count=count, method=method,
                                     midg=MidgSettings(steps=steps, checkpoints=folder / "models")))
        yield from rows(f"{method}, {sum(len(record.instances) for record in made.dataset.records)} defects",
                        judges.figures(made.dataset), *reaches)


def kept_judges(path: Path, real: Dataset) -> "Judges":
    """Judges that are taken from a file, or learn from a set and are written to it."""
    if path.is_file():
        judges = Judges(real.classes, Classifier(len(real.classes)).eval(), Segmenter().eval())
        for network, weights in zip((judges.classifier, judges.segmenter), torch.load(path, weights_only=True)):
            network.load_state_dict(weights)
        return judges
    judges, content = trained_judges(real), io.BytesIO()
    torch.save([judges.classifier.state_dict(), judges.segmenter.state_dict()], content)
    images.write_bytes(path, content.getvalue())
    return judges


def rows(name: str, figures: dict[str, float], class_reach: str, iou_reach: str) -> list[tuple[str, str, str]]:
    by_class = ", ".join(f"{key[6:]} {value:.0%}" for key, value in figures.items() if key.startswith("class/"))
    return [(f"synthetic pcb, {name}: class named by a classifier", f"{figures['class']:.1%}",
             f"{class_reach}  {by_class}".strip()),
            (f"synthetic pcb, {name}: label IoU with a segmenter's, median", f"{figures['iou']:.3f}", iou_reach)]


@dataclass(frozen=True)
class Crops:
    """Windows round defects: image and defect-free twin float32 [N, 3, S, S], mask bool [N, S, S], class int64 [N]."""
    image: Tensor
    clean: Tensor
    mask: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def part(self, chosen) -> "Crops":
        return Crops(self.image[chosen], self.clean[chosen], self.mask[chosen], self.label[chosen])


@dataclass(frozen=True)
class Judges:
    """A classifier and a segmenter of windows with one defect; both see the window's defect-free twin too."""
    classes: tuple[str, ...]
    classifier: nn.Module
    segmenter: nn.Module

    def figures(self, dataset: Dataset, wanted=lambda number: True) -> dict[str, float]:
        """What they find in a set whose records have twins, 0..1: "class" is the share of defects whose label the
        classifier names, "class/NAME" that of one class, "iou" the median IoU of the label with the segmenter's."""
        crops = crops_of(dataset, self.classes, wanted)
        right = self.names(crops) == crops.label
        seen = answers(self.segmenter, pair(crops))[:, 0] > 0
        overlap = (seen & crops.mask).sum((1, 2)) / (seen | crops.mask).sum((1, 2)).clamp(min=1)
        by_class = {f"class/{label}": float(right[crops.label == number].float().mean())
                    for number, label in enumerate(self.classes) if (crops.label == number).any()}
        return {"class": float(right.float().mean()), "iou": float(overlap.median()), **by_class}

    def names(self, crops: Crops) -> Tensor:
        """int64 [N]: the classes that the classifier sees."""
        return answers(self.classifier, table(crops)).argmax(1)


def trained_judges(real: Dataset, steps: int = STEPS) -> Judges:
    """Judges that have learnt from four fifths of a set's defective images; `held_out` tells the others."""
    known = crops_of(real, real.classes, lambda number: not held_out(number))
    torch.manual_seed(0)
    classifier = Classifier(len(real.classes)).learn(table(known), known.label, CLASSIFIER_STEPS * steps)
    return Judges(real.classes, classifier, trained(Segmenter(), known, mask_loss, steps))


def held_out(number: int) -> bool:
    """Whether a record of this number, among those with defects, is kept from the judges, to judge them by."""
    return number % HELD_OUT == 0


class Classifier(nn.Module):
    """float32 [N, FIGURES] of `rim_figures` -> class scores [N, K]: what tells an open from a bite, and a spur from a
    short or an island, is where its rim meets which material, which a few hundred pictures do not teach a network."""

    def __init__(self, classes: int, width: int = 48):
        super().__init__()
        self.register_buffer("mean", torch.zeros(FIGURES))
        self.register_buffer("spread", torch.ones(FIGURES))
        self.layers = nn.Sequential(nn.Linear(FIGURES, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, width),
                                    nn.ReLU(), nn.Linear(width, classes))

    def forward(self, figures: Tensor) -> Tensor:
        return self.layers((figures - self.mean) / self.spread)

    def learn(self, figures: Tensor, label: Tensor, steps: int) -> "Classifier":
        self.mean, self.spread = figures.mean(0), figures.std(0) + 1e-3
        optimizer, draw = optim.AdamW(self.parameters(), lr=CLASSIFIER_RATE, weight_decay=0.05), rng(1)
        for _ in range(steps):
            chosen = torch.from_numpy(draw.integers(0, len(label), CLASSIFIER_BATCH))
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self(figures[chosen]), label[chosen]).backward()
            optimizer.step()
        return self.eval()


class Segmenter(nn.Sequential):
    """What `pair` makes of windows [N, 9, S, S] -> logits [N, 1, S, S] of the defect's pixels."""

    def __init__(self, width: int = 20):
        super().__init__(*block(9, width), *block(width, width), *block(width, width, 2), *block(width, width, 4),
                         *block(width, width), nn.Conv2d(width, 1, 1))


def block(inner: int, outer: int, dilation: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True)]


def table(crops: Crops) -> Tensor:
    """float32 [N, FIGURES]: what the classifier knows of each window."""
    planes = (tensor.permute(0, 2, 3, 1).numpy() for tensor in (crops.clean, crops.image))
    return torch.from_numpy(np.stack([rim_figures(clean, image) for clean, image in zip(*planes)]))


def pair(crops: Crops) -> Tensor:
    """Image, twin and their difference, as one picture [N, 9, S, S]."""
    return torch.cat([crops.image - 0.4, crops.clean - 0.4, 4 * (crops.image - crops.clean)], 1)


def mask_loss(network: nn.Module, crops: Crops) -> Tensor:
    logits, mask = network(pair(crops))[:, 0], crops.mask.float()
    chance = logits.sigmoid()
    dice = 1 - (2 * (chance * mask).sum((1, 2)) + 1) / (chance.sum((1, 2)) + mask.sum((1, 2)) + 1)
    return dice.mean() + F.binary_cross_entropy_with_logits(logits, mask)


def trained(network: nn.Module, crops: Crops, loss, steps: int) -> nn.Module:
    """The network after learning from the crops, mirrored and turned at random: a function of the crops."""
    optimizer, rate = optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01), cosine(RATE, steps)
    network.train()
    for step in range(steps):
        draw = rng(0, step)
        batch = turned(crops.part(torch.from_numpy(draw.integers(0, len(crops), BATCH))), int(draw.integers(8)))
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss(network, batch).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def answers(network: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([network(part) for part in inputs.split(BATCH)])


def turned(crops: Crops, turn: int) -> Crops:
    planes = (torch.rot90(plane.flip(-1) if turn >= 4 else plane, turn % 4, (-2, -1))
              for plane in (crops.image, crops.clean, crops.mask))
    return Crops(*planes, crops.label)


def crops_of(dataset: Dataset, classes: Sequence[str], wanted=lambda number: True) -> Crops:
    """A window round each defect of the records whose number is wanted, without the other defects in it."""
    found = []
    for number, record in enumerate(dataset.defective):
        if not wanted(number):
            continue
        image, clean = images.read_image(record.image), images.read_image(record.clean)
        for item in record.instances:
            mask = shapes.instance_mask(item, record.size)
            alone = np.where(grown(mask, OWN_PX)[..., None], image, clean)
            x, y = (min(max(round((item.box[axis] + item.box[axis + 2] - SIDE_PX) / 2), 0),
                        max(record.size[axis] - SIDE_PX, 0)) for axis in (0, 1))        # a mirrored defect would be two
            window = (x, y, x + SIDE_PX, y + SIDE_PX)
            found.append((images.to_tensor(cut(alone, window, 1)), images.to_tensor(cut(clean, window, 1)),
                          torch.from_numpy(cut(mask, window, 1, mask=True)), classes.index(item.label)))
    image, clean, mask, label = zip(*found)
    return Crops(torch.stack(image), torch.stack(clean), torch.stack(mask), torch.tensor(label))
