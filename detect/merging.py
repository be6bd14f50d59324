"""Detections of overlapping tiles -> defects of the whole frame: one each, however many tiles saw a piece of it.

Masks are kept as crops all the way; no array of the frame's size is made for a detection.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from core.data.shapes import component_crops, tight

from .products import Section

TOUCH_PX = 2                # across the common edge of tiles without overlap
EDGE_WEIGHT = 0.1           # of a tile's vote at an edge beyond which another tile sees more
SAME_IOU = 0.8              # two defects of different classes on the same pixels: the likelier one stays

Window = tuple[int, int, int, int]          # x, y, width, height of a tile on the frame, px


class MergeConfig(Section):
    """How the detections of tiles become defects."""
    method: Literal["seam", "nms", "nmm", "wbf", "stitch"] = Field(
        "seam", description="seam: linked where two tiles see the same pixels, fused by vote")
    match: Literal["iou", "ios"] = Field("ios", description="of nms, nmm: overlap by union, or by the smaller")
    on: Literal["box", "mask"] = Field("mask", description="of nms, nmm: what overlaps")
    overlap: float | None = Field(None, gt=0, le=1, description="from which two match; null: the method's own")
    minimum_px: int = Field(4, ge=1, description="smaller defects are dropped")


@dataclass(frozen=True, eq=False)
class Piece:
    """One detection: pixels bool [h, w] with their corner at (x, y) of the frame, seen by tile number `tile`.

    tiles and mean_score are those of a merged one: how many tiles saw it, and their mean score (score is the highest).
    """
    label: str
    score: float
    crop: np.ndarray
    x: int
    y: int
    tile: int = 0
    tiles: int = 1
    mean_score: float | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.x + self.crop.shape[1], self.y + self.crop.shape[0]

    @property
    def area_px(self) -> int:
        return int(np.count_nonzero(self.crop))


def merge(pieces: Sequence[Piece], windows: Sequence[Window], config: MergeConfig) -> list[Piece]:
    """The defects, the surest first; the result does not depend on the order of tiles or pieces."""
    order = sorted((piece for piece in pieces if piece.crop.any()), key=lambda piece: _place(piece, windows))
    made = {"seam": _seam, "nms": _suppressed, "nmm": _united, "wbf": _averaged, "stitch": _stitched}[config.method](
        order, windows, config)
    made = sorted((piece for piece in made if piece.area_px >= config.minimum_px),
                  key=lambda piece: (-piece.score, *_place(piece, windows)))
    gone: set[int] = set()
    for better, worse in _meeting(made, 0):
        if better not in gone and worse not in gone and _overlap(made[better], made[worse], "iou") > SAME_IOU:
            gone.add(worse)
    return [piece for number, piece in enumerate(made) if number not in gone]


def _place(piece: Piece, windows: Sequence[Window]) -> tuple:
    """What orders pieces whatever their tiles are numbered."""
    return (*windows[piece.tile][1::-1], piece.y, piece.x, *piece.crop.shape, piece.label, -piece.score, piece.area_px)


def _seam(pieces: Sequence[Piece], windows: Sequence[Window], config: MergeConfig) -> list[Piece]:
    """Link, group so that no group holds two detections of one tile (the weakest links give way), fuse by vote."""
    least = config.overlap or 0.3
    links = []
    for i, j in _meeting(pieces, TOUCH_PX):
        if pieces[i].label == pieces[j].label and pieces[i].tile != pieces[j].tile:
            strength = _link(pieces[i], pieces[j], windows)
            if strength >= least:
                links.append((-strength, i, j))
    group = list(range(len(pieces)))
    members = {number: [number] for number in group}
    for _, i, j in sorted(links):
        first, second = sorted((group[i], group[j]))
        if first == second or {pieces[k].tile for k in members[first]} & {pieces[k].tile for k in members[second]}:
            continue
        for number in members[second]:
            group[number] = first
        members[first] += members.pop(second)
    return [_voted([pieces[k] for k in sorted(found)], windows) for found in members.values()]


def _link(one: Piece, other: Piece, windows: Sequence[Window]) -> float:
    """Share of the smaller one, of what both tiles can see, that the two have in common; touching counts as 1 where
    the tiles do not overlap."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = windows[one.tile], windows[other.tile]
    left, top, right, bottom = max(ax, bx), max(ay, by), min(ax + aw, bx + bw), min(ay + ah, by + bh)
    if left < right and top < bottom:
        first, second = _within(one, left, top, right, bottom), _within(other, left, top, right, bottom)
        smaller = min(np.count_nonzero(first), np.count_nonzero(second))
        return np.count_nonzero(first & second) / smaller if smaller else 0.0
    if left > right or top > bottom:
        return 0.0
    return float(_common(_grown(one), _grown(other)) > 0)


def _within(piece: Piece, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """The piece's pixels on a rectangle of the frame."""
    found = np.zeros((bottom - top, right - left), bool)
    x1, y1, x2, y2 = piece.box
    u1, v1, u2, v2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
    if u1 < u2 and v1 < v2:
        found[v1 - top:v2 - top, u1 - left:u2 - left] = piece.crop[v1 - y1:v2 - y1, u1 - x1:u2 - x1]
    return found


def _grown(piece: Piece) -> Piece:
    grown = cv2.dilate(np.pad(piece.crop, TOUCH_PX).astype(np.uint8), np.ones((2 * TOUCH_PX + 1,) * 2, np.uint8))
    return replace(piece, crop=grown.astype(bool), x=piece.x - TOUCH_PX, y=piece.y - TOUCH_PX)


def _voted(members: Sequence[Piece], windows: Sequence[Window]) -> Piece:
    """Pixels for which the tiles that see them vote by half or more; a tile's vote counts less towards its edges."""
    best = max(members, key=lambda piece: piece.score)
    if len(members) == 1:
        return replace(best, mean_score=best.score)
    left, top, right, bottom = _bounds(members)
    for_it, all_votes = np.zeros((2, bottom - top, right - left), np.float32)
    for piece in members:
        x, y, width, height = windows[piece.tile]
        u1, v1, u2, v2 = max(x, left), max(y, top), min(x + width, right), min(y + height, bottom)
        vote = np.outer(_fade(height)[v1 - y:v2 - y], _fade(width)[u1 - x:u2 - x])
        seen = slice(v1 - top, v2 - top), slice(u1 - left, u2 - left)
        all_votes[seen] += vote
        for_it[seen] += vote * _within(piece, u1, v1, u2, v2)
    return _made(members, for_it >= 0.5 * np.maximum(all_votes, 1e-6), left, top)


def _fade(length: int) -> np.ndarray:
    """Raised cosine over a tile, 1 in the middle, EDGE_WEIGHT at the ends; it only weighs tiles against each other."""
    wave = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
    return (EDGE_WEIGHT + (1 - EDGE_WEIGHT) * wave).astype(np.float32)


def _suppressed(pieces: Sequence[Piece], windows: Sequence[Window], config: MergeConfig) -> list[Piece]:
    """Of those that match, the one of the highest score."""
    return [_made(group, group[0].crop, group[0].x, group[0].y)
            for group in _clusters(pieces, config, config.match, config.on)]


def _united(pieces: Sequence[Piece], windows: Sequence[Window], config: MergeConfig) -> list[Piece]:
    """Of those that match, the union."""
    found = []
    for group in _clusters(pieces, config, config.match, config.on):
        left, top, right, bottom = _bounds(group)
        union = np.any([_within(piece, left, top, right, bottom) for piece in group], axis=0)
        found.append(_made(group, union, left, top))
    return found


def _averaged(pieces: Sequence[Piece], windows: Sequence[Window], config: MergeConfig) -> list[Piece]:
    """Weighted fusion of what matches by box IoU: pixels that hold half of the scores."""
    found = []
    for group in _clusters(pieces, config, "iou", "box", 0.55):
        left, top, right, bottom = _bounds(group)
        votes = sum(piece.score * _within(piece, left, top, right, bottom) for piece in group)
        found.append(_made(group, votes >= 0.5 * sum(piece.score for piece in group), left, top))
    return found


def _stitched(pieces: Sequence[Piece], windows: Sequence[Window], config: MergeConfig) -> list[Piece]:
    """Connected parts of all masks of a class laid over each other."""
    found = []
    for label in sorted({piece.label for piece in pieces}):
        mine = [piece for piece in pieces if piece.label == label]
        left, top, right, bottom = _bounds(mine)
        union = np.zeros((bottom - top, right - left), bool)
        for piece in mine:
            union[piece.y - top:piece.box[3] - top, piece.x - left:piece.box[2] - left] |= piece.crop
        for crop, x, y in component_crops(union):
            part = Piece(label, 0.0, crop, x + left, y + top)
            inside = [piece for piece in mine if _meet(part, piece) and _common(part, piece)]
            found.append(_made(inside, crop, part.x, part.y))
    return found


def _clusters(pieces: Sequence[Piece], config: MergeConfig, match: str, on: str, usual: float = 0.5,
              ) -> list[list[Piece]]:
    """Greedily, from the highest score down: each takes what matches it and is not taken."""
    least = config.overlap or usual
    ranked = sorted(range(len(pieces)), key=lambda number: -pieces[number].score)      # stable: ties stay in order
    near: dict[int, list[int]] = {number: [] for number in ranked}
    for i, j in _meeting(pieces, 0):
        if pieces[i].label == pieces[j].label:
            near[i].append(j)
            near[j].append(i)
    taken: set[int] = set()
    clusters = []
    for number in ranked:
        if number in taken:
            continue
        matching = [other for other in sorted(near[number]) if other not in taken
                    and _overlap(pieces[number], pieces[other], match, on) >= least]
        taken.update((number, *matching))
        clusters.append([pieces[number], *(pieces[other] for other in matching)])
    return clusters


def _meeting(pieces: Sequence[Piece], reach_px: int) -> list[tuple[int, int]]:
    """Pairs i < j whose boxes, each grown by `reach_px`, intersect."""
    if len(pieces) < 2:
        return []
    boxes = np.array([piece.box for piece in pieces]) + reach_px * np.array((-1, -1, 1, 1))
    low, high = boxes[:, :2], boxes[:, 2:]
    meet = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(2)
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(meet, 1))]


def _meet(one: Piece, other: Piece) -> bool:
    a, b = one.box, other.box
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _common(one: Piece, other: Piece) -> int:
    """Pixels that two pieces share."""
    a, b = one.box, other.box
    x1, y1, x2, y2 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if x1 >= x2 or y1 >= y2:
        return 0
    return int(np.count_nonzero(one.crop[y1 - a[1]:y2 - a[1], x1 - a[0]:x2 - a[0]]
                                & other.crop[y1 - b[1]:y2 - b[1], x1 - b[0]:x2 - b[0]]))


def touches(one: Piece, other: Piece) -> bool:
    """Whether two pieces share a pixel."""
    return _common(one, other) > 0


def _overlap(one: Piece, other: Piece, match: str, on: str = "mask") -> float:
    if on == "mask":
        both, areas = _common(one, other), (one.area_px, other.area_px)
    else:
        a, b = one.box, other.box
        both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        areas = tuple(piece.crop.size for piece in (one, other))
    return both / (min(areas) if match == "ios" else sum(areas) - both)


def _bounds(pieces: Sequence[Piece]) -> tuple[int, int, int, int]:
    boxes = np.array([piece.box for piece in pieces])
    return (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())


def _made(members: Sequence[Piece], mask: np.ndarray, left: int, top: int) -> Piece:
    best = max(members, key=lambda piece: piece.score)
    crop, x, y = tight(mask, left, top)
    return replace(best, crop=crop, x=x, y=y, tiles=len({piece.tile for piece in members}),
                   mean_score=float(np.mean([piece.score for piece in members])))
