"""Where and how training computes: device, precision, repeatability, and the processes that share the work."""
import contextlib
import datetime
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from .errors import ConfigError, did_you_mean

KINDS = ("auto", "cpu", "cuda", "mps")
COLLECTIVE_LIMIT = datetime.timedelta(hours=2)      # the others wait while the first process evaluates


def choose(name: str = "auto") -> torch.device:
    """Return the device that `name` means: auto, cpu, cuda, cuda:1, mps. Under torchrun "cuda" is the process's own."""
    kind, _, number = name.partition(":")
    if kind not in KINDS or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"device: unknown, got '{name}'. {did_you_mean(name, KINDS)}"
                          "Choose auto, cpu, cuda, cuda:N or mps")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda":
        return _gpu(name, int(number) if number else int(os.environ.get("LOCAL_RANK", 0)))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: this machine has no Apple GPU, got 'mps'. Choose auto or cpu")
    return torch.device(kind)


def _gpu(name: str, number: int) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ConfigError(f"device: torch finds no CUDA GPU on this machine, got '{name}'. Choose auto or cpu")
    if number >= count:
        raise ConfigError(f"device: there are {count} GPUs, numbered from 0, got number {number}. Choose a lower one")
    return torch.device("cuda", number)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Mixed precision for "bfloat16", nothing for "float32"."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextlib.contextmanager
def numerics(deterministic: bool) -> Iterator[None]:
    """Within: with `deterministic`, operations that repeat bit by bit on a GPU; the search is off (see Search)."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")     # read when CUDA first multiplies matrices
    torch.use_deterministic_algorithms(deterministic or before[0])
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


class Search:
    """cuDNN's search for its fastest convolutions: on while batches keep their shapes, once for all steps to come.

    For pictures of many sizes, as in detection or an evaluation, it would search anew at each, at a second or more.
    """

    def __init__(self, deterministic: bool):
        self.allowed, self.shapes = not deterministic, None

    def heed(self, batch: Any) -> None:
        """Called with each batch before its step."""
        shapes = _shapes(batch)
        torch.backends.cudnn.benchmark = self.allowed and shapes == self.shapes
        self.shapes = shapes

    @staticmethod
    @contextlib.contextmanager
    def off() -> Iterator[None]:
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before


def _shapes(batch: Any) -> list[torch.Size]:
    """Of every tensor in a batch's tuples, lists and dicts."""
    if isinstance(batch, Tensor):
        return [batch.shape]
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (list, tuple)) else ()
    return [shape for part in parts for shape in _shapes(part)]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within, sums are taken in the same order however many cores there are: equal seeds, equal bytes."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with every tensor in its tuples, lists and dicts moved to the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def memory_gib(device: torch.device) -> float | None:
    """Most GPU memory used so far; on a CPU what this process holds now; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    return None


def rank() -> int:
    """Number of this process under torchrun; 0 otherwise. Process 0 is the one that writes."""
    return int(os.environ.get("RANK", 0))


@dataclass(frozen=True)
class Processes:
    """The processes that train together, `count` of them; this one is number `rank`."""
    rank: int = 0
    count: int = 1

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, the same in each."""
        if self.count == 1:
            return values
        distributed.all_reduce(values)
        return values / self.count

    def largest(self, value: int, device: torch.device) -> int:
        """The largest of the processes' values, the same in each."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, device=device)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return int(shared)


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the other processes that torchrun started, or be alone."""
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=COLLECTIVE_LIMIT)
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
