"""The optional packages that writing ONNX files takes."""
import importlib

from .errors import ConfigError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FACTS = "defectforge"           # key of a file's metadata, in which what a program needs to know stands as JSON
OPSET = 18


def needed() -> tuple:
    """The modules onnx and onnxruntime. ConfigError: one of PACKAGES is not there."""
    try:
        return tuple(importlib.import_module(name) for name in PACKAGES)[::2]
    except ModuleNotFoundError as error:
        raise ConfigError(f"export: needs packages that are not installed, got '{error}'. "
                          f"pip install -r requirements-extras.txt, or {' '.join(PACKAGES)}") from error
