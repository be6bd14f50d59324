"""Made pictures with known defects: image i of a seed is the same however many are made, and in whatever order."""
import inspect

from ..errors import ConfigError, did_you_mean
from ..seeding import rng
from . import fpc, metal, oring, pcb
from .checks import check_choice
from .sample import Sample

# Each has CLASSES, SIZE (width, height) and draw(rng, size, *, defects=None, ...) -> Sample.
KINDS = {"pcb": pcb, "fpc": fpc, "metal": metal, "oring": oring}
VERSION = 2                                   # changes when a kind's pictures do


def make(kind: str, seed: int, index: int, size: tuple[int, int] | None = None, **options) -> Sample:
    """Make picture `index` of `seed`; `size` is (width, height) px, None the kind's own; options as its draw has them.

    ConfigError: no such kind or option, a size too small.
    """
    check_options(kind, options)
    return KINDS[kind].draw(rng(seed, index), size or KINDS[kind].SIZE, **options)


def check_options(kind: str, options) -> None:
    """ConfigError where there is no such kind, or it has no such option."""
    check_choice("kind", kind, KINDS)
    known = [name for name, parameter in inspect.signature(KINDS[kind].draw).parameters.items()
             if parameter.kind is parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise ConfigError(f"{name}: not for {kind}, got {options[name]!r}. {did_you_mean(name, known)}"
                              f"{kind} takes {', '.join(known)}")
