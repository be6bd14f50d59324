"""Changes to training crops: geometry is drawn once and moves image and labels alike, light changes the image alone."""
import functools

import cv2
import numpy as np

from core.visualise import encode_jpeg

from .losses import IGNORE
from .settings import AugmentConfig

BLUR_CHANCE, NOISE_CHANCE, JPEG_CHANCE, GLARE_CHANCE = 0.2, 0.33, 0.2, 0.2
CELLS = 5               # of the grid whose random shifts an elastic change interpolates


def draw_geometry(random: np.random.Generator, config: AugmentConfig, side_px: int) -> np.ndarray:
    """float32 [2, S, S]: where each pixel of the crop comes from, x and y in px from the crop's centre.

    Without a warp every pixel comes from exactly one other: flips and turns rearrange, nothing is interpolated.
    """
    places = _grid(side_px)
    if not config.enabled:
        return places
    flips, turns = random.random(2) < 0.5, random.integers(4)
    if config.flip:
        places = places[:, :, ::-1] if flips[0] else places
        places = places[:, ::-1] if flips[1] else places
    if config.turn:
        places = np.rot90(places, turns, (1, 2))
    places = np.ascontiguousarray(places)
    return _bent(random, config, places, side_px) if random.random() < config.warp_chance else places


def warped(image: np.ndarray, labels: np.ndarray, places: np.ndarray, centre: tuple[float, float]) -> tuple:
    """The crop of an image uint8 or uint16 [H, W, 3] and of its labels uint8 [H, W] round `centre` (x, y).

    Beyond its border the image is mirrored and the labels are IGNORE.
    """
    maps, window = _in_window(places, centre, image.shape)
    pixels = cv2.remap(np.ascontiguousarray(image[window]), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return pixels, _nearest(labels[window], maps)


def warped_labels(labels: np.ndarray, places: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """The labels' part of `warped`: each pixel takes the label of the nearest one."""
    maps, window = _in_window(places, centre, labels.shape)
    return _nearest(labels[window], maps)


def draw_light(random: np.random.Generator, config: AugmentConfig, image: np.ndarray) -> np.ndarray:
    """Another light, lens and camera: float32 [1 or 3, S, S] in 0..1 -> the same; equal channels stay equal."""
    if not config.enabled:
        return image
    grey = len(image) == 1 or bool((image[0] == image[1]).all() and (image[0] == image[2]).all())
    planes = image[:1] if grey else image
    gain = 1 + random.uniform(-config.contrast, config.contrast)
    gains = np.full((1, 1, 1), gain) if grey else gain * (1 + random.uniform(-config.colour, config.colour, (3, 1, 1)))
    shifts = planes.mean(dtype=np.float64) * (1 - gains) + random.uniform(-config.brightness, config.brightness)
    planes = planes * gains.astype(np.float32) + shifts.astype(np.float32)
    if config.glare and random.random() < GLARE_CHANCE:
        planes = planes + streak(random, planes.shape[1]) * random.uniform(0, config.glare)
    exponent = float(np.exp(random.uniform(-1, 1) * np.log1p(config.gamma)))
    planes = np.clip(planes, 0, 1, out=planes)
    if exponent != 1:                   # OpenCV's is five times as fast as numpy's
        planes = cv2.pow(planes.reshape(-1, planes.shape[2]), exponent).reshape(planes.shape)
    chances = random.random(3)
    if chances[0] < BLUR_CHANCE and config.blur_sigma_px:
        sigma = random.uniform(0.1, 1) * config.blur_sigma_px
        planes = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in planes])
    if chances[1] < NOISE_CHANCE:
        planes = planes + random.uniform(0, config.noise) * random.standard_normal(planes.shape, np.float32)
    planes = planes.clip(0, 1).astype(np.float32)
    if chances[2] < JPEG_CHANCE and config.jpeg_quality:
        planes = _through_jpeg(planes, int(random.integers(config.jpeg_quality, 101)))
    return np.repeat(planes, len(image), axis=0) if grey else planes


def streak(random: np.random.Generator, side_px: int) -> np.ndarray:
    """float32 [S, S] in 0..1: a soft band of light across the crop, brighter along a part of it."""
    angle, width = random.uniform(0, np.pi), side_px * np.exp(random.uniform(np.log(0.02), np.log(0.25)))
    along = np.arange(side_px, dtype=np.float32) - side_px / 2
    across = along[:, None] * np.sin(angle) + along * np.cos(angle) - random.uniform(-0.6, 0.6) * side_px
    onward = along[:, None] * np.cos(angle) - along * np.sin(angle) - random.uniform(-0.5, 0.5) * side_px
    return np.exp(-0.5 * (across / width) ** 2 - 0.5 * (onward / (0.6 * side_px)) ** 2).astype(np.float32)


def _bent(random: np.random.Generator, config: AugmentConfig, places: np.ndarray, side_px: int) -> np.ndarray:
    """Turned, scaled, tilted and bent: a homography of the corners, then a smooth shift."""
    angle = np.deg2rad(random.uniform(-config.rotate_deg, config.rotate_deg))
    scale = np.exp(random.uniform(*np.log(config.scale)))
    half = side_px / 2
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]], np.float32)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    tilt = random.uniform(-config.perspective, config.perspective, (4, 2)) * side_px
    matrix = cv2.getPerspectiveTransform(corners, (corners @ turn.T + tilt).astype(np.float32))
    flat = places.reshape(2, -1).T[None].astype(np.float32)
    moved = cv2.perspectiveTransform(flat, matrix)[0].T.reshape(places.shape)
    shifts = random.normal(0, config.elastic_px, (2, CELLS, CELLS)).astype(np.float32)
    cubic = _cubic(side_px)
    return moved + cubic @ shifts @ cubic.T


@functools.lru_cache(4)
def _grid(side_px: int) -> np.ndarray:
    """float32 [2, S, S]: x and y of each pixel from the middle."""
    along = np.arange(side_px, dtype=np.float32) - np.float32((side_px - 1) / 2)
    places = np.stack(np.meshgrid(along, along))
    places.flags.writeable = False
    return places


@functools.lru_cache(4)
def _cubic(side_px: int) -> np.ndarray:
    """float32 [S, CELLS]: what interpolates values on the coarse grid along one axis."""
    return cv2.resize(np.eye(CELLS, dtype=np.float32), (CELLS, side_px), interpolation=cv2.INTER_CUBIC)


def _in_window(places: np.ndarray, centre: tuple[float, float], shape: tuple[int, ...]) -> tuple[list, tuple]:
    """x and y of a crop's places within the part of an image that it looks at, float32 [S, S] each; and that part."""
    maps, inside = [], []
    for axis, length in ((0, shape[1]), (1, shape[0])):
        at = places[axis] + np.float32(centre[axis])
        low, high = _needed(at, length)
        maps.append(at - np.float32(low))
        inside.append(slice(low, high))
    return maps, (inside[1], inside[0])


def _nearest(labels: np.ndarray, maps: list[np.ndarray]) -> np.ndarray:
    whole = np.stack([np.floor(at + np.float32(0.5)).astype(np.int16) for at in maps], axis=-1)
    return cv2.remap(np.ascontiguousarray(labels), whole, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
                     borderValue=IGNORE)


def _needed(at: np.ndarray, length: int) -> tuple[int, int]:
    """The stretch of an axis that a crop looks at, mirrored places included: OpenCV takes no side above 32,767 px."""
    low, high = float(at.min()), float(at.max())
    beyond = max(0.0, -low, high - (length - 1))
    return max(0, int(np.floor(low - beyond)) - 1), min(length, int(np.ceil(high + beyond)) + 2)


def _through_jpeg(planes: np.ndarray, quality: int) -> np.ndarray:
    pixels = np.rint(planes.transpose(1, 2, 0) * 255).astype(np.uint8)
    data = np.frombuffer(encode_jpeg(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), quality), np.uint8)
    back = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].transpose(2, 0, 1)
    return back[:len(planes)].astype(np.float32) / 255
