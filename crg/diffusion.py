"""Noise schedules and what follows from them: noising, the clean image that a prediction implies, DDIM steps.

    schedule = Schedule.build(respacing="250")
    noisy = schedule.noised(clean, index, noise)
    clean_again = schedule.clean_from(noisy, predicted_noise, index)

Denoising diffusion (Ho et al. 2020), learned variances (Nichol and Dhariwal 2021), DDIM (Song et al. 2021). Tables are
float64; a coefficient is looked up, rounded to float32 and used so. An index counts the steps that are kept; the
networks are told the original timestep that it stands for. An index is one whole number or one a sample, [N].
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("linear", "cosine")
Index = int | Tensor


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Of every kept step: the original timestep, int64 [K]; the share of the clean image's variance that is left after
    it (alpha bar) and the noise that it adds (beta), float64 [K]."""
    timesteps: Tensor
    alpha_bar: Tensor
    beta: Tensor

    @classmethod
    def build(cls, steps: int = 1000, kind: str = "linear", respacing: str = "") -> "Schedule":
        """`respacing` as in `kept_steps`. Raises ValueError."""
        timesteps = torch.tensor(kept_steps(steps, respacing))
        alpha_bar = torch.cumprod(1 - betas(steps, kind), dim=0)[timesteps]
        before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        return cls(timesteps=timesteps, alpha_bar=alpha_bar, beta=1 - alpha_bar / before)

    def __len__(self) -> int:
        return len(self.timesteps)

    def original(self, index: Index, count: int, device: torch.device) -> Tensor:
        """The original timestep for each of `count` samples, int64 [N]."""
        return self.timesteps[torch.as_tensor(index).cpu()].expand(count).to(device)

    def noised(self, clean: Tensor, index: Index, noise: Tensor) -> Tensor:
        """A clean image with all the noise of that step."""
        return (look_up(self.alpha_bar.sqrt(), index, clean) * clean
                + look_up((1 - self.alpha_bar).sqrt(), index, clean) * noise)

    def noised_further(self, image: Tensor, index: Index, noise: Tensor) -> Tensor:
        """An image at the step before `index` with the noise of this one step more."""
        beta = look_up(self.beta, index, image)
        return (1 - beta).sqrt() * image + beta.sqrt() * noise

    def clean_from(self, image: Tensor, noise: Tensor, index: Index) -> Tensor:
        """The clean image that the noise predicted in `image` implies, not clamped."""
        return (look_up((1 / self.alpha_bar).sqrt(), index, image) * image
                - look_up((1 / self.alpha_bar - 1).sqrt(), index, image) * noise)

    def noise_in(self, image: Tensor, clean: Tensor, index: Index) -> Tensor:
        """The noise that makes `image` of the clean image."""
        return ((image - look_up(self.alpha_bar.sqrt(), index, image) * clean)
                / look_up((1 - self.alpha_bar).sqrt(), index, image))

    def ddim_step(self, clean: Tensor, noise: Tensor, index: int, target: int, eta: float = 0.0,
                  fresh: Tensor | None = None) -> Tensor:
        """The image at step `target` from the predictions at `index`. eta > 0 swaps old noise for `fresh` noise."""
        ratio = look_up(self.alpha_bar, index, clean), look_up(self.alpha_bar, target, clean)
        deviation = eta * ((1 - ratio[1]) / (1 - ratio[0])).sqrt() * (1 - ratio[0] / ratio[1]).clamp(min=0).sqrt()
        image = ratio[1].sqrt() * clean + (1 - ratio[1] - deviation ** 2).sqrt() * noise
        return image if fresh is None or eta == 0 or index == 0 else image + deviation * fresh

    def posterior_mean(self, clean: Tensor, image: Tensor, index: Index) -> Tensor:
        """Of the image one step before, given this one and the clean one."""
        before = self.before()
        of_clean = self.beta * before.sqrt() / (1 - self.alpha_bar)
        of_image = (1 - before) * (1 - self.beta).sqrt() / (1 - self.alpha_bar)
        return look_up(of_clean, index, clean) * clean + look_up(of_image, index, image) * image

    def log_variance_bounds(self, index: Index, like: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of the smallest (the posterior's) and of the largest variance of the step before.

        The smallest is 0 at index 0; the value of index 1 stands in for it.
        """
        smallest = self.beta * (1 - self.before()) / (1 - self.alpha_bar)
        smallest = torch.cat([smallest[1:2], smallest[1:]])
        return look_up(smallest.log(), index, like), look_up(self.beta.log(), index, like)

    def before(self) -> Tensor:
        return torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar[:-1]])


def betas(steps: int, kind: str) -> Tensor:
    """Noise added at each of `steps` timesteps, float64 [steps]."""
    if kind == "linear":
        first, last = 0.1 / steps, 20 / steps
        values = first + torch.arange(steps, dtype=torch.float64) * ((last - first) / max(steps - 1, 1))
        return torch.cat([values[:-1], torch.tensor([last], dtype=torch.float64)])
    if kind == "cosine":
        share = torch.arange(steps + 1, dtype=torch.float64) / steps
        left = torch.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - left[1:] / left[:-1]).clamp(max=0.999)
    raise ValueError(f"the kind of schedule must be one of {', '.join(KINDS)}, got '{kind}'")


def kept_steps(steps: int, respacing: str) -> list[int]:
    """The original timesteps that are kept, from the first on.

    ""          all
    "250"       so many, evenly from the first to the last
    "10,20,30"  so many in each of three equal parts
    "ddim50"    so many at a whole-numbered stride, from 0
    """
    if not respacing:
        return list(range(steps))
    if respacing.startswith("ddim"):
        wanted = whole(respacing, respacing.removeprefix("ddim"))
        for stride in range(1, steps + 1):
            if len(range(0, steps, stride)) == wanted:
                return list(range(0, steps, stride))
        raise ValueError(f"respacing '{respacing}': no whole stride leaves {wanted} of {steps} steps")
    counts = [whole(respacing, text) for text in respacing.split(",")]
    size, rest = divmod(steps, len(counts))
    kept, first = [], 0
    for number, count in enumerate(counts):
        length = size + (number < rest)
        if count > length:
            raise ValueError(f"respacing '{respacing}': {count} steps cannot be kept of {length}")
        stride, place = (length - 1) / (count - 1) if count > 1 else 1, 0.0
        for _ in range(count):
            kept.append(first + round(place))
            place += stride             # accumulated: the published schedules have its rounding
        first += length
    return kept


def whole(respacing: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"respacing '{respacing}': '{text}' is no whole number above 0")
    return int(text)


def look_up(table: Tensor, index: Index, like: Tensor) -> Tensor:
    """Values of a float64 table as float32 on `like`'s device, to be multiplied with images [N, C, H, W]."""
    values = table[torch.as_tensor(index).cpu()].to(like.device, torch.float32)
    return values.reshape(-1, 1, 1, 1) if values.ndim else values


@torch.no_grad()
def generate(predict: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, noisy: Tensor,
             first: int | None = None) -> Tensor:
    """Images in -1..1 by DDIM over all kept steps, from noise alone [N, 3, H, W] or from images noised to step `first`.

    predict     noisy images, original timesteps [N] -> at least 3 channels, of which the first 3 are the noise
    """
    image = noisy
    for index in reversed(range(len(schedule) if first is None else first + 1)):
        found = predict(image, schedule.original(index, len(image), image.device))[:, :3].float()
        clean = schedule.clean_from(image, found, index).clamp(-1, 1)
        found = schedule.noise_in(image, clean, index)          # of the clamped image
        image = schedule.ddim_step(clean, found, index, index - 1) if index else clean
    return image
