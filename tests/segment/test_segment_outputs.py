"""What a run writes for images, whole or in bands, and the second pass over the image made smaller."""
import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from core.data.bands import WholeRows
from core.data.images import read_image, read_mask, write_image
from core.errors import ConfigError
from segment import context
from segment.apply import apply, load
from segment.context import enlarged, overview, predict_in_context, shrunk
from segment.infer import predict_whole
from segment.panels import palette
from segment.score import score
from segment.settings import InferConfig
from tests.segment.made import make_set, picture

CPU = torch.device("cpu")
EVERY = ["infer.colour=true", "infer.probabilities=true"]


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """One image of 1.04 megapixels, so that it may be worked on in bands."""
    folder = tmp_path_factory.mktemp("images")
    rows = [np.concatenate([picture(number, (149, 145))[0] for number in range(row, row + 7)], 1)
            for row in range(0, 49, 7)]
    Image.fromarray(np.concatenate(rows)).save(folder / "large.tif")
    return folder


def test_colours_and_probabilities_are_written_alike_whole_and_in_bands(run, images, tmp_path):
    options = [*EVERY, "infer.tile_px=256"]
    whole = apply(run, {"input": images}, tmp_path / "whole", options, CPU)
    bands = apply(run, {"input": images}, tmp_path / "bands", [*options, "infer.bands_above_mpx=1"], CPU)
    assert whole == bands
    assert whole["objects"] > 5
    labels = read_mask(tmp_path / "whole" / "labels" / "large.png")
    for folder in (tmp_path / "whole", tmp_path / "bands"):
        assert np.array_equal(read_mask(folder / "labels" / "large.png"), labels)
        assert np.array_equal(read_image(folder / "colours" / "large.png"), palette(2)[labels])
        chances = np.stack([read_image(folder / "probabilities" / "large" / f"{number}.png")[..., 0]
                            for number in range(3)])
        assert np.abs(chances.astype(int).sum(0) - 255).max() <= 2
        clear = np.sort(chances, axis=0)
        clear = clear[-1] - clear[-2] > 1
        assert (chances.argmax(0) == labels)[clear].all()
        assert clear.mean() > 0.9
        assert json.loads((folder / "classes.json").read_text()) == ["square", "disc"]
    assert not (tmp_path / "bands" / "annotations.json").exists()
    plain = apply(run, {"input": images}, tmp_path / "plain", [], CPU)
    assert plain == whole
    assert not (tmp_path / "plain" / "colours").exists()
    assert not (tmp_path / "plain" / "probabilities").exists()


def test_an_image_is_ng_by_the_area_of_its_parts(run, images, tmp_path):
    apply(run, {"input": images}, tmp_path / "any", [], CPU)
    parts = table(tmp_path / "any" / "objects.csv")
    (row,) = table(tmp_path / "any" / "verdicts.csv")
    assert row["verdict"] == "NG"
    assert int(row["objects"]) == len(parts)
    assert int(row["area_px"]) == sum(int(part["area_px"]) for part in parts)
    limits = json.dumps({"square": 10 ** 6, "disc": 10 ** 6})
    apply(run, {"input": images}, tmp_path / "none", [f"infer.reject_px={limits}"], CPU)
    assert table(tmp_path / "none" / "verdicts.csv")[0]["verdict"] == "OK"
    with pytest.raises(ConfigError, match="infer.reject_px: no such class, got 'disk'. Did you mean 'disc'"):
        apply(run, {"input": images}, tmp_path / "x", ['infer.reject_px={"disk": 3}'], CPU)


def test_what_it_writes_can_be_scored(run, tmp_path):
    root = make_set(tmp_path / "set", 6, good=1)
    apply(run, {"input": root / "images"}, tmp_path / "out", [], CPU)
    values = score(tmp_path / "out" / "labels", tmp_path / "scored", data={"root": root})
    assert values["defect_iou"] > 0.2


class Brightness(nn.Module):
    """The probability of a defect is the grey level."""
    stride, reach = 4, 0

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return torch.logit(images.mean(1, keepdim=True).clamp(1e-4, 1 - 1e-4)) * self.scale


@pytest.fixture
def scene():
    pixels = np.full((53, 70, 3), 60, np.uint8)
    pixels[20:40, 30:60] = 180
    pixels[5, 5] = 255
    return pixels


def test_the_second_pass_is_averaged_with_the_first(scene):
    network, rows = Brightness().eval(), WholeRows(scene)
    near = predict_whole(network, scene, InferConfig(tile_px=16), 3)
    far = enlarged(overview(network, rows, InferConfig(context=0.5), 3), 4, 0, 53, 70)
    assert far.shape == near.shape
    for tile_px in (16, 64):
        config = InferConfig(context=0.5, tile_px=tile_px)
        bands = list(predict_in_context(network, rows, rows, config, 3))
        fused = torch.cat([band for _, band in bands], 1)
        assert [top for top, _ in bands] == np.cumsum([0, *(band.shape[1] for _, band in bands)]).tolist()[:-1]
        assert torch.allclose(fused, (near + far) / 2, atol=1e-5)
    assert fused[0, 30, 45] == pytest.approx(180 / 255, abs=0.01)       # the middle of what is large stays as it is
    assert fused[0, 5, 5] < 0.7                                         # a single pixel fades
    assert near[0, 5, 5] > 0.99


def test_alone_it_saves_the_pass_at_native_scale(scene, monkeypatch):
    network, rows, config = Brightness().eval(), WholeRows(scene), InferConfig(context=1)
    far = enlarged(overview(network, rows, config, 3), 4, 0, 53, 70)
    monkeypatch.setattr(context, "FAR_ROWS", 20)
    calls = []
    monkeypatch.setattr(network, "forward", lambda images, before=network.forward: calls.append(1) or before(images))
    bands = list(predict_in_context(network, rows, rows, config, 3))
    assert [(top, band.shape[1]) for top, band in bands] == [(0, 20), (20, 20), (40, 13)]
    assert torch.allclose(torch.cat([band for _, band in bands], 1), far)
    assert len(calls) == 1


def test_without_weight_nothing_is_read_twice(scene):
    network, rows = Brightness().eval(), WholeRows(scene)
    bands = predict_in_context(network, rows, None, InferConfig(tile_px=16), 3)
    assert torch.equal(torch.cat([band for _, band in bands], 1), predict_whole(network, scene, InferConfig(), 3))


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (13, 5)])
def test_small_images_are_made_smaller_and_larger_again(size):
    pixels = np.full((size[1], size[0], 3), 77, np.uint8)
    small = shrunk(WholeRows(pixels), 4)
    assert (small == 77).all()
    far = torch.full((2, *small.shape[:2]), 51, dtype=torch.uint8)
    assert torch.allclose(enlarged(far, 4, 0, size[1], size[0]), torch.tensor(0.2))


def test_what_is_made_smaller_and_larger_again_stays_in_its_place():
    ramp = np.add.outer(2 * np.arange(60), np.arange(80)).astype(np.uint8)
    small = shrunk(WholeRows(ramp[..., None].repeat(3, 2)), 4)[..., 0]
    back = enlarged(torch.from_numpy(small)[None], 4, 8, 40, 80)[0] * 255
    assert torch.allclose(back[:, 4:-4], torch.from_numpy(ramp[8:48, 4:-4]).float(), atol=1.0)


def test_a_run_takes_the_second_pass_by_a_switch(run, tmp_path):
    pixels = picture(2, (96, 80))[0]
    write_image(tmp_path / "a.png", pixels)
    plain, other = (load(run, options, CPU)(pixels) for options in ([], ["infer.context=0.5"]))
    assert plain.shape == other.shape
    assert (plain[1] != other[1]).any()
