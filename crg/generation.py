"""Defects painted at points of the images of a folder: pictures, labels, and a manifest with which it goes on.

    OUTPUT/sample/          the images with a defect, STEM_CLASS_cxX_cyY_N.png
    OUTPUT/crop/, grid/     the defect model's own patch; clean, noised and result, one below the other
    OUTPUT/labelled/        the images with a defect again, as a data set
    OUTPUT/manifest.jsonl   a line for each point; log/generation.log, settings.json
"""
import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.augment.gate import visibility
from core.augment.labels import tight_mask
from core.data import images, shapes
from core.device import Processes, processes
from core.errors import ConfigError, DefectForgeError
from core.files import append, writing
from core.progress import Progress, span
from core.seeding import rng
from core.signals import StopRequest

from . import output
from .batch import Job, Painted
from .fast import FastSampler, in_the_middle
from .models import Model, load_context, load_defect
from .output import manifest_name
from .points import Point, choose_points, read_points
from .sampler import Sampler
from .settings import PaintConfig
from .views import View, allowed_in, difference_outside, support, view_of

GAP_PX = 2                      # between the pictures of a grid
SHORT_S = 2.0                   # what takes longer is not done twice to be timed


@dataclass(frozen=True)
class Totals:
    painted: int                # with a visible defect, of earlier starts too
    rejected: int
    notes: tuple[str, ...]


def paint_folder(config: PaintConfig, device: torch.device, *, overwrite: bool = False) -> Totals:
    """Paint all points of `config.images`; what an earlier start has finished is not made again.

    Under torchrun the processes share the points among them; the pictures are the same.
    DataError, CheckpointError, ConfigError: the user's input. Stopped: a signal; the same call goes on.
    """
    with processes(device) as team:
        return paint_share(config, device, team, overwrite)


def paint_share(config: PaintConfig, device: torch.device, team: Processes, overwrite: bool) -> Totals:
    context = Model(load_context(config.context), (), device, config.precision, config.compile)
    network, names = load_defect(config.defect, config.classes)
    defect = Model(network, names, device, config.precision, config.compile)
    side = defect.shape.size_px
    if side > context.shape.size_px:
        raise ConfigError(f"defect: its patches are larger than the context model's images, got {side} px for "
                          f"{context.shape.size_px}. Take models that fit each other")
    if config.places is None:
        points, notes = read_points(config.images, names, side)
    else:
        points, notes = choose_points(config.images, config.places, names, side, config.seed)
    if team.rank == 0:
        output.open_folder(config, overwrite)
    team.largest(0, device)                     # the folder is there
    done = output.finished(config.output)
    named = dict(zip(names_of(points, names, config, context), points))
    todo = [(name, point) for name, point in named.items() if name not in done][team.rank::team.count]
    kind = FastSampler if config.sampler.kind == "fast" else Sampler
    sampler = kind(context, defect, config.sampler, side)
    if team.rank == 0:
        for note in notes:
            output.log(config.output, note)
    if todo and team.rank == 0:
        output.log(config.output, f"{len(named) - len(done)} of {len(named)} points to paint on {device}"
                                  f"{f' and {team.count - 1} more' if team.count > 1 else ''}: "
                                  f"{estimate(sampler, device, len(todo))}")
    path = config.output / manifest_name(team.rank)
    with open(path, "ab", buffering=0) as manifest, StopRequest() as stop, Progress(len(todo), "points") as progress:
        for start in range(0, len(todo), config.batch_size):
            part = todo[start:start + config.batch_size]
            for line in paint_points(part, config, sampler, context, defect, device):
                with writing(path):
                    append(manifest, (json.dumps(line) + "\n").encode())
            progress.step(len(part))
            if stop.signum and start + len(part) < len(todo):
                raise stop.error(start + len(part), len(todo))
    team.largest(0, device)                     # all have finished
    done = output.finished(config.output)
    lines = [done[name] for name in named]
    rejected = sum(line["box"] is None for line in lines)
    if team.rank == 0:
        output.write_labels(config, lines, names)
        output.log(config.output, f"{len(lines) - rejected} images with a defect, {rejected} points without a visible "
                                  "one")
    return Totals(len(lines) - rejected, rejected, tuple(notes))


def paint_points(part: Sequence[tuple[str, Point]], config: PaintConfig, sampler: Sampler | FastSampler, context: Model,
                 defect: Model, device: torch.device) -> list[dict]:
    """Paint some points at once; those where nothing is to be seen again, each with other noise. Manifest lines."""
    lines, waiting = {}, list(part)
    views = {name: view_of(point.image, point.x, point.y, context.shape.size_px, defect.shape.size_px, config.fit)
             for name, point in part}
    for attempt in range(config.retries + 1):
        jobs = [Job(clean=views[name].signed, corner=views[name].corner, label=point.label,
                    generator=noise_of(config.seed, point, attempt)) for name, point in waiting]
        limits = ()
        if isinstance(sampler, FastSampler):
            limits = (torch.stack([room(point, views[name]) for name, point in waiting]),)
        with memory_advice(config):
            painted = sampler.paint(jobs, device, *limits)
        again = []
        for row, (name, point) in enumerate(waiting):
            line = finished(name, point, views[name], painted, row, config, defect)
            lines[name] = {**line, "attempts": attempt + 1}
            if line["box"] is None:
                again.append((name, point))
        waiting = again
        if not waiting:
            break
    return [lines[name] for name, _ in part]


def room(point: Point, view: View) -> Tensor:
    """[1, S, S] in 0..1 of the patch: where the defect may be, in its box if that is known."""
    if point.extent is None:
        return in_the_middle(view.side)[0]
    box = view.place_of(point.x, point.y, *point.extent)
    return torch.from_numpy(allowed_in(box, (view.side,) * 2))[None]


def finished(name: str, point: Point, view: View, painted: Painted, row: int, config: PaintConfig,
             defect: Model) -> dict:
    """Write one point's pictures, if there is a defect on them; its manifest line, with no box if there is none."""
    made = unsigned(painted.image[row])
    alpha = support(None if painted.mask is None else painted.mask[row, 0].float().cpu().numpy(), view, config.paste)
    if config.paste:
        blend = alpha[..., None]
        made = np.rint(view.pixels * (1 - blend) + made * blend).astype(np.uint8)
    label = tight_mask(view.pixels, made, alpha)
    line = {"name": name, "source": str(point.image), "line": point.place, "class": defect.classes[point.label],
            "point": [point.x, point.y], "seed": config.seed, "config": output.config_hash(config), "box": None,
            "size": None, "rle": None, "outside": difference_outside(view.pixels, made, alpha)}
    if not label.any() and not config.keep_unseen:
        return line
    whole = view.put_back(made)
    base, _, number = name.rpartition("_")
    line["sha256"] = output.write_picture(config.output / "sample" / f"{name}.png", whole)
    images.write_image(config.output / "crop" / f"{base}_crop_{number}.png", unsigned(painted.patch[row]))
    images.write_image(config.output / "grid" / f"{base}_grid{'' if number == '1' else f'_{number}'}.png",
                       column([view.pixels, unsigned(painted.noised[row]), made]))
    if not label.any():
        return line
    seen = {key: round(value, 4) for key, value in visibility(view.pixels, made, label).items()}
    item = shapes.mask_instance(view.put_back_mask(label), line["class"])
    return {**line, **seen, "box": item.box, "size": [whole.shape[1], whole.shape[0]], "rle": item.rle}


def names_of(points: Sequence[Point], classes: Sequence[str], config: PaintConfig, context: Model) -> list[str]:
    """The earlier code's file names; N counts the lines that would have the same one."""
    found: list[str] = []
    seen: dict[str, int] = {}
    for point in points:
        width, height = point.size if config.fit == "window" else (context.shape.size_px,) * 2
        base = f"{point.image.stem}_{classes[point.label]}_cx{int(point.x * width)}_cy{int(point.y * height)}"
        seen[base] = seen.get(base, 0) + 1
        found.append(f"{base}_{seen[base]}")
    return found


def noise_of(seed: int, point: Point, attempt: int) -> torch.Generator:
    """Of the seed, the image's name, the line and the try alone: neither order nor batch nor a new start change it."""
    numbers = rng(seed, zlib.crc32(point.image.stem.encode()), point.number, attempt)
    return torch.Generator().manual_seed(int(numbers.integers(2 ** 62)))


def estimate(sampler: Sampler | FastSampler, device: torch.device, count: int) -> str:
    """How long one point and `count` of them take at the least, from one evaluation of each kind."""
    context, defect = sampler.context, sampler.defect
    image = torch.zeros(1, 3, *(context.shape.size_px,) * 2, device=device)
    patch = torch.zeros(1, 3, *(defect.shape.size_px,) * 2, device=device)
    zero = torch.zeros(1, dtype=torch.long, device=device)

    def slope() -> None:
        with torch.enable_grad():
            given = image.requires_grad_()
            torch.autograd.grad(context(given, zero).float().sum(), given)

    with torch.no_grad():
        forward = seconds_of(lambda: context(image, zero), device)
        proposal = seconds_of(lambda: defect(patch, zero, zero), device)
    if isinstance(sampler, FastSampler):
        each = len(sampler.indices) * (forward + proposal)
    else:
        iterations = sampler.config.guidance.iterations(sampler.config.walk.start, len(sampler.schedule))
        guided = forward + proposal + (iterations * seconds_of(slope, device) if iterations else 0)
        each = sampler.guided_steps * guided
    return f"about {f'{each:.1f} s' if each < 10 else span(each)} each, {span(each * count)} in all"


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes, once it has been done before, where that is short."""
    for _ in range(2):
        began = time.perf_counter()
        work()
        synchronise(device)
        taken = time.perf_counter() - began
        if taken > SHORT_S:
            break
    return taken


@contextlib.contextmanager
def memory_advice(config: PaintConfig) -> Iterator[None]:
    """Within: a GPU's memory that does not suffice is an error that says which key to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        way_out = "Lower it" if config.batch_size > 1 else "Set precision to bfloat16, or sampler.kind to fast"
        raise DefectForgeError(f"batch_size: the device's memory does not suffice, got {config.batch_size}. {way_out}; "
                               "what is painted is kept") from error


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def unsigned(image: Tensor) -> np.ndarray:
    """[3, H, W] in -1..1 as uint8 [H, W, 3], rounded."""
    return images.to_pixels((image.float().cpu() + 1) / 2)


def column(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """One below the other, with black between and around them."""
    height, width = pictures[0].shape[:2]
    sheet = np.zeros((GAP_PX + (height + GAP_PX) * len(pictures), width + 2 * GAP_PX, 3), np.uint8)
    for number, picture in enumerate(pictures):
        top = GAP_PX + number * (height + GAP_PX)
        sheet[top:top + height, GAP_PX:GAP_PX + width] = picture
    return sheet
