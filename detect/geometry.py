"""What can be measured of a defect and of a part, by name: lengths in px and mm, shape, contrast, place on a ring."""
from collections.abc import Sequence

import cv2
import numpy as np
from skimage.measure import perimeter_crofton
from skimage.morphology import skeletonize

from .merging import Piece
from .ring import Ring

ROUND_PX = 10           # width of the surroundings that a defect's brightness is compared with
LENGTHS = ("perimeter", "length", "width", "skeleton", "mean_width", "max_width", "to_outer", "to_inner")
OF_DEFECT = ("label", "score", "area_px", "area_mm2", *(f"{name}_px" for name in LENGTHS),
             *(f"{name}_mm" for name in LENGTHS), "box_width_px", "box_height_px", "aspect", "orientation_deg",
             "solidity", "circularity", "holes", "contrast", "edge_gradient", "radial", "angle_deg", "span_deg",
             "on_sealing_face", "at_border")
PART_LENGTHS = ("outer_radius", "inner_radius", "outer_roundness", "inner_roundness", "concentricity", "least_section",
                "spacing")
OF_PART = ("defects", "total_area_px", "total_area_mm2", "largest_area_px", "largest_area_mm2", "defects_per_10_mm",
           *(f"{name}_px" for name in PART_LENGTHS), *(f"{name}_mm" for name in PART_LENGTHS))
Value = float | bool | str | None           # None: cannot be measured here


def defect_features(piece: Piece, pixels: np.ndarray, *, ring: Ring | None = None, mm_per_px: float | None = None,
                    sealing_face: tuple[float, float] | None = None) -> dict[str, Value]:
    """Every feature of OF_DEFECT of one defect on a frame, uint8 [H, W, 3].

    length and width are the largest and the smallest distance of parallel tangents (Feret); mean and largest width
    are twice the distance to the edge along the skeleton, to about 1 px; contrast is the defect's mean grey level less
    that of its surroundings; radial is 0 at the ring's inner edge and 1 at its outer one; sealing_face is such a span.
    """
    mask = np.pad(piece.crop, 1)
    length, width, orientation = ferets(piece.crop)
    skeleton, mean_width, max_width = _along(mask)
    perimeter = float(perimeter_crofton(mask, directions=4))
    box_height, box_width = piece.crop.shape
    hull = cv2.convexHull(_corners(piece.crop))
    found: dict[str, Value] = {
        "label": piece.label, "score": piece.score, "area_px": float(piece.area_px), "perimeter_px": perimeter,
        "length_px": length, "width_px": width, "skeleton_px": skeleton, "mean_width_px": mean_width,
        "max_width_px": max_width, "box_width_px": float(box_width), "box_height_px": float(box_height),
        "aspect": length / max(width, 1e-9), "orientation_deg": orientation,
        "solidity": min(1.0, piece.area_px / max(cv2.contourArea(hull), 1.0)),
        "circularity": min(1.0, 4 * np.pi * piece.area_px / perimeter ** 2), "holes": float(_holes(mask)),
        **_light(piece, pixels), **_on_ring(piece, ring, sealing_face),
        "at_border": bool(piece.x <= 0 or piece.y <= 0 or piece.box[2] >= pixels.shape[1]
                          or piece.box[3] >= pixels.shape[0])}
    return _with_mm(found, LENGTHS, ("area",), mm_per_px)


def part_features(pieces: Sequence[Piece], *, ring: Ring | None = None, mm_per_px: float | None = None,
                  ) -> dict[str, Value]:
    """Every feature of OF_PART; spacing is the smallest distance of two defects' boxes' middles."""
    areas = [float(piece.area_px) for piece in pieces]
    middles = np.array([[piece.x + piece.crop.shape[1] / 2, piece.y + piece.crop.shape[0] / 2] for piece in pieces])
    apart = [float(np.hypot(*(middles[i] - middles[j]))) for i in range(len(middles)) for j in range(i)]
    found: dict[str, Value] = {"defects": float(len(pieces)), "total_area_px": sum(areas),
                               "largest_area_px": max(areas, default=0.0), "spacing_px": min(apart, default=None),
                               "defects_per_10_mm": None}
    names = ("outer_radius", "inner_radius", "outer_roundness", "inner_roundness", "concentricity", "least_section")
    values = (None,) * len(names) if ring is None else (
        ring.outer.radius, ring.inner.radius, ring.outer.roundness_px, ring.inner.roundness_px, ring.concentricity_px,
        float(ring.section_px.min()))
    found |= {f"{name}_px": value for name, value in zip(names, values)}
    if ring is not None and mm_per_px:
        arc_mm = np.pi * (ring.outer.radius + ring.inner.radius) * mm_per_px
        found["defects_per_10_mm"] = 10 * len(pieces) / arc_mm
    return _with_mm(found, PART_LENGTHS, ("total_area", "largest_area"), mm_per_px)


def ferets(crop: np.ndarray) -> tuple[float, float, float]:
    """Largest and smallest width between parallel tangents, px, and the direction of the largest in 0..180 degrees."""
    hull = cv2.convexHull(_corners(crop))[:, 0].astype(np.float64)
    apart = hull[:, None] - hull[None]
    distance = np.hypot(apart[..., 0], apart[..., 1])
    i, j = np.unravel_index(distance.argmax(), distance.shape)
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack([-edges[:, 1], edges[:, 0]], 1) / np.hypot(*edges.T)[:, None]
    across = normals @ hull.T
    orientation = float(np.degrees(np.arctan2(apart[i, j, 1], apart[i, j, 0])) % 180)
    return float(distance[i, j]), float((across.max(1) - across.min(1)).min()), orientation


def _corners(crop: np.ndarray) -> np.ndarray:
    """The corners of the outermost pixels of every row, int32 [N, 1, 2]."""
    rows = np.flatnonzero(crop.any(1))
    first = crop[rows].argmax(1)
    last = crop.shape[1] - crop[rows][:, ::-1].argmax(1)
    points = [np.stack([columns, rows + down], 1) for columns in (first, last) for down in (0, 1)]
    return np.concatenate(points).astype(np.int32)[:, None]


def _along(mask: np.ndarray) -> tuple[float, float, float]:
    """Length of the skeleton, mean and largest width along it, px. The length is right to about 15 %: it forks at
    square ends, or stops short of them."""
    line = skeletonize(mask)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    widths = np.maximum(2 * depth[line] - 1, 1.0)
    straight = (line[:, 1:] & line[:, :-1]).sum() + (line[1:] & line[:-1]).sum()
    down = line[1:, 1:] & line[:-1, :-1] & ~line[1:, :-1] & ~line[:-1, 1:]
    up = line[1:, :-1] & line[:-1, 1:] & ~line[1:, 1:] & ~line[:-1, :-1]
    length = 0.97 * (straight + np.sqrt(2) * (down.sum() + up.sum())) + 1       # steps are 0 to 8 % longer than a line
    return float(length), float(widths.mean()), float(widths.max())


def _holes(mask: np.ndarray) -> int:
    return cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)[0] - 2


def _light(piece: Piece, pixels: np.ndarray) -> dict[str, Value]:
    """contrast and edge_gradient, in grey levels and grey levels a px, from the piece's surroundings alone."""
    reach = ROUND_PX + 2
    x1, y1, x2, y2 = piece.box
    left, top = max(x1 - reach, 0), max(y1 - reach, 0)
    window = pixels[top:y2 + reach, left:x2 + reach]
    grey = cv2.cvtColor(np.ascontiguousarray(window), cv2.COLOR_RGB2GRAY).astype(np.float32)
    mask = np.zeros(grey.shape, np.uint8)
    mask[y1 - top:y2 - top, x1 - left:x2 - left] = piece.crop
    side = 2 * ROUND_PX + 1
    ring = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > cv2.dilate(
        mask, np.ones((3, 3), np.uint8))
    edge = (mask > 0) & (cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0) == 0)
    steep = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    contrast = float(grey[mask > 0].mean() - grey[ring].mean()) if ring.any() else None
    return {"contrast": contrast, "edge_gradient": float(steep[edge].mean())}


def _on_ring(piece: Piece, ring: Ring | None, sealing_face: tuple[float, float] | None) -> dict[str, Value]:
    names = ("to_outer_px", "to_inner_px", "radial", "angle_deg", "span_deg", "on_sealing_face")
    if ring is None:
        return dict.fromkeys(names)
    rows, columns = np.nonzero(piece.crop)
    x, y = columns + piece.x + 0.5, rows + piece.y + 0.5
    to_outer, to_inner = -ring.outer.beyond(x, y), ring.inner.beyond(x, y)
    radial = to_inner / np.maximum(to_inner + to_outer, 1e-6)           # outside the ring below 0 or above 1
    angles = np.arctan2(y - ring.outer.y, x - ring.outer.x)
    middle = np.arctan2(np.sin(angles).sum(), np.cos(angles).sum())
    span = np.ptp((angles - middle + np.pi) % (2 * np.pi))
    on_face = None if sealing_face is None else bool(
        ((radial >= sealing_face[0]) & (radial <= sealing_face[1])).any())
    values = (float(to_outer.min()), float(to_inner.min()), float(radial.mean()), float(np.degrees(middle) % 360),
              float(np.degrees(span)), on_face)
    return dict(zip(names, values))


def _with_mm(found: dict[str, Value], lengths: Sequence[str], areas: Sequence[str], mm_per_px: float | None,
             ) -> dict[str, Value]:
    """The features with those in mm; None where the size of a px or the px value is unknown."""
    for names, unit, factor in ((lengths, "mm", mm_per_px), (areas, "mm2", mm_per_px and mm_per_px ** 2)):
        for name in names:
            value = found[f"{name}_px"]
            found[f"{name}_{unit}"] = None if factor is None or value is None else value * factor
    return found
