"""Parts of scripts/bench.py about this package: edges against scikit-image, and training against a plain build."""
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from skimage import feature

from core import synthetic
from core.checkpoint import path_of, save
from core.data.images import to_tensor
from core.device import Processes, to_device
from core.feeding import batches
from core.loop import parts_of
from core.phase import Turn
from core.runlog import open_run
from core.synthetic.write import Recipe, make_set
from core.task import LoopConfig

from .edges import canny, grey_of
from .losses import Vgg19Features
from .plain import PlainDefectTraining, PlainEdgeTraining
from .settings import (
    DataConfig,
    DefectConfig,
    DefectLossConfig,
    DefectNetworkConfig,
    EdgeConfig,
    EdgeNetworkConfig,
    ListsConfig,
    SplitListsConfig,
)
from .task import DefectTask, EdgeTask

SIDE_PX, SIGMA = 224, 3.0
CANNY_ROUNDS, CANNY_BATCH = 20, 8
CPU = torch.device("cpu")
Row = tuple[str, str, str]          # what, the figure, beside what


def edges() -> Iterator[Row]:
    """Pictures a second through Canny, a batch of 8 made FPC pictures of 224 px, against scikit-image one by one."""
    pictures = [synthetic.make("fpc", 0, number, size=(SIDE_PX, SIDE_PX)).image for number in range(CANNY_BATCH)]
    grey = torch.stack([grey_of(to_tensor(picture))[0].double() for picture in pictures])
    singly = [plane.numpy() for plane in grey]
    ways = {"one by one": lambda: [feature.canny(plane, sigma=SIGMA) for plane in singly],
            "equal to the pixel": lambda: canny(grey, SIGMA),
            "float32": lambda: canny(grey.float(), SIGMA, dtype=torch.float32)}
    seconds = medians(ways, CANNY_ROUNDS)
    differing = int((torch.from_numpy(np.stack(ways["one by one"]())) != ways["equal to the pixel"]()).sum())
    base = seconds["one by one"]
    what = f"Canny, sigma {SIGMA:g}, {SIDE_PX}x{SIDE_PX}"
    yield f"{what}, scikit-image one by one", f"{CANNY_BATCH / base:.0f} pictures/s", ""
    yield (f"{what}, a batch of {CANNY_BATCH}, float64 ({differing} px differ)",
           f"{CANNY_BATCH / seconds['equal to the pixel']:.0f} pictures/s",
           f"{base / seconds['equal to the pixel']:.2f} x")
    yield (f"{what}, a batch of {CANNY_BATCH}, float32", f"{CANNY_BATCH / seconds['float32']:.0f} pictures/s",
           f"{base / seconds['float32']:.2f} x")


def training(widths: Sequence[int], steps: int, batch_size: int = 4, side_px: int = SIDE_PX,
             models: Sequence[int] = (1, 3)) -> Iterator[Row]:
    """Images a second of training steps of models 1 and 3, against a plain build of the same networks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind = made_kind(folder / "data", 8, side_px)
        vgg = folder / "vgg19.pth"
        torch.save(Vgg19Features().state_dict(), vgg)           # what its numbers are does not change the time
        for model in models:
            for width in widths:
                ways = {"plain": plain_steps(model, width, side_px, batch_size, kind)}
                for precision in ("float32", "bfloat16"):
                    ways[precision] = own_steps(model, width, side_px, batch_size, kind, vgg, precision, folder)
                seconds = medians(ways, steps)
                best = min(("float32", "bfloat16"), key=seconds.get)
                what = f"training of model {model}, width {width}, {side_px} px, batch {batch_size}"
                yield f"{what}, a plain build", f"{batch_size / seconds['plain']:.2f} images/s", ""
                yield (f"{what}, {best}", f"{batch_size / seconds[best]:.2f} images/s",
                       f"{seconds['plain'] / seconds[best]:.2f} x, reach >= 1.5; in the other precision "
                       f"{seconds['plain'] / max(seconds['float32'], seconds['bfloat16']):.2f} x")


def medians(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turns, so that other work on the machine meets all; the first turn is free."""
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def made_kind(folder: Path, count: int, side_px: int) -> Path:
    """Made samples in the earlier code's layout: a folder with images, mask and inpaint."""
    make_set(Recipe(kind="fpc", count=count, size=(side_px, side_px), good_share=0.0), folder, ["midg"], workers=1)
    return max((folder / "kinds").iterdir(), key=lambda kind: len(list((kind / "images" / "train").glob("*.png"))))


def plain_steps(model: int, width: int, side_px: int, batch_size: int, kind: Path) -> Callable[[], None]:
    names = sorted(path.name for path in (kind / "images" / "train").glob("*.png"))
    samples = [{role: kind / folder / "train" / name for role, folder in
                (("image", "images"), ("mask", "mask"), ("inpaint", "inpaint"))} for name in names]
    task = (PlainEdgeTraining if model == 1 else PlainDefectTraining)(width, side_px)
    place = iter(range(10**9))

    def step() -> None:
        first = next(place) * batch_size
        task.step([samples[(first + number) % len(samples)] for number in range(batch_size)])
    return step


def own_steps(model: int, width: int, side_px: int, batch_size: int, kind: Path, vgg: Path, precision: str,
              folder: Path) -> Callable[[], None]:
    """Steps as core.loop takes them, on the same files."""
    lists = ListsConfig(**{role: kind / name / "train" for role, name in
                           (("image", "images"), ("mask", "mask"), ("inpaint", "inpaint"))})
    shared = {"loop": LoopConfig(steps=1, batch_size=batch_size, workers=0, precision=precision),
              "data": DataConfig(lists=SplitListsConfig(train=lists), size_px=side_px, fit="whole", sigma=SIGMA)}
    experiment = folder / f"{width}-{precision}"
    edge = EdgeConfig(**shared, network=EdgeNetworkConfig(width=width))
    run = experiment / "midg-edge"
    task = EdgeTask(edge, CPU, run=run)
    if model == 3:
        open_run(run, edge.model_dump(mode="json"))
        save(path_of(run, 0), 0, parts_of(task))
        task = DefectTask(DefectConfig(**shared, network=DefectNetworkConfig(width=width),
                                       loss=DefectLossConfig(features=str(vgg))), CPU, run=experiment / "midg-defect")
    turns, place = Turn.of(task, task.config.loop, CPU, Processes()), iter(range(10**9))
    feed = batches(task.train_data, task.config.loop, 0, CPU, Processes())

    def step() -> None:
        number, batch = next(place), to_device(next(feed), CPU)
        for turn in turns:
            turn.take(batch, number)
        for average in task.averages.values():
            average.update(number + 1)
    return step
