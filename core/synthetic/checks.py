"""What may be asked of a made picture; an error begins with the option that is wrong."""
from collections.abc import Iterable

from ..errors import ConfigError, did_you_mean


def check_size(size: tuple[int, int], least_px: int) -> None:
    width, height = size
    if min(width, height) < least_px:
        raise ConfigError(f"size: too small to draw in, got {width}x{height}. Give at least {least_px}x{least_px}")


def check_choice(option: str, given: str, valid: Iterable[str]) -> None:
    if given not in valid:
        raise ConfigError(f"{option}: no such choice, got '{given}'. {did_you_mean(given, valid)}"
                          f"One of {', '.join(valid)}")


def check_classes(given: Iterable[str], valid: Iterable[str]) -> None:
    for label in given:
        check_choice("classes", label, valid)
    if not given:
        raise ConfigError(f"classes: no class to draw, got none. Some of {', '.join(valid)}")


def check_defects(number: int | None) -> None:
    if number is not None and number < 0:
        raise ConfigError(f"defects: less than none, got {number}. Give 0 for good parts")
