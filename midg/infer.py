"""Finished models at work: edges, then a defect, painted into a picture of any size wherever a mask says.

    painter = Painter.load(Path("checkpoints/fpc"))
    drawn = draw(painter, picture, mask, "exposed_copper", seed=0)     uint8 [H, W, 3], bool [H, W]
"""
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from core.augment import compose
from core.augment.generator import Generated
from core.augment.labels import tight_mask
from core.data import images, shapes
from core.device import choose, one_thread
from core.errors import ConfigError, DataError, did_you_mean
from core.seeding import rng

from . import grain, runs
from .boxes import in_box
from .data import cut
from .edges import canny, grey_of, merged_edges, with_drawing
from .lines import drawn_edges
from .networks import DefectGenerator, EdgeGenerator, defect_input, edge_input
from .rims import trimmed
from .settings import DataConfig, DefectConfig, DefectNetworkConfig, EdgeConfig, EdgeNetworkConfig, GivenEdgesConfig

BOX = 1                         # a stream of its own for the shapes in boxes
GRAIN = "grain."                # of the names of what a defect model has measured, among its weights
LEAST_SCALE = 0.5               # of windows that grain is for: what is shrunk more has not shown it in training
DARKEST = 0.02                  # of what is divided by
FEATHER_PX = 2.0                # the paint fades in over this width, inside the mask


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A window with its defect.

    image   float32 [3, H, W] in 0..1, painted inside the mask alone
    edges   float32 [H, W] in 0..1: the edges that the defect was painted from, the background's outside the mask
    alpha   float32 [H, W] in 0..1: 1 in the mask, fading out towards its rim, 0 outside
    grain   float32 [3, H, W]: what the image lacks of the real ones' grain, to be added to it; None: nothing
    """
    image: Tensor
    edges: np.ndarray
    alpha: np.ndarray
    grain: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture uint8 or uint16 [H, W, 3] with its defects, their edges float32 [H, W], and their tight label bool."""
    picture: np.ndarray
    edges: np.ndarray
    label: np.ndarray


class Painter:
    """Trained networks on a device. Pickled, it is plain numbers, and takes its networks up again where it arrives."""

    def __init__(self, classes: tuple[str, ...], data: DataConfig, edge: tuple[EdgeNetworkConfig, dict] | None,
                 defect: tuple[DefectNetworkConfig, dict] | None, device: str = "auto"):
        """`edge` and `defect`: a network's form and weights, arrays by name, as `weights` gives them.

        Without `edge`, edges must be given; without `defect`, pictures stay as they are and edges alone are drawn.
        """
        self.classes, self.data, self.device_name = classes, data, device
        self.device = choose(device)
        count = len(classes) if len(classes) > 1 else 0
        self.parts = edge, defect
        self.edge: EdgeGenerator | None = None if edge is None else self._network(runs.edge_generator, edge, count)
        self.defect: DefectGenerator | None = (
            None if defect is None else self._network(runs.defect_generator, defect, count))

    @classmethod
    def load(cls, experiment: Path, device: str = "auto") -> "Painter":
        """From an experiment's midg-edge and midg-defect, or where there is none its midg-inpaint (given edges alone).

        CheckpointError: a model is missing, is damaged, or the two have learnt different classes.
        """
        if not (experiment / "midg-defect").is_dir() and (experiment / "midg-inpaint").is_dir():
            run = runs.find_run(experiment, "midg-inpaint")
            config = runs.read_config(run, GivenEdgesConfig)
            return cls(runs.read_classes(run), config.data, None, weights(run, config.network), device)
        run = runs.find_run(experiment, "midg-defect")
        config = runs.read_config(run, DefectConfig)
        edge_run = runs.find_run(config.edges or experiment, "midg-edge")
        edge = runs.read_config(edge_run, EdgeConfig)
        if runs.read_classes(edge_run) != runs.read_classes(run):
            raise ConfigError(f"{experiment}: its models have learnt different classes, got "
                              f"{', '.join(runs.read_classes(edge_run))} and {', '.join(runs.read_classes(run))}. "
                              "Train midg-defect again")
        runs.check_alike(edge_run, edge.data, config.data)
        return cls(runs.read_classes(run), config.data, weights(edge_run, edge.network), weights(run, config.network),
                   device)

    def _network(self, make, part, classes: int) -> nn.Module:
        network = without_norms(make(part[0], classes).eval()).requires_grad_(False)
        network.load_state_dict({name: torch.from_numpy(values) for name, values in part[1].items()
                                 if not name.startswith(GRAIN)})
        return network.to(self.device, memory_format=runs.layout(self.device))

    @property
    def blends(self) -> bool:
        """Whether the paint has an opacity of its own; without one every pixel in a mask is painted anew."""
        return self.parts[1] is not None and self.parts[1][0].blend

    def __getstate__(self) -> tuple:
        return self.classes, self.data, *self.parts, self.device_name

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)

    def number_of(self, label: str | None) -> int:
        """The class's number. ConfigError: the networks have not learnt it."""
        if len(self.classes) == 1 and label is None:
            return 0
        if label not in self.classes:
            raise ConfigError(f"class: not learnt, got '{label}'. {did_you_mean(str(label), self.classes)}The models "
                              f"know {', '.join(self.classes)}")
        return self.classes.index(label)

    @torch.inference_mode()
    def paint(self, image: Tensor, mask: np.ndarray, label: str | None, draw: np.random.Generator, *,
              drawing: np.ndarray | None = None, edges: np.ndarray | None = None) -> Painted:
        """Paint a defect inside the mask.

        image    float32 [3, H, W] in 0..1 without the defect, of any size: beyond its border it is mirrored, and one
                 larger than the window of training is looked at shrunk, while what is kept of it stays as it is
        mask     bool [H, W], where to paint
        draw     all randomness
        drawing  bool [H, W], an area, a contour or lines in the mask: the defect's shape; None: the networks choose
        edges    float or bool [H, W]: the defect's edges inside the mask as they are to be
        """
        frame, scale = self._frame(*image.shape[1:])
        side = self.data.size_px
        small = torch.from_numpy(np.ascontiguousarray(
            cut(image.permute(1, 2, 0).numpy(), frame, scale).transpose(2, 0, 1)))[None]
        hole = cut(mask, frame, scale, mask=True)
        if not hole.any():
            return Painted(image=image, edges=np.zeros(mask.shape, np.float32), alpha=np.zeros(mask.shape, np.float32))
        noise = torch.from_numpy(draw.integers(0, 256, (1, 1, side, side), np.uint8)).float() / 255
        area = torch.from_numpy(hole)[None, None].float()
        number = torch.tensor([self.number_of(label)]) if len(self.classes) > 1 else None
        outside = canny(grey_of(small), self.data.sigma).float()
        with one_thread():
            if drawing is not None:
                merged = with_drawing(cut(drawing, frame, scale, mask=True), outside[0], area[0], self.data.sigma)[None]
            elif edges is not None:
                given = torch.from_numpy(cut(edges.astype(np.float32), frame, scale))[None, None]
                merged = merged_edges(given, outside, area)
            else:
                merged = merged_edges(self._edges(small, outside, area, noise, number), outside, area)
            colour, opacity = self._colours(small, merged, area, noise, number)
            rough = None if opacity is None or scale < LEAST_SCALE else self._grain(number, opacity, draw, frame)
        painted = self._laid(image, small, colour, opacity, frame, scale)
        alpha = feathered(mask)
        shown = _window(F.interpolate(merged, (frame[2] - frame[0],) * 2) if scale < 1 else merged, frame, mask.shape)
        return Painted(image=torch.where(torch.from_numpy(alpha > 0), painted, image), edges=shown[0, 0].numpy(),
                       alpha=alpha, grain=None if rough is None else _window(rough, frame, mask.shape))

    def _grain(self, number: Tensor | None, opacity: Tensor, draw: np.random.Generator, frame: compose.Box,
               ) -> Tensor | None:
        """At the picture's own resolution, as thin as the paint."""
        stored = {name: values for name in ("mixing", "kernel")
                  if (values := self.parts[1][1].get(GRAIN + name)) is not None}
        if not stored:
            return None
        side = frame[2] - frame[0]
        planes = grain.drawn(stored, 0 if number is None else int(number), side, draw)
        return torch.from_numpy(planes) * F.interpolate(opacity, (side, side), mode="bilinear", align_corners=False)[0]

    def _frame(self, height: int, width: int) -> tuple[compose.Box, float]:
        """The square round a window, perhaps beyond its borders, and the scale at which the networks see it."""
        side = max(self.data.size_px, height, width)
        x, y = (width - side) // 2, (height - side) // 2
        return (x, y, x + side, y + side), self.data.size_px / side

    def _edges(self, image: Tensor, outside: Tensor, mask: Tensor, noise: Tensor, number: Tensor | None) -> Tensor:
        if self.edge is None:
            raise ConfigError("edges: no model 1 draws them here, got midg-inpaint alone. Give a drawn shape or edges, "
                              "or train midg-edge and midg-defect")
        mask_channel = self.parts[0][0].mask_channel
        logits = self._run(self.edge, edge_input(grey_of(image), outside, mask, noise, mask_channel=mask_channel),
                           label=number)
        return drawn_edges(logits, mask, self.parts[0][0].line_threshold)

    def _colours(self, image: Tensor, edges: Tensor, mask: Tensor, noise: Tensor, number: Tensor | None,
                 ) -> tuple[Tensor, Tensor | None]:
        if self.defect is None:
            return image, None
        x, attention = defect_input(image, edges, mask, noise if self.parts[1][0].noise_channel else None)
        return self._run(self.defect.paint_over, x, attention, label=number)

    def _run(self, network, *planes: Tensor, label: Tensor | None):
        planes = [plane.to(self.device, memory_format=runs.layout(self.device)) for plane in planes]
        made = network(*planes, None if label is None else label.to(self.device))
        return tuple(part if part is None else part.cpu() for part in made) if isinstance(made, tuple) else made.cpu()

    def _laid(self, image: Tensor, small: Tensor, colour: Tensor, opacity: Tensor | None, frame: compose.Box,
              scale: float) -> Tensor:
        """The paint over the picture at its own resolution."""
        if scale == 1:
            behind = _window(small, frame, image.shape[1:])[0]
            colour = _window(colour, frame, image.shape[1:])[0]
            return colour if opacity is None else torch.lerp(
                behind, colour, _window(opacity, frame, image.shape[1:])[0])
        side = frame[2] - frame[0]

        def enlarged(plane: Tensor) -> Tensor:
            larger = F.interpolate(plane, (side, side), mode="bilinear", align_corners=False)
            return _window(larger, frame, image.shape[1:])[0]
        if opacity is None:
            return (image + enlarged(colour - small)).clamp(0, 1)
        below, paint, cover = enlarged(small), enlarged(colour), enlarged(opacity)
        darker = (paint.mean(0) / below.mean(0).clamp(min=DARKEST)).clamp(max=1)
        detail = (image - below) * (1 - cover * (1 - darker))       # which a shrunk window cannot hold
        return (torch.lerp(below, paint, cover) + detail).clamp(0, 1)


def draw(painter: Painter, picture: np.ndarray, mask: np.ndarray, label: str | None = None, *, seed: int = 0,
         background: np.ndarray | None = None, drawing: np.ndarray | None = None, edges: np.ndarray | None = None,
         ) -> Drawn:
    """Paint a defect into each part of a mask of a whole picture, in windows at its own resolution.

    picture     uint8 or uint16 [H, W, 3]; away from the mask no grey level changes
    mask        bool [H, W], rectangles or shapes; part i depends on (seed, i)
    background  like picture, without what is in the mask; None: the picture is free of it already
    drawing, edges   see Painter.paint
    DataError: sizes differ, or the mask is empty.
    """
    for name, plane in (("mask", mask), ("background", background), ("drawing", drawing), ("edges", edges)):
        if plane is not None and plane.shape[:2] != picture.shape[:2]:
            raise DataError(f"{name}: of another size than the picture, got {plane.shape[1]}x{plane.shape[0]} px for "
                            f"{picture.shape[1]}x{picture.shape[0]}. Make them equal")
    if not mask.any():
        raise DataError("mask: empty, got no pixel to paint on. Mark where the defect is to be")
    below = picture if background is None else background
    result, found = picture.copy(), np.zeros(mask.shape, bool)
    shown = canny(grey_of(images.to_tensor(below)), painter.data.sigma)[0].numpy().astype(np.float32)
    for number, (part, window) in enumerate(_parts(mask, painter.data)):
        clean, inside = compose.cut(below, window), compose.cut(part, window)
        if drawing is None and edges is None:
            inside = in_box(inside, painter.data, rng(seed, number, BOX))
        painted = painter.paint(images.to_tensor(clean), inside, label, rng(seed, number), **{
            name: compose.cut(plane, window) for name, plane in (("drawing", drawing), ("edges", edges))
            if plane is not None})
        alpha = inside.astype(np.float32)
        if painter.blends:                              # as on the road: a soft rim is neither painted nor labelled
            alpha = trimmed(*(plane.permute(1, 2, 0).numpy() for plane in (images.to_tensor(clean), painted.image)),
                            painted.alpha)
        image = painted.image if painted.grain is None else (painted.image + painted.grain).clamp(0, 1)
        made = compose.blend(clean, Generated(image=image, alpha=torch.from_numpy(alpha)))
        compose.cut(result, window)[inside] = made[inside]
        compose.cut(found, window)[...] |= tight_mask(clean, made, alpha)
        compose.cut(shown, window)[inside] = painted.edges[inside]
    return Drawn(picture=result, edges=shown, label=found)


def weights(run: Path, network: EdgeNetworkConfig | DefectNetworkConfig, prefix: str = "") -> tuple:
    """A run's network form with its newest averaged weights as arrays, spectral norms worked in, and its grain.

    prefix      "edge_" or "defect_" for one of the two in a run of model 4
    """
    classes = runs.read_classes(run)
    make = runs.edge_generator if isinstance(network, EdgeNetworkConfig) else runs.defect_generator
    made = make(network, len(classes) if len(classes) > 1 else 0)
    trained = without_norms(runs.load_average(run, f"{prefix}generator", made, torch.device("cpu")))
    found = {name: values.contiguous().numpy() for name, values in trained.state_dict().items()}
    rough = grain.kept(run) if isinstance(network, DefectNetworkConfig) and network.grain else {}
    return network, found | {GRAIN + name: values for name, values in rough.items()}


def feathered(mask: np.ndarray, width_px: float = FEATHER_PX) -> np.ndarray:
    """float32 [H, W]: 1 deep in the mask, less towards its rim, 0 outside. The picture's border is no rim."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.clip(distance / width_px, 0, 1).astype(np.float32)


def without_norms(network: nn.Module) -> nn.Module:
    """The network with its spectral norms worked into its weights: the same answers, and it can be pickled."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return network


def _window(plane: Tensor, frame: compose.Box, size: tuple[int, int]) -> Tensor:
    """The window of `size` (H, W) out of the square round it."""
    return plane[..., -frame[1]:size[0] - frame[1], -frame[0]:size[1] - frame[0]]


def _parts(mask: np.ndarray, data: DataConfig) -> list[tuple[np.ndarray, compose.Box]]:
    """The mask's parts, each with the window that it is painted in. It is a single part, with the whole picture as its
    window, where that is how the networks have learnt (fit: whole), or where the picture fits into one window."""
    if data.fit == "whole" or max(mask.shape) <= data.size_px:
        return [(mask, (0, 0, *mask.shape[::-1]))]
    return [(part, compose.window_round(compose.bounds(part), mask.shape[::-1], data.size_px))
            for part in shapes.components(mask, 1)]
