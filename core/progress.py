"""Progress with the time left: a bar on a terminal, plain lines elsewhere."""
import sys
import time

from tqdm import tqdm

SETTLE_S = 1.0


class Progress:
    """Counts finished pieces of work. A context manager; `step()` after each piece.

    The rate is taken from a second after the first piece on: getting ready (workers start, networks warm up) is not the
    work, and several workers bring their first pieces together.

    total      pieces in all
    what       what is counted, such as "images"
    done       pieces that an earlier run had already finished
    every_s    seconds between two plain lines
    """

    def __init__(self, total: int, what: str, *, done: int = 0, every_s: float = 10.0):
        self.total, self.what, self.done, self.first, self.every_s = total, what, done, done, every_s
        self.ready = self.began = None
        self.said = time.monotonic()
        self.bar = self._bar() if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, count: int = 1) -> None:
        now = time.monotonic()
        self.done += count
        self.ready = now if self.ready is None else self.ready
        if now - self.ready < SETTLE_S:
            self.began, self.first = now, self.done
            if self.bar is not None:
                self.bar.close()
                self.bar = self._bar()
        elif self.bar is not None:
            self.bar.update(count)
        elif now - self.said >= self.every_s and self.done < self.total:
            self.said = now
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        """Such as "120 of 300 images, 8.1 a second, 22 s left"."""
        if self.done == self.first:
            return f"{self.done} of {self.total} {self.what}"
        rate = (self.done - self.first) / max(time.monotonic() - self.began, 1e-9)
        left = span((self.total - self.done) / rate)
        return f"{self.done} of {self.total} {self.what}, {rate:.1f} a second, {left} left"

    def _bar(self) -> tqdm:
        return tqdm(total=self.total, initial=self.done, unit=f" {self.what}", leave=False)


def span(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
