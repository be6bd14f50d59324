"""A frame with its defects and its verdict drawn on it, legible at the frame's own size."""
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.visualise import COLOURS

from .merging import Piece

FILL = 0.4
BANNER = {"good": (0, 130, 80), "rework": (225, 150, 0), "review": (0, 100, 190)}       # anything else is red
RED = (200, 30, 30)


def verdict_picture(pixels: np.ndarray, pieces: Sequence[Piece], verdict: str, classes: Sequence[str],
                    words: str | None = None) -> np.ndarray:
    """uint8 [H, W, 3] with masks tinted and outlined, boxes with class and score, and the verdict along the top.

    words   beside the verdict; by default how many defects there are
    """
    drawn = pixels.copy()
    height, width = pixels.shape[:2]
    line_px, gap_px = max(1, min(height, width) // 1000), max(1, min(height, width) // 250)
    for piece in pieces:
        _tint(drawn, piece, _colour(piece.label, classes), line_px)
    banner_px = max(16, min(height, width) // 24)
    picture = Image.fromarray(drawn)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(11, banner_px * 2 // 3))
    taken = [(0, 0, width, banner_px), *((piece.x, piece.y, *piece.box[2:]) for piece in pieces)]
    for piece in pieces:
        x1, y1, x2, y2 = piece.box
        frame = x1 - gap_px, y1 - gap_px, x2 + gap_px - 1, y2 + gap_px - 1
        colour = tuple(_colour(piece.label, classes).tolist())
        draw.rectangle(frame, outline=colour, width=line_px)
        text = f"{piece.label} {piece.score:.2f}"
        place = _free(frame, (int(draw.textlength(text, font)) + 4, int(font.size * 1.25)), (width, height), taken)
        taken.append(place)
        draw.rectangle((*place[:2], place[2] - 1, place[3] - 1), fill=colour)
        draw.text((place[0] + 2, (place[1] + place[3]) / 2), text, (255, 255, 255), font, anchor="lm")
    draw.rectangle((0, 0, pixels.shape[1], banner_px), fill=BANNER.get(verdict, RED))
    words = words or f"{len(pieces)} defect{'' if len(pieces) == 1 else 's'}"
    draw.text((banner_px // 2, banner_px / 2), f"{verdict.upper()}   {words}", (255, 255, 255), font, anchor="lm")
    return np.asarray(picture)


def _free(frame: tuple, size: tuple[int, int], limits: tuple[int, int], taken: Sequence[tuple]) -> tuple:
    """A place for a label beside its box where neither another label nor a defect is; over it where none is free."""
    x1, y1, x2, y2 = frame
    (width, height), right, bottom = size, limits[0] - size[0], limits[1] - size[1]
    corners = [(x1, y1 - height), (x1, y2 + 1), (x2 + 1, y1), (x1 - width, y1), (x2 - width, y1 - height),
               (x2 - width, y2 + 1), *((x1, y2 + 1 + height * step) for step in range(1, 6))]
    for left, top in corners:
        left, top = max(0, min(left, right)), max(0, min(top, bottom))
        place = left, top, left + width, top + height
        if not any(place[0] < u2 and u1 < place[2] and place[1] < v2 and v1 < place[3] for u1, v1, u2, v2 in taken):
            break
    return place


def _tint(drawn: np.ndarray, piece: Piece, colour: np.ndarray, width_px: int) -> None:
    """Tint the piece's pixels and draw the line round them."""
    part = drawn[piece.y:piece.box[3], piece.x:piece.box[2]]
    part[piece.crop] = np.rint(part[piece.crop] * (1 - FILL) + colour * FILL).astype(np.uint8)
    lines, _ = cv2.findContours(piece.crop.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, lines, -1, colour.tolist(), width_px, offset=(piece.x, piece.y))


def _colour(label: str, classes: Sequence[str]) -> np.ndarray:
    """The class's own colour; labels that the outline gave follow the classes, in the order of their names."""
    number = classes.index(label) if label in classes else len(classes) + sum(map(ord, label)) % 3
    return COLOURS[number % len(COLOURS)]
