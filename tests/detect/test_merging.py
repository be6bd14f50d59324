"""Detections of tiles become defects: once each, whatever the order, as good as the best of the alternatives."""
import time
import tracemalloc

import cv2
import numpy as np
import pytest

from core.data.shapes import tight
from core.seeding import rng
from detect.fullimage import FrameConfig, tile_windows
from detect.merging import MergeConfig, Piece, merge

METHODS = ("seam", "nms", "nmm", "wbf", "stitch")


def square(x: int, y: int, side: int, tile: int = 0, **more) -> Piece:
    return Piece(more.pop("label", "pit"), more.pop("score", 0.9), np.ones((side, side), bool), x, y, tile)


def seen(masks: list[np.ndarray], windows, *, noise: np.random.Generator | None = None) -> list[Piece]:
    """What a detector sees of full-frame masks in each tile: cut at its edges; with noise missed, thinner, fatter."""
    found = []
    for number, (x, y, w, h) in enumerate(windows):
        for mask in masks:
            cut = mask[y:y + h, x:x + w].astype(np.uint8)
            if noise is not None:
                side = int(noise.integers(1, 4))
                change = cv2.erode if noise.random() < 0.5 else cv2.dilate
                cut = change(cut, np.ones((side, side), np.uint8))
                if noise.random() < 0.08:
                    continue
            if np.count_nonzero(cut) >= 12:
                crop, u, v = tight(cut.astype(bool), x, y)
                score = 0.9 if noise is None else float(noise.uniform(0.5, 1))
                found.append(Piece("pit", score, crop, u, v, number))
    return found


def frame_masks(random: np.random.Generator, size=(612, 512), count: int = 8, damage: bool = True) -> list[np.ndarray]:
    """Blobs, scratches and, now and then, damage of a third of the frame; none touches another."""
    masks, taken = [], np.zeros(size[::-1], bool)
    for number in range(count):
        drawn = np.zeros(size[::-1], np.uint8)
        x, y = random.integers(20, size[0] - 20), random.integers(20, size[1] - 20)
        if number == 0 and damage:
            cv2.ellipse(drawn, (int(x), int(y)), (150, 90), float(random.uniform(0, 180)), 0, 360, 1, -1)
        elif number % 3:
            axes = tuple(int(v) for v in random.integers(4, 22, 2))
            cv2.ellipse(drawn, (int(x), int(y)), axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
        else:
            angle, length = random.uniform(0, np.pi), random.uniform(40, 200)
            end = int(x + length * np.cos(angle)), int(y + length * np.sin(angle))
            cv2.line(drawn, (int(x), int(y)), end, 1, 4)
        mask = drawn.astype(bool) & ~cv2.dilate(taken.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        parts, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        if parts == 2 and mask.sum() > 40:
            masks.append(mask)
            taken |= mask
    return masks


def f1(pieces: list[Piece], masks: list[np.ndarray], least: float) -> float:
    hits, free = 0, set(range(len(masks)))
    for piece in sorted(pieces, key=lambda one: -one.score):
        x1, y1, x2, y2 = piece.box
        for number in sorted(free):
            both = np.count_nonzero(masks[number][y1:y2, x1:x2] & piece.crop)
            if both / (piece.area_px + np.count_nonzero(masks[number]) - both) >= least:
                hits += 1
                free.remove(number)
                break
    return 2 * hits / (len(pieces) + len(masks))


def simulated(overlap: int, count: int, frames: int, damage: bool) -> dict[tuple[str, ...], list[float]]:
    """Rule -> mean F1 at mask IoU 0.5 and 0.75."""
    windows = tile_windows((612, 512), FrameConfig(tile_px=160, overlap_px=overlap))
    rules = {("seam",): {}, ("nmm", "mask"): {"on": "mask"}, ("nms", "ios"): {"match": "ios"}, ("stitch",): {},
             ("nms", "iou"): {"match": "iou", "on": "box"}, ("wbf",): {}}
    scores: dict = {rule: [] for rule in rules}
    for frame in range(frames):
        random = rng(11, overlap, count, frame)
        masks = frame_masks(random, count=count, damage=damage)
        pieces = seen(masks, windows, noise=random)
        for rule, options in rules.items():
            found = merge(pieces, windows, MergeConfig(method=rule[0], **options))
            scores[rule].append([f1(found, masks, least) for least in (0.5, 0.75)])
    return {rule: np.mean(values, 0).tolist() for rule, values in scores.items()}


@pytest.mark.parametrize(("overlap", "count"), [(32, 8), (32, 40), (48, 40)])
def test_seams_are_merged_as_well_as_by_the_best_rule(overlap, count):
    scores = simulated(overlap, count, 6, damage=True)
    seam = scores["seam",]
    best = max(values[0] for values in scores.values())
    assert seam[0] >= best - 0.01, scores
    assert seam[0] > scores["wbf",][0] + 0.05, scores
    assert seam[0] > scores["nms", "iou"][0] + 0.05, scores


def test_a_ring_over_four_tiles_is_one_defect_pixel_by_pixel():
    rows, columns = np.mgrid[:200, :200]
    distance = np.hypot(rows - 100, columns - 100)
    ring = (distance < 70) & (distance > 58)
    windows = tile_windows((200, 200), FrameConfig(tile_px=120, overlap_px=40))
    assert len(windows) == 4
    only, = merge(seen([ring], windows), windows, MergeConfig())
    whole = np.zeros((200, 200), bool)
    whole[only.box[1]:only.box[3], only.box[0]:only.box[2]] = only.crop
    assert (whole == ring).all()
    assert only.tiles == 4


def test_a_tile_counts_less_towards_its_edge():
    windows = [(0, 0, 100, 100), (60, 0, 100, 100)]
    left = Piece("pit", 0.9, np.ones((10, 30), bool), 70, 40, 0)            # up to the left tile's edge at 100
    right = Piece("pit", 0.9, np.ones((10, 22), bool), 70, 40, 1)           # ends at 92, which it sees better
    only, = merge([left, right], windows, MergeConfig())
    assert only.box == (70, 40, 92, 50)


def test_two_pits_that_nearly_touch_stay_two():
    windows = [(0, 0, 100, 100), (60, 0, 100, 100)]
    pits = [square(64, 20, 14), square(79, 20, 14)]
    pieces = [Piece(p.label, p.score, p.crop, p.x, p.y, tile) for p in pits for tile in (0, 1)]
    assert len(merge(pieces, windows, MergeConfig())) == 2
    bridge = Piece("pit", 0.95, np.ones((14, 29), bool), 64, 20, 1)         # one tile takes them for one
    found = merge([pieces[0], pieces[2], bridge], windows, MergeConfig())
    assert len(found) == 2, "two detections of one tile are never joined"


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_tiles_and_pieces_does_not_matter(method):
    random = rng(12)
    windows = tile_windows((612, 512), FrameConfig(tile_px=160, overlap_px=32))
    pieces = seen(frame_masks(random, count=30), windows, noise=random)
    config = MergeConfig(method=method)
    first = merge(pieces, windows, config)
    tiles = random.permutation(len(windows))
    renamed = [Piece(p.label, p.score, p.crop, p.x, p.y, int(np.flatnonzero(tiles == p.tile)[0])) for p in pieces]
    again = merge([renamed[k] for k in random.permutation(len(renamed))], [windows[k] for k in tiles], config)
    assert len(first) == len(again) > 5
    for one, other in zip(first, again):
        assert (one.box, one.score, one.label, one.tiles) == (other.box, other.score, other.label, other.tiles)
        assert (one.crop == other.crop).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_one_and_two_classes(method):
    config, windows = MergeConfig(method=method), [(0, 0, 100, 100), (80, 0, 100, 100)]
    assert merge([], windows, config) == []
    assert merge([square(5, 5, 1)], windows, config) == [], "smaller than minimum_px"
    only, = merge([square(85, 5, 8), square(85, 5, 8, tile=1, score=0.7)], windows, config)
    assert (only.box, only.score, only.mean_score) == ((85, 5, 93, 13), 0.9, pytest.approx(0.8))
    both = [square(5, 5, 8), square(6, 5, 8, label="crack", score=0.8)]
    assert len(merge(both, windows, config)) == 2, "they share less than the same place"
    same = [square(5, 5, 8), square(5, 5, 8, label="crack", score=0.8)]
    assert [piece.label for piece in merge(same, windows, config)] == ["pit"]


def test_tiles_without_overlap_link_across_their_edge():
    windows = [(0, 0, 100, 100), (100, 0, 100, 100)]
    left, right = square(90, 40, 10), square(100, 42, 10, tile=1)
    only, = merge([left, right], windows, MergeConfig())
    assert only.area_px == 200
    assert len(merge([square(80, 40, 10), right], windows, MergeConfig())) == 2


def test_many_detections_take_little_time_and_memory():
    random = rng(13)
    windows = tile_windows((2448, 2048), FrameConfig())
    assert len(windows) == 20
    pieces = []
    for number, (x, y, w, h) in enumerate(windows):
        for u, v, side in zip(random.integers(0, w - 60, 100), random.integers(0, h - 60, 100),
                              random.integers(6, 60, 100)):
            pieces.append(square(int(x + u), int(y + v), int(side), number, score=float(random.uniform(0.3, 1))))
    tracemalloc.start()
    merge(pieces, windows, MergeConfig())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6, "2000 masks of the frame would be 10 GB"
    start = time.process_time()
    merge(pieces, windows, MergeConfig())
    assert time.process_time() - start < 1.5           # 0.4 s on a busy core
