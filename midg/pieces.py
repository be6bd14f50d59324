"""A painted defect that came in pieces: the small ones are taken away, and how far it is one is told."""
import cv2
import numpy as np

LEAST_PIECE = 0.2           # of the largest piece's area
LEAST_WHOLE = 0.6           # of all painted area that the largest piece has, or it is no defect of one piece


def in_one_piece(alpha: np.ndarray) -> tuple[np.ndarray, bool]:
    """float32 [H, W] without pieces that are small beside the largest, and whether that one is most of it."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((alpha > 0).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if len(areas) < 2:
        return alpha, True
    kept = np.flatnonzero(areas >= LEAST_PIECE * areas.max()) + 1
    return np.where(np.isin(pieces, kept), alpha, 0).astype(alpha.dtype), bool(areas.max() >= LEAST_WHOLE * areas.sum())
