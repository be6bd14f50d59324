"""One phase's step: only its own parameters learn, and nothing is updated unless loss and gradient are finite."""
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .device import Processes, autocast
from .errors import TrainingError
from .runlog import shown
from .task import LoopConfig, Phase, Task


class Turn:
    """A phase with what its step needs.

    learning    the optimiser's parameters that required a gradient when training began
    resting     all other parameters of the task's modules
    """

    def __init__(self, task: Task, phase: Phase, loop: LoopConfig, device: torch.device, team: Processes):
        self.phase, self.loop, self.device, self.team = phase, loop, device, team
        self.losses: Callable[[Any], dict[str, Tensor]] = partial(task.losses, phase.name)
        everything = dict.fromkeys(p for module in task.modules.values() for p in module.parameters())
        self.learning = [p for group in phase.optimizer.param_groups for p in group["params"] if p.requires_grad]
        if not everything.keys() >= set(self.learning):
            raise ValueError(f"phase '{phase.name}' trains parameters that are in none of the task's modules")
        self.resting = [p for p in everything if p not in set(self.learning)]

    @classmethod
    def of(cls, task: Task, loop: LoopConfig, device: torch.device, team: Processes) -> list["Turn"]:
        """The turns of all phases; with several processes, their gradients are averaged by PyTorch's DDP.

        Then a loss must be a mean over samples for the result to be that of one process with the whole batch. Batch
        norm is synchronised on GPUs; on CPUs each process normalises its part, and the statistics are the first one's.
        """
        turns = [cls(task, phase, loop, device, team) for phase in task.phases]
        if team.count > 1:
            if device.type == "cuda":
                for module in task.modules.values():
                    nn.SyncBatchNorm.convert_sync_batchnorm(module)
            for turn in turns:
                turn.choose_learning()
                turn.losses = DistributedDataParallel(Losses(task, turn.phase.name), find_unused_parameters=True)
        return turns

    def choose_learning(self) -> None:
        """By parameter, not by module: frozen layers of a network that learns would thaw."""
        for parameter in self.resting:
            parameter.requires_grad_(False)
        for parameter in self.learning:
            parameter.requires_grad_(True)

    def take(self, batch: Any, step: int, factor: float = 1.0) -> dict[str, float]:
        """Update the weights, the learning rate multiplied by `factor`; return the parts of the loss, the gradient's
        norm and the rate, by name."""
        self.choose_learning()
        optimizer, rate = self.phase.optimizer, factor * self.phase.learning_rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate

        optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.loop.precision):
            losses = self.losses(batch)
        total = sum(losses.values())
        total.backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.learning if p.grad is not None])

        values = self.read({**losses, "total": total, "grad_norm": norm})
        if not all(map(math.isfinite, values.values())):
            raise TrainingError(f"step {step}, phase '{self.phase.name}': loss or gradient is not finite, got "
                                f"{shown(values)}. The weights were not updated and the last checkpoint is sound; "
                                "lower the learning rate, or set loop.clip_norm")
        if self.loop.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.learning, self.loop.clip_norm, norm)
        optimizer.step()
        return {f"{self.phase.name}/{name}": value for name, value in {**values, "learning_rate": rate}.items()}

    def read(self, values: dict[str, Tensor]) -> dict[str, float]:
        """All values in one transfer from the device; the means over the processes."""
        together = torch.stack([value.detach().float().to(self.device) for value in values.values()])
        return dict(zip(values, self.team.mean(together).tolist(), strict=True))


class Losses(nn.Module):
    """The losses of one phase as a module, for DDP, which finds the parameters of the task's modules in it."""

    def __init__(self, task: Task, phase: str):
        super().__init__()
        self.parts, self.losses = nn.ModuleList(task.modules.values()), partial(task.losses, phase)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self.losses(batch)
