"""Bricks of made surfaces: noise, brushed lines, curves, blobs, bumps under a light, and the rule that makes a mask."""
import cv2
import numpy as np

OVERSAMPLE = 4          # curves are filled on a grid this much finer, then averaged
REACH_PX = 6            # a defect changes nothing farther from its mask than this, before the camera's blur


def noise(rng: np.random.Generator, size: tuple[int, int], sigma_px: float | tuple[float, float]) -> np.ndarray:
    """Gaussian noise blurred by sigma (x, y), float32 [H, W], mean 0, deviation 1; coarse noise from a coarse grid."""
    sigmas = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    steps = [max(1.0, sigma / 2) for sigma in sigmas]
    cols, rows = (int(np.ceil(length / step)) + 4 for length, step in zip(size, steps))
    grid = rng.standard_normal((rows, cols), np.float32)
    kernel = [sigma / step for sigma, step in zip(sigmas, steps)]
    if max(kernel) > 0.2:
        grid = cv2.GaussianBlur(grid, (0, 0), max(kernel[0], 0.05), sigmaY=max(kernel[1], 0.05))
    place = np.array([[1 / steps[0], 0, 1.5], [0, 1 / steps[1], 1.5]])
    if max(steps) > 1:
        grid = cv2.warpAffine(grid, place, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                              borderMode=cv2.BORDER_REFLECT)
    else:
        grid = grid[2:2 + size[1], 2:2 + size[0]]
    return (grid - grid.mean()) / (grid.std() + 1e-6)


def streaks(rng: np.random.Generator, size: tuple[int, int], angle: float, length_px: float,
            width_px: float) -> np.ndarray:
    """Brushed lines: noise smeared along `angle` (radians from the x axis), float32 [H, W], deviation about 1."""
    side = int(np.hypot(*size)) + 4
    lines = noise(rng, (side, side), (length_px, width_px))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), -np.degrees(angle), 1.0)
    turn[:, 2] -= (side - size[0]) / 2, (side - size[1]) / 2
    return cv2.warpAffine(lines, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def smooth_step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    ramp = np.clip((value - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def lit(height_px: np.ndarray, azimuth: float) -> np.ndarray:
    """Slope of a height map towards a light at `azimuth` (the direction the light comes from): > 0 faces the light."""
    return -(np.gradient(height_px, axis=1) * np.cos(azimuth) + np.gradient(height_px, axis=0) * np.sin(azimuth))


def walk(rng: np.random.Generator, length_px: float, angle: float, bend: float, jitter: float,
         step_px: float = 3.0) -> np.ndarray:
    """A wandering curve from (0, 0): float32 [N, 2] xy. `bend` is the slow turn in radians over its length, `jitter`
    the deviation of each step's direction."""
    steps = max(3, round(length_px / step_px))
    slow = np.interp(np.linspace(0, 3, steps), range(4), rng.uniform(-bend, bend, 4))
    direction = angle + slow + rng.normal(0, jitter, steps) if jitter else angle + slow
    return np.concatenate([np.zeros((1, 2)), np.cumsum(
        step_px * np.stack([np.cos(direction), np.sin(direction)], axis=1), axis=0)]).astype(np.float32)


def ribbon(size: tuple[int, int], points: np.ndarray, half_width_px: np.ndarray | float,
           offset_px: float = 0.0) -> np.ndarray:
    """Cover of a curve with varying width, float32 [H, W] 0..1; `offset_px` moves it along its left normal."""
    tangent = np.gradient(points, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) / (np.hypot(*tangent.T)[:, None] + 1e-6)
    half = np.broadcast_to(np.asarray(half_width_px, np.float32), len(points))[:, None]
    sides = [points + normal * (offset_px + half), points + normal * (offset_px - half)]
    left, right = (np.round((side + 0.5) * OVERSAMPLE * 16 - 8).astype(np.int32) for side in sides)
    canvas = np.zeros((size[1] * OVERSAMPLE, size[0] * OVERSAMPLE), np.uint8)
    for k in range(len(points) - 1):
        quad = np.stack([left[k], left[k + 1], right[k + 1], right[k]])
        cv2.fillConvexPoly(canvas, quad, 255, shift=4)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def centred(curves: list[np.ndarray], margin_px: int = 8) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Move curves into one canvas just large enough for them: the moved curves, and the canvas's (w, h)."""
    low = np.min([curve.min(axis=0) for curve in curves], axis=0) - margin_px
    high = np.max([curve.max(axis=0) for curve in curves], axis=0) + margin_px
    width, height = np.ceil(high - low).astype(int) + 1
    return [curve - low for curve in curves], (int(width), int(height))


def blob(rng: np.random.Generator, radius_px: float, stretch: float = 1.0, angle: float = 0.0,
         rough: float = 0.35) -> np.ndarray:
    """An irregular patch as a field, float32 [side, side]: > 0 inside, distance-like in px; `rough` 0: an ellipse."""
    half = int(np.ceil(radius_px * stretch * (1.35 + rough))) + 6
    y, x = np.mgrid[-half:half + 1, -half:half + 1].astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    radius = np.hypot(along / stretch, across)
    size = (2 * half + 1, 2 * half + 1)
    wobble = 0.7 * noise(rng, size, max(1.0, radius_px * 0.45)) + 0.3 * noise(rng, size, max(0.7, radius_px * 0.14))
    return radius_px * (1 - rough * 0.3) - radius + rough * radius_px * np.clip(wobble, -1.6, 1.6) * smooth_step(
        radius, 0, radius_px * 0.5)


def contrast_mask(delta: np.ndarray, least: float, share: float = 0.25, fill_px: int = 10 ** 9) -> np.ndarray:
    """The exact mask of a drawn defect from its noise-free change of brightness, bool [H, W].

    A pixel belongs to the defect where |delta|, averaged over 3x3 px, is at least `least` (full scale = 1) and at least
    `share` of the defect's own strong contrast (its 98th percentile). Gaps of one pixel and holes up to `fill_px` are
    filled."""
    strength = cv2.blur(np.abs(delta).astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE)
    drawn = strength[strength > least / 2]
    if not drawn.size:
        return np.zeros(delta.shape, bool)
    mask = (strength >= max(least, share * float(np.percentile(drawn, 98)))).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outside = cv2.copyMakeBorder(1 - mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    hole = (stats[:, cv2.CC_STAT_AREA] <= fill_px) & (np.arange(len(stats)) != pieces[0, 0])
    return (mask > 0) | hole[pieces[1:-1, 1:-1]]


def reach(mask: np.ndarray, reach_px: int = REACH_PX) -> np.ndarray:
    """Weight that lets a defect fade out within `reach_px` of its mask: 1 on it, 0 beyond, float32."""
    half = reach_px // 2
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * half + 1,) * 2, np.uint8)).astype(np.float32)
    return cv2.blur(near, (2 * (reach_px - half) + 1,) * 2, borderType=cv2.BORDER_REPLICATE)


def drop_crumbs(mask: np.ndarray, least_px: int, share: float) -> np.ndarray:
    """The mask without its pieces of fewer than `least_px` pixels or less than `share` of the largest one."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    if count < 2:
        return mask
    keep = areas >= max(least_px, share * areas[1:].max())
    keep[0] = False
    return keep[pieces]


def bright_enough(delta: np.ndarray, mask: np.ndarray) -> float:
    """How strongly a defect stands out after a camera's blur: 90th percentile of |change| over its mask."""
    seen = np.abs(cv2.GaussianBlur(delta, (5, 5), 0.9))[mask]
    return float(np.percentile(seen, 90)) if seen.size else 0.0
