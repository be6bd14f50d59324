"""CRG's noise schedules and training losses: the published tables, and the identities that they must satisfy."""
import math

import pytest
import torch

from crg.diffusion import Schedule, betas, generate, kept_steps
from crg.losses import denoising, divergence, grey_level_cost, index_quarters

PUBLISHED = {       # kept step of 250: original timestep, alpha bar, deviation of the noise
    0: (0, 0.9999000000, 0.010000), 1: (4, 0.9993009943, 0.026439), 5: (20, 0.9937354286, 0.079149),
    10: (40, 0.9797669240, 0.142243), 15: (60, 0.9583214064, 0.204153), 20: (80, 0.9298965525, 0.264771),
    25: (100, 0.8951415909, 0.323818), 29: (116, 0.8632979574, 0.369732), 30: (120, 0.8548326493, 0.381008)}


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    return Schedule.build(respacing="250")


def test_the_table_is_the_published_one(schedule):
    for index, (timestep, alpha_bar, deviation) in PUBLISHED.items():
        assert schedule.timesteps[index] == timestep
        assert schedule.alpha_bar[index].item() == pytest.approx(alpha_bar, abs=6e-11)
        assert (1 - schedule.alpha_bar[index]).sqrt().item() == pytest.approx(deviation, abs=6e-7)
    for index, beta in ((1, 5.990656e-4), (10, 3.463162e-3), (20, 6.638266e-3)):
        assert schedule.beta[index].item() == pytest.approx(beta, rel=2e-7)


def test_strides_are_rounded_where_the_published_ones_are():
    kept = kept_steps(1000, "250")
    assert (len(kept), kept[-1]) == (250, 999)
    assert [k for k in range(1, 250) if kept[k] - kept[k - 1] != 4] == [42, 125, 208]
    assert (kept[42], kept[125], kept[208]) == (169, 502, 835)


def test_other_respacings():
    assert kept_steps(10, "") == list(range(10))
    assert kept_steps(10, "ddim5") == [0, 2, 4, 6, 8]
    assert kept_steps(10, "2,5") == [0, 4, 5, 6, 7, 8, 9]
    assert kept_steps(10, "1") == [0]


@pytest.mark.parametrize(("respacing", "problem"), [
    ("ddim7", "no whole stride"), ("11", "11 steps cannot be kept of 10"), ("a", "no whole number"),
    ("0", "no whole number"), ("ddim", "no whole number")])
def test_impossible_respacings_are_named(respacing, problem):
    with pytest.raises(ValueError, match=problem):
        kept_steps(10, respacing)


def test_cosine_schedule_keeps_its_curve():
    kept = torch.cumprod(1 - betas(1000, "cosine"), dim=0)
    curve = [math.cos((k / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in (0, 250, 500, 900)]
    assert kept[[249, 499, 899]].tolist() == pytest.approx([value / curve[0] for value in curve[1:]], rel=1e-9)
    with pytest.raises(ValueError, match="linear, cosine, got 'quad'"):
        betas(10, "quad")


def test_noise_found_exactly_gives_the_clean_image_back(schedule):
    torch.manual_seed(0)
    clean, noise = torch.rand(3, 3, 4, 4) * 2 - 1, torch.randn(3, 3, 4, 4)
    for index in (0, 30, torch.tensor([0, 30, 200])):
        noisy = schedule.noised(clean, index, noise)
        assert torch.allclose(schedule.clean_from(noisy, noise, index), clean, atol=1e-4)
    assert torch.allclose(schedule.ddim_step(clean, noise, 30, 20), schedule.noised(clean, 20, noise), atol=1e-6)


def test_steps_of_noise_add_up(schedule):
    """Noise step by step has the variance that noise at once has."""
    torch.manual_seed(0)
    image = torch.zeros(1, 3, 200, 200)
    for index in range(10):
        image = schedule.noised_further(image, index, torch.randn_like(image))
    assert image.std().item() == pytest.approx((1 - schedule.alpha_bar[9]).sqrt().item(), rel=0.02)


def test_fresh_noise_keeps_the_noise_of_the_step(schedule):
    torch.manual_seed(0)
    clean, noise, fresh = torch.zeros(1, 3, 200, 200), torch.randn(1, 3, 200, 200), torch.randn(1, 3, 200, 200)
    image = schedule.ddim_step(clean, noise, 30, 20, 1.0, fresh)
    assert image.std().item() == pytest.approx((1 - schedule.alpha_bar[20]).sqrt().item(), rel=0.02)
    assert not torch.allclose(image, schedule.ddim_step(clean, noise, 30, 20), atol=0.1)
    assert torch.equal(schedule.ddim_step(clean, noise, 0, 0, 1.0, fresh), schedule.ddim_step(clean, noise, 0, 0))


def test_a_model_that_knows_the_image_generates_it():
    steps = Schedule.build(respacing="20")
    torch.manual_seed(0)
    clean = torch.rand(2, 3, 4, 4) * 1.8 - 0.9

    def predict(image, timesteps):
        index = torch.searchsorted(steps.timesteps, timesteps.contiguous())
        alpha_bar = steps.alpha_bar[index].float().reshape(-1, 1, 1, 1)
        return (image - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()
    assert torch.allclose(generate(predict, steps, torch.randn(2, 3, 4, 4)), clean, atol=1e-3)


def test_the_bound_is_least_at_the_true_noise_and_variance():
    steps = Schedule.build()
    torch.manual_seed(0)
    index = torch.tensor([1, 20, 300])
    clean, noise = torch.rand(3, 3, 8, 8) * 2 - 1, torch.randn(3, 3, 8, 8)
    noisy = steps.noised(clean, index, noise)
    exact = denoising(steps, torch.cat([noise, -torch.ones_like(noise)], 1), clean, noisy, noise, index)
    assert exact["noise"].tolist() == [0, 0, 0]
    assert exact["variance"].abs().max() < 1e-4
    wide = denoising(steps, torch.cat([noise, torch.ones_like(noise)], 1), clean, noisy, noise, index)
    assert (wide["variance"] > exact["variance"]).all()
    wrong = denoising(steps, torch.cat([noise + 0.5, -torch.ones_like(noise)], 1), clean, noisy, noise, index)
    assert wrong["noise"].tolist() == pytest.approx([0.25] * 3, rel=1e-5)
    assert (wrong["variance"] > exact["variance"] + 1e-6).all()


def test_at_index_0_the_bound_is_what_the_image_itself_costs():
    """By hand: the variance half way between its bounds, the mean that of the posterior, which is the clean guess."""
    steps, index = Schedule.build(), torch.tensor([0])
    torch.manual_seed(0)
    clean, noise = (torch.rand(1, 3, 8, 8) * 255).round() / 127.5 - 1, torch.randn(1, 3, 8, 8)
    guess = noise + 0.1 * torch.randn_like(noise)
    output = torch.cat([guess, torch.zeros_like(guess)], 1)
    noisy = steps.noised(clean, index, noise)
    found = denoising(steps, output, clean, noisy, noise, index)["variance"]
    smallest = steps.beta[1] * (1 - steps.alpha_bar[0]) / (1 - steps.alpha_bar[1])
    deviation = (smallest * steps.beta[0]) ** 0.25
    mean = (noisy - (1 - steps.alpha_bar[0]).sqrt() * guess) / steps.alpha_bar[0].sqrt()
    normal = torch.distributions.Normal(mean.double(), deviation)
    chance = normal.cdf(clean + 1 / 255) - normal.cdf(clean - 1 / 255)
    assert found.item() == pytest.approx((-chance.log2()).mean().item(), rel=1e-2)


def test_the_bound_teaches_the_variance_alone():
    steps, index = Schedule.build(), torch.tensor([0, 500])
    torch.manual_seed(0)
    output, clean, noise = torch.randn(2, 6, 4, 4, requires_grad=True), torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    denoising(steps, output, clean, steps.noised(clean, index, noise), noise, index)["variance"].sum().backward()
    assert output.grad[:, :3].abs().max() == 0
    assert (output.grad[:, 3:].abs().amax((1, 2, 3)) > 0).all()


def test_probabilities_of_all_grey_levels_add_up_to_one():
    levels = torch.arange(256) / 127.5 - 1
    chance = torch.exp(-grey_level_cost(levels, torch.tensor(0.3), torch.tensor(-2.0)))
    assert chance.sum().item() == pytest.approx(1, abs=1e-5)
    assert levels[chance.argmax()].item() == pytest.approx(0.3, abs=0.004)


def test_divergence_is_that_of_normal_distributions():
    first = torch.distributions.Normal(torch.tensor(0.3), torch.tensor(2.0))
    second = torch.distributions.Normal(torch.tensor(-1.0), torch.tensor(0.7))
    found = divergence(first.mean, 2 * first.stddev.log(), second.mean, 2 * second.stddev.log())
    assert found.item() == pytest.approx(torch.distributions.kl_divergence(first, second).item(), rel=1e-6)


def test_quarters_of_the_noise():
    assert index_quarters(torch.tensor([0, 249, 250, 999]), 1000).tolist() == [0, 0, 1, 3]
