"""PaDiM against a straight covariance, FastFlow's volume against autograd, EfficientAD's losses, synthetic defects."""
import numpy as np
import pytest
import torch
from torch.nn import functional

from core.errors import ConfigError, DataError
from core.metrics.decisions import auroc
from core.seeding import rng
from detect.anomaly import FromGood
from detect.efficientad import EfficientAD, EfficientADConfig
from detect.fastflow import FastFlow, FastFlowConfig
from detect.features import FilterBank
from detect.memory import nearest, spread_out
from detect.padim import Padim, PadimConfig
from detect.pasted import pasted
from detect.patchcore import PatchCore, PatchCoreConfig
from detect.varied import varied
from tests.detect.test_anomaly import pictures, slow_spread_out
from tests.sets import defective, plate

pytestmark = pytest.mark.usefixtures("one_thread")


def good(numbers) -> list:
    return [(pictures([number], plate), None) for number in numbers]


def test_padim_measures_mahalanobis_distances_by_place():
    class Fixed(torch.nn.Module):
        light = "plain"

        def forward(self, images):
            return functional.avg_pool2d(torch.cat([images, images.square() + 0.3 * images.roll(1, 3)], 1), 8)
    images = torch.from_numpy(rng(1).random((30, 3, 24, 16), np.float32))
    model = Padim(Fixed(), PadimConfig(blur_px=0)).fit((batch, None) for batch in images.split(7))
    rows = Fixed()(images).numpy().astype(np.float64)
    asked = Fixed()(images[:2]).numpy().astype(np.float64)
    for y, x in np.ndindex(3, 2):
        here = rows[:, :, y, x]
        inverse = np.linalg.inv(np.cov(here.T) + 0.01 * np.eye(6))
        gaps = asked[:, :, y, x] - here.mean(0)
        exact = np.sqrt(np.einsum("nd,de,ne->n", gaps, inverse, gaps))
        assert model.distances(images[:2])[:, 0, y, x].numpy() == pytest.approx(exact, rel=1e-3)
    with pytest.raises(DataError, match="of another size than those"):
        model.distances(images[:, :, :16])
    with pytest.raises(ConfigError, match="images of one size"):
        Padim(Fixed()).fit([(images, None), (images[:, :, :16], None)])
    with pytest.raises(DataError, match="got one"):
        Padim(Fixed()).fit([(images[:1], None)])


def test_a_flow_counts_volume_as_autograd_does():
    torch.manual_seed(0)
    flow = FastFlow(FilterBank(), FastFlowConfig(channels=4, steps=3))
    for step in flow.learning:
        torch.nn.init.normal_(step.scale, 0.5, 0.3)
        torch.nn.init.normal_(step.net[2].weight, 0, 1.0)
    flow.standard.forward = lambda x: x                     # the flow alone
    x = torch.randn(1, 4, 2, 3)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow._flowed(x)[0], x).reshape(24, 24)
    assert float(flow._flowed(x)[1].sum().detach()) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-4)


@pytest.mark.parametrize("make", [
    lambda: FastFlow(FilterBank(), FastFlowConfig(channels=16, steps=3)),
    lambda: EfficientAD(FilterBank(), EfficientADConfig(channels=16, width=16, hardest=0.9))])
def test_what_learns_by_gradients_learns_and_finds_defects(make, tmp_path):
    torch.manual_seed(0)
    model: FromGood = make()
    model.begin(good(range(100, 108)))
    batch = pictures(range(100, 104), plate)
    optimizer = torch.optim.Adam(model.trained.parameters(), 3e-3)
    totals = []
    for _ in range(25):
        total = sum(model.losses(batch, torch.zeros_like(batch[:, :1])).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0] - 0.04 * abs(totals[0])
    everywhere = model.losses(batch, torch.ones_like(batch[:, :1]))
    assert all(torch.isfinite(value) for value in everywhere.values()), "defects on every pixel"
    model.fit(good(range(100, 108))).eval()
    scores, maps = zip(model(pictures(range(12), plate)), model(pictures(range(12), lambda k: defective(k)[0])))
    assert auroc(torch.cat(scores).numpy(), np.repeat([False, True], 12)) > 0.8
    assert maps[0].shape == (12, 96, 112)
    model.save(tmp_path / "memory.pt", threshold=2.0)
    back, beside = type(model).load(tmp_path / "memory.pt", FilterBank())
    assert beside == {"threshold": 2.0}
    assert torch.equal(back.eval()(batch)[0], model(batch)[0])


def test_large_images_are_looked_at_in_tiles():
    model = PatchCore(FilterBank(), PatchCoreConfig(sampled=2000, most=100)).fit(good(range(100, 104)))
    image = torch.from_numpy(defective(3, (224, 160))[0].transpose(2, 0, 1).astype(np.float32) / 255)
    at_once, in_tiles = model.whole(image), model.whole(image, tile_px=128)
    inner = (slice(24, -24),) * 2
    assert in_tiles[1].shape == (160, 224)
    assert torch.corrcoef(torch.stack([at_once[1][inner].flatten(), in_tiles[1][inner].flatten()]))[0, 1] > 0.99


def test_the_spread_out_part_is_the_greedy_one_where_rounds_are_many():
    random = rng(7)
    rows = torch.from_numpy(np.tanh(random.standard_normal((3000, 2)) @ random.standard_normal((2, 12)))).float()
    chosen = spread_out(rows, 200, seed=1)
    assert (chosen == torch.tensor(slow_spread_out(rows, 200, int(chosen[0])))).float().mean() > 0.97
    slow = torch.tensor(slow_spread_out(rows, 200, int(chosen[0])))
    assert nearest(rows, rows[chosen])[0].max() == pytest.approx(float(nearest(rows, rows[slow])[0].max()), rel=1e-3)


def test_synthetic_defects_change_what_their_mask_says_and_nothing_far_from_it():
    shown = 0
    for number in range(60):
        image, donor = (rng(3, number, k).standard_normal((64, 48, 3)).astype(np.float32) for k in (0, 1))
        made, mask = pasted(image, donor, rng(4, number))
        again, _ = pasted(image, donor, rng(4, number))
        assert np.array_equal(made, again)
        changed = np.abs(made - image).max(2) > 1e-6
        assert np.isfinite(made).all()
        assert made.dtype == np.float32
        if mask.any():
            shown += 1
            assert changed[mask].mean() > 0.9
            assert np.count_nonzero(changed & ~mask) < 3 * np.count_nonzero(mask) + 60, "beyond its soft rim"
        else:
            assert not changed.any()
    assert shown > 50


def test_good_surfaces_vary_without_a_mark_of_their_own():
    image, other = (rng(3, k).standard_normal((48, 64, 3)).astype(np.float32) for k in (0, 1))
    made = [varied(image, other, rng(5, number)) for number in range(40)]
    assert all(one.shape == image.shape and one.dtype == np.float32 and np.isfinite(one).all() for one in made)
    assert np.array_equal(made[7], varied(image, other, rng(5, 7)))
    assert sum(not np.array_equal(one, image) for one in made) > 30
    sides = [min(one[0].mean(), one[-1].mean(), one[:, 0].mean(), one[:, -1].mean()) for one in made]
    assert 2 < np.count_nonzero(np.array(sides) < -1.8) < 16, "some parts end, at a side"
    assert all(abs(one[12:-12, 12:-12].mean()) < 2 for one in made)
