"""Work done by several processes, its results in order, a few ahead of what is asked for."""
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

import cv2
import torch

from .errors import OutputError
from .signals import deaf_children, ignore_signals

Item, Result = TypeVar("Item"), TypeVar("Result")
LEAST = 4           # items for which it is worth while to start processes


def in_order(work: Callable[[Item], Result], todo: Sequence[Item], workers: int) -> Iterator[Result]:
    """`work(item)` for each of `todo`, in that order. `work` is sent once to each of the `workers` processes.

    They end with their parent, leave signals to it, and use one thread each. OutputError: the system ended one.
    """
    if workers == 1 or len(todo) < LEAST:
        yield from map(work, todo)
        return
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _start, (work,)) as pool:
        ahead = []
        try:
            for item in todo:
                with deaf_children():
                    ahead.append(pool.submit(_do, item))
                if len(ahead) > 4 * workers:
                    yield ahead.pop(0).result()
            while ahead:
                yield ahead.pop(0).result()
        except BrokenProcessPool as error:
            for process in set(multiprocessing.active_children()) - others:     # deaf to the pool's own SIGTERM
                process.kill()
            raise OutputError("a worker process was ended by the system, perhaps for want of memory. The same command "
                              "goes on; fewer --workers take less memory") from error
        finally:
            for future in ahead:
                future.cancel()


_work: Callable


def _start(work: Callable) -> None:
    global _work
    _work = work
    ignore_signals()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent must not leave workers behind."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _do(item: Item) -> Result:
    return _work(item)
