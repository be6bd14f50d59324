"""Label images that any program made, held against a labelled set: the figures, tables and page of an evaluation."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.data.formats.label_image import IGNORED, PURE, ColourMap, parse_classes, pure_colours
from core.data.images import image_places, read_mask
from core.errors import DataError, did_you_mean
from core.files import writing
from core.progress import Progress

from .data import read_labelled, read_set
from .evaluate import Judged, figures, judge_labels, worst_first, write_tables
from .panels import panel
from .settings import DataConfig

SHOWN = 3
BLACK_AND_WHITE = {0, 255}


def score(predictions: Path, output: Path, *, data: Mapping[str, object], tile_px: int | None = None, panels: int = 8,
          partial: bool = False) -> dict[str, float]:
    """Write what segment.evaluate writes into `output`; return the figures by name.

    predictions  folder of label images, named as the set's images are: index (as test.py writes them) or coloured
    data         keys of DataConfig: root, format, colours, classes, clean_rings, merge, ...
    tile_px      side of the tiles that the predictions were made in, for the seam ratio
    partial      images without a prediction are passed over; else they are an error
    DataError: a prediction of another size, with a colour or number of no class, or of no image.
    """
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    config = DataConfig(**data)
    dataset = read_set(config)
    places = paired([record.name for record in dataset.records], image_places(predictions), predictions, partial)
    decode = Decoder(config, dataset.classes, predictions)
    judged, kept = [], []
    with Progress(len(places), "images") as progress:
        for record in dataset.records:
            if record.name in places:
                truth = read_labelled(record, dataset.classes)[1]
                judged.append(judged_file(places[record.name], record.name, truth, decode, tile_px))
                kept.append(record)
                progress.step()
    worst = []
    for number in worst_first(judged)[:panels]:
        pixels, truth = read_labelled(kept[number], dataset.classes)
        worst.append((judged[number].name, panel(pixels, truth, decode(places[judged[number].name]))))
    write_tables(judged, dataset.classes, output, worst)
    return figures(judged, dataset.classes)


def judged_file(path: Path, name: str, truth: np.ndarray, decode: "Decoder", tile_px: int | None) -> Judged:
    labels = decode(path)
    if labels.shape != truth.shape:
        raise DataError(f"{path}: prediction of another size than its image, got {labels.shape[1]}x{labels.shape[0]} "
                        f"for {truth.shape[1]}x{truth.shape[0]}. Predict at the image's size")
    lines = [range(tile_px, side, tile_px) if tile_px else () for side in truth.shape]
    return judge_labels(name, truth, labels, len(decode.classes) + 1, *lines)


def paired(names: Sequence[str], found: Mapping[str, Path], folder: Path, partial: bool) -> dict[str, Path]:
    """Name of an image -> its prediction. DataError: one has no partner."""
    alone = sorted(set(found) - set(names))
    missing = [name for name in names if name not in found]
    if alone:
        raise DataError(f"{folder}: predictions of no image of the set, got {listed(alone)}. Take them out, or give "
                        "the set that they were made of")
    if missing and not partial:
        raise DataError(f"{folder}: images without a prediction, got none of {listed(missing)}. Predict them, or say "
                        "--partial to score what is there")
    return dict(found)


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


class Decoder:
    """Makes labels uint8 [H, W] in the order of the set's classes from a label image of whatever kind.

    Numbers are those of the predictions' own classes.json, in their folder or the one above, else of the set's classes.
    """

    def __init__(self, config: DataConfig, classes: Sequence[str], folder: Path):
        self.classes, self.merge = classes, config.merge
        root = folder if folder.is_dir() else folder.parent
        own = [parse_classes(place) for place in (root, root.parent)]
        names = next((given[0] for given in own if given[0]), None)
        colours = next((given[1] for given in own if given[1]), None) or config.colours or parse_classes(config.root)[1]
        self.colours = ColourMap(colours, config.unknown_colours) if colours else None
        self.names = names or (self.colours.names if self.colours else None) or (None if self.merge else classes)
        unknown = [name for name in self.names or () if name not in classes and not self.merge]
        if unknown:
            raise DataError(f"{folder}: a class that the set does not have, got '{unknown[0]}'. "
                            f"{did_you_mean(unknown[0], classes)}The set has {', '.join(classes)}")

    def __call__(self, path: Path) -> np.ndarray:
        values = read_mask(path)
        levels = set(np.unique(values).tolist()) if values.ndim == 2 else set()
        two_levels = IGNORED in levels and levels <= BLACK_AND_WHITE
        if two_levels and len(self.classes) == 1:
            return (values > 0).astype(np.uint8)
        if self.colours is not None:
            values = self.colours.codes(values, path)
        elif values.ndim == 3:
            return self.numbered(pure_colours(values, path), path, PURE)
        elif two_levels:
            raise DataError(f"{path}: black and white, which names none of the {len(self.classes)} classes, got 255. "
                            "Store the classes' numbers, or say --merge to score all classes as one")
        return self.numbered(values, path, dict(enumerate(self.names, 1)) if self.names else None)

    def numbered(self, codes: np.ndarray, path: Path, names: Mapping[int, str] | None) -> np.ndarray:
        """Labels for the codes of a label image; what was to be ignored is no defect."""
        table = np.full(256, IGNORED, np.uint8)
        table[[0, IGNORED]] = 0
        for code in range(1, IGNORED):
            if self.merge and (names is None or code in names):
                table[code] = 1
            elif names and names.get(code) in self.classes:
                table[code] = 1 + self.classes.index(names[code])
        labels = table[codes]
        if (labels == IGNORED).any():
            strange = sorted(np.unique(codes[labels == IGNORED]).tolist())
            shown = [names.get(code, str(code)) if names is PURE else str(code) for code in strange]
            raise DataError(f"{path}: a label of no class, got {listed(shown)}. Classes are {', '.join(self.classes)}; "
                            "name the predictions' own in a classes.json beside them")
        return labels
