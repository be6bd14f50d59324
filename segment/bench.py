"""Parts of scripts/bench.py about this package: time and memory for large images, against FlexUNet tile by tile."""
import resource
import time
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import nn

from core.data.images import to_tensor
from core.seeding import rng

from .infer import labels_of, predict
from .models import build, multiplications, parameter_count
from .settings import CompactConfig, FlexUNetConfig, InferConfig, NetworkConfig

CLASSES = 7
LARGE = (2560, 2048)
EARLIER_TILES = 20              # calls for one image of that size


class Made:
    """An image of noise in rows that are made when they are read: of any size, and never in memory as a whole."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self.tile = rng(0).integers(0, 256, (64, size[0], 3)).astype(np.uint8)

    def rows(self, top: int, bottom: int) -> np.ndarray:
        return self.tile[np.arange(top, bottom) % len(self.tile)]


Row = tuple[str, str, str]      # what is measured, the figure, what goes with it


def speed(tiles: int = EARLIER_TILES) -> Iterator[Row]:
    """Processor time of one 2560x2048 image: the default network exactly, and FlexUNet's earlier tiling.

    tiles   of the earlier 20 that are timed, evenly spread; the time is of all
    """
    torch.manual_seed(0)
    image, ours = Made(LARGE), {}
    for precision in ("float32", "bfloat16"):
        ours[precision], peak = in_bands(network_of(CompactConfig()), image, precision)
        yield row(f"compact, a flow of rows, {precision}", CompactConfig(), ours[precision], peak)
    flexunet = network_of(FlexUNetConfig(name="flexunet"))
    began, pixels = time.process_time(), image.rows(0, LARGE[1])
    earlier_labels(flexunet, pixels, every=EARLIER_TILES // tiles)
    theirs = (time.process_time() - began) * EARLIER_TILES / tiles
    yield row("FlexUNet, earlier tiles", FlexUNetConfig(name="flexunet"), theirs, peak_mib())
    for precision, seconds in ours.items():
        yield f"segment, FlexUNet's time over the default's in {precision}", f"{theirs / seconds:.1f}", "reach 10"


def large(sides: tuple[int, ...] = (2500, 5000)) -> Iterator[Row]:
    """Processor time a megapixel and peak memory for square images of these sides, in bands."""
    network = network_of(CompactConfig())
    for side in sides:
        seconds, peak = in_bands(network, Made((side, side)))
        yield (f"segment, {side} x {side}", f"{seconds / side ** 2 * 1e6:.3f} s a megapixel",
               f"{seconds:.1f} s of processor time, peak {peak:.0f} MiB")


def labelled(chances: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(labels_of(chances, 0.5))[None]


def network_of(config: NetworkConfig) -> nn.Module:
    return build(config, CLASSES, 3).eval().to(memory_format=torch.channels_last)


def in_bands(network: nn.Module, image: Made, precision: str = "float32") -> tuple[float, float]:
    """Processor seconds for all labels of an image, and the process's peak memory in MiB."""
    began = time.process_time()
    for _ in predict(network, image, InferConfig(precision=precision), 3, labelled):
        pass
    return time.process_time() - began, peak_mib()


@torch.inference_mode()
def earlier_labels(network: nn.Module, pixels: np.ndarray, side: int = 512, margin: int = 64,
                   every: int = 1) -> np.ndarray:
    """The earlier tiling, for comparison: crops with a margin squeezed to 512 px, one a call, cut hard; uint8 [H, W].

    Margins are all or nothing, and what lies beyond the image is black, as there. `every`: leave tiles out.
    """
    height, width = pixels.shape[:2]
    labels = np.zeros((height, width), np.uint8)
    corners = [(x, y) for y in range(0, height, side) for x in range(0, width, side)]
    for x, y in corners[::every]:
        left, top = (margin if at else 0 for at in (x, y))
        right, bottom = (margin if at + side + margin <= end else 0 for at, end in ((x, width), (y, height)))
        size = left + side + right, top + side + bottom
        crop = np.zeros((size[1], size[0], 3), np.uint8)
        part = pixels[y - top:y + side + bottom, x - left:x + side + right]
        crop[:part.shape[0], :part.shape[1]] = part
        squeezed = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
        found = network(to_tensor(squeezed)[None])[0].argmax(0).to(torch.uint8).numpy()
        core = cv2.resize(found, size, interpolation=cv2.INTER_NEAREST)[top:top + side, left:left + side]
        labels[y:y + side, x:x + side] = core[:height - y, :width - x]
    return labels


def row(name: str, config: NetworkConfig, seconds: float, peak: float) -> Row:
    with torch.device("meta"):
        millions = parameter_count(build(config, CLASSES, 3)) / 1e6
    cost = multiplications(config, CLASSES, 3, LARGE) / 1e9
    return (f"segment, {LARGE[0]} x {LARGE[1]}, {name}", f"{seconds:.1f} s",
            f"of processor time; {millions:.1f} million parameters, {cost:.0f} GMAC at once, peak {peak:.0f} MiB")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
