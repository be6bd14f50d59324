"""A painted defect keeps its body and loses its soft rim."""
import cv2
import numpy as np

from midg.rims import trimmed


def painted(softness_px: float, contrast: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A soft disc of radius 10 on a ground with grain: clean, painted, where paint may lie, the disc."""
    clean = np.clip(np.random.default_rng(0).normal(0.3, 0.01, (64, 64, 3)), 0, 1).astype(np.float32)
    rows, columns = np.mgrid[:64, :64]
    disc = np.hypot(rows - 32, columns - 30) <= 10
    opacity = cv2.GaussianBlur(disc.astype(np.float32), (0, 0), softness_px)[..., None]
    alpha = (np.hypot(rows - 32, columns - 30) <= 18).astype(np.float32)
    return clean, clean + contrast * opacity, alpha, disc


def test_alpha_is_the_half_of_the_contrast_with_a_rim():
    for softness_px in (0.5, 2.0):
        clean, made, alpha, disc = painted(softness_px)
        left = trimmed(clean, made, alpha)
        body = left > 0.74
        assert (body & disc).sum() / (body | disc).sum() > 0.9
        assert (left <= alpha).all()
        assert 0 < left[~body].max() < 0.7
        assert not left[cv2.dilate(disc.astype(np.uint8), np.ones((11, 11), np.uint8)) == 0].any()


def test_a_fainter_part_of_a_defect_stays_and_holes_are_filled():
    clean, made, alpha, disc = painted(0.5)
    made[28:36, 26:34] = clean[28:36, 26:34]                        # a hole
    made[:, 34:] = clean[:, 34:] + 0.7 * (made - clean)[:, 34:]     # a fainter part
    body = trimmed(clean, made, alpha) > 0.74
    assert (body & disc).sum() / (body | disc).sum() > 0.9


def test_where_nothing_is_painted_nothing_is_taken_away():
    clean, _, alpha, _ = painted(1.0)
    assert np.array_equal(trimmed(clean, clean, alpha), alpha)
    assert not trimmed(clean, clean + 0.1, np.zeros_like(alpha)).any()
