"""CRG's guidance mask and loss: the published figures, parts against scikit-image, the loss by hand."""
import numpy as np
import pytest
import torch
from skimage.measure import label

from crg.diffusion import Schedule
from crg.guidance import agreement, background, beta_at, blurred, connected, difference_mask, update_mask
from crg.sampler_settings import GuidanceConfig, MaskConfig
from tests.crg.toy_denoisers import Toys, bump, wave

CLEAN = torch.zeros(1, 3, 64, 64)
SPOT = torch.zeros(64, 64)
SPOT[4:12, 50:60] = 0.6
STRIPES = 0.1 * torch.sin(2 * torch.pi * torch.arange(64) / 16).expand(64, 64)


def three(image: torch.Tensor) -> torch.Tensor:
    return image.float().expand(1, 3, 64, 64)


def case_a() -> torch.Tensor:
    return three(bump() + STRIPES + SPOT)


# wanted patch, past mask, settings; sum, largest, pixels above 0, pixels of the background, two pixels
CASES = {
    "A": (case_a(), False, {}, 143.26508, 1.0, 166, 3930, 0.999997, 0.813357),
    "B": (case_a() * 0.5 + 0.05 * three(SPOT), True, {}, 143.26511, 1.0, 166, 3930, 0.999997, 0.813357),
    "C": (three(SPOT), False, {}, 126.49088, 0.313422, 556, 3540, 0.313422, 0.270136),
    "D": (case_a(), False, {"components": False}, 1022.17737, 1.0, 4096, 0, 0.999997, 0.813357),
    "E": (case_a(), False, {"adaptive_threshold": False}, 445.09222, 1.0, 1362, 2734, 0.999997, 0.813357),
    "F": (case_a(), False, {"blur_sigma_px": 0.0}, 142.05740, 1.0, 158, 3938, 1.0, 0.849607),
    "G": (CLEAN, False, {}, 126.49088, 0.313422, 556, 3540, 0.313422, 0.270136),
    "H": (three(bump().roll(6, dims=1)), True, {}, 148.96188, 1.0, 242, 3854, 0.930335, 0.677056),
}


@pytest.mark.parametrize("name", CASES)
def test_the_mask_is_the_published_one(name):
    wanted, with_past, settings, total, largest, above, kept, middle, higher = CASES[name]
    config = MaskConfig(**settings)
    past = update_mask(case_a(), CLEAN, None, 0.5464, MaskConfig()) if with_past else None
    found = update_mask(wanted, CLEAN, past, 0.5464, config)
    assert found.sum().item() == pytest.approx(total, abs=2e-3)
    assert found.max().item() == pytest.approx(largest, abs=1e-6)
    assert ((found > 0).sum().item(), background(found, config).sum().item()) == (above, kept)
    assert [found[0, 0, 31, 31].item(), found[0, 0, 26, 31].item()] == pytest.approx([middle, higher], abs=2e-6)
    if name == "A":
        assert found[0, 0, 8, 55] == 0
    if name == "H":
        now = update_mask(wanted, CLEAN, None, 0.5, config)
        assert now.sum().item() == pytest.approx(155.69591, abs=1e-3)
        assert [found[0, 0, 31, 37].item(), found[0, 0, 36, 33].item()] == pytest.approx([0.962404, 0.887637], abs=2e-6)


@pytest.mark.parametrize("components", [True, False])
def test_no_disc_is_invented_where_only_a_difference_counts(components):
    config = MaskConfig(min_difference=0.15, components=components)
    assert difference_mask(CLEAN, CLEAN, config).sum() == 0
    assert difference_mask(three(SPOT), CLEAN, config)[0, 0, 20:44, 20:44].sum() == 0
    assert difference_mask(case_a(), CLEAN, config)[0, 0, 20:44, 20:44].sum() > 100


def test_each_sample_has_its_own_mask():
    wanted = torch.cat([case_a(), CLEAN, three(bump().roll(6, dims=1)) * 3])
    together = update_mask(wanted, CLEAN.expand(3, -1, -1, -1), None, 0.5, MaskConfig())
    for row in range(3):
        assert torch.equal(together[row:row + 1], update_mask(wanted[row:row + 1], CLEAN, None, 0.5, MaskConfig()))


def test_parts_are_those_of_scikit_image():
    numbers = np.random.default_rng(0)
    pixels = torch.from_numpy(numbers.random((4, 1, 40, 50)) < np.array([0.2, 0.4, 0.5, 0.0]).reshape(4, 1, 1, 1))
    spiral = torch.zeros(1, 1, 40, 50, dtype=torch.bool)        # a long way round: labels must travel all of it
    for ring in range(0, 18, 4):
        spiral[0, 0, ring:40 - ring, ring] = spiral[0, 0, ring, ring:50 - ring] = True
        spiral[0, 0, ring:40 - ring, 49 - ring] = spiral[0, 0, 39 - ring, ring + 4:50 - ring] = True
    for found, wanted in zip(connected(torch.cat([pixels, spiral])), torch.cat([pixels, spiral])):
        reference = torch.from_numpy(label(wanted[0].numpy(), connectivity=2).astype(np.int64))
        pairs = torch.unique(torch.stack([found[0], reference]).flatten(1), dim=1)
        assert len(pairs[0].unique()) == len(pairs[1].unique()) == pairs.shape[1]


def test_a_blur_keeps_what_is_even_and_its_sum():
    assert torch.allclose(blurred(torch.full((1, 1, 20, 20), 0.4), 1.0), torch.full((1, 1, 20, 20), 0.4))
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 10] = 1
    assert blurred(point, 2.0).sum().item() == pytest.approx(1, abs=1e-6)
    assert blurred(point, 2.0)[0, 0, 10, 12].item() / blurred(point, 2.0)[0, 0, 10, 10].item() == pytest.approx(
        np.exp(-0.5), rel=1e-5)


def test_the_past_counts_more_where_there_is_more_noise():
    assert beta_at(0, 250, MaskConfig()) == 0.5
    assert beta_at(29, 250, MaskConfig()) == pytest.approx(0.5464)
    assert beta_at(29, 250, MaskConfig(adaptive_beta=False)) == 0.9


def test_the_first_loss_has_the_published_parts():
    """Of the first guided step of the toy, before any gradient step."""
    clean, schedule = wave(), Schedule.build(respacing="250")
    toys, (x, y) = Toys(clean), (80, 103)
    noise = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    image = schedule.noised(clean[None], 30, noise)
    patch, clean_patch = image[..., y:y + 64, x:x + 64], clean[None, :, y:y + 64, x:x + 64]
    times = torch.tensor([116])
    wanted = schedule.clean_from(patch, toys.defect(patch, times, torch.tensor([2]))[:, :3], 29).clamp(-1, 1)
    found = schedule.clean_from(image, toys.context(image, times)[:, :3], 29).clamp(-1, 1)
    mask = update_mask(wanted, clean_patch, None, 0.5, MaskConfig())
    outside = torch.ones(1, 1, 256, 256)
    outside[..., y:y + 64, x:x + 64] = 0
    parts = {"defect_weight": 880.9465, "background_weight": 5.6550, "outside_weight": 27.2527}
    for name, value in parts.items():
        alone = GuidanceConfig(**{other: 0.0 for other in parts if other != name})
        loss = agreement(found, found[..., y:y + 64, x:x + 64], wanted, clean[None], clean_patch, outside, mask,
                         background(mask, MaskConfig()), alone)
        assert loss.item() == pytest.approx(value, abs=2e-4)
