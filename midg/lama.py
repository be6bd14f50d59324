"""LaMa's inpainting network: its TorchScript file run here, or through the iopaint command in its own environment."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from core.data.images import read_image, write_image
from core.errors import CheckpointError, ConfigError, DefectForgeError
from core.files import writing

ROOT = Path(__file__).resolve().parents[1]
URL = "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt"
MD5 = "e3aa4aaa15225a33ec84f9f4bc47e500"
SIGNATURE = "forward(image [N, 3, H, W] in 0..1, mask [N, 1, H, W] of 0 and 1) -> image [N, 3, H, W]"
CROP_ABOVE_PX, MARGIN_PX, MULTIPLE_PX = 800, 128, 8
DOWNLOAD = "download"

Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cached() -> Path:
    """Where iopaint keeps the file, and where it is looked for when none is named."""
    return Path(torch.hub.get_dir()) / "checkpoints" / "big-lama.pt"


def model_file(given: str | Path | None) -> Path:
    """The file that `--model` means: a path, "download" (fetched once, into `cached()`), or None for `cached()`."""
    if given is not None and str(given) == DOWNLOAD:
        return _fetched(cached())
    path = cached() if given is None else Path(given)
    if not path.is_file():
        raise CheckpointError(f"{path}: no LaMa model there, got {'a folder' if path.is_dir() else 'no file'}. "
                              f"{_where()}")
    return path


def load(path: Path, device: torch.device | str = "cpu") -> Network:
    """The network in a TorchScript file. CheckpointError says what a wrong file is and where the right one is."""
    try:
        with warnings.catch_warnings():             # torch advises against TorchScript; the published file is that
            warnings.simplefilter("ignore", FutureWarning)
            network = torch.jit.load(str(path), map_location="cpu").to(device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a TorchScript file, got {_kind(path)} (md5 {_md5(path)}). "
                              f"{_where()}") from error
    _check_signature(network, path, device)
    return network


def fill_with(network: Network, device: torch.device | str = "cpu") -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`fill(image uint8 [H, W, 3], hole bool [H, W]) -> image`, as iopaint does it.

    Up to 800 px the picture is filled as a whole; larger ones hole by hole, each in a crop with 128 px round it.
    """
    def fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        if max(hole.shape) <= CROP_ABOVE_PX:
            return _filled(network, image, hole, device)
        result = image.copy()
        for crop in _crops(hole):
            result[crop] = np.where(hole[crop][..., None], _filled(network, image[crop], hole[crop], device),
                                    image[crop])
        return result
    return fill


def through_iopaint(cases: Iterable[tuple[np.ndarray, np.ndarray]], model: Path, device: str) -> Iterator[np.ndarray]:
    """The fillings uint8 [H, W, 3] of (image, hole) pairs, in order, from one run of `iopaint run --model=lama`."""
    command = iopaint_command()
    with tempfile.TemporaryDirectory(prefix="iopaint-") as name:
        images, masks, output, models = (Path(name) / part for part in ("images", "masks", "output", "models"))
        checkpoints = models / "torch" / "hub" / "checkpoints"
        for folder in (images, masks, output, checkpoints):
            folder.mkdir(parents=True)
        with writing(checkpoints):
            shutil.copyfile(model, checkpoints / "big-lama.pt")     # iopaint takes the file from such a folder alone
        count = 0
        for image, hole in cases:
            write_image(images / f"{count:06d}.png", image)
            write_image(masks / f"{count:06d}.png", hole.astype(np.uint8) * 255)
            count += 1
        arguments = {"model": "lama", "device": device, "image": images, "mask": masks, "output": output,
                     "model-dir": models}
        _run([str(command), "run", *(f"--{key}={value}" for key, value in arguments.items())], _md5(model))
        for number in range(count):
            yield read_image(output / f"{number:06d}.png")


def iopaint_command() -> Path:
    """The command in .venv-iopaint, or else on the PATH. ConfigError says how to get it."""
    scripts = ROOT / ".venv-iopaint" / ("Scripts" if os.name == "nt" else "bin")
    found = shutil.which("iopaint", path=str(scripts)) or shutil.which("iopaint")
    if found is None:
        raise ConfigError("--engine iopaint: the iopaint command is not installed, got none in .venv-iopaint or on the "
                          "PATH. Run `make iopaint`, or take --engine lama with the same model file")
    return Path(found)


def _run(command: list[str], md5: str) -> None:
    """Run iopaint with its own messages on stderr; it may neither fetch anything nor see this program's caches."""
    hidden = ("TORCH_HOME", "LAMA_MODEL_URL", "PYTHONPATH", "PYTHONHOME")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"HF_HUB_OFFLINE": "1", "LAMA_MODEL_MD5": md5}
    code = subprocess.run(command, env=environment, stdout=sys.stderr.fileno(), check=False).returncode
    if code:
        raise DefectForgeError(f"{command[0]}: the command failed, got exit code {code}. Its own messages are above; "
                               "--engine lama runs the same model file without it")


def _filled(network: Network, image: np.ndarray, hole: np.ndarray, device) -> np.ndarray:
    """One forward pass: padded by reflection at the bottom and on the right, cut down to whole grey levels."""
    height, width = hole.shape
    below, beside = -height % MULTIPLE_PX, -width % MULTIPLE_PX
    image = np.pad(image, ((0, below), (0, beside), (0, 0)), mode="symmetric")
    hole = np.pad(hole, ((0, below), (0, beside)), mode="symmetric")
    pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None].to(device)
    mask = torch.from_numpy(hole.astype(np.int64))[None, None].to(device)
    with torch.inference_mode():
        result = network(pixels, mask)[0].permute(1, 2, 0).cpu().numpy()
    return np.clip(result * 255, 0, 255).astype(np.uint8)[:height, :width]


def _crops(hole: np.ndarray) -> list[tuple[slice, slice]]:
    contours, _ = cv2.findContours(hole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(contour) for contour in contours]
    return [(_span(y, h, hole.shape[0]), _span(x, w, hole.shape[1])) for x, y, w, h in boxes]


def _span(start: int, length: int, limit: int) -> slice:
    """The hole's extent with the margin on both sides, moved into the picture where it reaches out of it."""
    centre, half = (2 * start + length) // 2, (length + 2 * MARGIN_PX) // 2
    first, last = centre - half, centre + half
    shift = max(0, -first) - max(0, last - limit)
    return slice(max(0, first + shift), min(limit, last + shift))


def _check_signature(network: Network, path: Path, device) -> None:
    got = str(getattr(getattr(network, "forward", None), "schema", "no forward"))
    image, mask = torch.zeros(1, 3, 64, 64, device=device), torch.zeros(1, 1, 64, 64, dtype=torch.int64, device=device)
    mask[..., 24:40, 24:40] = 1
    try:
        with torch.inference_mode():
            result = network(image, mask)
    except (RuntimeError, AttributeError, NotImplementedError, torch.jit.Error) as error:
        raise _wrong(path, got) from error
    if not isinstance(result, torch.Tensor) or result.shape != image.shape or not result.is_floating_point():
        shape = list(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise _wrong(path, f"{got}, which turns [1, 3, 64, 64] into {shape}")


def _wrong(path: Path, got: str) -> CheckpointError:
    return CheckpointError(f"{path}: TorchScript of another kind (md5 {_md5(path)}), got {got}. Needed is {SIGNATURE}. "
                           f"{_where()}")


def _where() -> str:
    return (f"The right file is {URL} (md5 {MD5}): put it at {cached()}, name it with --model, or let --model "
            f"{DOWNLOAD} fetch its 196 MB")


def _kind(path: Path) -> str:
    """What a file that is no TorchScript seems to be."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            weights = any(name.endswith("data.pkl") for name in archive.namelist())
        return "weights alone, as torch.save writes them" if weights else "a zip file"
    return f"{path.stat().st_size} bytes of something else"


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(2 ** 20):
            digest.update(block)
    return digest.hexdigest()


def _fetched(path: Path) -> Path:
    """Download the file to `path` unless it is there; a wrong checksum or a broken connection leaves nothing."""
    if path.is_file():
        return path
    partial = path.with_name(f".{path.name}.partial")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(partial), progress=sys.stderr.isatty())
        if _md5(partial) != MD5:
            raise CheckpointError(f"{URL}: not the file that was published, got md5 {_md5(partial)} instead of {MD5}. "
                                  "Try again, or name a file with --model")
        os.replace(partial, path)
    except urllib.error.URLError as error:
        raise CheckpointError(f"{URL}: cannot be fetched, got '{error.reason}'. Fetch it by hand (md5 {MD5}) and name "
                              "it with --model") from error
    finally:
        partial.unlink(missing_ok=True)
    return path
