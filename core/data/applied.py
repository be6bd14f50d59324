"""Models at work on image files: each image in turn; those that cannot be read are named when the others are done."""
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigError, DataError
from ..progress import Progress

Result = TypeVar("Result")


def only_input(inputs: Mapping[str, Path], subject: str) -> Path:
    """What --input names. ConfigError: another option, of which `subject`, such as "the detector", knows nothing."""
    for option in inputs:
        if option != "input":
            raise ConfigError(f"--{option}: not for {subject}, which takes --input alone. Leave it out")
    return inputs["input"]


def on_each(places: Mapping[str, Path], work: Callable[[str, Path], Result]) -> tuple[dict[str, Result], list[str]]:
    """What work(name, path) gave of each image, by name, and a line for each that could not be read."""
    results, unread = {}, []
    with Progress(len(places), "images") as progress:
        for name, path in places.items():
            try:
                results[name] = work(name, path)
            except DataError as error:
                unread.append(str(error))
            progress.step()
    return results, unread


def refuse_unread(unread: Sequence[str], places: Mapping[str, Path], output: Path) -> None:
    """DataError with every line, when the results of the others are written."""
    if unread:
        others = f"; {output} holds the results of the others" if len(unread) < len(places) else ", nothing was judged"
        raise DataError("\n".join([*unread, f"{len(unread)} of {len(places)} images could not be read{others}"]))
