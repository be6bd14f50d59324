"""Errors that a user can act on: one clear line each, no traceback."""
import difflib
from collections.abc import Iterable


class DefectForgeError(Exception):
    """Base of every error with a message meant for the user. `exit_code` is what a command line returns for it."""
    exit_code = 1


class ConfigError(DefectForgeError):
    """A configuration key, option or model name is wrong. The message may hold several lines, one a problem."""
    exit_code = 2


class DataError(DefectForgeError):
    """An image, label file or data folder cannot be used as it is."""
    exit_code = 2


class CheckpointError(DefectForgeError):
    """A checkpoint is damaged, of another model, or not a checkpoint."""
    exit_code = 2


class OutputError(DefectForgeError):
    """The output cannot be written there: files in the way, no space, no right."""
    exit_code = 2


class Stopped(DefectForgeError):
    """A signal asked to stop; what was finished is kept."""

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.exit_code = 128 + signum


class TrainingError(DefectForgeError):
    """Training cannot go on: a loss that is not finite, or no memory left."""


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """Return "Did you mean 'x'? " for the nearest valid choice, or "" where none is near."""
    names = {name.lower(): name for name in map(str, valid)}
    near = difflib.get_close_matches(str(given).lower(), names, n=1, cutoff=0.6)
    return f"Did you mean '{names[near[0]]}'? " if near else ""
