"""Connected parts of predicted labels that come in bands of rows: class, area, box and confidence of each."""
from dataclasses import dataclass

import cv2
import numpy as np

from .losses import IGNORE


@dataclass(frozen=True)
class Part:
    """One connected part (8 neighbours) of a class: its number, area in px, x1, y1, x2, y2 in px (x2, y2 exclusive),
    and the mean probability 0..1 of its pixels' class."""
    number: int
    area_px: int
    box: tuple[int, int, int, int]
    confidence: float


class Parts:
    """Collects bands from top to bottom; parts that reach over a band's edge are joined."""

    def __init__(self):
        self.found: list[list] = []             # number, area, x1, y1, x2, y2, sum of probabilities in 255ths
        self.parent: list[int] = []
        self.edge: np.ndarray | None = None     # the part of each pixel of the last row, -1 where there is none
        self.height = 0

    def add(self, labels: np.ndarray, sure: np.ndarray) -> None:
        """The next band: labels and probabilities in 255ths, uint8 [h, W]."""
        first, last = (np.full(labels.shape[1], -1, np.int64) for _ in range(2))
        for number in np.unique(labels).tolist():
            if number in (0, IGNORE):
                continue
            mask = (labels == number).astype(np.uint8)
            count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            sums = np.bincount(parts.ravel(), sure.ravel(), count)
            shift = len(self.found) - 1
            for part in range(1, count):
                x, y, width, height, area = stats[part].tolist()
                top = self.height + y
                self.found.append([number, area, x, top, x + width, top + height, sums[part]])
                self.parent.append(len(self.parent))
            for row, edge in ((parts[0], first), (parts[-1], last)):
                edge[row > 0] = row[row > 0] + shift
        if self.edge is not None:
            self._join(self.edge, first)
        self.edge, self.height = last, self.height + len(labels)

    def finished(self) -> list[Part]:
        """All parts, by their top and then their left."""
        joined: dict[int, list] = {}
        for index, (number, area, x1, y1, x2, y2, total) in enumerate(self.found):
            root = self._root(index)
            known = joined.setdefault(root, [number, 0, x1, y1, x2, y2, 0.0])
            known[1:] = [known[1] + area, min(known[2], x1), min(known[3], y1), max(known[4], x2), max(known[5], y2),
                         known[6] + total]
        parts = [Part(number, area, (x1, y1, x2, y2), float(total / area / 255))
                 for number, area, x1, y1, x2, y2, total in joined.values()]
        return sorted(parts, key=lambda part: (part.box[1], part.box[0], part.number))

    def _join(self, above: np.ndarray, below: np.ndarray) -> None:
        """Parts of one class that touch over the edge, diagonally too."""
        for shift in (-1, 0, 1):
            over = above[max(0, -shift):len(above) - max(0, shift)]
            under = below[max(0, shift):len(below) + min(0, shift)]
            touching = (over >= 0) & (under >= 0)
            for a, b in np.unique(np.stack([over[touching], under[touching]]), axis=1).T.tolist():
                if self.found[a][0] == self.found[b][0]:
                    self.parent[self._root(b)] = self._root(a)

    def _root(self, index: int) -> int:
        while self.parent[index] != index:
            self.parent[index] = index = self.parent[self.parent[index]]
        return index
