"""Losses of segmentation on logits, by name: cross entropy, focal, overlap (Dice) by class, and sums of them.

logits  float [N, K, H, W]; K = 1 is one class against the background, by sigmoid; else softmax with background first
target  int64 [N, H, W], 0..K-1 (0 or 1 where K = 1); IGNORE neither trains nor counts
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
MOST_WEIGHT = 5.0
SMOOTH = 1.0        # added to both parts of a Dice ratio: an absent class that is not predicted costs nothing


def losses(name: str, logits: Tensor, target: Tensor, *, class_weights: Sequence[float] | str | None = None,
           focal_gamma: float = 2.0, label_smoothing: float = 0.0, dice_weight: float = 1.0,
           dice_background: bool = False) -> dict[str, Tensor]:
    """The parts of the loss `name`, such as "ce+dice", by their names; their sum is to be minimised."""
    if class_weights == "balanced":
        weights = balanced(target, max(2, logits.shape[1]))
    else:
        weights = None if class_weights is None else logits.new_tensor(class_weights)
    parts = {}
    for part in name.split("+"):
        if part == "dice":
            parts[part] = dice_weight * dice_loss(logits, target, background=dice_background)
        elif part == "focal":
            parts[part] = focal(logits, target, focal_gamma, weights)
        elif part == "bce":
            parts[part] = binary_cross_entropy(logits, target, weights, label_smoothing)
        elif part == "ce":
            parts[part] = cross_entropy(logits, target, weights, label_smoothing)
        else:
            raise ValueError(f"no such loss, got '{part}'. Sums of ce, bce, focal, dice")
    return parts


def balanced(target: Tensor, classes: int) -> Tensor:
    """Weights float32 [classes] by how rare each is in the batch: 1 for the most frequent, MOST_WEIGHT at most.

    The fourth root: a class of few px is heard, and one that is merely smaller than the background not seen everywhere.
    """
    counts = counted_px(target, classes)
    return (counts.max() / counts.clamp(min=1)).pow(0.25).clamp(min=1, max=MOST_WEIGHT)


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Mean of -log p of the true class over the pixels that count, each weighted by its class; 0 where none counts."""
    total = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
    return total / _mass(target, weights, logits.shape[1])


def binary_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None,
                         smoothing: float = 0.0) -> Tensor:
    """The same for K = 1; `weights` are of background and class."""
    counted = target != IGNORE
    wanted = (target == 1).float() * (1 - smoothing) + smoothing / 2
    each = F.binary_cross_entropy_with_logits(logits[:, 0].float(), wanted, reduction="none")
    return torch.where(counted, each * _pixel_weights(target, weights), 0.0).sum() / _mass(target, weights, 2)


def focal(logits: Tensor, target: Tensor, gamma: float, weights: Tensor | None = None) -> Tensor:
    """Cross entropy times (1 - p of the true class) ** gamma (Lin et al. 2017, equation 4)."""
    log_p = log_probability_of_truth(logits, target)
    each = -log_p * (1 - log_p.exp()).clamp(min=0) ** gamma * _pixel_weights(target, weights)
    return torch.where(target != IGNORE, each, 0.0).sum() / _mass(target, weights, max(2, logits.shape[1]))


def dice_loss(logits: Tensor, target: Tensor, *, background: bool = False) -> Tensor:
    """1 - Dice, over the batch's pixels for each class that occurs in the batch, then the mean over those classes.

    Where none occurs, all classes are asked for, so that predicting something on clean images still costs.
    """
    p, truth = probabilities(logits), is_of_class(target, logits.shape[1])
    if logits.shape[1] > 1 and not background:
        p, truth = p[:, 1:], truth[:, 1:]
    counted = (target != IGNORE)[:, None]
    if not bool(counted.all()):
        p = torch.where(counted, p, 0.0)
    overlap, area = torch.where(truth, p, 0.0).sum((0, 2, 3)), truth.sum((0, 2, 3)).float()
    by_class = 1 - (2 * overlap + SMOOTH) / (p.sum((0, 2, 3)) + area + SMOOTH)
    present = (area > 0).float() if bool((area > 0).any()) else torch.ones_like(area)
    return (by_class * present).sum() / present.sum()


def probabilities(logits: Tensor) -> Tensor:
    """float32 of the logits' shape: softmax over the classes, or sigmoid where there is one output."""
    return logits.float().sigmoid() if logits.shape[1] == 1 else logits.float().softmax(1)


def log_probability_of_truth(logits: Tensor, target: Tensor) -> Tensor:
    """float32 [N, H, W]: log p of the class that is there; of class 0 where the pixel is to be ignored."""
    known = target.masked_fill(target == IGNORE, 0)
    if logits.shape[1] == 1:
        one = logits[:, 0].float()
        return torch.where(known == 1, F.logsigmoid(one), F.logsigmoid(-one))
    return logits.float().log_softmax(1).gather(1, known[:, None])[:, 0]


def is_of_class(target: Tensor, outputs: int) -> Tensor:
    """bool [N, K, H, W] of a target; of no class where the pixel is to be ignored."""
    numbers = torch.arange(outputs, device=target.device) if outputs > 1 else torch.ones(1, device=target.device)
    return target.to(torch.uint8)[:, None] == numbers[None, :, None, None].to(torch.uint8)


def counted_px(target: Tensor, classes: int) -> Tensor:
    """float32 [classes]: how many pixels are of each; those to be ignored are left out."""
    return torch.bincount(target.flatten(), minlength=IGNORE + 1)[:classes].float()


def _pixel_weights(target: Tensor, weights: Tensor | None) -> Tensor:
    known = target.masked_fill(target == IGNORE, 0)
    return torch.ones_like(target, dtype=torch.float32) if weights is None else weights.float()[known]


def _mass(target: Tensor, weights: Tensor | None, classes: int) -> Tensor:
    counts = counted_px(target, classes)
    return (counts if weights is None else counts * weights.float()).sum().clamp(min=1e-6)
