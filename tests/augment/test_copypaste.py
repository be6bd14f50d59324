"""Copy-paste: inside its box, equal for equal numbers, tightly labelled, the given shape filled."""
import numpy as np
import pytest
import torch

from core.augment import compose
from core.augment.copypaste import GROWTH, CopyPaste
from core.augment.generator import Request
from core.augment.labels import tight_mask
from core.augment.placement import Placement
from core.data import images
from core.seeding import rng
from tests.augment.boards import made


@pytest.fixture(scope="module", params=["pcb", "fpc"])
def pasted(request, tmp_path_factory):
    """(clean, made, alpha, label mask, truth, box) of many pasted defects."""
    dataset, bank = made(tmp_path_factory.mktemp("paste"), request.param, count=40)
    placement, generator = Placement.learn(bank), CopyPaste(bank)
    found = []
    for number in range(40):
        record = dataset.records[number % len(dataset)]
        label, draw = bank.labels[number % len(bank.labels)], rng(5, number)
        whole = images.read_image(record.clean or record.image)
        box = placement.draw(whole, label, [], draw)
        window = compose.window_round(box, record.size, generator.window_px)
        clean, inside = compose.cut(whole, window), compose.shifted(box, -window[0], -window[1])
        wanted = Request(image=images.to_tensor(clean), box=inside, label=label, rng=draw)
        out, truth = generator.paste(wanted)
        changed = compose.blend(clean, out)
        found.append((clean, changed, out.alpha.numpy(), tight_mask(clean, changed, out.alpha.numpy()), truth, inside))
    return found


def test_labels_fit_the_truth(pasted):
    overlaps = [(mask & truth).sum() / (mask | truth).sum() for *_, mask, truth, _ in pasted if mask.any()]
    assert len(overlaps) > 30
    assert np.median(overlaps) >= 0.8


def test_changes_stay_in_the_support_near_the_box(pasted):
    for clean, changed, alpha, _, _, box in pasted:
        assert (changed[alpha == 0] == clean[alpha == 0]).all()
        x1, y1, x2, y2 = compose.bounds(alpha > 0)
        reach = 6 + 0.35 * max(box[2] - box[0], box[3] - box[1])
        assert x1 >= box[0] - reach
        assert y1 >= box[1] - reach
        assert x2 <= box[2] + reach
        assert y2 <= box[3] + reach


def test_equal_numbers_give_equal_defects_and_a_shape_is_filled(tmp_path):
    dataset, bank = made(tmp_path, "fpc", count=10)
    image = images.to_tensor(images.read_image(dataset.good[0].image))
    shape = torch.zeros(image.shape[1:], dtype=torch.bool)
    shape[60:100, 60:75] = shape[85:100, 60:110] = True
    results = [CopyPaste(bank).generate(Request(image=image, box=(60, 60, 110, 100), label="exposed_copper",
                                                rng=rng(0, number), mask=shape)) for number in (0, 0, 1)]
    assert torch.equal(results[0].image, results[1].image)
    assert torch.equal(results[0].alpha, results[1].alpha)
    assert not torch.equal(results[0].image, results[2].image)
    support = results[0].alpha > 0.5
    assert (support & shape).sum() / (support | shape).sum() > 0.8


def test_a_small_defect_is_not_blown_up_unless_it_has_to_fill_a_shape(tmp_path):
    dataset, bank = made(tmp_path, "fpc", count=10)
    image = np.ascontiguousarray(images.to_tensor(images.read_image(dataset.good[0].image)).numpy().transpose(1, 2, 0))
    box = (10, 10, 190, 190)
    assert max(CopyPaste(bank).choose(image, box, "exposed_copper", rng(0, 1)).scale) <= GROWTH
    assert max(CopyPaste(bank).choose(image, box, "exposed_copper", rng(0, 1), fill=True).scale) > GROWTH
