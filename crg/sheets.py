"""What an evaluation of a diffusion model measures on held-out images, and the contact sheet that it leaves."""
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from core.data.images import to_pixels, write_image
from core.device import to_device
from core.seeding import rng
from core.visualise import enlarged, grid

from .diffusion import Schedule, generate
from .losses import denoising

QUARTERS = 4
PER_QUARTER = 2                 # timesteps in each, at which every image is looked at
BATCH = 16
NOISE, SHEET_NOISE = 2**40 + 11, 2**40 + 12         # streams of numbers
SIDE_PX = 128                   # of a picture on the sheet, about


def evaluate(task, network, folder: Path) -> dict[str, float]:
    """Squared error of the noise and bound in bits a value, whole and by quarter of the timesteps that are learnt.

    The noise is the same at every evaluation, so that two of them can be compared.
    """
    values: dict[str, list[float]] = {}
    for place in range(QUARTERS * PER_QUARTER):
        index = int((place + 0.5) * task.top / (QUARTERS * PER_QUARTER))
        noise, variance = losses_at(task, network, index, place)
        quarter = place // PER_QUARTER + 1
        for name in ("noise", f"noise_quarter_{quarter}"):
            values.setdefault(name, []).extend(noise)
        values.setdefault("variance", []).extend(variance)
    write_sheet(task, network, folder)
    return {name: float(np.mean(found)) for name, found in values.items()}


def losses_at(task, network, index: int, place: int) -> tuple[list[float], list[float]]:
    """Of every held-out image at one timestep."""
    noise_losses, variance_losses = [], []
    for start in range(0, len(task.held_out), BATCH):
        batch = to_device(default_collate(task.held_out[start:start + BATCH]), task.device)
        clean = signed(batch["image"])
        indices = torch.full((len(clean),), index, device=task.device)
        noise = fixed_noise(clean, NOISE, place, start)
        noisy = task.schedule.noised(clean, indices, noise)
        output = network(noisy, task.schedule.original(indices, len(clean), task.device), batch.get("label"))
        parts = denoising(task.schedule, output, clean, noisy, noise, indices)
        noise_losses += parts["noise"].tolist()
        variance_losses += parts["variance"].tolist()
    return noise_losses, variance_losses


def write_sheet(task, network, folder: Path) -> None:
    """folder/sheet.png: held-out images, as they look with the most noise that is learnt, and what is made of that.

    The model of defects makes each of its classes of the same noise: what it takes for a class shows in a row. Where
    all timesteps are learnt, nothing of the image is left in the noise, and what is made is the model's own.
    """
    count = min(task.config.sheet.shown, len(task.held_out))
    if count == 0:
        return
    batch = to_device(default_collate(task.held_out[:count]), task.device)
    clean = signed(batch["image"])
    steps = Schedule.build(task.config.schedule.steps, task.config.schedule.kind, respacing(task))
    first = max(number for number, timestep in enumerate(steps.timesteps.tolist()) if timestep < task.top)
    start = steps.noised(clean, first, fixed_noise(clean, SHEET_NOISE))
    columns = {"learnt from" if task.learnt else "held out": clean, "noised": start}
    for number, name in enumerate(task.classes or ("generated",)):
        label = torch.full((count,), number, device=task.device) if task.classes else None
        columns[name] = generate(partial(network, classes=label), steps, start, first)
    rows = [[enlarged(pixels(column[row]), max(1, round(SIDE_PX / clean.shape[-1]))) for column in columns.values()]
            for row in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "sheet.png", grid(rows, column_labels=list(columns)))


def respacing(task) -> str:
    """So that `sheet.steps` of the kept steps lie among the timesteps that are learnt."""
    whole = round(task.config.sheet.steps * len(task.schedule) / task.top)
    return str(min(max(whole, task.config.sheet.steps), len(task.schedule)))


def fixed_noise(like: Tensor, *position: int) -> Tensor:
    return torch.from_numpy(rng(0, *position).standard_normal(tuple(like.shape), np.float32)).to(like.device)


def signed(image: Tensor) -> Tensor:
    return (image.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def pixels(image: Tensor) -> np.ndarray:
    """[3, H, W] in -1..1 as uint8 [H, W, 3]."""
    return to_pixels((image.float().cpu() + 1) / 2)
