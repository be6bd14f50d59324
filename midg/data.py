"""A labelled set as MIDG learns from it: a region round each defect, decoded once, with its twin and the edges of both.

    scenes = read_scenes(dataset, "train", classes, config)
    Windows(scenes, config, seed)[index, draw]      what one training sample is: a dict, see Windows
"""
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from core.data import formats, hashing, images, shapes, splits
from core.data.records import Dataset, Record
from core.errors import DataError
from core.progress import Progress

from .edges import canny, grey_of
from .inpaint import Fill, filler, inpaint, model_hash
from .legacy_lists import paired, read_list
from .mask_files import WHITE_FROM, read_marked
from .settings import DataConfig, ListsConfig

Box = tuple[int, int, int, int]
PLANES = 7                      # image 3, background 3, flags
EDGES, BACKGROUND_EDGES, DEFECT, OTHER = 1, 2, 4, 8
HOLE_MARGIN_PX = 4              # a defect is taken out with so much round its shape
ALONE = "defect"                # the class of sets that name none


@dataclass(frozen=True)
class Scene:
    """One defect's region within the store."""
    name: str
    start: int                      # of its planes in Scenes.pixels
    height: int
    width: int
    label: int
    box: Box                        # of the defect, in px of the region
    boxes: tuple[Box, ...]          # of all defects of its class there


@dataclass(frozen=True)
class Scenes:
    """All regions in one tensor, which processes that load data share: uint8, 7 planes a region.

    Planes: image RGB, the same without defects RGB, and the flags EDGES, BACKGROUND_EDGES, DEFECT (of the region's
    class) and OTHER (defects that stay in the picture).
    """
    pixels: torch.Tensor
    scenes: tuple[Scene, ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def planes(self, scene: Scene) -> np.ndarray:
        """uint8 [7, H, W], a view."""
        size = PLANES * scene.height * scene.width
        return self.pixels[scene.start:scene.start + size].numpy().reshape(PLANES, scene.height, scene.width)


def read_dataset(config: DataConfig, run: Path | None = None, *, keep: bool = True) -> Dataset:
    """The set that a config names, every record in a split. DataError, ConfigError: as its reader says.

    run     folder with the split, where the set has none of its own; `keep`: it may be written
    """
    if config.lists is not None:
        return read_lists(config)
    if config.root is None:
        raise DataError(f"data.root: no data, got nothing. {where_to_get_data(run)}")
    dataset = formats.read(config.root, config.format)
    if all(record.split is not None for record in dataset.records):
        return dataset
    path = run / "splits.json" if run is not None else None
    previous = splits.load(path) if path is not None and path.is_file() else None
    if previous is not None and not keep and previous.ratios != config.ratios:
        previous = None                         # a test on other shares, or on another set
    divided = splits.split(dataset, ratios=config.ratios, previous=previous)
    if path is not None and keep:
        splits.save(path, divided)
    return splits.apply(dataset, divided)


def where_to_get_data(run: Path | None) -> str:
    own = "Give the folder of a labelled set: --set data.root=DIR"
    if run is None or any((run.parent / name).is_file() for name in ("config.yml", "config.yaml")):
        return own
    return f"{own}; or --config FILE; or copy a published experiment's config.yml into {run.parent}, which has none"


def keep_split(dataset: Dataset, config: DataConfig, run: Path) -> None:
    """Note in a run's folder where the images of a set belong, so that a later test holds none out that was learnt
    from. Images are known again by their content alone: those of another set may have the same names."""
    places = {hashing.sha256(record.image): record.split for record in dataset.records if record.split is not None}
    path = run / "splits.json"
    splits.save(path, splits.Splits(seed=0, ratios=config.ratios, groups=places,
                                    hashes={digest: digest for digest in places}))


def read_lists(config: DataConfig) -> Dataset:
    """The lists of the earlier code as a set of one class."""
    records = []
    for split in ("train", "val"):
        lists: ListsConfig | None = getattr(config.lists, split)
        if lists is None:
            continue
        named = {role: read_list(path) for role in ("image", "mask", "inpaint")
                 if (path := getattr(lists, role)) is not None}
        records += [list_record(sample, split) for sample in paired(named, shared_by_all(named, lists))]
    return Dataset(root=Path(), format="lists", classes=(ALONE,), records=tuple(records))


def shared_by_all(named: dict[str, list[Path]], lists: ListsConfig) -> set[str]:
    """Roles for which a single image was given in place of a list: it serves every image."""
    return {role for role in named if role != "image" and named[role] == [getattr(lists, role)]}


def list_record(sample: dict[str, Path], split: str) -> Record:
    size, mask = images.read_size(sample["image"]), read_marked(sample["mask"], sample["image"])
    if not mask.any():
        raise DataError(f"{sample['mask']}: marks nothing, got no pixel of {WHITE_FROM} or brighter. Mark the defect, "
                        "or take the image out of its list")
    instances = tuple(shapes.crop_instance(crop, x, y, size, ALONE) for crop, x, y in shapes.component_crops(mask))
    return Record(image=sample["image"], name=f"{split}/{sample['image'].stem}", size=size, instances=instances,
                  clean=sample.get("inpaint"), split=split)


def chosen_classes(dataset: Dataset, config: DataConfig) -> tuple[str, ...]:
    """The labels that are learnt, in the order of their numbers. DataError: one that the set does not have."""
    for name in config.classes or ():
        if name not in dataset.classes:
            raise DataError(f"data.classes: no such class in {config.root}, got '{name}'. It has "
                            f"{', '.join(dataset.classes)}")
    return tuple(config.classes or dataset.classes)


def held_out(dataset: Dataset) -> str:
    """The split that is evaluated on: val; test where there is no val; train where there is neither."""
    found = {record.split for record in dataset.defective}
    return next((name for name in ("val", "test") if name in found), "train")


def read_scenes(dataset: Dataset, split: str, classes: Sequence[str], config: DataConfig, run: Path | None = None, *,
                keep: bool = True) -> Scenes:
    """Decode, inpaint where there is no twin, and find the edges of every defect of a split, once.

    run     folder with the inpainted images of earlier starts; `keep`: it may be written
    DataError: there is no defect of the classes in the split, or a file cannot be read.
    """
    records = [record for record in dataset.records if record.split == split
               and any(item.label in classes and not item.ignore for item in record.instances)]
    if not records:
        raise DataError(f"{dataset.root}: split '{split}' has no defect of {', '.join(classes)}, got "
                        f"{len(dataset.defective)} images with defects in all. Check data.root, data.classes and "
                        "data.ratios")
    scenes, parts, start = [], [], 0
    fill = filler(config.engine, config.engine_model)
    with Progress(len(records), "images read") as progress:
        for record in records:
            image = eight_bit(images.read_image(record.image))
            background = without_defects(record, image, fill, config, run, keep)
            for scene, planes in regions(record, image, background, classes, config):
                scenes.append(replace(scene, start=start))
                parts.append(torch.from_numpy(planes.reshape(-1)))
                start += planes.size
            progress.step()
    return Scenes(torch.cat(parts).share_memory_(), tuple(scenes))


def eight_bit(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else (pixels / 257).round().astype(np.uint8)


def without_defects(record: Record, image: np.ndarray, fill: Fill, config: DataConfig, run: Path | None, keep: bool,
                    ) -> np.ndarray:
    """The record's twin, or the image with its defects filled in, which the run's folder keeps: uint8 [H, W, 3]."""
    if record.clean is not None:
        clean = eight_bit(images.read_image(record.clean))
        if clean.shape != image.shape:
            raise DataError(f"{record.clean}: of another size than {record.image}, got {clean.shape[1]}x"
                            f"{clean.shape[0]} px for {image.shape[1]}x{image.shape[0]}. Make the twin anew")
        return clean
    hole = np.zeros(image.shape[:2], bool)
    for item in record.instances:
        hole |= shapes.instance_mask(item, record.size)
    hole = grown(hole, HOLE_MARGIN_PX)
    if hole.all():
        raise DataError(f"{record.image}: its defects cover the whole picture, got nothing to fill it from. Take it "
                        "out, or give its defect-free twin")
    path = None
    if run is not None:
        made_of = config.engine.encode() + model_hash(config.engine, config.engine_model) + image.tobytes()
        said = hashlib.sha256(made_of + np.packbits(hole).tobytes()).hexdigest()[:12]
        path = run / "inpainted" / f"{record.image.stem}-{said}.png"
    if path is not None and path.is_file():
        return images.read_image(path)
    filled = inpaint(image, hole, fill)
    if path is not None and keep:
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(path, filled)
    return filled


def regions(record: Record, image: np.ndarray, background: np.ndarray, classes: Sequence[str], config: DataConfig,
            ) -> Iterator[tuple[Scene, np.ndarray]]:
    """The region of each defect (fit: window), or the middle square with all of them (fit: whole)."""
    masks = [(item, shapes.instance_mask(item, record.size)) for item in record.instances]
    learnt = [(item, mask) for item, mask in masks if item.label in classes and not item.ignore]
    for item, mask in learnt if config.fit == "window" else learnt[:1]:
        window, scale = (region_of(item.box, record.size, config) if config.fit == "window"
                           else middle_square(record.size, config.size_px))
        part = {"window": window, "scale": scale}
        flags, boxes = np.zeros(cut(image, **part).shape[:2], np.uint8), []
        for other, other_mask in masks:
            same = other.label == item.label and not other.ignore
            inside = cut(other_mask, **part, mask=True)
            flags[inside] |= DEFECT if same else OTHER
            if same and inside.any():
                boxes.append(bounds(inside))
        scene = Scene(record.name, 0, *flags.shape, classes.index(item.label), bounds(cut(mask, **part, mask=True)),
                      tuple(boxes))
        yield scene, planes_of(cut(image, **part), cut(background, **part), flags, config.sigma)


def planes_of(image: np.ndarray, background: np.ndarray, flags: np.ndarray, sigma: float) -> np.ndarray:
    """uint8 [7, H, W], see Scenes."""
    found = canny(torch.stack([grey_of(images.to_tensor(picture)) for picture in (image, background)]), sigma)
    edges, background_edges = found[:, 0].numpy().astype(np.uint8)
    flags = flags | edges * EDGES | background_edges * BACKGROUND_EDGES
    return np.concatenate([image.transpose(2, 0, 1), background.transpose(2, 0, 1), flags[None]])


def region_of(box: Sequence[float], size: tuple[int, int], config: DataConfig) -> tuple[Box, float]:
    """The part of an image, perhaps beyond its border, that windows of a defect may show, and its scale (<= 1)."""
    longer = max(box[2] - box[0], box[3] - box[1]) + 2 * config.margin_px[1]
    scale = min(1.0, config.size_px / (2 * longer))
    sides = []
    for low, high, length in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        window = math.ceil(config.size_px / scale)
        reach = window / 2 + config.shift * window
        if length <= window:
            sides.append(((length - window) // 2, (length - window) // 2 + window))
            continue
        first, last = round((low + high) / 2 - reach), round((low + high) / 2 + reach)
        first, last = max(first, 0), min(last, length)
        if last - first < window:
            first, last = (0, window) if first == 0 else (length - window, length)
        sides.append((first, last))
    return (sides[0][0], sides[1][0], sides[0][1], sides[1][1]), scale


def middle_square(size: tuple[int, int], side_px: int) -> tuple[Box, float]:
    side = min(size)
    x, y = (size[0] - side) // 2, (size[1] - side) // 2
    return (x, y, x + side, y + side), side_px / side


def cut(pixels: np.ndarray, window: Box, scale: float, *, mask: bool = False) -> np.ndarray:
    """The window's pixels [h, w, ...] at a scale; the picture is mirrored beyond its border."""
    x1, y1, x2, y2 = window
    height, width = pixels.shape[:2]
    part = pixels[max(y1, 0):min(y2, height), max(x1, 0):min(x2, width)]
    around = ((max(-y1, 0), max(y2 - height, 0)), (max(-x1, 0), max(x2 - width, 0)))
    if any(map(any, around)):
        part = np.pad(part, (*around, *((0, 0),) * (pixels.ndim - 2)), mode="constant" if mask else "symmetric")
    if scale == 1:
        return part
    size = (round(part.shape[1] * scale), round(part.shape[0] * scale))
    if mask:
        return cv2.resize(part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def bounds(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return mask.shape[1] // 2, mask.shape[0] // 2, mask.shape[1] // 2 + 1, mask.shape[0] // 2 + 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grown(mask: np.ndarray, margin_px: int) -> np.ndarray:
    """bool [H, W]: the mask and everything within `margin_px` of it."""
    if margin_px == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def boxed(boxes: Sequence[Box], shape: tuple[int, int], margin_px: int) -> np.ndarray:
    """bool [H, W]: rectangles `margin_px` larger than the boxes on every side."""
    mask = np.zeros(shape, bool)
    for x1, y1, x2, y2 in boxes:
        mask[max(y1 - margin_px, 0):max(y2 + margin_px, 0), max(x1 - margin_px, 0):max(x2 + margin_px, 0)] = True
    return mask
