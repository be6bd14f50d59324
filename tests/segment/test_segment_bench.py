"""What the figures of speed are measured with: the earlier tiling as it was, made images of any size."""
import numpy as np
import torch
from torch import nn

from segment import bench


class Reds(nn.Module):
    """Class 1 where red is high."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        return torch.stack([torch.full_like(images[:, 0], 0.5), images[:, 0]], 1)


def test_the_earlier_tiling_covers_the_image_one_call_a_tile():
    network, pixels = Reds(), np.zeros((2048, 2560, 3), np.uint8)
    pixels[300:900, 100:2000, 0] = 255
    labels = bench.earlier_labels(network, pixels)
    assert len(network.sizes) == bench.EARLIER_TILES
    assert set(network.sizes) == {(1, 3, 512, 512)}
    wrong = labels != (pixels[..., 0] > 127)
    assert 0 < wrong.mean() < 0.002             # squeezed and back: edges a pixel off
    assert len({int(x) for x in np.nonzero(wrong)[1]}) < 2000


def test_an_image_of_another_size_is_filled_with_black():
    network, pixels = Reds(), np.full((513, 700, 3), 255, np.uint8)
    assert bench.earlier_labels(network, pixels)[5:500, 5:500].all()
    assert len(network.sizes) == 4


def test_made_images_are_read_in_any_bands():
    image = bench.Made((50, 1000))
    assert np.array_equal(image.rows(100, 300)[28:92], image.tile)
    assert np.array_equal(np.concatenate([image.rows(0, 70), image.rows(70, 130)]), image.rows(0, 130))


def test_large_images_cost_by_their_pixels(monkeypatch):
    monkeypatch.setattr(bench, "network_of", lambda config: bench.build(
        bench.CompactConfig(widths=(4, 8)), bench.CLASSES, 3).eval())
    rows = list(bench.large((200, 300)))
    assert [what for what, _, _ in rows] == ["segment, 200 x 200", "segment, 300 x 300"]
    assert rows[0][1].endswith("s a megapixel")
