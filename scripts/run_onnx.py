"""Label images with an ONNX file of scripts/export.py. Needs onnxruntime, numpy and pillow, and nothing else.

This file may be copied and run alone:  python run_onnx.py model.onnx IMAGES --output labels
"""
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
FACTS = "defectforge"
LEAST_WEIGHT = 1e-3
Image.MAX_IMAGE_PIXELS = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="FILE.onnx")
    parser.add_argument("images", type=Path, help="an image, or a folder of images and those below it")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for NAME.png, index masks in colour")
    parser.add_argument("--tile", type=int, metavar="PX", help="longest side of a tile; less needs less memory")
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime (default: all cores)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that has files in it")
    given = parser.parse_args()
    try:
        paths = found(given.images)
        check_output(given.output, paths, given.overwrite)
        network = Network(given.model, given.threads, given.tile)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    unread = 0
    for name, path in paths.items():
        try:
            image = read(path)
        except (OSError, ValueError, SyntaxError) as error:
            print(f"{path}: not a readable image, got '{error}'", file=sys.stderr)
            unread += 1
            continue
        began = time.monotonic()
        labels = network.labels(image)
        target = given.output / f"{name}.png"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(target, labels, network.facts["colours"])
        except OSError as error:
            print(f"{target}: cannot be written, got '{error.strerror}'. Give another --output", file=sys.stderr)
            return 2
        area = ", ".join(f"{label} {np.count_nonzero(labels == at)} px" for at, label in enumerate(
            network.facts["classes"], 1) if (labels == at).any())
        print(f"{name}: {area or 'no defect'}; {time.monotonic() - began:.1f} s")
    return 2 if unread else 0


class Network:
    """The file at work: labels of whole images, tile by tile."""

    def __init__(self, path: Path, threads: int = 0, tile_px: int | None = None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if tile_px is not None and tile_px < 1:
            raise ValueError(f"--tile: must be at least 1 px, got {tile_px}")
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:              # onnxruntime has errors of its own, of no common kind
            raise ValueError(f"{path}: not a readable ONNX file, got '{error}'. Export it anew") from error
        stored = self.session.get_modelmeta().custom_metadata_map
        self.facts = json.loads(stored.get(FACTS, "{}"))
        if "stride" not in self.facts:
            raise ValueError(f"{path}: not a segmenter of scripts/export.py, got another ONNX file. Export one")
        self.tile_px = self.up(tile_px or self.facts["tile_px"])

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Image float32 [H, W, 3] in 0..1 -> uint8 [H, W]: 0, or 1 + the place of the class."""
        height, width = image.shape[:2]
        image = image if self.facts["channels"] == 3 else image.mean(2, keepdims=True)
        planes = mirrored(image, self.up(height), self.up(width)).transpose(2, 0, 1)
        labels = self.exact(planes) if self.facts["reach"] is not None else self.decided(self.blended(planes))
        return labels[:height, :width]

    def exact(self, planes: np.ndarray) -> np.ndarray:
        """Tiles with a halo of the network's reach: what the whole image in one call gives."""
        halo = self.up(self.facts["reach"])
        core = max(self.tile_px, 3 * halo) - 2 * halo
        labels = np.empty(planes.shape[1:], np.uint8)
        for y, y_end, top, bottom in spans(planes.shape[1], core, halo):
            for x, x_end, left, right in spans(planes.shape[2], core, halo):
                chances = self.chances(planes[:, top:bottom, left:right])
                labels[y:y_end, x:x_end] = self.decided(chances[:, y - top:y_end - top, x - left:x_end - left])
        return labels

    def blended(self, planes: np.ndarray) -> np.ndarray:
        """Tiles whose probabilities are averaged where they overlap; needs memory for the whole image's."""
        sides = planes.shape[1:]
        tile = [min(self.tile_px, side) for side in sides]
        at = [starts(side, length, self.up(self.facts["overlap_px"]), self.facts["stride"])
              for side, length in zip(sides, tile)]
        total, mass = 0.0, np.zeros(sides, np.float32)
        for y in at[0]:
            for x in at[1]:
                weight = np.outer(ramp(tile[0], y == 0, y + tile[0] == sides[0]),
                                  ramp(tile[1], x == 0, x + tile[1] == sides[1]))
                chances = self.chances(planes[:, y:y + tile[0], x:x + tile[1]])
                if isinstance(total, float):
                    total = np.zeros((len(chances), *sides), np.float32)
                total[:, y:y + tile[0], x:x + tile[1]] += chances * weight
                mass[y:y + tile[0], x:x + tile[1]] += weight
        return total / mass

    def chances(self, planes: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"image": np.ascontiguousarray(planes[None], np.float32)})[0][0]

    def decided(self, chances: np.ndarray) -> np.ndarray:
        if len(chances) == 1:
            return (chances[0] > self.facts["threshold"]).astype(np.uint8)
        return chances.argmax(0).astype(np.uint8)

    def up(self, length: int) -> int:
        """The least multiple of the stride that is not below `length`."""
        return -(-length // self.facts["stride"]) * self.facts["stride"]


def spans(side: int, core: int, halo: int) -> list[tuple[int, int, int, int]]:
    """From and up to of each core along a side, then of its tile."""
    return [(at, min(at + core, side), max(0, at - halo), min(side, at + core + halo)) for at in range(0, side, core)]


def starts(side: int, tile: int, overlap: int, stride: int) -> list[int]:
    gaps = -(-(side - tile) // max(stride, tile - overlap))
    return [(2 * number * (side - tile) + gaps) // (2 * gaps) // stride * stride
            for number in range(gaps + 1)] if gaps else [0]


def ramp(tile: int, begins: bool, ends: bool) -> np.ndarray:
    """sin^2 over the tile, never 0; 1 in the half that lies at the image's border."""
    weights = np.sin(np.pi * (np.arange(tile) + 0.5) / tile).astype(np.float32) ** 2
    weights = np.maximum(weights, LEAST_WEIGHT)
    weights[:tile // 2 if begins else 0] = 1
    weights[tile // 2 if ends else tile:] = 1
    return weights


def mirrored(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Continued to the right and below by mirroring, as often as it takes; the border pixel is not doubled."""
    for axis, wanted in ((0, height), (1, width)):
        period = max(1, 2 * (image.shape[axis] - 1))
        place = np.arange(wanted) % period
        if wanted > image.shape[axis]:
            image = np.take(image, np.minimum(place, period - place) if image.shape[axis] > 1 else place * 0, axis)
    return image


def check_output(output: Path, paths: dict[str, Path], overwrite: bool) -> None:
    """ValueError: what lies there would be lost."""
    if output.exists() and (not output.is_dir() or (not overwrite and any(output.iterdir()))):
        raise ValueError(f"{output}: has files in it. Give another --output, or --overwrite to write over them")
    for name, path in paths.items():
        if path.resolve() == (output / f"{name}.png").resolve():
            raise ValueError(f"{path}: its labels would take its place. Give another --output")


def found(path: Path) -> dict[str, Path]:
    """Name of a result -> image; of two that differ in their suffix alone each keeps it."""
    if not path.exists():
        raise ValueError(f"{path}: no such image or folder, got nothing there. Check the path")
    if not path.is_dir():
        return {path.stem: path}
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
    if not files:
        raise ValueError(f"{path}: no image there, got none in the folder. Give a folder of images")
    return {name if names.count(name) == 1 else f"{name}{file.suffix}": file for name, file in zip(names, files)}


def read(path: Path) -> np.ndarray:
    """Float32 [H, W, 3] in 0..1, upright; transparency is dropped over black."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):
            grey = np.asarray(image).astype(np.float32) / 65535
            return np.repeat(grey[..., None], 3, axis=2)
        if "A" in image.mode or "transparency" in image.info:
            coloured = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), coloured)
        return np.asarray(image.convert("RGB")).astype(np.float32) / 255


def write(path: Path, labels: np.ndarray, colours: list[list[int]]) -> None:
    image = Image.fromarray(labels)
    image.putpalette(bytes([0, 0, 0, *(level for colour in colours for level in colour)]))
    image.save(path)


if __name__ == "__main__":
    sys.exit(main())
