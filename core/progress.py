"""Progress with the time left: a bar on a terminal, plain lines elsewhere."""
import sys
import time

from tqdm import tqdm


class Progress:
    """Counts finished pieces of work. A context manager; `step()` after each piece.

    total      pieces in all
    what       what is counted, such as "images"
    done       pieces that an earlier run had already finished
    every_s    seconds between two plain lines
    """

    def __init__(self, total: int, what: str, *, done: int = 0, every_s: float = 10.0):
        self.total, self.what, self.done, self.first, self.every_s = total, what, done, done, every_s
        self.began = self.said = time.monotonic()
        self.bar = tqdm(total=total, initial=done, unit=f" {what}", leave=False) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, count: int = 1) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() - self.said >= self.every_s and self.done < self.total:
            self.said = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        """Such as "120 of 300 images, 8.1 a second, 22 s left"."""
        rate = (self.done - self.first) / max(time.monotonic() - self.began, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        return f"{self.done} of {self.total} {self.what}, {rate:.1f} a second, {span(left)} left"


def span(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "3 min 20 s", "2 h 5 min"."""
    if seconds == float("inf"):
        return "unknown time"
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
