"""Makes image number i of the new set: a pure function of the seed, i and the training data."""
import hashlib
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from ..data import images, shapes
from ..data.records import Instance
from ..seeding import rng
from . import compose
from .drawings import laid_in
from .gate import Gate
from .generator import Box, DefectGenerator, Request
from .labels import tight_mask
from .placement import Placement
from .settings import AugmentConfig
from .wanted import Plan, Wanted

# The first number of a random stream's position says what it is for, so that no two purposes share numbers.
SOURCE, NUMBER, LABEL, DEFECT = range(4)
SOURCES_TRIED = 3           # normal images drawn on before an image is given up; each has its share of a defect's tries


@dataclass(frozen=True, kw_only=True)
class Source:
    """A normal image to draw on; `carried` are labels that it already has, `group` the photographed object."""
    name: str
    path: str
    size: tuple[int, int]
    group: str = ""
    carried: tuple[Instance, ...] = ()


@dataclass(kw_only=True)
class Made:
    """Image number `index`: its PNG file, None where no defect passed the gate, its manifest line, and its cost."""
    index: int
    png: bytes | None
    line: dict
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class Maker:
    """All that making needs; plain data, sent once to every worker."""
    config: AugmentConfig
    config_hash: str
    labels: tuple[str, ...]             # classes to make
    sources: tuple[Source, ...]
    generator: DefectGenerator
    placement: Placement
    gate: Gate
    plans: tuple[Plan, ...] = ()        # given positions; empty: learned ones
    drawings: tuple[np.ndarray, ...] = ()       # given shapes, bool, cut to their bounds; empty: the generator's own

    def make(self, index: int) -> Made:
        """Make image number `index`. The same bytes whenever, wherever and beside whatever else it is made."""
        clock, rejected = Clock(), []
        for turn, tries in enumerate(shares(1 + self.config.gate.retries)):
            source, wanted = self._task(index, turn)
            with clock("read"):
                clean = images.read_image(source.path)
            canvas, carried = clean.copy(), [_entry(item, source.size) for item in source.carried]
            defects, refused = self._defects(canvas, wanted, carried, (index, turn), tries, clock)
            rejected += [{**entry, "source": source.name} for entry in refused]
            if defects:
                break
        line = {
            "index": index, "image": f"images/{index:06d}.png" if defects else None, "size": list(source.size),
            "source": source.name, "seed": self.config.seed, "wanted": len(wanted),
            "attempts": len(rejected) + len(defects), "rejected": rejected, "defects": defects, "carried": carried,
            "config": self.config_hash,
        }
        if not defects:
            return Made(index=index, png=None, line=line, seconds=clock.seconds)
        with clock("encode"):
            png = images.encode_png(canvas[..., 0] if images.is_grey(clean) else canvas)
            line["sha256"] = hashlib.sha256(png).hexdigest()
        return Made(index=index, png=png, line=line, seconds=clock.seconds)

    def _defects(self, canvas: np.ndarray, wanted: tuple[Wanted, ...], carried: list[dict], position: tuple[int, int],
                 tries: range, clock: "Clock") -> tuple[list[dict], list[dict]]:
        """Draw what is wanted into the canvas, each in `tries` at most: entries of what passed the gate, and did not.

        (number, attempt) is an entry's own: which of the wanted defects, and which of all tries at it.
        """
        occupied = [tuple(round(value) for value in entry["box"]) for entry in carried]
        defects, rejected = [], []
        for number, want in enumerate(wanted):
            for attempt in tries:
                stream = rng(self.config.seed, DEFECT, *position, number, attempt)
                label = want.label or self._label(position[0], number)
                entry = {"number": number, "attempt": attempt, "label": label,
                         **self._defect(canvas, want, label, occupied, stream, clock)}
                if "reason" not in entry:
                    defects.append(entry)
                    occupied.append(tuple(entry["box"]))
                    break
                rejected.append(entry)
        return defects, rejected

    def _task(self, index: int, turn: int) -> tuple[Source, tuple[Wanted, ...]]:
        """The normal image and the defects wanted on it: every image, then every image again in another order.

        turn  0, and one more each time that nothing passed the gate on the image before: then another one is drawn
        """
        plan = self.plans[index % len(self.plans)] if self.plans else None
        if plan is not None and plan.source is not None:
            return next(source for source in self.sources if source.name == plan.source), plan.wanted
        lap, position = divmod(index, len(self.sources))
        order = rng(self.config.seed, SOURCE, lap).permutation(len(self.sources))
        source = self.sources[order[position] if turn == 0 else
                              int(rng(self.config.seed, SOURCE, lap, position, turn).integers(len(self.sources)))]
        if plan is not None:
            return source, plan.wanted
        fewest, most = self.config.placement.per_image
        count = int(rng(self.config.seed, NUMBER, index).integers(fewest, most + 1))
        return source, tuple(Wanted(label=None) for _ in range(count))

    def _label(self, index: int, number: int) -> str:
        """Classes take turns in an order drawn anew for each lap: all are asked for about equally often, not exactly,
        as an image with fewer defects than the most skips turns; what the gate rejects is not made up for."""
        lap, position = divmod(index * self.config.placement.per_image[1] + number, len(self.labels))
        return self.labels[rng(self.config.seed, LABEL, lap).permutation(len(self.labels))[position]]

    def _defect(self, canvas: np.ndarray, want: Wanted, label: str, occupied: list[Box],
                stream: np.random.Generator, clock: "Clock") -> dict:
        """Draw one defect into the canvas and return its manifest entry; with a "reason", nothing was drawn."""
        with clock("place"):
            box, shape = self._place(canvas, want, label, occupied, stream)
        if box is None:
            return {"reason": "no place", "box": None, "figures": {}}
        window = compose.window_round(box, (canvas.shape[1], canvas.shape[0]), self.generator.window_px)
        clean = compose.cut(canvas, window).copy()
        inside = compose.shifted(box, -window[0], -window[1])
        with clock("generate"):
            generated = self.generator.generate(Request(
                image=images.to_tensor(clean), box=inside, label=label, rng=stream,
                mask=None if shape is None else torch.from_numpy(compose.cut(shape, window).copy())))
        with clock("label"):
            made = compose.blend(clean, generated)
            known = None if generated.shape is None else generated.shape.numpy()
            mask = tight_mask(clean, made, generated.alpha.numpy(), known)
            made = compose.confine(clean, made, mask)
        with clock("gate"):
            given = want.box is not None or want.point is not None
            verdict = self.gate.judge(clean, made, mask, label, inside, misfit=generated.misfit,
                                      place_given=given)
        figures = {name: round(float(value), 4) for name, value in sorted(verdict.figures.items())}
        if not mask.any() or (self.config.gate.enabled and not verdict.kept):
            return {"reason": verdict.reason or "empty label", "box": list(box), "figures": figures}
        compose.cut(canvas, window)[...] = made
        tight = compose.shifted(compose.bounds(mask), window[0], window[1])
        full = np.zeros(canvas.shape[:2], bool)
        compose.cut(full, window)[...] = mask
        return {"box": list(tight), "rle": shapes.mask_to_rle(full), "area_px": int(mask.sum()),
                "wanted": list(box), "from": generated.source, "figures": figures}

    def _place(self, canvas, want: Wanted, label: str, occupied: list[Box],
               stream: np.random.Generator) -> tuple[Box | None, np.ndarray | None]:
        if want.mask_file is not None:
            return want.box, want.mask()
        box = want.box or self._box(canvas, want, label, occupied, stream)
        if box is None or not self.drawings:
            return box, None
        return laid_in(self.drawings[int(stream.integers(len(self.drawings)))], box, canvas.shape[:2])

    def _box(self, canvas, want: Wanted, label: str, occupied: list[Box], stream: np.random.Generator) -> Box | None:
        settings, limits = self.config.placement, self.config.placement.size_px
        size = None                                         # the placement's own choice
        if want.point is not None or limits is not None:
            size = compose.limited(self.placement.draw_size(label, stream, scale=settings.scale), limits)
        if want.point is not None:
            return _centred(want.point, size, (canvas.shape[1], canvas.shape[0]))
        box = self.placement.draw(canvas, label, occupied, stream, size_px=size, scale=settings.scale,
                                  learned=settings.learned)
        too_small = limits is not None and box is not None and max(box[2] - box[0], box[3] - box[1]) < limits[0]
        return None if too_small else box                   # too small: cut down to an image that is small itself


class Clock:
    """Adds up the seconds that each stage took."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str) -> "Clock":
        self.stage = stage
        return self

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_) -> None:
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + time.perf_counter() - self.began


def shares(tries: int) -> list[range]:
    """Which of a defect's tries are made on each normal image, as evenly as can be; no image is without one."""
    ends = [-(-tries * turn // SOURCES_TRIED) for turn in range(SOURCES_TRIED + 1)]
    return [range(first, end) for first, end in zip(ends, ends[1:]) if first < end]


def _centred(point: tuple[int, int], size: tuple[int, int], image: tuple[int, int]) -> Box:
    """A box of `size` round the point, cut at the border rather than moved."""
    x1, y1 = point[0] - size[0] // 2, point[1] - size[1] // 2
    return max(x1, 0), max(y1, 0), min(x1 + size[0], image[0]), min(y1 + size[1], image[1])


def _entry(instance: Instance, size: tuple[int, int]) -> dict:
    """The manifest's form of a label that the background already had."""
    mask = shapes.instance_mask(instance, size) if instance.has_shape else None
    rle = None if mask is None else shapes.mask_to_rle(mask)
    return {"label": instance.label, "box": [float(value) for value in instance.box], "rle": rle,
            "area_px": None if mask is None else int(mask.sum()), "ignore": instance.ignore}
