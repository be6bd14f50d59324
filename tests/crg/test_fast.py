"""The fast sampler on toy denoisers: the defect, nothing beside it, few evaluations, samples that stand alone."""
import pytest
import torch
from pydantic import ValidationError

from core.errors import DefectForgeError
from crg.batch import Batch
from crg.fast import FastSampler, spread
from crg.sampler_settings import FastConfig, MaskConfig, SamplerConfig
from tests.crg.toy_denoisers import Toys, bump, job, wave

CLEAN, CORNER, SIDE = wave(64, 80), (20, 10), 32


def config(defect_steps=0, steps=10, **fast) -> SamplerConfig:
    return SamplerConfig(kind="fast", fast=FastConfig(defect_steps=defect_steps, steps=steps, **fast),
                         mask=MaskConfig(min_difference=0.15))


def sampler(settings: SamplerConfig) -> FastSampler:
    toys = Toys(CLEAN, CORNER, SIDE)
    return FastSampler(toys.context, toys.defect, settings, SIDE)


def jobs(*seeds: int):
    return [job(seed=seed, corner=CORNER, label=seed % 2, clean=CLEAN) for seed in seeds]


def test_the_defect_is_there_and_the_rest_is_as_it_was():
    fast = sampler(config())
    found = fast.paint(jobs(0, 1))
    x, y = CORNER
    changed = (found.image - CLEAN).mean(dim=1)
    for number, sign in ((0, 1), (1, -1)):
        inside = changed[number, y:y + SIDE, x:x + SIDE]
        assert inside[15:17, 15:17].mean().item() * sign == pytest.approx(0.75, abs=0.05)   # its bump of 0.8, nearly
        away = inside[bump(SIDE) < 0.02]
        assert away.abs().max() < 0.1
    outside = torch.ones(64, 80, dtype=torch.bool)
    outside[y:y + SIDE, x:x + SIDE] = False
    assert changed[:, outside].abs().max() < 1e-5
    assert vars(fast.evaluations) == {"context_forward": 20, "context_backward": 0, "defect_forward": 20,
                                      "defect_backward": 0}


def test_the_defect_model_draws_alone_first():
    fast = sampler(config(defect_steps=6))
    allowed = torch.zeros(2, 1, SIDE, SIDE)
    allowed[..., :20] = 1
    batch = Batch.of(jobs(0, 1), SIDE, "cpu")
    drawn = fast.drawn_alone(batch, allowed) - batch.clean_patch
    assert fast.evaluations.defect_forward == 12
    assert fast.evaluations.context_forward == 0
    assert drawn[0, :, 14:18, 14:18].mean().item() == pytest.approx(0.75, abs=0.1)
    assert drawn[1, :, 14:18, 14:18].mean().item() == pytest.approx(-0.75, abs=0.1)
    assert drawn[..., 20:].abs().max() == 0
    fast.paint(jobs(0, 1), allowed=allowed)
    assert fast.evaluations.defect_forward == 12 + 12 + 20


def test_the_patch_stays_clean_where_no_defect_may_be():
    allowed = torch.zeros(2, 1, SIDE, SIDE)
    allowed[..., :20] = 1
    fast, (x, y) = sampler(config()), CORNER
    other = fast.defect
    fast.defect = lambda image, times, labels: other(image, times, labels) + 0.3       # a model that errs everywhere
    found = fast.paint(jobs(0, 1), allowed=allowed)
    clean = CLEAN[:, y:y + SIDE, x:x + SIDE]
    assert (found.patch - clean)[..., 20:].abs().max() < 0.05         # what noise the last step leaves
    assert (found.image[..., y:y + SIDE, x + 20:x + SIDE] - clean[..., 20:]).abs().max() < 0.1


def test_a_grey_picture_stays_grey():
    grey = CLEAN.mean(dim=0, keepdim=True).expand(3, -1, -1)
    found = sampler(config()).paint([job(seed=0, corner=CORNER, label=0, clean=grey), jobs(1)[0]]).image
    assert torch.equal(found[0, 0], found[0, 1])
    assert torch.equal(found[0, 0], found[0, 2])
    assert not torch.equal(found[1, 0], found[1, 1])


class Named:
    """The toy as a model of two classes, a flat dent and one of twice its depth."""
    classes = ("small", "large")

    def __init__(self):
        self.toys = Toys(CLEAN, CORNER, SIDE)

    def __call__(self, images, times, labels):
        depth = (0.15 + 0.15 * labels).reshape(-1, 1, 1, 1)
        return self.toys.noise(images, times, self.toys.patch - depth * self.toys.bump)


def test_what_a_class_changes_is_strengthened():
    """Against the mean of the classes: a pull of 2 halves the small dent, and adds as much to the large one."""
    x, y = CORNER
    bumps = {}
    for pull in (1.0, 2.0):
        toys = Toys(CLEAN, CORNER, SIDE)
        fast = FastSampler(toys.context, Named(), config(class_pull=pull, open_share=1.0), SIDE)
        found = fast.paint(jobs(0, 1), allowed=torch.ones(1, 1, SIDE, SIDE))
        bumps[pull] = (CLEAN - found.image)[:, :, y + 16, x + 16].mean(dim=1) / 0.8
        assert fast.evaluations.defect_forward == (20 if pull == 1 else 40)
    assert bumps[1.0].tolist() == pytest.approx([0.15, 0.3], abs=0.05)
    assert bumps[2.0].tolist() == pytest.approx([0.075, 0.375], abs=0.05)


def test_a_defect_has_room_to_begin_at_first():
    """One that differs little from the clean patch where nothing is kept of it in the first steps."""
    toys = Toys(CLEAN, CORNER, SIDE)
    toys.bump = toys.bump * 0.2
    x, y = CORNER
    high = []
    for share in (0.0, 1.0):
        settings = config(open_share=share)
        painted = FastSampler(toys.context, toys.defect, settings, SIDE).paint(jobs(0))
        high.append((painted.image[0] - CLEAN)[:, y + 16, x + 16].mean().item())
    assert high[0] == pytest.approx(0, abs=0.02)            # below min_difference
    assert high[1] == pytest.approx(0.16, abs=0.04)


def test_a_defect_stays_where_it_is_allowed():
    allowed = torch.zeros(1, 1, SIDE, SIDE)
    allowed[..., :16] = 1
    found = sampler(config()).paint(jobs(0), allowed=allowed)
    x, y = CORNER
    changed = (found.image[0] - CLEAN).mean(dim=0)[y:y + SIDE, x:x + SIDE]
    assert changed[:, :16].max() > 0.5
    assert changed[:, 16:].abs().max() < 1e-5
    assert found.mask[..., 16:].max() == 0


def test_a_sample_is_the_same_in_any_batch():
    together = sampler(config()).paint(jobs(0, 1, 2)).image
    for number in range(3):
        assert torch.equal(together[number], sampler(config()).paint(jobs(number)).image[0])


def test_no_defect_gives_no_mask():
    fast, toys = sampler(config()), Toys(CLEAN, CORNER, SIDE)
    fast.defect = lambda image, times, labels: toys.noise(image, times, toys.patch)
    assert fast.paint(jobs(0)).mask.max() == 0


def test_values_that_are_not_finite_are_an_error():
    fast = sampler(config())
    fast.context = lambda image, times: image * float("nan")
    with pytest.raises(DefectForgeError, match="not finite"):
        fast.paint(jobs(0))


def test_indices_are_spread_from_the_start_to_0():
    assert spread(60, 4) == [60, 40, 20, 0]
    assert spread(30, 1) == [30]
    assert spread(2, 9) == [2, 1, 0]
    assert spread(125, 3, 61) == [125, 93, 61]


@pytest.mark.parametrize(("change", "problem"), [({"start": 250}, "must be below the 250 steps"),
                                                 ({"defect_start": 60, "defect_steps": 1}, "must be above start 60"),
                                                 ({"defect_start": 250, "defect_steps": 1}, "fast.defect_start must be "
                                                                                            "below the 250 steps")])
def test_settings_that_cannot_be_are_named(change, problem):
    with pytest.raises(ValidationError, match=problem):
        config(**change)
