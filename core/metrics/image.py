"""How like a picture is to the true one, whole or inside a mask: PSNR, SSIM, L1.

Pictures are numpy [H, W], [H, W, C] or a batch [N, H, W, C], or torch [C, H, W] or [N, C, H, W]; uint8 and uint16 count
from 0 to their full scale, floats from 0 to 1. Masks are bool [H, W] or [N, H, W] (torch: also with one channel), other
types are True above half of full scale. A single picture gives a float, a batch float64 [N]. Every figure is on the
scale of 0 to 1, whatever the bit depth. DataError: shapes that differ, values out of range, an empty mask.
"""
import numpy as np
import torch
from scipy import ndimage

from ..errors import ConfigError, DataError, did_you_mean

Picture = np.ndarray | torch.Tensor
GREY = np.array([0.2125, 0.7154, 0.0721])       # R, G, B in luminance, as scikit-image has it
RANGE_SLACK = 1e-3                              # a float picture may leave 0..1 by rounding, not by more

SSIM_MODES = {
    "gaussian": "Wang et al. 2004: Gaussian window of sigma 1.5 (11 px), population covariance, mean of the channels; "
                "scikit-image's gaussian_weights=True, sigma=1.5, use_sample_covariance=False",
    "uniform": "7 x 7 px window, sample covariance, mean of the channels; scikit-image's defaults",
    "legacy": "51 x 51 px window, sample covariance, on grey: what MIDG's earlier script printed",
}
WINDOWS_PX = {"gaussian": 11, "uniform": 7, "legacy": 51}
L1_CONVENTIONS = {
    "mean": "mean |a - b| over pixels and channels, 0..1",
    "levels": "the same in grey levels of 0..255",
    "relative": "sum |a - b| / sum (a + b): MAE of MIDG's earlier script, there on grey",
    "target": "sum |a - b| / sum b, b the true picture: mae of MIDG's training log",
    "coverage": "mean |a - b| over the whole picture / share of it that the mask covers: MIDG's L1 loss; needs a mask",
}


def psnr(made: Picture, true: Picture, mask: Picture | None = None, *, grey: bool = False) -> float | np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / mean squared difference); inf for equal pictures.

    grey    compare luminances, as MIDG's earlier script did.
    """
    pair = _Pair(made, true, mask, grey)
    error = pair.mean((pair.made - pair.true) ** 2)
    return pair.result(np.where(error > 0, -10 * np.log10(np.where(error > 0, error, 1)), np.inf))


def ssim(made: Picture, true: Picture, mask: Picture | None = None, *, mode: str = "gaussian") -> float | np.ndarray:
    """Structural similarity, -1..1 (1: equal), in one of SSIM_MODES; constants 0.01 and 0.03.

    Averaged over windows that lie whole in the picture. In a mask: over those whose middle is in it; where the mask has
    none, as on a picture's very border, over its own pixels with the picture mirrored beyond the border.
    """
    _choice("ssim mode", mode, SSIM_MODES)
    pair = _Pair(made, true, mask, grey=mode == "legacy")
    side = WINDOWS_PX[mode]
    if min(pair.made.shape[1:3]) < side:
        height, width = pair.made.shape[1:3]
        raise DataError(f"ssim: picture smaller than the window of mode '{mode}', got {width}x{height} px. "
                        f"It needs at least {side} px either way")
    similarity = _ssim_map(pair.made, pair.true, mode)
    inner = np.zeros(pair.mask.shape, bool)
    edge = side // 2
    inner[:, edge:-edge, edge:-edge] = True
    whole = pair.mask & inner
    chosen = np.where(whole.any((1, 2), keepdims=True), whole, pair.mask)
    return pair.result(_mean(similarity, chosen))


def l1(made: Picture, true: Picture, mask: Picture | None = None, *, convention: str = "mean", grey: bool = False,
       ) -> float | np.ndarray:
    """Absolute difference in one of L1_CONVENTIONS; sums and means are over the mask where there is one."""
    _choice("l1 convention", convention, L1_CONVENTIONS)
    pair = _Pair(made, true, mask, grey)
    error = np.abs(pair.made - pair.true)
    if convention == "coverage":
        if mask is None:
            raise DataError("l1: no mask, got convention 'coverage' without one. Give the mask, or choose 'mean'")
        return pair.result(error.mean((1, 2, 3)) / pair.mask.mean((1, 2)))
    found = pair.mean(error)
    if convention == "levels":
        found = found * 255
    elif convention != "mean":
        scale = pair.mean(pair.true + pair.made if convention == "relative" else pair.true)
        found = np.divide(found, scale, out=np.where(found > 0, np.inf, 0.0), where=scale > 0)
    return pair.result(found)


def to_unit(picture: Picture, where: str = "picture") -> np.ndarray:
    """A picture or a batch as float64 [N, H, W, C] in 0..1."""
    values = _numpy(picture)
    if isinstance(picture, torch.Tensor):
        values = np.moveaxis(values, -3, -1) if values.ndim in (3, 4) else values[..., None]
    elif values.ndim == 2:
        values = values[..., None]
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3) or 0 in values.shape:
        raise DataError(f"{where}: not a picture or a batch of them, got shape {tuple(picture.shape)}. "
                        "numpy [H, W], [H, W, C] or [N, H, W, C], torch [C, H, W] or [N, C, H, W], C 1 or 3")
    return _scaled(values, where)


def to_maps(maps: Picture, where: str = "mask") -> np.ndarray:
    """Masks or edge maps as they are or scaled to 0..1: bool or float64 [N, H, W]."""
    values = _numpy(maps)
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(f"{where}: not a map or a batch of them, got shape {tuple(maps.shape)}. "
                        "[H, W], [N, H, W] or [N, 1, H, W]")
    return values if values.dtype == bool else _scaled(values, where)


def to_mask(mask: Picture | None, shape: tuple[int, int, int], where: str = "mask") -> np.ndarray:
    """The mask as bool [N, H, W] of a shape; one mask serves a whole batch; None is everywhere."""
    if mask is None:
        return np.ones(shape, bool)
    values = to_maps(mask, where)
    values = values if values.dtype == bool else values > 0.5
    if values.shape[1:] != shape[1:] or len(values) not in (1, shape[0]):
        raise DataError(f"{where}: of another size than the picture, got {values.shape} for {shape}. Give one of its "
                        "size")
    if not values.any((1, 2)).all():
        raise DataError(f"{where}: an empty mask, got no pixel above half of full scale in mask "
                        f"{int(values.any((1, 2)).argmin())} of {len(values)}. Mark the defect (uint8: 255, not 1), or "
                        "leave the picture out")
    return np.broadcast_to(values, shape)


class _Pair:
    """Two pictures of one size and their mask, made ready."""

    def __init__(self, made: Picture, true: Picture, mask: Picture | None, grey: bool):
        self.single = made.ndim < 4
        self.made, self.true = to_unit(made, "made picture"), to_unit(true, "true picture")
        if self.made.shape != self.true.shape:
            raise DataError(f"pictures: of different shapes, got {tuple(made.shape)} and {tuple(true.shape)}. "
                            "Compare pictures of one size and number of channels")
        self.mask = to_mask(mask, self.made.shape[:3])
        if grey and self.made.shape[-1] == 3:
            self.made, self.true = (self.made @ GREY)[..., None], (self.true @ GREY)[..., None]

    def mean(self, values: np.ndarray) -> np.ndarray:
        return _mean(values, self.mask)

    def result(self, found: np.ndarray) -> float | np.ndarray:
        return float(found[0]) if self.single else found


def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the mask and the channels: [N, H, W, C], [N, H, W] -> [N]."""
    return np.array([one[inside].mean() for one, inside in zip(values, mask)])


def _ssim_map(a: np.ndarray, b: np.ndarray, mode: str) -> np.ndarray:
    """[N, H, W, C] twice -> the same; equations 6 and 13 of Wang et al. 2004."""
    side = WINDOWS_PX[mode]

    def local(values: np.ndarray) -> np.ndarray:
        if mode == "gaussian":
            return ndimage.gaussian_filter(values, (0, 1.5, 1.5, 0), truncate=3.5)
        return ndimage.uniform_filter(values, (0, side, side, 0))
    correction = 1.0 if mode == "gaussian" else side ** 2 / (side ** 2 - 1)
    mean_a, mean_b = local(a), local(b)
    variance_a = correction * (local(a * a) - mean_a ** 2)
    variance_b = correction * (local(b * b) - mean_b ** 2)
    covariance = correction * (local(a * b) - mean_a * mean_b)
    c1, c2 = 0.01 ** 2, 0.03 ** 2
    return ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            / ((mean_a ** 2 + mean_b ** 2 + c1) * (variance_a + variance_b + c2)))


def _numpy(values: Picture) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()
    return np.asarray(values)


def _scaled(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values / np.iinfo(values.dtype).max
    if values.dtype.kind != "f":
        raise DataError(f"{where}: no known range, got type {values.dtype}. Give uint8, uint16, or floats in 0..1")
    low, high = float(values.min()), float(values.max())
    if not (low >= -RANGE_SLACK and high <= 1 + RANGE_SLACK):                       # NaN too
        raise DataError(f"{where}: floats outside 0..1, got {low:g} to {high:g}. Divide by full scale, such as 255")
    return values.astype(np.float64)


def _choice(what: str, given: str, valid: dict[str, str]) -> None:
    if given not in valid:
        raise ConfigError(f"{what}: no such choice, got '{given}'. {did_you_mean(given, valid)}One of "
                          f"{', '.join(valid)}")
