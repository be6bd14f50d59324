"""A running average of a module's weights, which generates and predicts better than the last weights do."""
import copy

import torch
from torch import nn


class Average:
    """Exponential moving average of `source`'s parameters; `module` is the averaged copy, in evaluation mode.

    half_life_steps     after so many steps a weight counts half
    rampup              the half-life is at most this share of the steps so far, so that the random first weights are
                        soon forgotten (0.05 as in the training code of EDM, Karras et al. 2022); None: no such limit
    Buffers (running statistics) are copied, not averaged. The decay is a function of the step: there is no other state.
    """

    def __init__(self, source: nn.Module, half_life_steps: float, rampup: float | None = 0.05):
        if half_life_steps <= 0:
            raise ValueError(f"half_life_steps must be above 0, got {half_life_steps}")
        self.source, self.half_life_steps, self.rampup = source, half_life_steps, rampup
        self.module = copy.deepcopy(source).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after `step` steps, step >= 1."""
        half_life = self.half_life_steps if self.rampup is None else min(self.half_life_steps, step * self.rampup)
        mine, theirs = list(self.module.parameters()), list(self.source.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - 0.5 ** (1 / half_life))
        for copied, buffer in zip(self.module.buffers(), self.source.buffers(), strict=True):
            copied.copy_(buffer)

    def state_dict(self) -> dict:
        return self.module.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.module.load_state_dict(state)
