"""One process at a time in a run's folder, as long as it lives; a killed one leaves no lock behind."""
import os
from pathlib import Path

from .errors import OutputError
from .files import writing

try:
    import fcntl
except ImportError:             # Windows
    fcntl = None

NAME = ".lock"                  # empty, and stays
_held: dict[Path, int] = {}              # folder -> handle


def lock(folder: Path) -> None:
    """Keep other processes out of a folder until `unlock` or this one's end, where the system can.

    Asked again, this process still has it. Workers that are forked from it do not, so that they keep nobody out after a
    kill: that is why the lock is POSIX's, not flock's. OutputError: another process is at work there.
    """
    place = folder.resolve()
    if fcntl is None or place in _held:
        return
    with writing(folder / NAME):
        handle = os.open(folder / NAME, os.O_CREAT | os.O_WRONLY, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            raise OutputError(f"{folder}: another training is writing here. Wait for it, or choose another "
                              "folder") from None
    _held[place] = handle


def unlock(folder: Path) -> None:
    """Let others in again."""
    handle = _held.pop(folder.resolve(), None)
    if handle is not None:
        os.close(handle)
