"""The grain of a painted defect: what the network cannot foresee, as noise of the same colours and fineness.

A network that is taught by differences paints the mean of what could be there, which is smooth. Real defects differ
from it by a grain that is told by its colours' covariance and its autocorrelation; noise that has both, added to the
paint, is as near to the real ones as a set as copied defects are (README, results).
"""
import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch

from core.data.images import write_bytes

from .maps import Maps
from .networks import DefectGenerator, defect_input

FILE = "grain.npz"
WINDOWS, WINDOWS_A_SCENE = 96, 8        # that it is measured on at most
REACH_PX = 12               # of the autocorrelation
OPAQUE = 0.7                # thinner paint lets the grain of what is below it through
RIM_PX = 1                  # of the opaque part that is left out
CLIP = 2.5                  # standard deviations: what lies further out is no grain but a wrong place
LEAST_WINDOW_PX, LEAST_CLASS_PX = 30, 300
Stored = dict[str, np.ndarray]      # mixing [C, 3, 3] and kernel [C, K, K], float32, of each class


@torch.no_grad()
def measured(generator: DefectGenerator, batches: Iterable[Maps], classes: int) -> Stored:
    """The grain of each class, from windows with true edges; none where a class has too few opaque pixels.

    It is what the real defects have more of than the painted ones: the difference of covariances and autocorrelations.
    """
    size = 2 * REACH_PX + 1
    covariance, products, pairs = (np.zeros((classes, *shape)) for shape in ((3, 3), (size, size), (size, size)))
    for maps in batches:
        x, attention = defect_input(maps.background, maps.edges, maps.mask,
                                    maps.noise if generator.down[0].first.conv.weight.shape[1] == 5 else None)
        colour, opacity = generator.paint_over(x, attention, maps.label if generator.classes else None)
        made = torch.lerp(maps.background, colour, opacity).cpu().numpy()
        cover, images = ((plane * maps.mask).cpu().numpy() for plane in (opacity, maps.image))
        for number, true, paint, here in zip(maps.label.tolist(), images, made, cover[:, 0]):
            inside = cv2.erode((here > OPAQUE).astype(np.uint8), np.ones((2 * RIM_PX + 1,) * 2)) > 0
            if inside.sum() < LEAST_WINDOW_PX:
                continue
            for picture, sign in ((true, 1), (paint, -1)):
                rest = cleaned(picture, inside)
                covariance[number] += sign * np.einsum("chw,dhw->cd", rest, rest)
                products[number] += sign * sum(autocorrelation(plane) for plane in rest)
            pairs[number] += autocorrelation(inside.astype(np.float64))
    few = pairs[:, REACH_PX, REACH_PX] < LEAST_CLASS_PX
    covariance[few] = products[few] = 0
    return {"mixing": np.stack([mixing(*of_class) for of_class in zip(covariance, pairs)]).astype(np.float32),
            "kernel": np.stack([kernel(*of_class) for of_class in zip(products, pairs)]).astype(np.float32)}


def cleaned(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """float64 [3, H, W]: without the defect's own colour, and without what is no grain; 0 outside."""
    values = picture[:, inside].astype(np.float64)
    values -= np.median(values, axis=1, keepdims=True)
    limit = CLIP * 1.4826 * np.median(np.abs(values), axis=1, keepdims=True)
    result = np.zeros(picture.shape)
    result[:, inside] = np.clip(values, -limit, limit)
    return result


def autocorrelation(plane: np.ndarray) -> np.ndarray:
    """Sums of the products of all pairs of pixels that lie (y, x) apart, up to REACH_PX either way; not periodic."""
    double = tuple(2 * side for side in plane.shape)
    sums = np.fft.irfft2(np.abs(np.fft.rfft2(plane, double)) ** 2, double)
    return np.roll(sums, (REACH_PX, REACH_PX), (0, 1))[:2 * REACH_PX + 1, :2 * REACH_PX + 1]


def mixing(covariance: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """[3, 3], with which three planes of unit noise get the colours' covariance."""
    count = max(pairs[REACH_PX, REACH_PX], 1)
    values, vectors = np.linalg.eigh(covariance / count)
    return vectors * np.sqrt(values.clip(0))


def kernel(products: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """[K, K], through which white noise gets the autocorrelation, with a variance of 1."""
    found = products / np.maximum(pairs, 1)
    taper = (2 - 2 * np.abs(np.arange(-REACH_PX, REACH_PX + 1)) / (REACH_PX + 1)).clip(0, 1)
    found = np.outer(taper, taper) * found / max(found[REACH_PX, REACH_PX], 1e-12)
    found[REACH_PX, REACH_PX] = 1
    power = np.fft.fft2(np.fft.ifftshift(found)).real.clip(0)
    result = np.fft.fftshift(np.fft.ifft2(np.sqrt(power)).real)
    return result / np.sqrt((result ** 2).sum())


def drawn(stored: Stored, number: int, side_px: int, draw: np.random.Generator) -> np.ndarray:
    """float32 [3, side_px, side_px]: grain of a class."""
    white = draw.standard_normal((3, side_px, side_px), np.float32)
    planes = np.stack([cv2.filter2D(plane, -1, stored["kernel"][number], borderType=cv2.BORDER_REFLECT)
                       for plane in white])
    return np.einsum("cd,dhw->chw", stored["mixing"][number], planes).astype(np.float32)


def keep(stored: Stored, run: Path) -> None:
    file = io.BytesIO()
    np.savez(file, **stored)
    write_bytes(run / FILE, file.getvalue())


def kept(run: Path) -> Stored:
    """What a run of a defect model has measured; {}: nothing."""
    if not (run / FILE).is_file():
        return {}
    with np.load(run / FILE, allow_pickle=False) as file:
        return {name: file[name] for name in ("mixing", "kernel")}
