"""A product's folders as a line leaves them: good patches without labels, defective ones with labelme files."""
import json
from pathlib import Path

import cv2
import numpy as np

from core.data.images import write_image
from core.seeding import rng

SIZE = (64, 48)


def patch(number: int, *, defect: bool) -> tuple[np.ndarray, list[list[float]]]:
    """Pixels uint8 [H, W, 3] and the polygon of a dark spot."""
    random = rng(3, number)
    grey = cv2.GaussianBlur(random.normal(130, 40, SIZE[::-1]), (0, 0), 1)
    x, y = random.integers(14, 34, 2)
    ring = [[x, y], [x + 12, y + 1], [x + 11, y + 9], [x + 1, y + 10]]
    if defect:
        cv2.fillPoly(grey, [np.array(ring, np.int32)], 20.0)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, 2), [list(map(float, p)) for p in ring]


def document(name: str, rings: list, label: str = "pit", **more) -> dict:
    shapes = [{"label": label, "points": ring, "shape_type": "polygon", "group_id": None, "flags": {}}
              for ring in rings]
    return {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None,
            "imageHeight": SIZE[1], "imageWidth": SIZE[0], **more}


def make_product(root: Path, *, parts: int = 10, tiles: int = 2, good: str = "good", defect: str = "notok") -> Path:
    """`parts` parts with a good patch each and `tiles` defective ones, in images/FOLDER and labels/FOLDER."""
    number = 0
    for part in range(parts):
        for tile in range(tiles + 1):
            number += 1
            bad = tile > 0
            folder, name = defect if bad else good, f"part{part}_r0_c{tile}.png"
            pixels, ring = patch(number, defect=bad)
            (root / "images" / folder).mkdir(parents=True, exist_ok=True)
            write_image(root / "images" / folder / name, pixels)
            if bad:
                target = root / "labels" / folder / f"{Path(name).stem}.json"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(json.dumps(document(name, [ring])))
    return root
