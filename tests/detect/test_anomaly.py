"""PatchCore: a fair and spread-out memory, exact search, maps that light up where something is wrong."""
import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.errors import CheckpointError, ConfigError, DataError
from core.metrics.anomaly import map_figures
from core.metrics.decisions import auroc
from core.seeding import rng
from detect.anomaly import conformal_threshold
from detect.feature_sources import layers_of
from detect.features import FilterBank, LayerFeatures
from detect.memory import Reservoir, nearest, spread_out
from detect.patchcore import PatchCore, PatchCoreConfig
from segment.networks import Compact
from tests.sets import defective, plate

pytestmark = pytest.mark.usefixtures("one_thread")


def pictures(numbers, make) -> torch.Tensor:
    return torch.stack([torch.from_numpy(make(number).transpose(2, 0, 1).astype(np.float32) / 255)
                        for number in numbers])


def truth(number: int) -> np.ndarray:
    return np.abs(defective(number)[0].astype(int) - plate(number)).max(2) > 25


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    return PatchCore(FilterBank(), PatchCoreConfig(sampled=4000, share=0.2, most=600, score="blurred")).fit(
        (pictures(range(k, k + 5), plate), None) for k in range(100, 120, 5))


def test_the_reservoir_is_fair_and_flat(monkeypatch):
    reservoir = Reservoir(500, seed=1)
    for start in range(0, 20_000, 250):
        reservoir.add(torch.arange(start, start + 250).float()[:, None])
    kept = reservoir.rows.float()[:, 0]
    assert len(kept) == 500
    assert reservoir.count == 20_000
    assert kept.mean() == pytest.approx(10_000, abs=1000)
    assert len(kept[kept < 5000]) == pytest.approx(125, abs=45)
    mean, deviation = reservoir.moments()
    assert float(mean) == pytest.approx(9999.5)
    assert float(deviation) == pytest.approx(20_000 / 12 ** 0.5, rel=1e-3)


def test_the_memory_of_a_fit_does_not_grow_with_the_images():
    def peak(batches: int) -> int:
        reservoir = Reservoir(2000)
        tracemalloc.start()
        for number in range(batches):
            reservoir.add(torch.from_numpy(rng(1, number).standard_normal((1000, 36)).astype(np.float32)))
        found = tracemalloc.get_traced_memory()[1] + reservoir.rows.nbytes
        tracemalloc.stop()
        return found
    assert peak(30) < 1.3 * peak(5)


def slow_spread_out(rows: torch.Tensor, count: int, first: int) -> list[int]:
    """The same choice with a tensor of differences, as it is usually written."""
    chosen, near = [first], (rows - rows[first]).norm(dim=1)
    for _ in range(count - 1):
        chosen.append(int(near.argmax()))
        near = torch.minimum(near, functional.pairwise_distance(rows, rows[chosen[-1]][None], eps=0))
    return chosen


def test_the_spread_out_part_is_the_greedy_one_and_covers_better_than_chance():
    rows = torch.from_numpy(rng(2).standard_normal((1500, 24)).astype(np.float32)) ** 3
    chosen = spread_out(rows, 120, seed=3)
    assert chosen.tolist() == slow_spread_out(rows, 120, int(chosen[0]))
    assert len(set(chosen.tolist())) == 120
    chance = torch.from_numpy(rng(4).permutation(1500)[:120])
    assert nearest(rows, rows[chosen])[0].max() < 0.8 * nearest(rows, rows[chance])[0].max()
    assert spread_out(torch.ones(5, 3), 5).sort().values.tolist() == [0, 1, 2, 3, 4], "equal rows are chosen once each"


def test_the_spread_out_part_does_not_depend_on_the_order_of_what_it_is_chosen_from():
    rows = torch.from_numpy(rng(8).standard_normal((900, 16)).astype(np.float32))
    first = int(spread_out(rows, 1, seed=3)[0])
    order = rng(9).permutation(900)
    at = int(np.flatnonzero(order == first)[0])
    order[[first, at]] = order[[at, first]]                 # the draw falls on the same vector
    one, other = (chosen[spread_out(chosen, 80, seed=3)] for chosen in (rows, rows[torch.from_numpy(order)]))
    assert torch.equal(one, other)


def test_the_spread_out_part_takes_a_fraction_of_the_usual_time():
    rows = torch.from_numpy(rng(5).standard_normal((8000, 128)).astype(np.float32))
    spent = []
    for choose in (lambda: spread_out(rows, 60), lambda: slow_spread_out(rows, 60, 0)):
        start = time.process_time()
        choose()
        spent.append(time.process_time() - start)
    assert spent[0] < 0.7 * spent[1]           # a sixth on a free core


def test_the_search_is_exact():
    bank, queries = (torch.from_numpy(rng(6, k).standard_normal((count, 20)).astype(np.float32) + 50)
                     for k, count in ((0, 300), (1, 2500)))
    distance, index = nearest(queries, bank)
    exact = torch.cdist(queries.double(), bank.double())
    assert distance == pytest.approx(exact.min(1).values.numpy(), rel=1e-3)
    assert (index == exact.argmin(1)).float().mean() > 0.999
    assert nearest(bank, bank)[0].max() == 0


def test_defects_stand_out_by_image_and_by_pixel(fitted):
    good, bad = pictures(range(20), plate), pictures(range(20), lambda number: defective(number)[0])
    scores, maps = zip(fitted(good), fitted(bad))
    assert auroc(torch.cat(scores).numpy(), np.repeat([False, True], 20)) > 0.95
    figures = map_figures(list(maps[1].numpy()), [truth(number) for number in range(20)])
    assert figures["auroc"] > 0.9
    assert maps[0].shape == good.shape[:1] + good.shape[2:]


def test_a_batch_is_as_its_images_and_a_mask_leaves_the_rest_out(fitted):
    bad = pictures(range(3), lambda number: defective(number)[0])
    scores, maps = fitted(bad)
    for k in range(3):
        alone = fitted(bad[k:k + 1])
        assert torch.allclose(alone[0], scores[k:k + 1], atol=1e-4)
        assert torch.allclose(alone[1][0], maps[k], atol=1e-4)
    mask = torch.zeros(3, *bad.shape[2:], dtype=torch.bool)
    assert fitted(bad, mask)[0].max() == 0
    mask[:, :, 40:] = True
    assert fitted(bad, mask)[1][:, :, :40].max() == 0
    only_left = PatchCore(FilterBank()).fit([(bad, ~mask)])
    assert only_left.mean.shape == (36,)
    with pytest.raises(DataError, match="no good image to learn from"):
        PatchCore(FilterBank()).fit([(bad, torch.zeros_like(mask))])


@pytest.mark.parametrize("score", ["max", "top", "blurred"])
def test_equal_seeds_equal_memories_and_files_come_back(tmp_path, score):
    config = PatchCoreConfig(sampled=500, most=50, score=score)
    one, other = (PatchCore(FilterBank(), config).fit([(pictures(range(4), plate), None)]) for _ in range(2))
    assert torch.equal(one.bank, other.bank)
    one.save(tmp_path / "memory.pt", threshold=3.5)
    back, beside = PatchCore.load(tmp_path / "memory.pt", FilterBank())
    images = pictures(range(2), plate)
    assert beside == {"threshold": 3.5}
    assert all(torch.equal(a, b) for a, b in zip(one(images), back(images)))
    with pytest.raises(CheckpointError, match="was made with other features"):
        PatchCore.load(tmp_path / "memory.pt", FilterBank(sigmas_px=(1.0, 2.0, 4.0, 6.0)))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not a PatchCore of good images"):
        PatchCore.load(tmp_path / "other.pt", FilterBank())


def test_further_images_are_learned_as_if_all_had_been_there_at_once(fitted):
    config = fitted.config
    first, further = [(pictures(range(start, start + 10), plate), None) for start in (100, 110)]
    updated = PatchCore(FilterBank(), config).fit([first]).update([further])
    assert torch.equal(updated.seen, fitted.seen)
    for name in ("mean", "deviation"):
        assert torch.allclose(getattr(updated, name), getattr(fitted, name), rtol=1e-3, atol=1e-4)
    images = torch.cat([pictures(range(10), plate), pictures(range(10), lambda number: defective(number)[0])])
    told, whole = updated(images)[0], fitted(images)[0]
    apart = (told / whole - 1).abs()
    assert apart[:10].max() < 0.25
    assert apart[10:].max() < 0.01
    assert auroc(told.numpy(), np.repeat([False, True], 10)) > 0.95
    with pytest.raises(ConfigError, match="memories of different features"):
        updated.merge(PatchCore(FilterBank(sigmas_px=(1.0, 2.0, 4.0, 6.0)), config).fit([first]))


def test_layers_of_a_network_come_on_one_grid():
    class Two(torch.nn.Module):
        def forward(self, images):
            return {"a": images[:, :, ::4, ::4], "b": images[:, :2, ::8, ::8]}
    assert LayerFeatures(Two(), ("a", "b"))(torch.rand(2, 3, 64, 48)).shape == (2, 5, 16, 12)


def test_a_segmenter_that_takes_multiples_alone_gives_the_features_of_images_of_any_size():
    network = Compact(1, 1, widths=(4, 4, 4)).eval()          # blocks of 2 px, two coarser grids
    assert network.stride == 8
    features = layers_of(network, ("encoder.0", "encoder.1"), torch.device("cpu"), "plain", network.stride)
    image = torch.rand(1, 1, 40, 56)
    with pytest.raises(RuntimeError, match="size"):
        network(image[..., :37, :50])
    whole, cut = features(image), features(image[..., :37, :50])
    assert cut.shape == (1, 8, 19, 25)
    assert features(image[..., :32, :48]).shape == (1, 8, 16, 24)
    assert whole.shape == (1, 8, 20, 28)


def test_the_threshold_keeps_its_promise_or_says_how_many_images_it_needs():
    random, alarms = np.random.default_rng(0), []
    for _ in range(400):
        threshold = conformal_threshold(random.normal(size=99), 0.05)
        alarms.append((random.normal(size=200) > threshold).mean())
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.005)
    assert conformal_threshold(range(99), 0.01) == 98
    with pytest.raises(DataError, match="got 98. Give at least 99, or accept 1.01%"):
        conformal_threshold(range(98), 0.01)
    with pytest.raises(DataError, match="not finite"):
        conformal_threshold([1.0, float("nan")], 0.5)
