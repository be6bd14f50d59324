"""Collaborative refinement guidance: a context model paints what a defect model proposes, at a point of a clean image.

    sampler = Sampler(context, defect, SamplerConfig(), patch_px=64)
    painted = sampler.paint([Job(clean=image, corner=(80, 103), label=2, generator=torch.Generator().manual_seed(0))])

The published algorithm step for step, with only the evaluations that it needs, and many jobs at a time: every sample
has its own noise, line search and normalisation, so what is painted does not depend on the batch that it is in.
"""
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import DefectForgeError

from .batch import Batch, Evaluations, Job, Painted
from .guidance import agreement, background, beta_at, update_mask
from .sampler_settings import SamplerConfig, walk_indices

Denoiser = Callable[..., Tensor]        # (images, original timesteps[, classes]) -> >= 3 channels, the noise first


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A guided step as it was, for whoever watches."""
    number: int                 # from 0
    index: int
    target: int
    rates: list[float]          # learning rates in the end, by sample
    before: Tensor              # the loss [N] when it began, without what holds the image near its beginning
    after: Tensor
    mask: Tensor | None
    kept: Tensor | None         # the mask of what is to stay as it is
    image: Tensor               # at `target`


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What one guided step holds fixed."""
    index: int
    start: Tensor               # the image and the patch as they were
    start_patch: Tensor
    mask: Tensor | None
    kept: Tensor | None
    regulariser: float


@dataclass
class View:
    """What the models make of an image and a patch, both noisy: the noise in them, the clean ones, the loss."""
    rows: list[int]             # of the batch
    image: Tensor
    patch: Tensor
    noise: Tensor
    clean: Tensor
    patch_noise: Tensor
    wanted: Tensor
    fit: Tensor                 # [n], loss without what holds the image near its beginning
    loss: Tensor                # [n]


class Sampler:
    """`context` and `defect` are frozen networks, or any functions like them; `watch` sees every guided step."""

    def __init__(self, context: Denoiser, defect: Denoiser, config: SamplerConfig, patch_px: int,
                 watch: Callable[[Moment], None] | None = None):
        self.context, self.defect, self.config, self.side, self.watch = context, defect, config, patch_px, watch
        self.schedule = config.schedule.build()
        self.walk = walk_indices(config.walk, len(self.schedule))
        self.evaluations, self.steps_done = Evaluations(), 0

    @property
    def guided_steps(self) -> int:
        """How many there are in the whole walk."""
        moves = [after < before for before, after in itertools.pairwise(self.walk)]
        turns = sum(down and not still for down, still in itertools.pairwise(moves))
        return sum(moves) + turns * self.config.guidance.before_jumps

    @torch.no_grad()
    def paint(self, jobs: Sequence[Job], device: torch.device | str = "cpu") -> Painted:
        batch = Batch.of(jobs, self.side, device)
        walk, guidance = self.config.walk, self.config.guidance
        image = self.schedule.noised(batch.clean, walk.start, batch.noise(batch.clean))
        noised, patch, mask = image, batch.patch(image, range(len(jobs))), None
        power, went_down, self.steps_done = 0, False, 0
        for index, target in itertools.pairwise(self.walk):
            if target < index:
                view, found, image, patch = self.guided(batch, image, patch, mask, index, target, power)
                mask, went_down, power = found, True, power + 1
            else:
                if went_down and guidance.before_jumps:
                    view = self.guided(batch, image, patch, mask, index, 0, power)[0]
                    image, patch = view.image, view.patch
                image = self.schedule.noised_further(image, target, batch.noise(image))
                patch = self.schedule.noised_further(patch, target, batch.noise(patch))
                went_down, power = False, power - 1
        if walk.finish:
            image = self.clean_of(image, self.context_noise(image, self.walk[-1]), self.walk[-1])
        return Painted(image=image, noised=noised, patch=patch, mask=mask)

    def guided(self, batch: Batch, image: Tensor, patch: Tensor, past: Tensor | None, index: int, target: int,
               power: int) -> tuple[View, Tensor | None, Tensor, Tensor]:
        """Make the context model agree with the defect model at `index`, then go on to `target`.

        power   steps down less steps up so far, by which the rates have grown
        Returns what the models make of the improved image and patch, the mask, and both at `target`.
        """
        config, keep, rows = self.config.guidance, self.schedule.alpha_bar, list(range(len(image)))
        iterations = config.iterations(index, len(self.schedule))
        rate = config.learning_rate * config.learning_rate_growth ** power * math.sqrt(keep[index] / keep[0])

        proposal = self.propose(batch, rows, patch, index, graph=config.move_patch and iterations > 0)
        mask = kept = None
        if self.config.mask.enabled:
            beta = beta_at(index, len(self.schedule), self.config.mask)
            mask = update_mask(proposal[2].detach(), batch.clean_patch, past, beta, self.config.mask)
            kept = background(mask, self.config.mask)
        goal = Goal(index=index, start=image, start_patch=patch, mask=mask, kept=kept,
                    regulariser=config.regulariser * config.regulariser_growth ** power)

        first = self.look(batch, goal, rows, image, proposal, graph=iterations > 0)
        view, rates = self.improve(batch, goal, first, rate, iterations)
        if index == 0 or (config.reseed_every and target == 0 and index % config.reseed_every == 0):
            view.patch = self.schedule.noised(batch.patch(view.clean, rows), index, batch.noise(view.patch))
            _, view.patch_noise, view.wanted = self.propose(batch, rows, view.patch, index, graph=False)
        clean = view.clean if config.prediction_steps == 1 else self.clean_of(view.image, view.noise, index)
        eta, noises = self.config.walk.eta, (batch.noise(image), batch.noise(patch))
        image = self.schedule.ddim_step(clean, view.noise, index, target, eta, noises[0])
        patch = self.schedule.ddim_step(view.wanted, view.patch_noise, index, target, eta, noises[1])
        if self.watch:
            self.watch(Moment(number=self.steps_done, index=index, target=target, rates=rates,
                              before=first.fit.detach(), after=view.fit, mask=mask, kept=kept, image=image))
        self.steps_done += 1
        return view, mask, image, patch

    def improve(self, batch: Batch, goal: Goal, first: View, rate: float, iterations: int) -> tuple[View, list[float]]:
        """Gradient steps, each sample's shrunk until its loss falls. Returns the last view and the rates."""
        config, rates = self.config.guidance, [rate] * len(first.rows)
        best = detached(first)
        if not first.loss.isfinite().all():
            raise DefectForgeError(f"sampler, index {goal.index}: a model gives values that are not finite. Take other "
                                   "weights, or float32")
        graphs, active = [(first, first.rows)], first.rows
        for iteration in range(iterations):
            slope, patch_slope = self.slopes(graphs, best)
            graphs, waiting = [], list(active)
            for _ in range(config.max_shrinks + 1):
                size = torch.tensor([rates[row] for row in waiting], device=slope.device).reshape(-1, 1, 1, 1)
                image, patch = best.image[waiting] - size * slope[waiting], best.patch[waiting]
                if config.move_patch:
                    patch = patch - size * patch_slope[waiting]
                    proposal = self.propose(batch, waiting, patch, goal.index, graph=iteration < iterations - 1)
                else:
                    proposal = patch, best.patch_noise[waiting], best.wanted[waiting]
                view = self.look(batch, goal, waiting, image, proposal, graph=iteration < iterations - 1)
                falls = (view.loss.detach() <= best.loss[waiting]).tolist()
                passed = [row for row, good in zip(waiting, falls) if good or not config.line_search]
                if passed:
                    take_over(best, view, passed)
                    graphs.append((view, passed))
                    self.pass_over(batch, passed, goal.index, image)
                waiting = [row for row in waiting if row not in passed]
                for row in waiting:
                    rates[row] *= config.shrink
                if not waiting:
                    break
            active = [row for row in active if row not in waiting]      # those that no step improves stay as they are
            if not active:
                break
        return best, rates

    def slopes(self, graphs: list[tuple[View, list[int]]], best: View) -> tuple[Tensor, Tensor]:
        """Gradients of each sample's loss with regard to its image and patch."""
        slope, patch_slope = torch.zeros_like(best.image), torch.zeros_like(best.patch)
        for view, passed in graphs:
            places = [view.rows.index(row) for row in passed]
            inputs = [view.image, view.patch] if self.config.guidance.move_patch else [view.image]
            self.evaluations.context_backward += len(view.rows)
            wanted = torch.zeros_like(view.loss)
            wanted[places] = 1
            found = torch.autograd.grad(view.loss, inputs, wanted)
            slope[passed] = found[0][places]
            if self.config.guidance.move_patch:
                self.evaluations.defect_backward += len(view.rows)
                patch_slope[passed] = found[1][places]
        return slope, patch_slope

    def look(self, batch: Batch, goal: Goal, rows: list[int], image: Tensor, proposal: tuple[Tensor, Tensor, Tensor],
             graph: bool) -> View:
        """Evaluate the context model for some samples; with `graph`, the loss can be followed back to the image."""
        with torch.set_grad_enabled(graph):
            image = image.detach().requires_grad_(graph)
            patch, patch_noise, wanted = proposal
            noise, clean = self.predict(image, goal.index)
            self.pass_over(batch, rows, goal.index, image)
            mask, kept = (None, None) if goal.mask is None else (goal.mask[rows], goal.kept[rows])
            fit = agreement(clean, batch.patch(clean, rows), wanted, batch.clean[rows], batch.clean_patch[rows],
                            batch.outside[rows], mask, kept, self.config.guidance)
            away = (goal.start[rows] - image).square().flatten(1).sum(dim=1)
            if self.config.guidance.move_patch:
                away = away + (goal.start_patch[rows] - patch).square().flatten(1).sum(dim=1)
            return View(rows, image, patch, noise, clean, patch_noise, wanted, fit, fit + goal.regulariser * away)

    def predict(self, image: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """The noise in the image, and the clean image, which may be reached in several DDIM steps."""
        noise = self.context_noise(image, index)
        clean, first = self.clean_of(image, noise, index), noise
        nodes = prediction_nodes(index, self.config.guidance.prediction_steps)
        for number, (here, there) in enumerate(itertools.pairwise(nodes)):
            if number:
                noise = self.context_noise(image, here)
                clean = self.clean_of(image, noise, here)
            image = self.schedule.ddim_step(clean, noise, here, there)
        return first, image.clamp(-1, 1) if nodes else clean

    def pass_over(self, batch: Batch, rows: list[int], index: int, like: Tensor) -> None:
        """Draw the noise that the published code draws and does not use, so that equal seeds give equal images: for
        each of several prediction steps, and again for each image that is accepted, which it evaluates once more."""
        for _ in prediction_nodes(index, self.config.guidance.prediction_steps)[1:]:
            batch.noise(like, rows)

    def context_noise(self, image: Tensor, index: int) -> Tensor:
        self.evaluations.context_forward += len(image)
        return self.context(image, self.schedule.original(index, len(image), image.device))[:, :3].float()

    def propose(self, batch: Batch, rows: list[int], patch: Tensor, index: int,
                graph: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The patch (with `graph`, to be followed back to), the noise that the defect model sees in it, the clean one.
        """
        with torch.set_grad_enabled(graph):
            patch = patch.detach().requires_grad_(graph)
            self.evaluations.defect_forward += len(rows)
            times = self.schedule.original(index, len(rows), patch.device)
            noise = self.defect(patch, times, batch.labels[rows])[:, :3].float()
            return patch, noise, self.clean_of(patch, noise, index)

    def clean_of(self, image: Tensor, noise: Tensor, index: int) -> Tensor:
        return self.schedule.clean_from(image, noise, index).clamp(-1, 1)


def prediction_nodes(index: int, count: int) -> list[int]:
    """The indices over which a clean image is predicted in `count` steps; [] for one step."""
    if count == 1:
        return []
    nodes = [part * (index // count) for part in reversed(range(count))]
    return nodes if nodes[0] == index else [index, *nodes]


def detached(view: View) -> View:
    """A copy without graph, of which parts can be replaced."""
    tensors = (view.image, view.patch, view.noise, view.clean, view.patch_noise, view.wanted, view.fit, view.loss)
    return View(view.rows, *(tensor.detach().clone() for tensor in tensors))


def take_over(best: View, view: View, rows: list[int]) -> None:
    """Put the samples `rows` of a view into `best`, which holds all."""
    places = [view.rows.index(row) for row in rows]
    for name in ("image", "patch", "noise", "clean", "patch_noise", "wanted", "fit", "loss"):
        getattr(best, name)[rows] = getattr(view, name).detach()[places]
