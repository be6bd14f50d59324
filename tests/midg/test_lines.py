"""Soft edge maps become thin lines where they are highest, and unbroken; nothing is drawn where there is nothing."""
import numpy as np
import torch
from scipy import ndimage
from skimage.draw import disk

from midg.lines import drawn_edges, ridge_lines


def ring(radius: float = 14.0, width: float = 3.0, peak: float = 0.9, size: int = 64) -> torch.Tensor:
    """A soft ring [1, 1, H, W] round the middle, highest at `radius`."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    away = np.hypot(rows, columns) - radius
    return torch.from_numpy(peak * np.exp(-(away / width) ** 2)).float()[None, None]


def test_a_soft_ring_becomes_a_thin_closed_line_at_its_crest():
    lines = ridge_lines(ring(), 0.5)[0, 0].numpy()
    rows, columns = np.nonzero(lines)
    assert np.abs(np.hypot(rows - 31.5, columns - 31.5) - 14).max() < 1.2
    assert lines.sum() < 1.6 * 2 * np.pi * 14
    inner = np.zeros(lines.shape, bool)
    inner[disk((31, 31), 3)] = True
    outside, _ = ndimage.label(~lines)                  # over four neighbours: a line of eight holds them apart
    assert outside[31, 31] != outside[0, 0]


def test_a_line_begins_at_the_threshold_and_goes_on_down_to_half_of_it():
    chance = torch.zeros(1, 1, 40, 60)
    chance[0, 0, 20, 5:30] = 1.0
    chance[0, 0, 20, 30:50] = 0.7
    chance[0, 0, 5, 5:50] = 0.7
    height = ridge_lines(chance, 0.01)[0, 0, 20, 10] * 6 / 16           # of a line of 1 px, once smoothed
    lines = ridge_lines(chance, float(height) * 0.9)[0, 0]
    assert lines[20, 8:48].all()
    assert not lines[:12].any()


def test_a_batch_is_its_pictures_and_an_empty_map_stays_empty():
    maps = torch.cat([ring(), ring(9.0), torch.zeros(1, 1, 64, 64), torch.full((1, 1, 64, 64), 0.9)])
    together = ridge_lines(maps, 0.5)
    for number in range(4):
        assert torch.equal(together[number:number + 1], ridge_lines(maps[number:number + 1], 0.5))
    assert not together[2:].any()


def test_the_soft_map_is_what_was_published_and_lines_keep_its_gradient():
    logits = torch.logit(ring().clamp(1e-4, 0.999)).requires_grad_()
    mask = torch.ones_like(logits)
    assert torch.equal(drawn_edges(logits, mask, None), logits.sigmoid())
    drawn = drawn_edges(logits, mask, 0.5)
    assert set(drawn.detach().unique().tolist()) == {0.0, 1.0}
    drawn.sum().backward()
    wanted = logits.detach().sigmoid() * (1 - logits.detach().sigmoid())
    torch.testing.assert_close(logits.grad, wanted)
