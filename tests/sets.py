"""Tiny labelled sets made on the spot: grainy grey plates with dark spots and bright scratches."""
import json
from pathlib import Path

import cv2
import numpy as np

from core.data import images
from core.seeding import rng

CLASSES = ("spot", "scratch")


def plate(number: int, size: tuple[int, int] = (112, 96)) -> np.ndarray:
    """A good part: uint8 [H, W, 3], grey."""
    draw = rng(7, number)
    grain = cv2.GaussianBlur(draw.normal(0, 1, (size[1], size[0])), (0, 0), 1.2)
    shade = np.linspace(-12, 12, size[0])[None]
    grey = np.clip(128 + 9 * grain + shade + draw.uniform(-10, 10), 0, 255).astype(np.uint8)
    return grey[..., None].repeat(3, axis=2)


def defective(number: int, size: tuple[int, int] = (112, 96)) -> tuple[np.ndarray, list[tuple[str, list[float]]]]:
    """The plate of that number with one spot and one scratch: pixels and (class, polygon) of each."""
    pixels, draw = plate(number, size), rng(8, number)
    (x, y), radius = draw.integers(25, 55, 2), int(draw.integers(5, 9))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
    cv2.fillPoly(pixels, [np.round(ring - 0.5).astype(np.int32)], (50, 50, 50))
    a = draw.integers((60, 65), (75, 85))
    bar = np.array([a, a + (24, 3), a + (24, 6), a + (0, 3)], float)
    cv2.fillPoly(pixels, [np.round(bar - 0.5).astype(np.int32)], (215, 215, 215))
    return pixels, [("spot", ring.ravel().tolist()), ("scratch", bar.ravel().tolist())]


def write_coco(root: Path, *, bad: int = 6, good: int = 4, size: tuple[int, int] = (112, 96)) -> Path:
    """A COCO set with polygons: `bad` defective images and `good` good ones. Returns `root`."""
    (root / "images").mkdir(parents=True)
    entries, labels = [], []
    for number in range(bad + good):
        pixels, shapes = defective(number, size) if number < bad else (plate(number, size), [])
        name = f"{'bad' if number < bad else 'good'}{number:03d}.png"
        images.write_image(root / "images" / name, pixels[..., 0])
        entries.append({"id": number + 1, "file_name": name, "width": size[0], "height": size[1]})
        for label, ring in shapes:
            x, y = ring[0::2], ring[1::2]
            box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
            labels.append({"id": len(labels) + 1, "image_id": number + 1, "category_id": 1 + CLASSES.index(label),
                           "segmentation": [ring], "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    classes = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
    content = {"images": entries, "annotations": labels, "categories": classes}
    (root / "annotations.json").write_text(json.dumps(content))
    return root
