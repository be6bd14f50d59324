"""Strokes, outlines and random fields that made boards are drawn with."""
import cv2
import numpy as np

SHIFT = 4                                    # OpenCV draws at 1/16 px
HALF_TURN = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 10))


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell_px: float, cell_y_px: float = 0) -> np.ndarray:
    """Noise of about mean 0, deviation 1 with structure of `cell_px` (x) by `cell_y_px` (y): float32 [H, W]."""
    width, height = size
    columns = max(int(np.ceil(width / cell_px)), 1) + 3
    rows = max(int(np.ceil(height / (cell_y_px or cell_px))), 1) + 3
    coarse = rng.standard_normal((rows, columns), np.float32) * 1.35      # what interpolation takes away
    matrix = np.float32([[(columns - 3) / width, 0, 1], [0, (rows - 3) / height, 1]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(coarse, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def brushed(rng: np.random.Generator, size: tuple[int, int], along_px: float, across_px: float,
            angle: float) -> np.ndarray:
    """Noise drawn out along `angle` (radians): float32 [H, W], mean 0, deviation about 1."""
    width, height = size
    cosine, sine = np.cos(angle), np.sin(angle)
    columns = int(np.ceil((abs(width * cosine) + abs(height * sine)) / along_px)) + 4
    rows = int(np.ceil((abs(width * sine) + abs(height * cosine)) / across_px)) + 4
    coarse = rng.standard_normal((rows, columns), np.float32) * 1.35
    turn = np.array([[cosine / along_px, sine / along_px], [-sine / across_px, cosine / across_px]])
    start = np.array([columns, rows]) / 2 - turn @ (np.array(size) / 2)
    matrix = np.float32(np.concatenate([turn, start[:, None]], 1))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(coarse, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def slope(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A plane through 0 in a random direction, about -1..1 over the picture: float32 [H, W]."""
    width, height = size
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y) * np.float32(0.75)


def patch_outline(rng: np.random.Generator, centre: np.ndarray, radii: tuple[float, float], angle: float = 0,
                  roughness: float = 0.12) -> np.ndarray:
    """Outline of a roundish patch: float64 [48, 2] of x, y in px; `angle` in radians turns its first radius."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.ones_like(turn)
    for wave in range(2, 9):
        reach += roughness / wave ** 0.5 * rng.normal() * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    reach = np.maximum(reach, 0.35)
    return turned(np.stack([radii[0] * reach * np.cos(turn), radii[1] * reach * np.sin(turn)], 1), angle) + centre


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points [N, 2] turned by `angle` radians about the origin, from the x axis towards the y axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def fill(layer: np.ndarray, outline: np.ndarray, value: int = 255, *, smooth: bool = True) -> None:
    """Fill an outline [N, 2] of x, y px, placed to 1/16 px; `smooth`: edges anti-aliased, on uint8 [H, W] alone."""
    points = np.round((outline - 0.5) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(layer, [points], int(value), cv2.LINE_AA if smooth else cv2.LINE_8, SHIFT)


def capsule(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Outline of a straight stroke with round ends: float64 [20, 2]."""
    begin, finish = complex(*start), complex(*end)
    length = abs(finish - begin)
    cap = HALF_TURN * (radius * ((finish - begin) / length if length else 1))
    return np.concatenate([finish + cap, begin - cap]).view(np.float64).reshape(-1, 2)


def stroke(layer: np.ndarray, points: np.ndarray, width: float, value: int = 255, *, smooth: bool = True) -> None:
    """Draw a polyline [N, 2] of x, y px with round joints; `smooth`: anti-aliased, on uint8 [H, W] alone."""
    line = cv2.LINE_AA if smooth else cv2.LINE_8
    for start, end in zip(points[:-1], points[1:]):
        outline = np.round((capsule(start, end, width / 2) - 0.5) * (1 << SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(layer, outline, int(value), line, SHIFT)


def blurred(field: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur with a support of 3 sigma; unchanged at 0."""
    if sigma_px <= 0:
        return field
    side = 2 * int(np.ceil(3 * sigma_px)) + 1
    return cv2.GaussianBlur(field, (side, side), sigma_px, borderType=cv2.BORDER_REFLECT_101)
