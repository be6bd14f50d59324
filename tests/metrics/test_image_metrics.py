"""PSNR, SSIM and L1: against scikit-image and closed forms, in masks, batches, all depths, bad input."""
import math

import numpy as np
import pytest
import torch
from skimage import metrics as reference

from core.errors import ConfigError, DataError
from core.metrics.image import GREY, L1_CONVENTIONS, SSIM_MODES, l1, psnr, ssim
from core.seeding import rng


@pytest.fixture(scope="module")
def pair():
    """Two uint8 pictures [60, 72, 3] that are alike but not equal."""
    draw = rng(3)
    true = draw.integers(0, 256, (15, 18, 3)).repeat(4, 0).repeat(4, 1)
    return (true + draw.normal(0, 20, true.shape)).clip(0, 255).astype(np.uint8), true.astype(np.uint8)


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((60, 72), bool)
    mask[10:30, 20:45] = True
    return mask


EVERY = [pytest.param(psnr, {}, id="psnr"), *(pytest.param(ssim, {"mode": mode}, id=mode) for mode in SSIM_MODES),
         *(pytest.param(l1, {"convention": name}, id=name) for name in L1_CONVENTIONS if name != "coverage")]


def test_psnr_is_scikit_images(pair):
    assert psnr(*pair) == pytest.approx(reference.peak_signal_noise_ratio(pair[1], pair[0]), rel=1e-12)
    made, true = (values / 255 @ GREY for values in pair)
    wanted = reference.peak_signal_noise_ratio(true, made, data_range=1)
    assert psnr(*pair, grey=True) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("mode", "options"), [
    ("gaussian", {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
    ("uniform", {}),
    ("legacy", {"win_size": 51}),
])
def test_ssim_is_scikit_images(pair, mask, mode, options):
    made, true = (values / 255 @ GREY if mode == "legacy" else values / 255 for values in pair)
    wanted, everywhere = reference.structural_similarity(
        made, true, data_range=1, channel_axis=None if mode == "legacy" else -1, full=True, **options)
    assert ssim(*pair, mode=mode) == pytest.approx(wanted, rel=1e-10)
    if mode != "legacy":                                # whose window leaves no whole one in this mask
        assert ssim(*pair, mask, mode=mode) == pytest.approx(everywhere[mask].mean(), rel=1e-10)


def test_l1_conventions(pair, mask):
    made, true = (values.astype(float) for values in pair)
    error = np.abs(made - true)
    assert l1(*pair) == pytest.approx(error.mean() / 255)
    assert l1(*pair, mask) == pytest.approx(error[mask].mean() / 255)
    assert l1(*pair, mask, convention="levels") == pytest.approx(error[mask].mean())
    assert l1(*pair, convention="relative") == pytest.approx(error.sum() / (made + true).sum())
    assert l1(*pair, convention="target") == pytest.approx(error.sum() / true.sum())
    assert l1(*pair, mask, convention="coverage") == pytest.approx(error.mean() / 255 / mask.mean())
    black = np.zeros((8, 8), np.uint8)
    assert l1(black, black, convention="relative") == 0
    assert l1(black + 1, black, convention="target") == math.inf


def test_in_mask_counts_the_mask_alone(pair, mask):
    made, true = pair
    elsewhere = np.where(mask[..., None], made, 0)
    assert psnr(elsewhere, true, mask) == psnr(made, true, mask)
    assert l1(elsewhere, true, mask) == l1(made, true, mask)
    assert psnr(np.where(mask[..., None], true, made), true, mask) == math.inf


@pytest.mark.parametrize(("figure", "options"), EVERY)
def test_a_mask_of_everything_is_no_mask(pair, figure, options):
    assert figure(*pair, np.ones((60, 72), bool), **options) == figure(*pair, **options)


@pytest.mark.parametrize(("figure", "options"), EVERY)
def test_a_batch_is_its_pictures(pair, mask, figure, options):
    batch = [np.stack([values, values[::-1], values[:, ::-1]]) for values in pair]
    masks = np.stack([mask, mask[::-1], ~mask])
    found = figure(*batch, masks, **options)
    assert found.shape == (3,)
    singles = [figure(made, true, one, **options) for made, true, one in zip(*batch, masks)]
    np.testing.assert_allclose(found, singles, rtol=1e-12)
    shared = figure(*batch, mask, **options)                    # one mask for all
    np.testing.assert_allclose(shared[1], figure(batch[0][1], batch[1][1], mask, **options), rtol=1e-12)


@pytest.mark.parametrize(("figure", "options"), EVERY)
def test_every_kind_of_array_gives_the_same(pair, mask, figure, options):
    wanted = figure(*pair, mask, **options)
    deep = [values.astype(np.uint16) * 257 for values in pair]
    assert figure(*deep, mask, **options) == pytest.approx(wanted, rel=1e-9)
    assert figure(*(values / 255 for values in pair), mask.astype(np.uint8) * 255, **options) == pytest.approx(wanted)
    assert figure(pair[0], deep[1], mask, **options) == pytest.approx(wanted, rel=1e-9)      # each by its own depth
    planes = [torch.from_numpy(values).permute(2, 0, 1) for values in pair]
    floats = [values[None].float() / 255 for values in planes]
    assert figure(*planes, torch.from_numpy(mask)[None, None], **options) == pytest.approx(wanted, rel=1e-9)
    found = figure(*floats, torch.from_numpy(mask)[None, None].float(), **options)
    assert found == pytest.approx([wanted], rel=1e-5)


def test_sixteen_bits_are_not_lost():
    true = np.full((16, 16, 3), 30000, np.uint16)
    made = true + np.uint16(1)                                  # less than one of 256 levels
    assert psnr(made, true) == pytest.approx(20 * math.log10(65535))
    assert l1(made, true) == pytest.approx(1 / 65535)


def test_equal_pictures(pair):
    true = pair[1]
    assert psnr(true, true) == math.inf
    assert psnr(np.stack([pair[0], true]), np.stack([true, true])).tolist() == [psnr(*pair), math.inf]
    assert [ssim(true, true, mode=mode) for mode in SSIM_MODES] == pytest.approx([1] * 3)
    assert l1(true, true) == 0


def test_grey_pictures(pair):
    made, true = (values[..., 0] for values in pair)
    assert psnr(made, true) == pytest.approx(psnr(*(values[..., :1].repeat(3, 2) for values in pair)))
    assert ssim(made, true) == pytest.approx(reference.structural_similarity(
        made, true, gaussian_weights=True, sigma=1.5, use_sample_covariance=False))


def test_ssim_in_a_mask_on_the_very_border(pair):
    border = np.zeros((60, 72), bool)
    border[:3] = True                                           # no whole window there
    _, everywhere = reference.structural_similarity(*pair, channel_axis=-1, full=True, gaussian_weights=True, sigma=1.5,
                                                    use_sample_covariance=False)
    assert ssim(*pair, border) == pytest.approx(everywhere[border].mean())


@pytest.mark.parametrize(("figure", "arguments", "message"), [
    (psnr, (np.zeros((8, 8)), np.zeros((8, 9))), "pictures: of different shapes, got (8, 8) and (8, 9)."),
    (psnr, (np.zeros((8, 8)), np.full((8, 8), 255.0)), "true picture: floats outside 0..1, got 255 to 255."),
    (psnr, (np.full((8, 8), np.nan), np.zeros((8, 8))), "made picture: floats outside 0..1, got nan"),
    (psnr, (np.zeros((8, 8), np.int64), np.zeros((8, 8))), "made picture: no known range, got type int64."),
    (psnr, (np.zeros((8, 8, 4)), np.zeros((8, 8, 4))), "made picture: not a picture or a batch of them, got shape"),
    (l1, (np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8), bool)), "mask: an empty mask, got no pixel"),
    (ssim, (np.zeros((20, 20)), np.zeros((20, 20)), np.ones((20, 20), np.uint8)), "mask: an empty mask, got no pixel"),
    (psnr, (np.zeros((8, 8)), np.zeros((8, 8)), np.ones((9, 8), bool)), "mask: of another size than the picture, got"),
    (psnr, (np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3)), np.stack([np.ones((8, 8)), np.zeros((8, 8))])),
     "mask: an empty mask, got no pixel above half of full scale in mask 1 of 2."),
    (ssim, (np.zeros((10, 30)), np.zeros((10, 30))), "ssim: picture smaller than the window of mode 'gaussian', got"),
])
def test_bad_input_is_named(figure, arguments, message):
    with pytest.raises(DataError) as raised:
        figure(*arguments)
    assert str(raised.value).startswith(message)


def test_unknown_names_are_named():
    flat = np.zeros((12, 12))
    with pytest.raises(ConfigError, match="got 'gausian'. Did you mean 'gaussian'?"):
        ssim(flat, flat, mode="gausian")
    with pytest.raises(ConfigError, match="l1 convention: no such choice, got 'mae'"):
        l1(flat, flat, convention="mae")
    with pytest.raises(DataError, match="no mask, got convention 'coverage' without one"):
        l1(flat, flat, convention="coverage")
