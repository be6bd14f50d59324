"""A change of a picture in figures: its size, its colours, and where its rim meets material of its own kind."""
import cv2
import numpy as np

SMOOTHING_PX = 0.5
HALF = 0.5                      # of the strongest change: where the changed area ends
LARGEST = 0.25                  # parts smaller than this share of the largest are specks
LEAST_CORE_PX = 4
REACHES_PX = (1, 2, 3, 4, 5)    # of the rims that are walked along
MOST_RUNS = 4
FIGURES = 10 + 5 * len(REACHES_PX)


def rim_figures(clean: np.ndarray, image: np.ndarray) -> np.ndarray:
    """float32 [FIGURES], all of the order of 1; float32 pictures [H, W, 3] in 0..1 without and with one defect.

    Its area, its colour and the one that it covers, its parts; then of each rim round it the number of runs that are
    of its own kind, their share, the longest one's share, how alike its own kind the likest pixel is, and its length.
    All 0 where the pictures are equal.
    """
    area = changed_area(clean, image)
    if not area.any():
        return np.zeros(FIGURES, np.float32)
    core = cv2.erode(area.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core = core if core.sum() >= LEAST_CORE_PX else area
    before, after = np.median(clean[core], axis=0), np.median(image[core], axis=0)
    axis = after - before
    kind = (clean - before) @ axis / max(float(axis @ axis), 1e-4)          # 0: as what it covers, 1: as the defect
    parts = cv2.connectedComponents(area.astype(np.uint8))[0] - 1
    found = [np.log1p(area.sum()), *(2 * after), *(2 * before), after.mean() - before.mean(), 3 * np.ptp(after), parts]
    for reach in REACHES_PX:
        found += _of_rim(kind, area, reach)
    return np.array(found, np.float32)


def changed_area(clean: np.ndarray, image: np.ndarray) -> np.ndarray:
    """bool [H, W]: where the change is at least half of its strongest, without specks."""
    change = np.abs(cv2.GaussianBlur(image - clean, (0, 0), SMOOTHING_PX)).max(axis=2)
    strongest = float(np.sort(change, axis=None)[-max(3, change.size // 500):].mean())
    area = change > HALF * strongest
    count, parts, stats, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8))
    if count < 2:
        return area
    kept = stats[:, cv2.CC_STAT_AREA] >= max(LEAST_CORE_PX, LARGEST * stats[1:, cv2.CC_STAT_AREA].max())
    kept[0] = False
    return kept[parts]


def _of_rim(kind: np.ndarray, area: np.ndarray, reach: int) -> list[float]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    outlines, _ = cv2.findContours(cv2.dilate(area.astype(np.uint8), disc), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0]
    values = kind[outline[:, 1], outline[:, 0]]
    own = values > 0.5
    runs = run_lengths(own)
    return [min(len(runs), MOST_RUNS), 2 * own.mean(), 2 * max(runs, default=0) / len(own),
            float(np.clip(values.max(), -1, 2)), np.log(len(own)) / 3]


def run_lengths(flags: np.ndarray) -> list[int]:
    """Lengths of the runs of true along a closed line, but for those of 1 px."""
    if flags.all() or not flags.any():
        return [len(flags)] if flags.all() else []
    line = np.roll(flags, -int(np.flatnonzero(~flags)[0]))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return [int(end - begin) for begin, end in zip(edges[::2], edges[1::2]) if end - begin > 1]
