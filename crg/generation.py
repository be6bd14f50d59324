"""Defects painted at points of the images of a folder: pictures, labels, and a manifest with which it goes on.

    OUTPUT/sample/          the images with a defect, STEM_CLASS_cxX_cyY_N.png
    OUTPUT/crop/, grid/     the defect model's own patch; clean, noised and result, one below the other
    OUTPUT/labelled/        the images with a defect again, as a data set
    OUTPUT/manifest.jsonl   a line for each point; log/generation.log, settings.json
"""
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.augment.labels import tight_mask
from core.data import formats, images, shapes
from core.data.records import Dataset, Instance, Record
from core.errors import ConfigError, OutputError
from core.files import append, whole_lines, writing
from core.progress import Progress, span
from core.seeding import rng
from core.signals import StopRequest

from .batch import Job, Painted
from .fast import FastSampler
from .models import Model, load_context, load_defect
from .points import Point, read_points
from .sampler import Sampler
from .settings import PaintConfig
from .views import View, difference_outside, support, view_of

MANIFEST, SETTINGS, LOG = "manifest.jsonl", "settings.json", "log/generation.log"
FREE_KEYS = {"output", "batch_size", "write", "compile"}        # what may differ when a run goes on
GAP_PX = 2                      # between the pictures of a grid


@dataclass(frozen=True)
class Totals:
    painted: int                # with a visible defect, of earlier starts too
    rejected: int
    notes: tuple[str, ...]


def paint_folder(config: PaintConfig, device: torch.device, *, overwrite: bool = False) -> Totals:
    """Paint all points of `config.images`; what an earlier start has finished is not made again.

    DataError, CheckpointError, ConfigError: the user's input. Stopped: a signal; the same call goes on.
    """
    context = Model(load_context(config.context), (), device, config.precision, config.compile)
    network, names = load_defect(config.defect, config.classes)
    defect = Model(network, names, device, config.precision, config.compile)
    side = defect.shape.size_px
    if side > context.shape.size_px:
        raise ConfigError(f"defect: its patches are larger than the context model's images, got {side} px for "
                          f"{context.shape.size_px}. Take models that fit each other")
    points, notes = read_points(config.images, names, side)
    done = open_output(config, overwrite)
    named = dict(zip(names_of(points, names, config, context), points))
    todo = [(name, point) for name, point in named.items() if name not in done]
    kind = FastSampler if config.sampler.kind == "fast" else Sampler
    sampler = kind(context, defect, config.sampler, side)
    for note in notes:
        log(config.output, note)
    if todo:
        log(config.output, f"{len(todo)} of {len(named)} points to paint on {device}: {estimate(sampler, device)}")
    with open(config.output / MANIFEST, "ab", buffering=0) as manifest, StopRequest() as stop, \
            Progress(len(named), "images", done=len(named) - len(todo)) as progress:
        for start in range(0, len(todo), config.batch_size):
            part = todo[start:start + config.batch_size]
            for line in paint_points(part, config, sampler, context, defect, device):
                with writing(config.output / MANIFEST):
                    append(manifest, (json.dumps(line) + "\n").encode())
                done[line["name"]] = line
            progress.step(len(part))
            if stop.signum and start + len(part) < len(todo):
                raise stop.error(len(done), len(named))
    lines = [done[name] for name in named]
    write_labels(config, lines, names)
    rejected = sum(line["box"] is None for line in lines)
    log(config.output, f"{len(lines) - rejected} images with a defect, {rejected} points without a visible one")
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
        painted = sampler.paint(jobs, device)
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


def finished(name: str, point: Point, view: View, painted: Painted, row: int, config: PaintConfig,
             defect: Model) -> dict:
    """Write one point's pictures, if there is a defect on them; its manifest line, with no box if there is none."""
    made = unsigned(painted.image[row])
    alpha = support(None if painted.mask is None else painted.mask[row, 0].float().cpu().numpy(), view, config.paste)
    if config.paste:
        blend = alpha[..., None]
        made = np.where(blend > 0, np.rint(view.pixels * (1 - blend) + made * blend), view.pixels).astype(np.uint8)
    label = tight_mask(view.pixels, made, alpha)
    line = {"name": name, "source": str(point.image), "line": point.place, "class": defect.classes[point.label],
            "point": [point.x, point.y], "box": None, "size": None, "rle": None,
            "outside": difference_outside(view.pixels, made, alpha)}
    if not label.any() and not config.keep_unseen:
        return line
    whole = view.put_back(made)
    images.write_image(config.output / "sample" / f"{name}.png", whole)
    images.write_image(config.output / "crop" / f"{name.rpartition('_')[0]}_crop_{name.rpartition('_')[2]}.png",
                       unsigned(painted.patch[row]))
    images.write_image(config.output / "grid" / f"{name.rpartition('_')[0]}_grid.png",
                       column([view.pixels, unsigned(painted.noised[row]), made]))
    if not label.any():
        return line
    item = shapes.mask_instance(view.put_back_mask(label), line["class"])
    return {**line, "box": item.box, "size": [whole.shape[1], whole.shape[0]], "rle": item.rle}


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


def open_output(config: PaintConfig, overwrite: bool) -> dict[str, dict]:
    """Make or reopen the folder; the manifest lines of what is done, by name. OutputError: it is another run's."""
    folder, path = config.output, config.output / SETTINGS
    wanted = {key: value for key, value in config.model_dump(mode="json").items() if key not in FREE_KEYS}
    if not overwrite and folder.exists() and any(folder.iterdir()):
        before = json.loads(path.read_text()) if path.is_file() else None
        if before is None:
            raise OutputError(f"{folder}: has files in it that are not of such a run, got "
                              f"{', '.join(sorted(each.name for each in folder.iterdir())[:3])}. Choose another "
                              "output, or say --overwrite")
        changed = [key for key in wanted if before.get(key) != wanted[key]]
        if changed:
            raise OutputError(f"{folder}: made with other settings, got another '{changed[0]}'. Choose another output, "
                              "or say --overwrite")
    elif overwrite:
        (folder / MANIFEST).unlink(missing_ok=True)
    with writing(folder):
        for name in ("sample", "crop", "grid", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    images.write_bytes(path, (json.dumps(wanted, indent=1) + "\n").encode())
    return {line["name"]: line for line in map(json.loads, whole_lines(folder / MANIFEST))}


def write_labels(config: PaintConfig, lines: Sequence[dict], classes: Sequence[str]) -> None:
    """OUTPUT/labelled: the images with a visible defect as a data set."""
    records = tuple(Record(image=config.output / "sample" / f"{line['name']}.png", name=line["name"],
                           size=tuple(line["size"]), group=Path(line["source"]).stem,
                           instances=(Instance(label=line["class"], box=tuple(line["box"]), rle=line["rle"]),))
                    for line in sorted(lines, key=lambda line: line["name"]) if line["box"] is not None)
    if not records:
        return
    dataset = Dataset(root=config.output, format="crg", classes=tuple(classes), records=records)
    for name in config.write:
        formats.write(dataset, config.output / "labelled", name)


def estimate(sampler: Sampler | FastSampler, device: torch.device) -> str:
    """How long one point takes at the least, from one evaluation of each kind."""
    context, defect = sampler.context, sampler.defect
    began = time.perf_counter()
    image = torch.zeros(1, 3, *(context.shape.size_px,) * 2, device=device, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.long, device=device)
    with torch.enable_grad():
        out = context(image, zero)
    synchronise(device)
    forward = time.perf_counter() - began
    with torch.no_grad():
        defect(torch.zeros(1, 3, *(defect.shape.size_px,) * 2, device=device), zero, zero)
    synchronise(device)
    patch = time.perf_counter() - began - forward
    if isinstance(sampler, FastSampler):
        steps = len(sampler.indices)
        return f"about {span(steps * (forward + patch))} each"
    began = time.perf_counter()
    torch.autograd.grad(out.float().sum(), image)
    synchronise(device)
    backward, steps = time.perf_counter() - began, sampler.guided_steps
    iterations = sampler.config.guidance.iterations(sampler.config.walk.start, len(sampler.schedule))
    return f"about {span(steps * ((1 + iterations) * forward + iterations * backward + patch))} each"


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


def log(folder: Path, text: str) -> None:
    print(text, flush=True)
    with writing(folder / LOG), open(folder / LOG, "a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
