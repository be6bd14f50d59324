"""Networks with weights: the same numbers as the reference implementations for weights that anyone can make again.

The stored figures are those of torch-fidelity 0.4 (Inception with TensorFlow's resizing) and lpips 0.1.4.
"""
import numpy as np
import pytest
import torch
import torchvision

from core.errors import ConfigError
from core.metrics import pretrained
from core.metrics.features import extractor
from core.metrics.inception import fid_inception
from core.metrics.lpips import BACKBONES, Lpips
from core.seeding import rng

INCEPTION = [1.71372, 1.63556, 1.6659, 0.713848, 3.70881, 0.0, 4.7018, 0.0, 1.05844, 1.4329]
LPIPS = {"alexnet": [0.012609, 0.0138069], "vgg16": [0.0116582, 0.0118554]}


def weights_of(network):
    """A state dict drawn from numpy: equal on every machine; signals neither fade nor grow."""
    state = {}
    for number, (key, value) in enumerate(sorted(network.state_dict().items())):
        draw = rng(number).standard_normal(value.shape, np.float32)
        if value.ndim == 1 and key.endswith((".weight", "running_var")):
            draw = 1 + 0.1 * np.abs(draw)
        elif value.ndim > 1:
            draw *= (2 / value[0].numel()) ** 0.5
        elif value.ndim == 1:
            draw *= 0.1
        state[key] = torch.from_numpy(np.asarray(draw)) if value.dtype.is_floating_point else torch.tensor(0)
    return state


def heads(backbone):
    return {f"lin{k}.model.1.weight": torch.from_numpy(rng(k).random((1, count, 1, 1), np.float32) / count)
            for k, count in enumerate(BACKBONES[backbone][1])}


def lpips_files(folder, backbone):
    with torch.device("meta"):
        network = pretrained.bare(backbone)
    features = weights_of(network.features)
    torch.save({f"features.{key}": value for key, value in features.items()}, folder / "backbone.pth")
    torch.save(heads(backbone), folder / "heads.pth")
    return str(folder / "backbone.pth"), str(folder / "heads.pth")


@pytest.fixture(scope="module")
def inception_weights():
    return weights_of(fid_inception()) | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


def given(monkeypatch, state, digest):
    monkeypatch.setattr(pretrained, "state_of", lambda name, weights: (state, digest))


def picture(number, size=(60, 75)):
    """uint8 [*size, 3], smooth, in strong colours."""
    y, x = np.mgrid[:size[0], :size[1]] / size[0]
    waves = rng(number).uniform(2, 25, (3, 2))
    return np.stack([127.5 + 127.5 * np.sin(a * x + b * y) for a, b in waves], -1).round().astype(np.uint8)


def test_fids_inception_is_the_reference(inception_weights, monkeypatch):
    given(monkeypatch, inception_weights, "another")
    found = extractor("inception", "given", resize="legacy_tensorflow")([picture(0), picture(1)])
    assert found.shape == (2, 2048)
    np.testing.assert_allclose([*found[0, :4], *found[1, -4:], found.mean(), found.std()], INCEPTION, rtol=2e-3)


def test_fid_is_fids_own_weights_alone(inception_weights, monkeypatch):
    given(monkeypatch, inception_weights, pretrained.FID_SHA256)
    assert extractor("inception", "given").title("frechet distance") == "FID"
    given(monkeypatch, inception_weights, "ab" * 32)
    assert extractor("inception", "given").title("frechet distance") == (
        "frechet distance [inception-pool-abababab-clean]")
    assert set(fid_inception().state_dict()) == set(
        torchvision.models.Inception3(aux_logits=False, init_weights=False).state_dict()) - {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(("name", "length"), [("resnet18", 512), ("vgg19", 512)])
def test_torchvisions_networks(name, length, tmp_path):
    with torch.device("meta"):
        network = pretrained.bare(name)
    state = weights_of(network)
    torch.save(state | {"fc.weight": torch.zeros(3, 512)}, tmp_path / "own.pth")        # a classifier of one's own
    extract = extractor(name, str(tmp_path / "own.pth"))
    assert extract.name.startswith(f"{name}-{'relu5_4' if name == 'vgg19' else 'pool'}-")
    rows = extract([picture(0), picture(1, (40, 40))])
    assert rows.shape == (2, length)
    assert (rows >= 0).all(), "after a ReLU"
    assert np.std(rows[0] - rows[1]) > 1e-3
    np.testing.assert_allclose(extract([picture(1, (40, 40))])[0], rows[1], rtol=1e-3, atol=1e-5)


def test_wrong_files_are_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(5, 5)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other.pth: weights of another network than resnet18, got no 'bn1.weight'"):
        extractor("resnet18", str(tmp_path / "other.pth"))
    with torch.device("meta"):
        deeper = pretrained.bare("resnet34")
    torch.save({key: torch.zeros(value.shape) for key, value in deeper.state_dict().items()}, tmp_path / "34.pth")
    with pytest.raises(ConfigError, match=r"weights of another network than resnet18, got 'layer1.2.conv1.weight' of "):
        extractor("resnet18", str(tmp_path / "34.pth"))
    (tmp_path / "no.pth").write_bytes(b"not weights")
    with pytest.raises(ConfigError, match=r"resnet18: not a file of weights, got .*no.pth \(\w+\). Give a state"):
        extractor("resnet18", str(tmp_path / "no.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match=r"resnet18: not a state dict, got .*list.pth"):
        extractor("resnet18", str(tmp_path / "list.pth"))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_lpips_is_the_reference(backbone, tmp_path):
    measure = Lpips(*lpips_files(tmp_path, backbone), backbone=backbone)
    assert measure.name == f"LPIPS [{backbone}]"
    first, second = ([picture(number, (64, 70)) for number in numbers] for numbers in ((0, 1), (2, 3)))
    found = measure(np.stack(first), np.stack(second))
    np.testing.assert_allclose(found, LPIPS[backbone], rtol=1e-4)
    assert measure(first[0], second[0]) == pytest.approx(found[0], rel=1e-5)
    assert measure(second[0], first[0]) == pytest.approx(found[0], rel=1e-5)
    assert measure(first[0], first[0]) == 0
    planes = torch.from_numpy(first[0]).permute(2, 0, 1).float() / 255
    assert measure(planes, second[0]) == pytest.approx(found[0], rel=1e-5)


def test_lpips_without_its_weights_is_a_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="lpips: no heads, got none given. Name the file of learned heads"):
        Lpips("backbone.pth", None)
    with pytest.raises(ConfigError, match="alexnet: no weights, got none given."):
        Lpips(None, "heads.pth")
    with pytest.raises(ConfigError, match="lpips: no such backbone, got 'alexnt'. Did you mean 'alexnet'?"):
        Lpips("backbone.pth", "heads.pth", backbone="alexnt")
    files = lpips_files(tmp_path, "alexnet")
    torch.save(heads("vgg16"), files[1])
    with pytest.raises(ConfigError, match="weights of another network than alexnet's heads, got 'lin1.model.1.wei"):
        Lpips(*files)
