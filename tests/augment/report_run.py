"""A made-up run of the main job, for tests of its report."""
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from core.augment.report import write_report
from core.data import images, shapes

TIMINGS = {"images_per_second": 3.21, "seconds": 9.87, "stages": {"place": 1.0, "generate": 3.0}, "workers": 2,
           "hardware": "two cores"}


class Run:
    """A made-up run in a folder: flat noise with darker rectangles on it."""

    def __init__(self, folder: Path, classes=("spur", "pit"), count=6, size=(96, 64), dtype=np.uint8, top=255,
                 grey=False, names=None, failed=(), carried=(), extent=9, shape=None):
        self.folder, self.classes, self.lines = folder, list(classes), []
        self.random = np.random.default_rng(0)
        self.dtype, self.top, self.size, self.grey, self.extent, self.shape = dtype, top, size, grey, extent, shape
        (folder / "images").mkdir(parents=True)
        self.names = names or ["good/a", "good/b"]
        self.sources = {name: folder / f"source {k}.png" for k, name in enumerate(self.names)}
        for path in self.sources.values():
            images.write_image(path, self.background())
        self.bank = SimpleNamespace(crops=[self.crop(label, k) for label in self.classes for k in range(3)])
        for index in range(count):
            self.add(index, index in failed, list(carried))
        self.write()

    def background(self):
        width, height = self.size
        values = self.random.integers(self.top // 2, self.top, (height, width, 3)).astype(self.dtype)
        return values[..., 0] if self.grey else values

    def drawn(self, pixels, label):
        """Draw a defect and return its entry."""
        height, width = pixels.shape[:2]
        extent = min(self.extent, height - 4, width - 4)
        x, y = (int(self.random.integers(1, side - extent - 1)) for side in (width, height))
        mask = np.zeros((height, width), bool)
        mask[y:y + extent, x:x + extent] = True if self.shape is None else self.shape
        pixels[mask] = self.top // 10
        x1, y1, x2, y2 = shapes.rle_box(shapes.mask_to_rle(mask))
        return mask, {"label": label, "box": [int(x1), int(y1), int(x2), int(y2)], "rle": shapes.mask_to_rle(mask),
                      "area_px": int(mask.sum()), "wanted": [x, y, x + extent, y + extent], "from": None,
                      "figures": {"contrast": 0.4, "visibility": 12.0}}

    def crop(self, label, k):
        clean = self.background()
        clean = np.stack([clean] * 3, axis=2) if clean.ndim == 2 else clean
        pixels = clean.copy()
        mask, entry = self.drawn(pixels, label)
        return SimpleNamespace(label=label, record=f"real/{k}", pixels=pixels, clean=clean, mask=mask,
                               box=tuple(entry["box"]), image_size=self.size)

    def add(self, index, failed, carried):
        name, label = self.names[index % len(self.names)], self.classes[index % len(self.classes)]
        rejected = [{"number": 0, "attempt": 0, "label": label, "box": None, "reason": "not visible",
                     "figures": {"contrast": 0.01}}]
        pixels = np.array(cv2.imread(str(self.sources[name]), cv2.IMREAD_UNCHANGED))
        defects = [] if failed else [self.drawn(pixels, label)[1]]
        image = None if failed else f"images/{index:06d}.png"
        if image:
            cv2.imwrite(str(self.folder / image), pixels)
        self.lines.append({"index": index, "image": image, "size": list(self.size), "source": name, "seed": 0,
                           "wanted": 1, "attempts": len(rejected) + len(defects), "rejected": rejected,
                           "defects": defects, "carried": [] if failed else carried, "config": "abc"})

    def write(self):
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines)
        (self.folder / "manifest.jsonl").write_text(lines, encoding="utf-8")

    def report(self, originals=None, **timings) -> str:
        run = {"data": "sets/<my> data", "method": "copypaste", "count": len(self.lines), "seed": 5,
               "config": {"scale": [0.5, 2], "data": Path("x")}, "classes": self.classes, "notes": ["rule <off>"],
               "counts": {}, "commands": ["python augment.py --data 'sets/<my> data' --classes spur", "python b.py"]}
        path = write_report(self.folder, run=run, bank=self.bank, sources=self.sources, timings={**TIMINGS, **timings},
                            originals=originals)
        assert path == self.folder / "report.html"
        return path.read_text(encoding="utf-8")
