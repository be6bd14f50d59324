"""Made pictures of rubber o-rings with tears, pits, flash and missing material: whole frames, or patches of them."""
from collections.abc import Sequence

import cv2
import numpy as np

from core.errors import ConfigError, did_you_mean
from core.synthetic.oring_scene import (
    Change,
    Ring,
    Window,
    coordinates,
    draw_scene,
    expose,
    make_ring,
    photograph,
    ring_place,
)
from core.synthetic.sample import Defect, Sample
from core.synthetic.texture import bright_enough, contrast_mask, drop_crumbs, noise, reach, ribbon, smooth_step, walk

CLASSES = ("tear", "pit", "flash", "missing_material")
SIZE = (2448, 2048)
SMALLEST_PX = 256
SMALLEST_PATCH = 1 / 8      # of the frame's smaller side: less may show no contour of a thick ring
LEAST_CONTRAST = 0.03       # of full scale: the least change that counts as part of a defect
LEAST_VISIBLE = 0.075       # of full scale: a defect that stands out less is first tried elsewhere
TRIES = 60
SHADOW_REACH_PX = 16        # a defect changes nothing farther from its mask than this, before the camera's blur
MARGIN_PX = 24              # a defect's window is drawn with this much round it, for blur and slopes


def draw(rng: np.random.Generator, size: tuple[int, int] = SIZE, *, defects: int | None = None,
         classes: Sequence[str] = CLASSES, patch: int | None = None, good_share: float = 0.0) -> Sample:
    """Draw one ring in a frame of `size` (w, h) px, grey (equal channels).

    defects     number of defects in the picture; None draws 1 to 3 as far as there is room, 0 gives a good part
    classes     which defects may appear
    patch       side in px: draw only a square cut at the ring; its twin is that piece of the frame's twin
    good_share  probability that a picture has no defect, where `defects` is None

    A mask holds the pixels that the defect changes by >= LEAST_CONTRAST of full scale, averaged over 3x3 px, before
    blur and noise, gaps filled, within 3 px of the altered rubber: no shadow (texture.contrast_mask). Picture and
    twin are equal farther than SHADOW_REACH_PX + 6 px from every mask. Dust, lint, oil and the mould's parting line
    are on both, unlabelled.
    """
    _check(size, classes, defects, patch)
    ring = make_ring(rng, size)
    at = rng.uniform(0, 2 * np.pi)
    jitter = rng.uniform(-0.3, 0.3, 2)
    window: Window = (0, 0, *size)
    if patch is not None:
        corner = np.round(ring_place(ring, at, 0) - patch * (0.5 + jitter)).astype(int)
        x, y = np.clip(corner, 0, np.array(size) - patch)
        window = (int(x), int(y), patch, patch)
    wanted = defects
    if wanted is None:
        wanted = 0 if rng.random() < good_share else int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))
    clean = photograph(ring, window)
    image, drawn = clean.copy(), []
    for _ in range(wanted):
        defect = _add(rng, ring, window, image, str(rng.choice(list(classes))), drawn)
        if defect is None and (defects is not None or not drawn):
            raise ConfigError(f"oring: no room for another defect, got {len(drawn) + 1} on {window[2]}x{window[3]} px. "
                              "Ask for fewer defects or a larger size")
        drawn += [defect] if defect else []
    return Sample(image=_grey(image), clean=_grey(clean), defects=tuple(drawn))


def tear(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray) -> Change:
    """A ragged cut that gapes in the middle: dark within, one rough wall in the light, lips pushed up."""
    _, _, w, h = window
    scale = ring.section / 75
    middle = np.array([w, h]) / 2
    tangent = _tangent(ring, window)
    heading = tangent + rng.choice([0, np.pi / 2, np.pi / 4, -np.pi / 4], p=[0.4, 0.3, 0.15, 0.15]) + rng.normal(0, 0.2)
    length = scale * min(rng.uniform(28, 190), 1.7 * 75 if abs(np.sin(heading - tangent)) > 0.5 else 190)
    curve = walk(rng, length, heading, 0.35, 0.22, step_px=2.5)
    curve = curve - curve[len(curve) // 2] + middle
    along = np.linspace(0, 1, len(curve))
    gape = max(1.0, scale * rng.uniform(1.2, 7)) * np.sin(np.pi * along ** rng.uniform(0.6, 1.5)) ** 0.8
    ragged = np.clip(1 + 0.3 * rng.standard_normal(len(curve)), 0.4, 1.7)
    inside = ribbon((w, h), curve, np.clip(gape * ragged, 0.45, None))
    wall_side = rng.choice([-1, 1]) * gape.max() * 0.55
    wall = ribbon((w, h), curve, np.clip(gape * 0.55 * ragged, 0.3, None), offset_px=wall_side)
    lips = cv2.GaussianBlur(inside, (0, 0), 1.2 + 0.35 * gape.max())
    inside = inside * (np.abs(across) < 1 + 0.5 / ring.section)
    open_end = inside * smooth_step(np.abs(across), 0.86, 1.0) * (gape.max() > 2.5)
    return Change(relief=1.6 * lips * (1 - inside) * (1 + 0.4 * gape.max()) * 0.7, gone=open_end, film=_nothing(window),
                  shade=inside * (0.9 - 0.75 * wall), torn=np.maximum(inside * 0.85, 0.35 * lips * (lips > 0.3)))


def pit(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray) -> Change:
    """A pin-hole or small cavity: black inside, its rim glinting where it leans towards a lamp."""
    _, _, w, h = window
    radius = 2.4 * (14 / 2.4) ** (rng.random() ** 1.4) * min(1.0, 0.5 + ring.section / 150)
    holes = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
    lean = np.clip(np.sqrt(np.clip(1 - _centre(ring, window)[0] ** 2, 0, 1)), 0.45, 1)      # seen from the side
    outward = _tangent(ring, window) - np.pi / 2
    y, x = np.mgrid[:h, :w].astype(np.float32)
    squeeze = ((x - w / 2) * np.cos(outward) + (y - h / 2) * np.sin(outward)) * (1 / lean - 1)
    x, y = x + squeeze * np.cos(outward), y + squeeze * np.sin(outward)
    depth = _nothing(window)
    for k in range(holes):
        cx, cy = np.array([w, h]) / 2 + (k > 0) * rng.normal(0, 9 + radius, 2)
        size = radius * (1 if k == 0 else rng.uniform(0.4, 0.8))
        c, s, stretch = *_unit(rng.uniform(0, np.pi)), rng.uniform(1, 1.6)
        distance = np.hypot(((x - cx) * c + (y - cy) * s) / stretch, (y - cy) * c - (x - cx) * s)
        edge = size * (1 + 0.2 * noise(rng, (w, h), max(1.2, size * 0.5))) - distance
        depth = np.maximum(depth, smooth_step(edge, -0.7, 0.7 + 0.4 * size))
    rim = cv2.GaussianBlur(depth, (0, 0), 1.6) * (1 - depth)
    deep = 0.93 if rng.random() < 0.75 or radius < 5 else rng.uniform(0.3, 0.6)
    inside = smooth_step(-np.abs(across), -1, -0.93)
    depth = depth * inside
    return Change(relief=(1.6 * rim - (1.2 + 0.3 * radius) * depth) * inside, shade=deep * smooth_step(depth, 0.5, 1.0),
                  torn=_nothing(window), gone=_nothing(window), film=_nothing(window))


def flash(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray, angle: np.ndarray) -> Change:
    """Rubber squeezed out between the mould's halves: thin fins at a contour that let light through, or threads."""
    side, arc, scale = _side(ring, window), _arc(ring, window, angle), ring.section / 75
    beyond = (side * across - 1) * ring.section
    film = _nothing(window)
    if rng.random() < 0.75:
        span, extent = scale * rng.uniform(28, 250), max(3.0, scale * rng.uniform(4, 26))
        places = np.linspace(-1, 1, max(12, int(span / 2)))
        steps = ((5, 0.4), (max(4, int(span / 14)), 0.22), (max(4, int(span / 5)), 0.07))
        ragged = 0.65 + sum(np.interp(places, np.sort(rng.uniform(-1, 1, count)), rng.uniform(-depth, depth, count))
                            for count, depth in steps)
        ends = np.clip((1 - np.abs(places)) * rng.uniform(1.3, 5), 0, 1) ** 0.7
        reach_px = np.interp(arc, places * span / 2, extent * np.clip(ragged, 0.1, 1.2) * ends, left=-3, right=-3)
        fin = smooth_step(reach_px - beyond, -0.6, 0.9) * smooth_step(beyond, -2.5, -0.5)
        size = film.shape[::-1]
        folds = noise(rng, size, 2.2) + 0.7 * noise(rng, size, 7)
        thick = rng.uniform(0.22, 0.5) + 0.055 * folds + 0.3 * np.exp(-np.maximum(beyond, 0) / (0.35 * extent))
        thick = thick + rng.uniform(0.08, 0.35) * np.exp(-((reach_px - beyond - 1.2) / 1.1) ** 2)
        film = fin * np.clip(thick, 0.12, 0.93)
    if rng.random() < 0.4 or not film.any():
        for _ in range(rng.integers(1, 4)):
            film = np.maximum(film, _thread(rng, ring, window, side, scale))
    return Change(relief=_nothing(window), shade=_nothing(window), torn=_nothing(window), gone=_nothing(window),
                  film=film.astype(np.float32))


def missing_material(rng: np.random.Generator, ring: Ring, window: Window, across: np.ndarray,
                     angle: np.ndarray) -> Change:
    """A bite out of the cord: torn, with a rough broken face along it, or never filled, with a smooth round edge."""
    side, arc, size = _side(ring, window), _arc(ring, window, angle), (window[2], window[3])
    inward = (1 - side * across) * ring.section
    on_ring = inward > -0.5
    span = ring.section * rng.uniform(0.35, 2.2)
    depth = min(ring.section * rng.uniform(0.18, 1.3), 0.9 * span)
    broken = rng.random() < 0.65
    if broken:
        shape = np.clip(1 - np.abs(2 * arc / span) ** rng.uniform(1.8, 3.5), -1.5, 1)
        shape = shape + rng.uniform(-0.3, 0.3) * arc / span
    else:
        depth = min(depth, 0.32 * span)
        shape = 0.5 + 0.5 * np.cos(np.clip(2 * np.pi * arc / span, -np.pi, np.pi))
    edge = depth * shape - np.maximum(inward, 0)
    if broken:
        edge = edge + depth * 0.07 * noise(rng, size, 8) + 1.6 * noise(rng, size, 2.4) + 0.7 * noise(rng, size, 0.9)
    gone = smooth_step(edge, -0.7, 0.7) * (inward < 1.6 * ring.section) * (shape > 0.02)
    if broken:
        face = rng.uniform(3, 6) + rng.uniform(0.08, 0.35) * depth
        torn = on_ring * smooth_step(edge + face * (1 + 0.35 * noise(rng, size, 6)), -0.8, 1.0)
        rough = torn * (0.35 * noise(rng, size, 1.1) + 1.0 * noise(rng, size, 3))
        return Change(relief=rough, torn=torn * 0.9, gone=gone, film=_nothing(window),
                      shade=0.25 * smooth_step(noise(rng, size, 4), 0.2, 1.4) * torn)
    lip = np.clip(1 + edge / (0.5 * ring.section), 0, 1) * np.clip(4 * shape, 0, 1)
    fall = 1 - np.sqrt(np.clip(1 - 0.9 * lip ** 2.5, 0, 1))
    return Change(relief=-0.3 * ring.section * fall, torn=_nothing(window), gone=gone, film=_nothing(window),
                  shade=0.05 * lip * on_ring)


DRAW = {"tear": tear, "pit": pit, "flash": flash, "missing_material": missing_material}
SHARE = {"tear": 0.0, "pit": 0.12, "flash": 0.0, "missing_material": 0.0}     # texture.contrast_mask
ACROSS = {"tear": (-0.85, 0.85), "pit": (-0.82, 0.82)}      # where on the cord; the others sit at a contour


def _add(rng: np.random.Generator, ring: Ring, window: Window, image: np.ndarray, label: str,
         others: list[Defect]) -> Defect | None:
    """Draw one defect into `image`, where it shows and touches no other; None where there is no such place."""
    for attempt in range(TRIES):
        place = _pick_place(rng, ring, window, label)
        half = int({"tear": 1.5, "pit": 0.4, "flash": 2.2, "missing_material": 1.6}[label] * ring.section) + 60
        local = (round(place[0]) - half, round(place[1]) - half, 2 * half, 2 * half)
        across, angle = coordinates(ring, local)
        change = DRAW[label](rng.spawn(1)[0], ring, local, across, angle)
        before = draw_scene(ring, local)
        delta = draw_scene(ring, local, change) - before
        on_ring = np.abs(across) < 1 + 1 / ring.section
        rubber = _footprint(change) & (on_ring | (change.film > 0.02))
        mask = contrast_mask(delta, LEAST_CONTRAST, SHARE[label]) & rubber
        mask[:MARGIN_PX] = mask[-MARGIN_PX:] = mask[:, :MARGIN_PX] = mask[:, -MARGIN_PX:] = False
        mask = drop_crumbs(mask, 5, 0.02 if label == "pit" else 0.1 if label == "missing_material" else 0.03)
        near = cv2.dilate(mask.astype(np.uint8), np.ones((45, 45), np.uint8)).astype(bool)
        seen, inner = _overlap(local, window)
        if mask[inner].sum() < 8 or _contrast(before[inner], delta[inner], mask[inner]) < 1 - 0.6 * attempt / TRIES:
            continue
        if any((other.mask[seen] & near[inner]).any() for other in others):
            continue
        taken = expose(ring, local, before + delta * reach(mask, SHADOW_REACH_PX))
        image[seen][near[inner]] = taken[inner][near[inner]]
        whole = np.zeros(image.shape, bool)
        whole[seen] = mask[inner]
        return Defect(label=label, mask=whole)
    return None


def _contrast(before: np.ndarray, delta: np.ndarray, mask: np.ndarray) -> float:
    """How well the change is seen, also against the texture round it: 1 is well enough."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((21, 21), np.uint8)).astype(bool) & ~mask
    texture = cv2.GaussianBlur(before, (0, 0), 0.9) - cv2.GaussianBlur(before, (0, 0), 4)
    inside = near & (before < 0.5 * before.max())
    grain = float(texture[inside].std()) if inside.any() else 0.0
    return bright_enough(delta, mask) / max(LEAST_VISIBLE, 1.6 * grain)


def _footprint(change: Change) -> np.ndarray:
    """Pixels at or next to altered rubber, as against those that only its shadow or its raised surroundings change."""
    altered = np.maximum.reduce([change.shade > 0.02, change.torn > 0.05, change.gone > 0.05, change.film > 0.02])
    return cv2.dilate(altered.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))).astype(bool)


def _pick_place(rng: np.random.Generator, ring: Ring, window: Window, label: str) -> np.ndarray:
    """A pixel of the window at which such a defect may sit."""
    x, y, w, h = window
    for _ in range(10000):
        across = rng.uniform(*ACROSS[label]) if label in ACROSS else rng.choice([-1.0, 1.0])
        place = ring_place(ring, rng.uniform(0, 2 * np.pi), across)
        if 0.04 * w <= place[0] - x <= 0.96 * w and 0.04 * h <= place[1] - y <= 0.96 * h:
            return place
    raise ConfigError(f"oring: the patch shows too little of the ring, got {w}x{h} px. Use a larger patch")


def _overlap(local: Window, window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part that two windows share: as slices of the second, and of the first."""
    seen, inner = [], []
    for axis in (1, 0):
        low = max(local[axis], window[axis])
        high = max(low, min(local[axis] + local[axis + 2], window[axis] + window[axis + 2]))
        seen.append(slice(low - window[axis], high - window[axis]))
        inner.append(slice(low - local[axis], high - local[axis]))
    return (seen[0], seen[1]), (inner[0], inner[1])


def _centre(ring: Ring, window: Window) -> tuple[float, float]:
    """Place across the cord, and angle, of the window's middle."""
    x, y, w, h = window
    across, angle = coordinates(ring, (x + w // 2, y + h // 2, 1, 1))
    return float(across[0, 0]), float(angle[0, 0])


def _side(ring: Ring, window: Window) -> int:
    return 1 if _centre(ring, window)[0] > 0 else -1


def _tangent(ring: Ring, window: Window) -> float:
    return _centre(ring, window)[1] + ring.turn + np.pi / 2


def _arc(ring: Ring, window: Window, angle: np.ndarray) -> np.ndarray:
    """Length along the ring from the window's middle, px."""
    return ((angle - _centre(ring, window)[1] + np.pi) % (2 * np.pi) - np.pi) * ring.radius


def _thread(rng: np.random.Generator, ring: Ring, window: Window, side: int, scale: float) -> np.ndarray:
    """One whisker of rubber that stands out from the contour, as density."""
    _, _, w, h = window
    outward = _tangent(ring, window) - np.pi / 2 + (0 if side > 0 else np.pi)
    curve = walk(rng, max(9.0, scale * rng.uniform(10, 55)), outward + rng.normal(0, 0.6), 1.1, 0.1, step_px=2)
    shift = _unit(outward + np.pi / 2) * rng.normal(0, 14 * scale) - 2 * _unit(outward)
    half = rng.uniform(0.5, 1.5) * np.linspace(1.3, 0.55, len(curve))
    return 0.85 * ribbon((w, h), curve + np.array([w, h]) / 2 + shift, half)


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _nothing(window: Window) -> np.ndarray:
    return np.zeros((window[3], window[2]), np.float32)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.merge([pixels] * 3)


def _check(size: tuple[int, int], classes: Sequence[str], defects: int | None, patch: int | None) -> None:
    if min(size) < SMALLEST_PX:
        raise ConfigError(f"oring: the frame is too small, got {size[0]}x{size[1]} px. "
                          f"Use at least {SMALLEST_PX}x{SMALLEST_PX}")
    smallest = round(SMALLEST_PATCH * min(size))
    if patch is not None and not smallest <= patch <= min(size):
        raise ConfigError(f"oring: the patch does not fit, got {patch} px. "
                          f"Use {smallest} to {min(size)} px for frames of {size[0]}x{size[1]}")
    for label in classes:
        if label not in CLASSES:
            raise ConfigError(f"oring: unknown class, got {label!r}. {did_you_mean(label, CLASSES)}"
                              f"Use one of: {', '.join(CLASSES)}")
    if not classes:
        raise ConfigError(f"oring: no class to draw, got an empty list. Use some of: {', '.join(CLASSES)}")
    if defects is not None and defects < 0:
        raise ConfigError(f"oring: a number of defects must be 0 or more, got {defects}. Use 0 for a good part")
