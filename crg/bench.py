"""Part `crg` of scripts/bench.py: the samplers' time an image, beside the published algorithm written down straight."""
import time
from collections.abc import Callable, Iterator

import torch

from .batch import Job
from .fast import FastSampler
from .models import Model
from .networks import Shape, UNet
from .plain import PlainSampler
from .sampler import Sampler
from .sampler_settings import GuidanceConfig, SamplerConfig, WalkConfig

CPU = torch.device("cpu")
CONTEXT = Shape(size_px=64, width=32, multipliers=(1, 1, 2, 2), blocks=1, attention_px=(8,), head_channels=16)
DEFECT = Shape(size_px=32, width=32, multipliers=(1, 2, 2), blocks=1, attention_px=(8,), head_channels=16, classes=6)
WALK = WalkConfig()                                     # as published
GUIDANCE = GuidanceConfig(learning_rate=0.01)
Row = tuple[str, str, str]          # what, the figure, beside what


def rows() -> Iterator[Row]:
    """Processor time of one image by small networks with random weights: plain, exact and fast, in one run."""
    torch.manual_seed(0)
    context, defect = Model(UNet(CONTEXT), (), CPU), Model(UNet(DEFECT), tuple("abcdef"), CPU)
    for model in (context, defect):
        torch.nn.init.normal_(model.network.out[2].weight, std=0.02)
    config = SamplerConfig(walk=WALK, guidance=GUIDANCE)
    plain, exact = PlainSampler(context, defect, config, 32), Sampler(context, defect, config, 32)
    fast = FastSampler(context, defect, SamplerConfig(kind="fast"), 32)
    fast.paint([job()])                             # the first call prepares convolutions
    times = {"plain": timed(lambda: plain.paint(job())), "exact": timed(lambda: exact.paint([job()])),
             "fast": timed(lambda: fast.paint([job()]))}
    for name, sampler in (("plain", plain), ("exact", exact), ("fast", fast)):
        count = sampler.evaluations
        runs = 2 if name == "fast" else 1
        yield (f"CRG {name}, an image", f"{times[name]:.2f} s",
               f"context {count.context_forward // runs} forward, {count.context_backward} backward; defect "
               f"{count.defect_forward // runs} forward, {count.defect_backward} backward")
    yield "CRG exact against plain", f"{times['plain'] / times['exact']:.2f} times", "1.5 times"
    yield "CRG fast against exact", f"{times['exact'] / times['fast']:.1f} times", "10 times"


def job() -> Job:
    clean = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Job(clean=clean, corner=(16, 16), label=2, generator=torch.Generator().manual_seed(0))


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time, which other work on the machine hardly changes."""
    began = time.process_time()
    work()
    return time.process_time() - began
