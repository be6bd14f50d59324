"""Copy-paste: a real defect whose surroundings fit is turned, scaled, aligned, colour-matched and blended in."""
from dataclasses import dataclass, field

import numpy as np
import torch

from . import surroundings
from .bank import DefectBank
from .blending import blended, extended
from .fitting import Fit, aligned, laid
from .generator import Box, Generated, Request

SIZE_WEIGHT = 0.08          # what a factor of e in size costs, in units of description distance
SHAPE_WEIGHT = 0.12         # what a factor of e in proportions costs
STRAIN_WEIGHT = 0.5         # what a factor of e in size costs beyond GROWTH, either way
STRETCH = 1.15              # largest ratio of the two scales of one defect
GROWTH = 1.5                # largest scale: a defect that is magnified more is blurred
STRANGEST = 0.5             # strangeness (fitting.Fit) from which a choice is left, while there are better ones
PICKINESS = 0.025           # root mean square misfit of surroundings by which a choice gets e times less likely


@dataclass(frozen=True)
class CopyPasteSettings:
    """candidates: crops aligned before one is drawn; drift: how far, in parts of its size, a defect may leave the
    centre of its box to line up with what is there; feather_px: width of the soft rim."""
    candidates: int = 12
    drift: float = 0.15
    feather_px: float = 1.2


@dataclass
class CopyPaste:
    """A DefectGenerator that copies real defects."""
    bank: DefectBank
    settings: CopyPasteSettings = field(default_factory=CopyPasteSettings)
    name: str = "copypaste"
    copies: bool = True
    models: str = ""
    window_px: int = 128

    @classmethod
    def build(cls, dataset, bank: DefectBank, output=None, settings=None, *, device="auto") -> "CopyPaste":
        """Nothing to train: the bank is all there is to it."""
        return cls(bank)

    def generate(self, request: Request) -> Generated:
        """Paste a defect of the class, which the bank holds at least once."""
        return self.paste(request)[0]

    def paste(self, request: Request) -> tuple[Generated, np.ndarray]:
        """The same, with the pixels that the copied defect came to lie on, bool [H, W]."""
        target = np.ascontiguousarray(request.image.numpy().transpose(1, 2, 0))
        wanted = None if request.mask is None else request.mask.numpy().astype(bool)
        box = request.box if wanted is None else _bounds(wanted)
        fit = self.choose(target, box, request.label, request.rng, fill=wanted is not None)
        pixels, clean, mask = laid(fit, target.shape)
        if wanted is not None:
            pixels, clean = extended(pixels, mask, wanted), extended(clean, mask, wanted)
            mask = wanted.astype(np.float32)
        made, alpha, shape = blended(
            target, pixels, clean, mask, twin=fit.crop.clean_from in ("twin", "scene"),
            black_and_white=fit.crop.black_and_white, brightness=self.bank.brightness[request.label],
            feather_px=max(self.settings.feather_px, fit.crop.rim_px * min(fit.scale)))
        image = torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1)))
        known = wanted is not None or fit.crop.mask_from != "box"
        return Generated(image=image, alpha=torch.from_numpy(alpha), source=fit.crop.record, misfit=fit.strangeness,
                         shape=torch.from_numpy(shape) if known else None), shape

    def choose(self, target: np.ndarray, box: Box, label: str, rng: np.random.Generator, *, fill: bool = False) -> Fit:
        """A real defect of the class, turned, scaled and moved to where what is round it fits.

        target float32 [H, W, 3], the window; fill: stretched over the whole box, and not moved
        """
        fits = [aligned(fit, target, box, 0.0 if fill else self.settings.drift)
                for fit in self._suitable(target, box, label, rng, fill=fill)]
        fits = [fit for fit in fits if fit.strangeness < STRANGEST] or fits
        misfits = np.array([fit.misfit for fit in fits])
        chance = np.exp(-(misfits - misfits.min()) / PICKINESS)
        return fits[int(rng.choice(len(fits), p=chance / chance.sum()))]

    def _suitable(self, target, box: Box, label: str, rng, *, fill: bool) -> list[Fit]:
        """The crops and turns whose size, cut sides and surroundings are most like the wanted ones."""
        crops, turns = self.bank.of(label), self.bank.turns[label]
        size = np.array([box[2] - box[0], box[3] - box[1]], float)
        sides = _sides(box, target.shape)
        here = surroundings.describe(target, box)[None]
        described = np.concatenate([surroundings.turned_descriptions(crop.description, turns) for crop in crops])
        sizes = np.array([crop.size_px if k % 2 == 0 else crop.size_px[::-1]
                          for crop in crops for k in turns], float)
        ratio = np.log(size / sizes)
        growth = np.abs(ratio.mean(axis=1))
        cost = (surroundings.distances(here, described)[0] + SIZE_WEIGHT * growth
                + STRAIN_WEIGHT * np.maximum(growth - np.log(GROWTH), 0)
                + SHAPE_WEIGHT * np.abs(ratio[:, 0] - ratio[:, 1]))
        cut = np.array([surroundings.turned_sides(crop.sides, k) for crop in crops for k in turns])
        cut_off = (cut & ~np.array(sides)).any(axis=1)
        cost = cost + 10 * cut_off + rng.uniform(0, 0.02, len(cost))
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        best = np.argsort(cost, kind="stable")[:self.settings.candidates]
        return [Fit(crops[i // len(turns)], turns[i % len(turns)], _scales(sizes[i], size, fill), centre)
                for i in best.tolist()]


def _scales(own: np.ndarray, wanted: np.ndarray, fill: bool) -> tuple[float, float]:
    """Horizontal and vertical factor that bring a defect into its box without much stretching."""
    factors = wanted / own
    if not fill:
        factors = np.minimum(factors, min(factors.min() * STRETCH, GROWTH))
    return float(factors[0]), float(factors[1])


def _sides(box: Box, shape: tuple[int, ...]) -> tuple[bool, bool, bool, bool]:
    """Which borders of the window the box touches; they are the image's, or the window would reach further."""
    return box[0] <= 1, box[1] <= 1, box[2] >= shape[1] - 1, box[3] >= shape[0] - 1


def _bounds(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
