"""Finished models applied to image files, as test.py does: a defect in every place that a mask marks, or its edges."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from core import config as configs
from core.data.images import is_image, read_image, read_light, to_tensor, write_image
from core.errors import DataError
from core.experiment import tell
from core.files import writing
from core.progress import Progress

from . import runs
from .earlier import ROLE_OF_OPTION
from .edges import canny, grey_of
from .infer import Drawn, Painter, draw, weights
from .legacy_lists import paired, read_list
from .mask_files import read_marked
from .settings import DefectConfig, EdgeConfig, JointConfig, ModelConfig


class AppliedToFiles:
    """`apply` of core.task.Applied, for tasks with a `Config` of midg/settings.py."""
    Config: type[ModelConfig]
    class_key = "data.classes"      # what --class sets

    @classmethod
    def apply(cls, run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
              on: torch.device) -> dict[str, float]:
        """Write `output`/NAME.png, and beside a picture edges/NAME.png and labels/NAME.png, changed pixels in white.

        Models of several classes draw each of them, or those that data.classes names, in a folder named as it. Model 2
        takes an image's own edges where none are given, as published.
        """
        samples = read_inputs(inputs)
        config = configs.load(cls.Config, run / "config.yaml", overrides)
        painter = painter_of(run, config, str(on))
        if painter.edge is None and "edge" not in inputs:
            tell(["note: no --edge: the images' own edges are drawn on. Give --edge for a defect of your own shape"])
        labels = config.data.classes or painter.classes
        for label in labels:
            painter.number_of(label)                # there is such a class
        changed = []
        with Progress(len(samples) * len(labels), "pictures") as progress:
            for number, sample in enumerate(samples):
                planes = read_planes(sample)
                if painter.edge is None and "edges" not in planes:
                    planes["edges"] = own_edges(planes["picture"], painter.data.sigma)
                for label in labels:
                    folder = output / label if len(painter.classes) > 1 else output
                    drawn = draw(painter, **planes, label=label, seed=config.loop.seed + number)
                    write(drawn, folder, sample["image"].stem, edges_alone=painter.defect is None)
                    changed.append(int(drawn.label.sum()))
                    progress.step()
        figures = {"pictures": len(changed)}
        return figures if painter.defect is None else {**figures, "changed_px_a_picture": sum(changed) / len(changed)}


def painter_of(run: Path, config: ModelConfig, device: str) -> Painter:
    """The networks of one run at work; of model 1 it draws edges alone, of model 2 it draws none itself."""
    classes = runs.read_classes(run)
    edge = defect = None
    if isinstance(config, EdgeConfig):
        edge = weights(run, config.network)
    elif isinstance(config, JointConfig):
        edge, defect = weights(run, config.edge_network, "edge_"), weights(run, config.network, "defect_")
    else:
        defect = weights(run, config.network)
    if isinstance(config, DefectConfig):
        edge_run = runs.find_run(config.edges or run.parent, "midg-edge")
        edge_config = runs.read_config(edge_run, EdgeConfig)
        runs.check_alike(edge_run, edge_config.data, config.data)
        edge = weights(edge_run, edge_config.network)
    return Painter(classes, config.data, edge, defect, device)


def read_inputs(inputs: Mapping[str, Path]) -> list[dict[str, Path]]:
    """{role: file} a picture, in the images' order. DataError: no mask, an empty list, a file without partner."""
    for option, what in (("input", "Give the images to draw on"), ("mask", "Say where on them to draw")):
        if option not in inputs:
            raise DataError(f"--{option}: missing, got --{next(iter(inputs))} alone. {what}")
    lists = {ROLE_OF_OPTION[option]: read_list(path) for option, path in
             sorted(inputs.items(), key=lambda item: item[0] != "input")}
    single = {ROLE_OF_OPTION[option] for option, path in inputs.items() if is_image(path) and path.is_file()}
    return paired(lists, single)


def read_planes(sample: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """The arguments of `draw` from a sample's files. DataError: a file of another size than its image."""
    planes = {"picture": read_image(sample["image"]), "mask": read_marked(sample["mask"], sample["image"])}
    if not planes["mask"].any():
        raise DataError(f"{sample['mask']}: marks nothing, got no white pixel. Mark where the defect is to be")
    if "inpaint" in sample and sample["inpaint"] != sample["image"]:
        planes["background"] = read_image(sample["inpaint"])
    if "edge" in sample:
        planes["edges"] = read_light(sample["edge"]).astype(np.float32) / 255
    for role, name in (("inpaint", "background"), ("edge", "edges")):
        if name in planes and planes[name].shape[:2] != planes["mask"].shape:
            (height, width), (h, w) = planes["mask"].shape, planes[name].shape[:2]
            raise DataError(f"{sample[role]}: of another size than {sample['image']}, got {w}x{h} px for {width}x"
                            f"{height}. Make them equal")
    return planes


def own_edges(picture: np.ndarray, sigma: float) -> np.ndarray:
    """float32 [H, W]: Canny's edges of the picture, 0 or 1."""
    return canny(grey_of(to_tensor(picture)), sigma)[0].numpy().astype(np.float32)


def write(drawn: Drawn, folder: Path, name: str, *, edges_alone: bool) -> None:
    edges = (drawn.edges.clip(0, 1) * 255).round().astype(np.uint8)
    planes = {folder: edges} if edges_alone else {
        folder: drawn.picture, folder / "edges": edges, folder / "labels": drawn.label.astype(np.uint8) * 255}
    for place, pixels in planes.items():
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"{name}.png", pixels)
