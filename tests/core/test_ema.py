"""The running average follows its formula and leaves the source alone."""
import pytest
import torch
from torch import nn

from core.ema import Average


def test_a_weight_counts_half_after_the_half_life():
    source = nn.Linear(2, 2)
    nn.init.zeros_(source.weight)
    average = Average(source, half_life_steps=10, rampup=None)
    nn.init.ones_(source.weight)
    for step in range(1, 11):
        average.update(step)
    assert torch.allclose(average.module.weight, torch.full((2, 2), 0.5), atol=1e-6)
    assert torch.equal(source.weight, torch.ones(2, 2))


def test_rampup_forgets_the_first_weights():
    source = nn.Linear(2, 2)
    nn.init.zeros_(source.weight)
    average = Average(source, half_life_steps=1000, rampup=0.05)
    nn.init.ones_(source.weight)
    for step in range(1, 41):
        average.update(step)
    assert average.module.weight.min() > 0.99


def test_buffers_are_copied_and_the_copy_does_not_learn():
    source = nn.BatchNorm1d(3)
    average = Average(source, half_life_steps=100)
    source(torch.randn(8, 3))
    average.update(1)
    assert torch.equal(average.module.running_mean, source.running_mean)
    assert average.module.num_batches_tracked == 1
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_half_life_must_be_above_zero():
    with pytest.raises(ValueError, match="above 0, got 0"):
        Average(nn.Linear(1, 1), half_life_steps=0)
