"""What every command line shares: how an error reaches the user, as one line and an exit code."""
import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from .errors import ConfigError, DefectForgeError, did_you_mean

SURROUNDINGS = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM")     # full or protected disks: no fault of the program


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Run `main` and leave Python with its exit code (None is 0).

    The user's own mistakes are one line on stderr and exit code 2; Ctrl-C is 130; a reader that went away, as in
    `train.py --list | head`, is quiet. Anything else is a fault of the program: Python's traceback and exit code 1.
    """
    try:
        code = main() or 0
        sys.stdout.flush()
    except DefectForgeError as error:
        code = complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = complain("stopped by Ctrl-C", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())      # or Python complains again when it leaves
        code = 141
    except OSError as error:
        if errno.errorcode.get(error.errno) not in SURROUNDINGS:
            raise
        place = error.filename if error.filename is not None else "output"
        code = complain(f"{place}: {error.strerror}. Free some space, or choose a place where you may write", 2)
    sys.exit(code)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Round the imports of a command, which take seconds: Ctrl-C ends it there without a traceback through them."""
    if threading.current_thread() is not threading.main_thread():       # which alone may set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(signum: int, frame: object) -> NoReturn:
    os._exit(complain("stopped by Ctrl-C", 128 + signum))


def complain(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


class Parser(argparse.ArgumentParser):
    """Options by their whole names, help as it is laid out in the text; a mistyped one is one line with the nearest."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        typed = re.search(r"--[\w-]+", message)
        near = did_you_mean(typed[0], self._option_string_actions) if message.startswith("unrec") and typed else ""
        raise ConfigError(f"{message}. {near}{self.prog} --help shows all")
