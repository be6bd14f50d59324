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


def verdict_picture(pixels: np.ndarray, pieces: Sequence[Piece], verdict: str, classes: Sequence[str]) -> np.ndarray:
    """uint8 [H, W, 3] with masks tinted and outlined, boxes with class and score, and the verdict along the top."""
    drawn = pixels.copy()
    scale = max(1, round(min(pixels.shape[:2]) / 512))
    for piece in pieces:
        _tint(drawn, piece, _colour(piece.label, classes), scale)
    banner_px = max(16, min(pixels.shape[:2]) // 24)
    picture = Image.fromarray(drawn)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(11, banner_px * 2 // 3))
    for piece in pieces:
        x1, y1, x2, y2 = piece.box
        colour = tuple(_colour(piece.label, classes).tolist())
        draw.rectangle((x1 - scale, y1 - scale, x2 + scale - 1, y2 + scale - 1), outline=colour, width=scale)
        text = f"{piece.label} {piece.score:.2f}"
        width, height = draw.textlength(text, font), font.size + 4
        left = min(max(0, x1), max(0, pixels.shape[1] - width - 4))
        top = y1 - height - scale if y1 - height - scale >= banner_px else min(y2 + scale, pixels.shape[0] - height)
        draw.rectangle((left, top, left + width + 4, top + height), fill=colour)
        draw.text((left + 2, top + height / 2), text, (255, 255, 255), font, anchor="lm")
    draw.rectangle((0, 0, pixels.shape[1], banner_px), fill=BANNER.get(verdict, RED))
    words = f"{verdict.upper()}   {len(pieces)} defect{'' if len(pieces) == 1 else 's'}"
    draw.text((banner_px // 2, banner_px / 2), words, (255, 255, 255), font, anchor="lm")
    return np.asarray(picture)


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
