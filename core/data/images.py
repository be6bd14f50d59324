"""Image files in and out: bit depth, orientation, colour and transparency are decided here, once."""
import io
import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from ..errors import DataError, OutputError
from ..files import whole_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
Image.MAX_IMAGE_PIXELS = 500_000_000

# EXIF orientation -> what turns the stored pixels upright.
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def is_image(path: Path) -> bool:
    """Whether the file's name is an image's; hidden files are not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def image_places(path: Path) -> dict[str, Path]:
    """Name of a result -> image file: of a folder and those below it, a single image, or a text file of paths.

    Two files that differ in their suffix alone keep it in their names.
    """
    if not path.exists():
        raise DataError(f"{path}: no such image or folder, got nothing there. Check the path")
    if path.is_dir():
        files, base = sorted(file for file in path.rglob("*") if file.is_file() and is_image(file)), path
    elif path.is_file() and not is_image(path):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: neither an image of a known kind nor a text file of paths, got "
                            f"'{path.suffix}'. Images are {', '.join(SUFFIXES)}") from error
        files, base = [path.parent / line.strip() for line in lines if line.strip()], None
    else:
        files, base = [path], None
    if not files:
        raise DataError(f"{path}: no image there, got {'an empty list' if path.is_file() else 'none in the folder'}. "
                        "Give a folder of images, an image, or a text file of paths")
    plain = [(file.relative_to(base) if base else Path(file.name)).with_suffix("").as_posix() for file in files]
    count = Counter(plain)
    names = [name if count[name] == 1 else f"{name}{file.suffix}" for name, file in zip(plain, files)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: two images of one name, got '{twice}' twice. Rename one, or give their folder")
    return dict(zip(names, files))


def read_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in px after EXIF orientation, from the file's header alone. DataError: not an image."""
    with _opened(path) as file:
        return file.size[::-1] if _orientation(file) >= 5 else file.size


def read_kind(path: Path) -> tuple[str, ...]:
    """How the file stores its pixels, from its header: any of "grey", "palette", "transparent", "16-bit", "turned"."""
    with _opened(path) as file:
        grey = file.mode.startswith(("1", "L", "I", "F"))
        found = {"grey": grey, "palette": file.mode in ("P", "PA"), "turned": _orientation(file) > 1,
                 "transparent": "A" in file.mode or "transparency" in file.info, "16-bit": _is_16_bit(file)}
    return tuple(kind for kind, holds in found.items() if holds)


def read_image(path: Path) -> np.ndarray:
    """Return the pixels, RGB and upright: uint8, or uint16 for a 16-bit file, [H, W, 3].

    Grey is repeated to three channels, palettes are resolved, transparency is dropped over black.
    DataError names the file where it is missing, truncated or no image.
    """
    with _opened(path) as file:
        turn = _UPRIGHT.get(_orientation(file))
        pixels = _read_16_bit(path) if _is_16_bit(file) else np.asarray(_flattened(file))
    return np.ascontiguousarray(turn(pixels) if turn else pixels)


def read_mask(path: Path) -> np.ndarray:
    """A label image as stored: uint8 [H, W] (grey levels or palette indices), or [H, W, 3] where it is coloured."""
    with _opened(path) as file:
        orientation = _orientation(file)
        if file.mode == "P":
            values = np.asarray(file)
        elif file.mode in ("1", "L", "LA"):
            values = np.asarray(file.convert("L"))
        elif file.mode.startswith(("I", "F")):
            values = np.asarray(file).clip(0, 255).astype(np.uint8)
        else:
            values = np.asarray(file.convert("RGB"))
            if (values == values[..., :1]).all():
                values = values[..., 0]
    turn = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(values) if turn else values)


def read_light(path: Path) -> np.ndarray:
    """A drawing, a mask or an edge map by how light it is shown: uint8 [H, W], the brightest of the three channels.

    Palettes are resolved. 16 bits become 8, but for a file that uses only the levels of 8.
    """
    pixels = read_image(path)
    light = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    if light.dtype == np.uint16 and light.max(initial=0) > 255:
        light = (light / 257).round()
    return light.astype(np.uint8)


def is_grey(pixels: np.ndarray) -> bool:
    """Whether all three channels [H, W, 3] are equal."""
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Pixels uint8 or uint16 [H, W, 3] -> float32 [3, H, W] in 0..1."""
    depth = np.iinfo(pixels.dtype).max
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(depth))


def to_pixels(image: torch.Tensor, dtype: np.dtype | type = np.uint8) -> np.ndarray:
    """Float [3, H, W] in 0..1 -> pixels uint8 or uint16 [H, W, 3], rounded; the exact inverse of `to_tensor`."""
    depth = np.iinfo(dtype).max
    values = image.detach().cpu().double().clamp(0, 1).mul(depth).round().numpy()
    return np.ascontiguousarray(values.transpose(1, 2, 0)).astype(dtype)


def encode_png(pixels: np.ndarray, *, palette: np.ndarray | None = None) -> bytes:
    """PNG bytes of uint8 or uint16 [H, W] or [H, W, 3] RGB; with `palette` uint8 [K, 3], of an index image [H, W]."""
    if palette is not None:
        image = Image.fromarray(pixels.astype(np.uint8))
        image.putpalette(palette.astype(np.uint8).tobytes())
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()
    stored = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    done, data = cv2.imencode(".png", stored)           # OpenCV's own settings: a third of the time for 5 % more bytes
    if not done:
        raise OutputError(f"a PNG of shape {pixels.shape} and type {pixels.dtype} could not be encoded")
    return data.tobytes()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing. OutputError: no space, no right."""
    with whole_file(path) as file:
        file.write(data)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 pixels [H, W] or [H, W, 3] RGB as PNG, whole or not at all."""
    write_bytes(path, encode_png(pixels))


@contextmanager
def _opened(path: Path):
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image. Check the path, or take its label out of the set") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, MemoryError, cv2.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = f"{os.path.getsize(path)} bytes" if "cannot identify" in reason else reason
        raise DataError(f"{path}: not a readable image, got '{reason}'. Replace it or take it out") from error


def _orientation(file: Image.Image) -> int:
    """The EXIF orientation, to be asked before the pixels are read.

    A PNG says it ahead of its pixels; to look behind them, as Pillow would, is to decode the whole picture.
    """
    if file.format == "PNG" and not file.info.keys() & {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}:
        return 1
    return file.getexif().get(0x0112, 1)


def _is_16_bit(file: Image.Image) -> bool:
    if file.mode.startswith("I"):
        return True
    if file.format == "PNG":                                # Pillow reads 16-bit colour as 8-bit without a word
        return _png_depth(Path(file.filename)) == 16
    return file.format == "TIFF" and 16 in file.tag_v2.get(258, ())


def _png_depth(path: Path) -> int:
    with open(path, "rb") as file:
        return file.read(25)[24]


def _read_16_bit(path: Path) -> np.ndarray:
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        reason = "damaged pixels" if stored is None else f"{stored.dtype} pixels"
        raise DataError(f"{path}: not a readable image, got '{reason}'. Save it anew as 8- or 16-bit PNG")
    if stored.ndim == 2:
        return stored[..., None].repeat(3, axis=2)
    return stored[..., 2::-1] if stored.shape[2] >= 3 else stored[..., :1].repeat(3, axis=2)


def _flattened(file: Image.Image) -> Image.Image:
    if file.mode in ("RGBA", "LA", "PA", "RGBa", "La") or (file.mode == "P" and "transparency" in file.info):
        coloured = file.convert("RGBA")
        if file.format == "BMP" and coloured.getextrema()[3] == (0, 0):     # a fourth byte that nobody has filled
            return Image.merge("RGB", coloured.split()[:3])
        return Image.alpha_composite(Image.new("RGBA", file.size, (0, 0, 0, 255)), coloured).convert("RGB")
    return file.convert("RGB")
