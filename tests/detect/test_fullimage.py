"""Whole frames: the part and its hazards, tiles, and a made-up detector through all of it."""
import cv2
import numpy as np
import pytest

from core.data.shapes import component_crops
from core.seeding import rng
from detect.foreground import ForegroundConfig, foreground
from detect.fullimage import FrameConfig, inspect, tile_windows
from detect.merging import MergeConfig, Piece

SIZE = (600, 500)
CENTRE, OUTER, INNER = (300, 250), 190, 130


def ring_frame(*, dark: bool = False, noise: float = 6.0) -> np.ndarray:
    """A ring of one level on a background of another, uint8 [H, W, 3]."""
    rows, columns = np.mgrid[:SIZE[1], :SIZE[0]]
    distance = np.hypot(rows - CENTRE[1], columns - CENTRE[0])
    ring = (distance < OUTER) & (distance > INNER)
    grey = np.where(ring, 60 if dark else 180, 200 if dark else 50) + rng(2).normal(0, noise, ring.shape)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def spots(tiles) -> list[list[Piece]]:
    """A detector of nearly white spots: what a perfect network would find on each tile."""
    found = []
    for tile in tiles:
        white = cv2.erode((tile[..., 0] > 245).astype(np.uint8), np.ones((3, 3), np.uint8))
        white = cv2.dilate(white, np.ones((3, 3), np.uint8)).astype(bool)
        found.append([Piece("spot", 0.8, crop, x, y) for crop, x, y in component_crops(white, 9)])
    return found


@pytest.mark.parametrize("dark", [False, True])
def test_the_part_is_found_and_a_rings_hole_stays_open(dark):
    part = foreground(ring_frame(dark=dark), ForegroundConfig())
    assert part.warning is None
    assert part.separation > 0.9
    assert part.part[250, 300 + 160]
    assert not part.part[250, 300], "the ring's own hole"
    assert not part.part[5, 5]
    area = np.pi * (OUTER ** 2 - INNER ** 2)
    assert part.part.sum() == pytest.approx(area, rel=0.02)
    assert part.mask.sum() > part.part.sum()


def test_a_small_hole_is_filled_and_a_speck_is_no_part():
    pixels = ring_frame()
    cv2.circle(pixels, (300 + 160, 250), 5, (50, 50, 50), -1)
    cv2.circle(pixels, (20, 20), 3, (190, 190, 190), -1)
    part = foreground(pixels, ForegroundConfig())
    assert part.part[250, 460]
    assert not part.mask[20, 20]


@pytest.mark.parametrize("pixels", [np.full((200, 300, 3), 77, np.uint8), np.zeros((64, 64, 3), np.uint8),
                                    np.repeat(rng(3).normal(120, 10, (200, 300, 1)).astype(np.uint8), 3, 2)])
def test_a_frame_without_two_levels_is_looked_at_as_a_whole(pixels):
    part = foreground(pixels, ForegroundConfig())
    assert part.mask.all()
    assert part.warning


def test_tiles_of_the_reference_frame():
    windows = tile_windows((2448, 2048), FrameConfig())
    assert sorted({x for x, *_ in windows}) == [0, 452, 904, 1356, 1808]
    assert sorted({y for _, y, *_ in windows}) == [0, 469, 939, 1408]
    covered = np.zeros((2048, 2448), bool)
    for x, y, w, h in windows:
        covered[y:y + h, x:x + w] = True
    assert covered.all()


@pytest.mark.parametrize(("tile", "overlap"), [(640, 160), (200, 40), (160, 0), (97, 30)])
def test_defects_come_back_at_their_place_whatever_the_tiles(tile, overlap):
    pixels = ring_frame()
    truth = np.zeros(SIZE[::-1], np.uint8)
    for angle, side in zip((0.3, 1.4, 3.0, 4.4), (10, 25, 60, 14)):
        at = (np.array(CENTRE) + 160 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.ellipse(truth, tuple(map(int, at)), (side, 8), np.degrees(angle) + 90, 0, 360, 1, -1)
    pixels[truth > 0] = 255
    frame = inspect(pixels, spots, FrameConfig(tile_px=tile, overlap_px=overlap, batch=3))
    assert len(frame.defects) == 4
    drawn = np.zeros(truth.shape, bool)
    for piece in frame.defects:
        drawn[piece.box[1]:piece.box[3], piece.box[0]:piece.box[2]] |= piece.crop
    assert np.count_nonzero(drawn & (truth > 0)) / np.count_nonzero(drawn | (truth > 0)) > 0.97
    assert frame.score == 0.8
    assert set(frame.seconds) == {"foreground", "detect", "merge"}


def test_tiles_and_findings_off_the_part_are_passed_over_unless_asked_for():
    pixels = ring_frame()
    cv2.rectangle(pixels, (560, 20), (575, 40), (255, 255, 255), -1)        # dust on the background
    config = FrameConfig(tile_px=100, overlap_px=20)
    calls = []

    def counting(tiles):
        calls.extend(tiles)
        return spots(tiles)
    gated = inspect(pixels, counting, config)
    assert gated.defects == ()
    everywhere = len(tile_windows(SIZE, config))
    assert len(calls) < everywhere
    calls.clear()
    free = inspect(pixels, counting, config.model_copy(update={"foreground": ForegroundConfig(method="none")}))
    assert len(free.defects) == 1
    assert len(calls) == everywhere


def test_missing_material_looks_like_background_and_is_still_reported():
    pixels = ring_frame()
    hole = np.zeros(SIZE[::-1], np.uint8)
    cv2.circle(hole, (300 + 175, 250), 34, 1, -1)                           # broken out of the ring's outer edge
    pixels[hole > 0] = 50
    assert not foreground(pixels, ForegroundConfig()).part[250, 475]

    def of_holes(tiles):
        """Answers for the one tile with the whole break."""
        return [[Piece("missing", 0.9, *component_crops(hole > 0)[0])] for _ in tiles]
    frame = inspect(pixels, of_holes, FrameConfig(tile_px=640, overlap_px=0))
    assert len(frame.defects) == 1
    strict = FrameConfig(tile_px=640, overlap_px=0, foreground=ForegroundConfig(least_share=0.95))
    assert inspect(pixels, of_holes, strict).defects == ()


def test_a_frame_smaller_than_a_tile_and_one_of_background_alone():
    pixels = np.full((40, 50, 3), 30, np.uint8)
    cv2.rectangle(pixels, (10, 10), (20, 20), (255, 255, 255), -1)
    config = FrameConfig(tile_px=64, overlap_px=8, foreground=ForegroundConfig(method="none"))
    frame = inspect(pixels, spots, config)
    assert [piece.box for piece in frame.defects] == [(10, 10, 21, 21)], "mirrored copies are beyond the border"
    assert frame.windows == ((0, 0, 50, 40),)
    empty = inspect(np.full((300, 300, 3), 10, np.uint8), spots, FrameConfig(tile_px=64, overlap_px=8))
    assert empty.defects == ()
    assert empty.part.warning
    assert empty.score == 0


def test_every_rule_of_merging_runs_and_low_scores_are_dropped():
    pixels = ring_frame()
    cv2.circle(pixels, (460, 250), 9, (255, 255, 255), -1)
    for method in ("seam", "nms", "nmm", "wbf", "stitch"):
        config = FrameConfig(tile_px=200, overlap_px=60, merge=MergeConfig(method=method))
        assert len(inspect(pixels, spots, config).defects) == 1, method
    assert inspect(pixels, spots, FrameConfig(tile_px=200, overlap_px=60, least_score=0.9)).defects == ()
