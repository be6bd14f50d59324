"""Batches of training data, the same whatever the number of processes that load them."""
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from .device import Processes
from .errors import ConfigError, DataError, DefectForgeError, TrainingError
from .seeding import EndlessSampler, seed_sample
from .signals import deaf_children, ignore_signals
from .task import LoopConfig


def batches(samples: Dataset, loop: LoopConfig, step: int, device: torch.device, team: Processes) -> Iterator[Any]:
    """This process's part of every batch from `step` on, in the CPU's memory. Loading starts with the first.

    Raises DataError for a sample that cannot be used, with its number in the data set.
    """
    if len(samples) == 0:
        raise DataError("training data: there is no sample, got 0. Check the data's path and split")
    if loop.batch_size % team.count:
        raise ConfigError(f"loop.batch_size: must be divisible by the number of processes, got {loop.batch_size} for "
                          f"{team.count} processes. Change one of them")
    sampler = EndlessSampler(len(samples), loop.seed, batch_size=loop.batch_size, start_step=step, rank=team.rank,
                             processes=team.count)
    loader = DataLoader(
        Seeded(samples, loop.seed),
        loop.batch_size // team.count,
        sampler=sampler,
        num_workers=loop.workers,
        collate_fn=Collate(getattr(samples, "collate", default_collate)),
        pin_memory=device.type == "cuda",
        worker_init_fn=ignore_signals,
        multiprocessing_context="spawn" if loop.workers else None,      # as on every system; safe with threads
    )
    return _checked(loader)


def _checked(loader: DataLoader) -> Iterator[Any]:
    others = multiprocessing.active_children()
    with deaf_children():
        loading = iter(loader)
    workers = [child for child in multiprocessing.active_children() if child not in others]
    try:
        while True:
            batch = _next(loading)
            if isinstance(batch, DefectForgeError):
                raise batch
            yield batch
    finally:
        _end(loading, workers)


def _next(loading: Iterator[Any]) -> Any:
    try:
        return next(loading)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(f"a process that loads data ended, got '{str(error).splitlines()[0]}'. Its memory may "
                            "not have sufficed: lower loop.workers; the last checkpoint is sound") from error


def _end(loading: Iterator[Any], workers: list) -> None:
    """End the workers now: left to the garbage collector they would outlive an error that is still being looked at,
    and then, being deaf to SIGTERM, keep Python from exiting."""
    if hasattr(loading, "_shutdown_workers"):       # of torch's loader with workers
        loading._shutdown_workers()
    for worker in workers:
        worker.kill()
        worker.join()


class Seeded(Dataset):
    """Samples by (index, draw), with the global generators set for each; an error for the user becomes a value.

    As a value it reaches the first process in one line; raised in a worker it would carry the worker's traceback.
    """

    def __init__(self, samples: Dataset, seed: int):
        self.samples, self.seed = samples, seed

    def __getitem__(self, index_and_draw: tuple[int, int]) -> Any:
        index, draw = index_and_draw
        seed_sample(self.seed, draw)
        try:
            return self.samples[index, draw]
        except DefectForgeError as error:
            return type(error)(f"{error} (training sample {index}, draw {draw})")


class Collate:
    """Makes a batch from samples, or passes on the error among them."""

    def __init__(self, collate: Callable[[list], Any]):
        self.collate = collate

    def __call__(self, samples: list) -> Any:
        errors = [sample for sample in samples if isinstance(sample, DefectForgeError)]
        return errors[0] if errors else self.collate(samples)
