"""How far the published predictions of FlexUNet overlap with the truth."""
import json
from pathlib import Path

import numpy as np

from ..data import formats
from ..data.formats.masks import index_mask
from ..data.images import is_image, read_mask, write_bytes
from ..errors import DataError
from ..files import writing
from ..metrics import segmentation

COLOURS = {"1": (255, 0, 0), "2": (0, 255, 0), "3": (0, 0, 255), "4": (255, 255, 0), "5": (0, 255, 255),
           "6": (255, 0, 255)}
PREDICTIONS = "published_predictions"


def published_predictions(data: Path, output: Path) -> None:
    """Judge data/published_predictions against data/masks; writes output/overlap.json, by image too."""
    folder = data / PREDICTIONS
    files = {path.stem: path for path in sorted(folder.glob("*")) if is_image(path)} if folder.is_dir() else {}
    if not files:
        raise DataError(f"{folder}: no predictions there, got none. Put mini_test_output_tiled of the repository "
                        "there, under the names of the images")
    dataset = formats.read(data, "masks", colours=COLOURS, clean_rings=True)
    matrices, images = [], {}
    for record in dataset.records:
        path = files.get(Path(record.name).name)
        if path is None:
            continue
        truth = index_mask(record, tuple(COLOURS))
        matrix = segmentation.confusion(truth, labels_of(path), len(COLOURS) + 1)
        main = 1 + int(matrix[1:].sum(1).argmax())
        images[record.name] = {"class": str(main), "iou": float(segmentation.by_class(matrix).iou[main])}
        matrices.append(matrix)
    if not matrices:
        raise DataError(f"{folder}: of none of the images, got {len(files)} predictions. Name them as the images are")
    figures = segmentation.overall(sum(matrices))
    figures |= {"images": len(matrices), "main_class_iou": float(np.mean([one["iou"] for one in images.values()])),
                "by_image": images}
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    write_bytes(output / "overlap.json", (json.dumps(figures, indent=1) + "\n").encode())


def labels_of(path: Path) -> np.ndarray:
    """uint8 [H, W] of a picture in the masks' colours. DataError: a colour that is none of them."""
    pixels = read_mask(path).astype(np.int32)
    codes = pixels[..., 0] * 65536 + pixels[..., 1] * 256 + pixels[..., 2] if pixels.ndim == 3 else pixels * 65793
    known = {0: 0, **{r * 65536 + g * 256 + b: int(name) for name, (r, g, b) in COLOURS.items()}}
    strange = set(np.unique(codes).tolist()) - set(known)
    if strange:
        raise DataError(f"{path}: a colour that is no class's, got {min(strange):06x} and {len(strange) - 1} others. "
                        "Save the prediction without compression losses")
    labels = np.zeros(codes.shape, np.uint8)
    for code, number in known.items():
        labels[codes == code] = number
    return labels
