"""What the main job leaves in a folder, as tests look at it."""
import json
from pathlib import Path

import cv2
import numpy as np

from core.augment.compose import FADE_PX
from core.data import images, shapes


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def assert_changed_at_the_labels_alone(made: Path, data: Path) -> None:
    """No pixel differs from the clean image `data`/images/X.png farther than FADE_PX from the labels; some differ."""
    for line in manifest(made):
        clean = images.read_image(data / "images" / Path(line["source"]).with_suffix(".png").name)
        picture = images.read_image(made / line["image"])
        labelled = np.zeros(clean.shape[:2], np.uint8)
        for defect in line["defects"]:
            labelled |= shapes.rle_to_mask(defect["rle"]).astype(np.uint8)
        near = cv2.dilate(labelled, np.ones((2 * FADE_PX + 1,) * 2, np.uint8)) > 0
        assert (picture != clean).any()
        assert (picture[~near] == clean[~near]).all()
