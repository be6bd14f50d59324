"""The CRG sampler on toy denoisers: published traces and variants, its evaluations, samples that stand alone."""
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import DefectForgeError
from crg.batch import Painted
from crg.plain import PlainSampler
from crg.sampler import Sampler, prediction_nodes
from crg.sampler_settings import GuidanceConfig, MaskConfig, SamplerConfig, WalkConfig
from tests.crg.toy_denoisers import CORNER, Toys, job, wave

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden" / "crg_toy.npz"
TRACE = """
     0  29 28 0.09291847  913.854  903.764 0.034218 0.960205 -0.001170 0.435832
     1  28 27 0.09448286  900.401  888.587 0.034213 0.960205 -0.000985 0.426942
     5  24 23 0.10084703  808.785  778.398 0.034027 0.960205 -0.000095 0.392325
    10  19 18 0.10901605  529.823  472.957 0.033557 0.960449  0.001402 0.353261
    15  14 13 0.11737747  212.187  182.476 0.033163 0.960938  0.002550 0.319343
    18  11 10 0.12246436  149.001  142.773 0.032681 0.961182  0.002582 0.299508
    19  10  0 0.12416890  158.846  152.500 0.032500 0.961182  0.000974 0.254347
    20  20 19 0.10736523  461.298  423.315 0.033492 0.959961  0.003034 0.360102
    29  11 10 0.12246436  140.152  135.248 0.033517 0.960205  0.003399 0.299293
    30  10  0 0.12416890  153.898  146.669 0.033443 0.960449  0.001261 0.254267
    31  20 19 0.10736523  454.249  418.665 0.033953 0.959961  0.002999 0.361034
    41  10  9 0.12416890  152.872  145.625 0.033873 0.960205  0.003129 0.293205
    46   5  4 0.13273621  210.043  180.575 0.033327 0.960449  0.001602 0.264491
    50   1  0 0.13961247  152.657  116.911 0.032629 0.960938  0.001112 0.253188
    51   0  0 0.14133016  122.325   95.803 0.032533 0.960938  0.001139 0.252177
    52  10  9 0.12416890  584.975  307.808 0.031644 0.960938  0.001807 0.283867
    57   5  4 0.13273621  183.446  157.798 0.029638 0.961670  0.001737 0.263242
    61   1  0 0.13961247  133.151  101.407 0.028410 0.965088  0.001171 0.253003
    62   0  0 0.14133016  107.026   83.612 0.028129 0.965576  0.001179 0.252118
    63  10  9 0.12416890  580.292  304.688 0.029353 0.964844  0.002082 0.283353
    67   6  5 0.13101849  176.120  156.487 0.029356 0.964844  0.002176 0.267030
    70   3  2 0.13617434  169.353  137.466 0.028297 0.965088  0.001536 0.256888
    72   1  0 0.13961247  131.865  100.216 0.027694 0.966309  0.001316 0.252943
"""
SMALL = {"start": 6, "jump": 2, "passes": 2}


def walk(**keys) -> SamplerConfig:
    return SamplerConfig(walk=WalkConfig(**keys))


def guidance(**keys) -> SamplerConfig:
    return SamplerConfig(guidance=GuidanceConfig(**keys))


def mask(**keys) -> SamplerConfig:
    return SamplerConfig(mask=MaskConfig(**keys))


# change: mean, std, difference in the middle, context model forward
VARIANTS = {
    "learning_rate 2.0": (guidance(learning_rate=2.0), 0.0015963, 0.2516485, None, 219 + 314),
    "move_patch": (guidance(move_patch=True), 0.0008830, 0.2533599, 0.679371, 219 + 26),
    "no time travel": (walk(time_travel=False), 0.0008052, 0.2528011, 0.684554, 90),
    "1 pass": (walk(passes=1), 0.0007842, 0.2529902, 0.675135, 87),
    "no accumulation": (mask(accumulate=False), 0.0012325, 0.2528958, 0.919950, 219),
    "constant beta": (mask(adaptive_beta=False), 0.0014068, 0.2529624, 0.919957, 219),
    "no component filter": (mask(components=False), 0.0020541, 0.2532369, 0.919948, 219),
    "no mask": (mask(enabled=False), 0.0022931, 0.2603511, 0.931271, 219 + 7),
    "no line search": (guidance(line_search=False), 0.0013164, 0.2529435, 0.919952, 219),
    "no guidance": (guidance(iterations_first=0, iterations_last=0), 0.0000496, 0.2633283, 0.013968, 73),
    "10 iterations": (guidance(iterations_first=10, iterations_last=10), 0.0011890, 0.2496638, 0.823584, 73 * 11 + 2),
    "start 60": (walk(start=60), 0.0014507, 0.2521904, 1.168781, 169 * 3 + 10),
    "eta 1": (walk(eta=1.0), 0.0012051, 0.2539785, 0.786156, 219),
    "2 prediction steps": (guidance(prediction_steps=2), 0.0012659, 0.2515817, 0.790887, 71 * 6 + 2 * 3),
}


def painted(config: SamplerConfig) -> tuple[Painted, Sampler, list]:
    toys, moments = Toys(wave()), []
    sampler = Sampler(toys.context, toys.defect, config, 64, moments.append)
    result = sampler.paint([job()])
    assert toys.calls == sampler.evaluations.context_forward
    assert len(moments) == sampler.guided_steps
    return result, sampler, moments


def middle_difference(image: torch.Tensor) -> float:
    x, y = CORNER[0] + 31, CORNER[1] + 31
    return (image - wave()).mean(dim=0)[y:y + 2, x:x + 2].mean().item()


def test_the_default_is_the_published_algorithm_with_fewer_evaluations():
    result, sampler, moments = painted(SamplerConfig())
    if GOLDEN.is_file():
        with np.load(GOLDEN) as golden:
            assert np.abs(result.image.numpy() - golden["x"]).max() <= 1e-5
            assert np.abs(result.patch.numpy() - golden["z"]).max() <= 1e-5
    image = result.image[0].double()
    assert image.sum().item() == pytest.approx(258.805218, abs=1e-3)
    assert image.square().sum().item() == pytest.approx(12579.336067, abs=1e-2)
    assert result.patch.double().square().sum().item() == pytest.approx(857.579980, abs=1e-3)
    assert image[:, 135, 112].tolist() == pytest.approx([0.77104, 0.54074, 0.87800], abs=1e-5)
    assert middle_difference(result.image[0]) == pytest.approx(0.919952, abs=1e-5)
    assert vars(sampler.evaluations) == {"context_forward": 219, "context_backward": 146, "defect_forward": 75,
                                         "defect_backward": 0}
    assert len(moments) == 73
    for line in TRACE.strip().splitlines():
        number, index, target, rate, before, after, *means = map(float, line.split())
        moment = moments[int(number)]
        assert (moment.index, moment.target) == (index, target)
        assert moment.rates == pytest.approx([rate], abs=6e-9)
        assert [moment.before.item(), moment.after.item()] == pytest.approx([before, after], abs=6e-4)
        found = [moment.mask.mean(), moment.kept.mean(), moment.image.mean(), moment.image.std()]
        assert [value.item() for value in found] == pytest.approx(means, abs=6e-7)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_the_published_figures(name):
    config, mean, std, middle, forward = VARIANTS[name]
    result, sampler, _ = painted(config)
    image = result.image[0]
    assert [image.mean().item(), image.std().item()] == pytest.approx([mean, std], abs=6e-8)
    if middle is not None:
        assert middle_difference(image) == pytest.approx(middle, abs=1e-6)
    assert sampler.evaluations.context_forward == forward


@pytest.mark.parametrize("config", [
    SamplerConfig(walk=WalkConfig(**SMALL), guidance=GuidanceConfig(learning_rate=0.05)),
    SamplerConfig(walk=WalkConfig(**SMALL, eta=0.5), guidance=GuidanceConfig(move_patch=True, learning_rate=0.03)),
    SamplerConfig(walk=WalkConfig(**SMALL), guidance=GuidanceConfig(prediction_steps=3, learning_rate=0.03)),
])
def test_a_sample_is_the_same_in_any_batch(config):
    """Line search, noise and normalisation are each sample's own; the toys compute every sample alone, so: bit by bit.
    """
    clean = wave(48, 64)
    toys = Toys(clean, (20, 10), 24)

    def paint(*numbers: int) -> tuple[Painted, int]:
        sampler = Sampler(toys.context, toys.defect, config, 24)
        jobs = [job(seed=number, corner=(20, 10), label=number % 2, clean=clean) for number in numbers]
        return sampler.paint(jobs), sampler.evaluations.context_forward
    together, evaluations = paint(0, 1, 2)
    alone = [paint(number) for number in (0, 1, 2)]
    for row, (one, _) in enumerate(alone):
        assert torch.equal(together.image[row], one.image[0])
        assert torch.equal(together.patch[row], one.patch[0])
        assert torch.equal(together.mask[row], one.mask[0])
    counts = [count for _, count in alone]
    assert evaluations == sum(counts)           # rejected samples alone are evaluated again
    assert len(set(counts)) > 1, "the samples should differ in how often they are rejected"
    assert torch.equal(paint(2, 0)[0].image[1], alone[0][0].image[0])


def test_the_line_search_ends_and_leaves_the_image_alone():
    """A loss that only rises: every step is refused, within a bound."""
    toys = Toys(wave(64, 64), (16, 16), 32)
    config = SamplerConfig(walk=WalkConfig(**SMALL), guidance=GuidanceConfig(learning_rate=1e6, max_shrinks=3))
    sampler = Sampler(toys.context, toys.defect, config, 32)
    result = sampler.paint([job(corner=(16, 16), clean=wave(64, 64))])
    steps = sampler.guided_steps
    assert sampler.evaluations.context_forward == steps + steps * 4
    assert sampler.evaluations.context_backward == steps
    unguided = SamplerConfig(walk=config.walk, guidance=GuidanceConfig(iterations_first=0, iterations_last=0))
    plain = Sampler(toys.context, toys.defect, unguided, 32).paint([job(corner=(16, 16), clean=wave(64, 64))])
    assert torch.equal(result.image, plain.image)


def test_values_that_are_not_finite_are_an_error():
    toys = Toys(wave(64, 64), (16, 16), 32)
    config = SamplerConfig(walk=WalkConfig(**SMALL))
    broken = Sampler(lambda image, times: toys.context(image, times) * float("nan"), toys.defect, config, 32)
    with pytest.raises(DefectForgeError, match="not finite"):
        broken.paint([job(corner=(16, 16), clean=wave(64, 64))])


def test_the_patch_may_start_anew_at_more_places():
    toys = Toys(wave(64, 64), (16, 16), 32)
    counts = []
    for every in (0, 2):
        config = SamplerConfig(walk=WalkConfig(**SMALL), guidance=GuidanceConfig(reseed_every=every))
        sampler = Sampler(toys.context, toys.defect, config, 32)
        sampler.paint([job(corner=(16, 16), clean=wave(64, 64))])
        counts.append(sampler.evaluations.defect_forward - sampler.guided_steps)
    assert counts == [1, 2]         # before the jumps at 0; at 2 and at 0


def test_the_last_noise_may_be_taken_off():
    toys, painted_images, counts = Toys(wave(64, 64), (16, 16), 32), [], []
    for finish in (False, True):
        sampler = Sampler(toys.context, toys.defect, walk(**SMALL, finish=finish), 32)
        painted_images.append(sampler.paint([job(corner=(16, 16), clean=wave(64, 64))]).image)
        counts.append(sampler.evaluations.context_forward)
    noise = toys.context(painted_images[0], torch.tensor([0]))
    assert torch.equal(painted_images[1], sampler.schedule.clean_from(painted_images[0], noise, 0).clamp(-1, 1))
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize(("index", "count", "nodes"), [
    (29, 1, []), (29, 2, [29, 14, 0]), (28, 3, [28, 18, 9, 0]), (1, 2, [1, 0, 0]), (0, 2, [0, 0])])
def test_indices_of_a_prediction_in_several_steps(index, count, nodes):
    assert prediction_nodes(index, count) == nodes


@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_the_pruned_sampler_is_the_plain_one_bit_by_bit(rate):
    """With and without rejected steps; the plain one evaluates as often as the published code."""
    clean = wave(48, 64)
    toys = Toys(clean, (20, 10), 24)
    config = SamplerConfig(walk=WalkConfig(**SMALL), guidance=GuidanceConfig(learning_rate=rate))
    plain, pruned = (kind(toys.context, toys.defect, config, 24) for kind in (PlainSampler, Sampler))
    image, patch = plain.paint(job(corner=(20, 10), clean=clean))
    result = pruned.paint([job(corner=(20, 10), clean=clean)])
    assert torch.equal(image, result.image)
    assert torch.equal(patch, result.patch)
    steps, few, many = pruned.guided_steps, pruned.evaluations, plain.evaluations
    rejected = few.context_forward - 3 * steps
    assert (rejected > 5) == (rate == 0.05)
    assert many.context_forward == 5 * steps + rejected
    assert many.defect_forward == 5 * steps + rejected + 1
    assert many.context_backward == many.defect_backward == few.context_backward == 2 * steps
    assert (few.defect_forward, few.defect_backward) == (steps + 1, 0)
