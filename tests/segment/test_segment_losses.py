"""The segmenter's losses against sums by hand; what is ignored has no gradient; a clean image costs what it should."""
import math

import pytest
import torch

from segment.losses import IGNORE, balanced, dice_loss, is_of_class, losses, probabilities

NAMES = ("ce", "bce", "focal", "dice", "ce+dice", "bce+dice", "focal+dice")


@pytest.fixture
def logits():
    return torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def target():
    values = torch.randint(0, 4, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    values[0, 0] = IGNORE
    return values


def total(name, logits, target, **options):
    return sum(losses(name, logits, target, **options).values())


def test_balanced_weights_grow_with_rarity():
    target = torch.zeros(1, 10, 100, dtype=torch.int64)
    target[0, 0], target[0, 1, :1], target[0, 2] = 1, 2, IGNORE
    weights = balanced(target, 4)
    assert weights.tolist() == pytest.approx([1, (799 / 100) ** 0.25, 5, 5])
    logits = torch.randn(1, 4, 10, 100)
    by_hand = total("ce", logits, target, class_weights=weights.tolist())
    assert total("ce", logits, target, class_weights="balanced") == by_hand
    assert total("bce", logits[:, :1], (target == 1).long(), class_weights="balanced").isfinite()


def test_cross_entropy_is_the_weighted_mean_over_pixels_that_count(logits, target):
    weights, p = (0.5, 1.0, 2.0, 4.0), logits.softmax(1)
    sums = [0.0, 0.0]
    for n, y, x in (target != IGNORE).nonzero().tolist():
        wanted = target[n, y, x]
        sums[0] -= weights[wanted] * math.log(p[n, wanted, y, x])
        sums[1] += weights[wanted]
    assert total("ce", logits, target, class_weights=weights).item() == pytest.approx(sums[0] / sums[1], rel=1e-5)


def test_binary_cross_entropy_weighs_both_sides(logits, target):
    one, truth = logits[:, :1], target.clamp(max=1).masked_fill(target == IGNORE, IGNORE)
    p, sums = one[:, 0].sigmoid(), [0.0, 0.0]
    for n, y, x in (truth != IGNORE).nonzero().tolist():
        weight, chance = (3.0, p[n, y, x]) if truth[n, y, x] else (1.0, 1 - p[n, y, x])
        sums[0] -= weight * math.log(chance)
        sums[1] += weight
    assert total("bce", one, truth, class_weights=(1.0, 3.0)).item() == pytest.approx(sums[0] / sums[1], rel=1e-5)


def test_focal_without_gamma_is_cross_entropy_and_easy_pixels_count_less_with_it(logits, target):
    assert total("focal", logits, target, focal_gamma=0.0).item() == pytest.approx(total("ce", logits, target).item())
    sure = torch.full((1, 2, 1, 1), 0.0)
    sure[0, 1] = 2.0
    truth = torch.ones(1, 1, 1, dtype=torch.int64)
    p = sure.softmax(1)[0, 1].item()
    assert total("focal", sure, truth).item() == pytest.approx(-(1 - p) ** 2 * math.log(p), rel=1e-5)


def test_dice_is_by_class_over_the_classes_present(logits):
    target = torch.zeros(2, 5, 6, dtype=torch.int64)
    target[0, :2], target[1, 3] = 1, 3                    # class 2 does not occur
    p, ratios = logits.softmax(1), []
    for number in (1, 3):
        truth = target == number
        ratios.append((2 * p[:, number][truth].sum() + 1) / (p[:, number].sum() + truth.sum() + 1))
    assert dice_loss(logits, target).item() == pytest.approx(1 - torch.stack(ratios).mean().item(), rel=1e-5)
    assert dice_loss(logits, target, background=True) != dice_loss(logits, target)


def test_dice_of_a_right_answer_is_0_and_a_false_alarm_on_clean_images_costs():
    clean = torch.zeros(1, 8, 8, dtype=torch.int64)
    silent, loud = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    silent[:, 0], loud[:, 2] = 40, 40
    assert dice_loss(silent, clean).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(loud, clean).item() > 0.4
    assert dice_loss(silent[:, :1] - 80, clean).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_ignored_has_no_gradient_and_all_ignored_is_0(name, logits, target):
    given = (logits[:, :1] if "bce" in name else logits).clone().requires_grad_(True)
    target = target.clamp(max=1).masked_fill(target == IGNORE, IGNORE) if "bce" in name else target
    total(name, given, target).backward()
    assert (given.grad[0, :, 0] == 0).all()
    assert given.grad.abs().sum() > 0
    nothing = total(name.split("+")[0], given, torch.full_like(target, IGNORE))
    assert nothing.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_costs_what_its_pixels_do_whatever_their_order(name, logits, target):
    given = logits[:, :1] if "bce" in name else logits
    target = target.clamp(max=1).masked_fill(target == IGNORE, IGNORE) if "bce" in name else target
    turned = total(name, given.flip(0), target.flip(0))
    assert turned.item() == pytest.approx(total(name, given, target).item(), rel=1e-5)


def test_smoothing_and_dice_weight(logits, target):
    assert total("ce", logits, target, label_smoothing=0.1) != total("ce", logits, target)
    both = losses("ce+dice", logits, target, dice_weight=3.0)
    assert both["dice"].item() == pytest.approx(3 * dice_loss(logits, target).item())
    with pytest.raises(ValueError, match="no such loss, got 'dicee'"):
        losses("dicee", logits, target)


def test_probabilities_sum_to_1_and_one_hot_leaves_ignored_empty(logits, target):
    assert torch.allclose(probabilities(logits).sum(1), torch.ones(2, 5, 6))
    assert (is_of_class(target, 4).sum(1) == (target != IGNORE)).all()
    assert (is_of_class(target.clamp(max=1), 1)[:, 0] == (target.clamp(max=1) == 1)).all()
