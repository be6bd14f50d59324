"""Files of weights that other programs wrote: checked for damage, and read without running any code in them."""
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from .errors import CheckpointError


def read_weights(path: Path) -> Any:
    """What torch.save has stored (tensors, numbers, text, in dicts and lists), on the CPU. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights. {_beside(path)}Check the name")
    damaged = None
    try:
        if zipfile.is_zipfile(path):                # as torch has written it since 1.6; it checks no sums itself
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:                      # damaged bytes can raise anything; all of it means the same
        refused = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused:
            raise CheckpointError(f"{path}: holds more than tensors, numbers and text, got '{refused[1]}'. It could "
                                  "run code on this machine and was not read; save its tensors alone") from error
        got = "no file of torch.save" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise CheckpointError(f"{path}: cannot be read as weights, got '{got}'. Fetch or make it again") from error
    raise CheckpointError(f"{path}: damaged, got a wrong checksum of its part '{damaged}'. Fetch or make it again")


def _beside(path: Path) -> str:
    names = sorted(other.name for other in path.parent.glob("*.pt*"))
    return f"Beside it: {', '.join(names[:6])}. " if names else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
