"""Files that are written whole or not at all, with an error that a user understands where that fails."""
import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import DefectForgeError, OutputError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write beside, flush to the disk, rename: a crash at any moment leaves the file as it was or as it is to be.

    Raises OutputError where there is no space or no right; then nothing of the new file is left.
    """
    partial = partial_of(path)
    try:
        with writing(path):
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """What `whole_file` calls a file until it is complete; a killed process leaves one behind."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within: the system's refusal to write becomes an OutputError that names `path`."""
    try:
        yield
    except DefectForgeError:
        raise
    except Exception as error:
        cause = _system_error(error)
        if cause is None:
            raise
        way_out = "Free space" if cause.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)) else "Correct the path"
        raise OutputError(f"{path}: cannot be written, got '{cause.strerror or cause}'. {way_out} or choose another "
                          "place; what was there before is whole") from error


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error behind `error`: torch.save raises one of its own when the first passes through it."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def append(file: BinaryIO, data: bytes) -> None:
    """Add to a file opened without buffer; a full disk, which may take a part of it, raises OSError."""
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that is appended to; a last one that a kill cut short is cut off. No file has no lines."""
    if not path.exists():
        return []
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)
    return data[:end].split(b"\n")[:-1]


def sync_folder(folder: Path) -> None:
    """Have a rename reach the disk, where the system lets a folder be opened for that (Windows does not)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
