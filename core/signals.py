"""SIGTERM and Ctrl-C become a request to stop that long work reads between two steps."""
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator

from .errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Within: the first signal is kept in `signum` (0: none came); a second one acts as it did before, at once.

    Outside the main thread, where Python lets no handler be set, signals act as ever.
    """

    def __init__(self):
        self.signum, self.before = 0, {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self.before = {signum: signal.signal(signum, self._receive) for signum in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for signum in self.before:
            self._give_back(signum)

    def error(self, done: int, whole: int) -> Stopped:
        """What to raise where the work is not at its end."""
        name = signal.Signals(self.signum).name
        return Stopped(f"stopped by {name} with {done} of {whole} images made; the same command goes on", self.signum)

    def _receive(self, signum: int, frame) -> None:
        self.signum = signum
        for each in self.before:
            self._give_back(each)

    def _give_back(self, signum: int) -> None:
        before = self.before[signum]                    # None: a handler that was not set from Python
        signal.signal(signum, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Within: signals wait, and processes that are started do not act on them; only their parent decides when to stop.

    Ctrl-C reaches every process of a terminal, a scheduler's SIGTERM often every process of a job.
    """
    if not hasattr(signal, "pthread_sigmask"):          # Windows: see ignore_signals
        yield
        return
    multiprocessing.get_context("spawn").Lock()         # starts Python's resource tracker, which resets the mask, now
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals(worker: int = 0) -> None:
    """Called first in a worker process."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
