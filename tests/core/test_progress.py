"""Progress: the time left is right from the first seconds on, on a terminal and in plain lines."""
import pytest

from core import progress
from core.progress import Progress, span


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: clock.now."""
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_getting_ready_and_the_first_pieces_together_are_not_taken_for_the_work(clock, capsys):
    """40 s until the workers bring six images at once, then two a second."""
    with Progress(300, "images", done=20) as counted:
        assert counted.line() == "20 of 300 images"
        clock.now += 40
        for _ in range(6):
            counted.step()
        assert counted.line() == "26 of 300 images"
        for _ in range(8):
            clock.now += 0.5
            counted.step()
        assert counted.line() == "34 of 300 images, 2.0 a second, 2 min 13 s left"
    assert capsys.readouterr().err == "28 of 300 images, 2.0 a second, 2 min 16 s left\n"


def test_plain_lines_come_every_few_seconds(clock, capsys):
    with Progress(100, "images", every_s=10) as counted:
        for _ in range(100):
            clock.now += 1
            counted.step()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 9
    assert said[0] == "10 of 100 images, 1.0 a second, 1 min 30 s left"


def test_a_bar_on_a_terminal_starts_its_clock_with_the_first_piece(clock, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress(50, "images", done=5) as counted:
        before = counted.bar
        counted.step()
        assert counted.bar is not before
        assert (counted.bar.n, counted.bar.initial) == (6, 6)
        clock.now += 2
        counted.step(2)
        assert counted.bar.n == 8


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_spans(seconds, said):
    assert span(seconds) == said
