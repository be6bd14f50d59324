"""Judges of generated defects, trained on real ones: which class is it, and which pixels are the defect?

Parts of scripts/bench.py: `judged(real, made)` returns the figures.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from core.data import images, shapes
from core.data.records import Dataset
from core.schedules import cosine
from core.seeding import rng

from .data import cut
from .networks import UNet

SIDE_PX = 64
STEPS, BATCH, RATE = 500, 16, 2e-3
HELD_OUT = 5                    # every fifth picture is kept from the judges, to judge them by


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


def judged(real: Dataset, made: Dataset) -> dict[str, float]:
    """Train both judges on the real defects, and have them judge held-out real ones and the made ones.

    Every record with a defect needs its twin. Figures 0..1: "class_real", "class_made" (share of right answers),
    "iou_real", "iou_made" (median IoU of what the segmenter sees with the label), and "class_made/NAME" by class.
    """
    known, held = crops_of(real, real.classes, lambda i: i % HELD_OUT), crops_of(
        real, real.classes, lambda i: not i % HELD_OUT)
    new = crops_of(made, real.classes)
    classifier = trained(Classifier(len(real.classes)), known, lambda network, crops: F.cross_entropy(
        network(crops.image), crops.label))
    segmenter = trained(Segmenter(), known, mask_loss)
    figures = {}
    for name, crops in (("real", held), ("made", new)):
        right = answers(classifier, crops.image).argmax(1) == crops.label
        figures[f"class_{name}"] = float(right.float().mean())
        for number, label in enumerate(real.classes):
            if (crops.label == number).any():
                figures[f"class_{name}/{label}"] = float(right[crops.label == number].float().mean())
        seen = answers(segmenter, torch.cat([crops.image, crops.clean], 1))[:, 0] > 0
        overlap = (seen & crops.mask).sum((1, 2)) / (seen | crops.mask).sum((1, 2)).clamp(min=1)
        figures[f"iou_{name}"] = float(overlap.median())
    return figures


class Classifier(nn.Sequential):
    """Windows [N, 3, S, S] -> class scores [N, K]."""

    def __init__(self, classes: int, width: int = 16):
        layers, inner = [], 3
        for outer in (width, 2 * width, 4 * width, 4 * width):
            layers += [nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True),
                       nn.MaxPool2d(2)]
            inner = outer
        super().__init__(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(inner * (SIDE_PX // 16) ** 2, classes))


class Segmenter(UNet):
    """Image and twin [N, 6, S, S] -> logits [N, 1, S, S] of the defect's pixels."""

    def __init__(self):
        super().__init__(6, 1, 8, spectral=False, classes=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.paint(x, None)


def mask_loss(network: nn.Module, crops: Crops) -> Tensor:
    logits, mask = network(torch.cat([crops.image, crops.clean], 1))[:, 0], crops.mask.float()
    chance = logits.sigmoid()
    dice = 1 - (2 * (chance * mask).sum((1, 2)) + 1) / (chance.sum((1, 2)) + mask.sum((1, 2)) + 1)
    return dice.mean() + F.binary_cross_entropy_with_logits(logits, mask)


def trained(network: nn.Module, crops: Crops, loss, steps: int = STEPS) -> nn.Module:
    """The network after learning from the crops, mirrored and turned at random."""
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
    """A window round each defect of the records whose number is wanted; its mask is that of all defects in it."""
    found = []
    for number, record in enumerate(dataset.defective):
        if not wanted(number):
            continue
        image, clean = images.read_image(record.image), images.read_image(record.clean)
        mask = np.zeros(image.shape[:2], bool)
        for item in record.instances:
            mask |= shapes.instance_mask(item, record.size)
        for item in record.instances:
            x, y = (round((item.box[axis] + item.box[axis + 2] - SIDE_PX) / 2) for axis in (0, 1))
            window = (x, y, x + SIDE_PX, y + SIDE_PX)
            found.append((images.to_tensor(cut(image, window, 1)), images.to_tensor(cut(clean, window, 1)),
                          torch.from_numpy(cut(mask, window, 1, mask=True)), classes.index(item.label)))
    image, clean, mask, label = zip(*found)
    return Crops(torch.stack(image), torch.stack(clean), torch.stack(mask), torch.tensor(label))
