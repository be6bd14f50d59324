"""The earlier code's config, lists and weight files are read as they are, and what is wrong in them is said."""
import os
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch.nn.utils import spectral_norm

from core.data import images
from core.errors import CheckpointError, ConfigError, DataError, OutputError
from midg.legacy import is_earlier, read_config
from midg.legacy_lists import paired, read_list, read_samples
from midg.legacy_weights import EDGE_FILES, load_earlier, save_earlier, to_earlier
from midg.networks import DefectGenerator, Discriminator, EdgeGenerator

# As the publication writes it: comments, dead keys, a value with a blank in it, lists that are not there.
PUBLISHED = """\
MODE: 1             # 1: train, 2: test, 3: eval
MODEL: 1
MASK: 6             # 1: random block, 6: external
EDGE: 1
NMS: 1
SEED: 10
GPU: [1]            # list of gpu ids
VERBOSE: 0
#NUM: 7
TRAIN_FLIST: ./datasets/kinds/copper/copper/train/train.flist
TRAIN_INPAINTING_FLIST: ./datasets/kinds/copper/inpaint/train/train.flist
TRAIN_MASK_FLIST: ./datasets/kinds/copper/mask2/train/train.flist
VAL_EDGE_FLIST: ./datasets/fpc_edges_val.flist                       al.flist
LR: 0.0001
MAX_ITERS: 2e6
INPUT_SIZE: 224
SIGMA: 3
STYLE_LOSS_WEIGHT: 250
CONTENT_LOSS_WEIGHT: 0.1
GAN_LOSS: nsgan
GAN_POOL_SIZE: 0
EVAL_INTERVAL: 500
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A checkout of the earlier code: config.yml in checkpoints/copper, two samples under dataset (not datasets)."""
    monkeypatch.chdir(tmp_path)
    for role, folder in (("image", "copper"), ("inpaint", "inpaint2"), ("mask", "mask2")):
        place = tmp_path / "dataset" / "kinds" / "copper" / folder / "train"
        place.mkdir(parents=True)
        for name in ("b 2.png", "a.1.png"):
            images.write_image(place / name, np.zeros((8, 8), np.uint8))
        lines = [f"./{(place / name).relative_to(tmp_path)}" for name in ("b 2.png", "a.1.png")]
        (place / "train.flist").write_text("\n".join(lines if role == "image" else reversed(lines)) + "\n")
    path = tmp_path / "checkpoints" / "copper" / "config.yml"
    path.parent.mkdir(parents=True)
    path.write_text(PUBLISHED)
    return path


def test_the_published_config_is_read_and_its_dead_keys_are_said(experiment):
    earlier = read_config(experiment)
    values = earlier.values
    assert (values.SIGMA, values.INPUT_SIZE, values.MAX_ITERS, values.LR) == (3, 224, 2_000_000, 1e-4)
    assert str(earlier.list_of("edge", "val")).endswith("val.flist                       al.flist")
    assert values.INPAINT_ADV_LOSS_WEIGHT == 0.1            # the shipped one, not the fallback of 0.01
    noted = {note.split(": ")[1].split()[0]: note for note in earlier.notes}
    assert set(noted) == {"MODE", "MODEL", "MASK", "NMS", "GPU", "VERBOSE", "VAL_EDGE_FLIST", "GAN_POOL_SIZE",
                          "EVAL_INTERVAL", "INPAINT_ADV_LOSS_WEIGHT"}
    assert len(noted) == len(earlier.notes), "each key is named once"
    assert noted["GPU"] == f"{experiment}:7: GPU is not read: the device is chosen by --device, several by torchrun"
    assert "the earlier code took 0.01" in noted["INPAINT_ADV_LOSS_WEIGHT"]


def test_an_earlier_config_is_told_from_one_of_this_project(experiment):
    assert is_earlier(experiment)
    other = experiment.with_name("own.yml")
    other.write_text("loop:\n  steps: 3\n")
    assert not is_earlier(other)


@pytest.mark.parametrize(("line", "message"), [
    ("STYLE_LOS_WEIGHT: 3", "unknown key 'STYLE_LOS_WEIGHT'. Did you mean 'STYLE_LOSS_WEIGHT'? The earlier"),
    ("sigma: 2", "unknown key 'sigma'. Did you mean 'SIGMA'?"),
    ("SIGMA: three", "'SIGMA' must be a number, at least -1, got 'three'"),
    ("GAN_LOSS: wgan", "'GAN_LOSS' must be one of nsgan, lsgan, hinge, got 'wgan'"),
    ("INPUT_SIZE: 250", "'INPUT_SIZE': must be 0 or a multiple of 16 px from 32 on, got 250. Write 256"),
    ("BATCH_SIZE: 2.5", "'BATCH_SIZE' must be a whole number, at least 1, got 2.5"),
    ("MODEL: 5", "'MODEL' must be one of 1, 2, 3, 4, got 5"),
])
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = tmp_path / "config.yml"
    path.write_text(f"LR: 0.0001\n{line}\n")
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}:2: {message}")


def test_all_wrong_lines_are_named_at_once(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("LR: -1\nSEEED: 3\nBETA2: 1.5\n")
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert [line.removeprefix(str(path))[:3] for line in str(error.value).splitlines()] == [":1:", ":2:", ":3:"]


def test_keys_that_mean_nothing_and_empty_ones_are_said(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("REMARK_OF_MINE: try 3\nSIGMA:\n")
    earlier = read_config(path)
    assert earlier.values.SIGMA == 2
    assert f"{path}:1: REMARK_OF_MINE is not read: it meant nothing to the earlier code either" in earlier.notes
    assert f"{path}:2: SIGMA is empty and stands at 2" in earlier.notes


def test_samples_are_paired_by_name_and_found_under_the_other_spelling(experiment):
    samples, notes = read_samples(read_config(experiment), "train")
    assert [sample["image"].name for sample in samples] == ["b 2.png", "a.1.png"]         # the image list's order
    assert all(sample[role].name == sample["image"].name for sample in samples for role in ("mask", "inpaint"))
    assert [note.split(": ")[0] for note in notes] == [
        f"datasets/kinds/copper/{folder}/train/train.flist" for folder in ("copper", "mask2", "inpaint")]
    assert notes[2].endswith("read from dataset/kinds/copper/inpaint2/train/train.flist")


def test_lists_are_found_from_another_working_directory(experiment, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    samples, _ = read_samples(read_config(experiment), "train")
    assert samples[0]["image"].is_file()


def test_a_list_that_is_needed_and_not_given_is_named(experiment):
    with pytest.raises(DataError, match="TEST_MASK_FLIST is needed, got nothing"):
        read_samples(read_config(experiment), "test", roles=("mask",))


def test_an_image_from_the_command_line_is_its_own_background(experiment):
    kind = experiment.parents[2] / "dataset" / "kinds" / "copper"
    given = {"image": kind / "copper" / "train", "mask": kind / "mask2" / "train" / "a.1.png"}
    samples, notes = read_samples(read_config(experiment), "test", given=given)
    assert [sample["image"].name for sample in samples] == ["a.1.png", "b 2.png"]
    assert all(sample["inpaint"] == sample["image"] for sample in samples)
    assert {sample["mask"].name for sample in samples} == {"a.1.png"}         # one mask serves all
    assert notes == []


@pytest.fixture
def pictures(tmp_path):
    for name in ("b two.png", "a.JPG", "c.tif"):
        images.write_bytes(tmp_path / name, b"")
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


def test_a_list_may_be_a_folder_an_image_or_a_text(pictures):
    assert [path.name for path in read_list(pictures / "b two.png")] == ["b two.png"]
    text = pictures / "all.flist"
    text.write_bytes(b"\xef\xbb\xbf" + f"{pictures}/b two.png\r\n\r\n{pictures}/c.tif".encode())
    assert [path.name for path in read_list(text)] == ["b two.png", "c.tif"]
    text.write_text(f"{pictures}/b two.png")                # one line, no line break
    assert [path.name for path in read_list(text)] == ["b two.png"]
    assert [path.name for path in read_list(pictures)] == ["a.JPG", "b two.png", "c.tif"]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX systems alone")
def test_a_name_that_is_no_utf8_is_read(pictures):
    name = os.fsencode(str(pictures)) + b"/gr\xfcn.png"
    with open(name, "wb"):
        pass
    (pictures / "all.flist").write_bytes(name + b"\n")
    assert os.fsencode(read_list(pictures / "all.flist")[0]) == name


@pytest.mark.parametrize(("content", "message"), [
    (b"", "names no image, got an empty list"),
    (b"\n  \n", "names no image, got an empty list"),
    (b"a.JPG\nx.png\ny.png\n", "2 of its 3 files are missing, such as 'x.png'"),
    (b"\x89PNG\0\0", "not a list of images, got binary data"),
])
def test_a_bad_list_is_refused(pictures, content, message):
    text = pictures / "all.flist"
    text.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_list(text)
    assert str(error.value).startswith(f"{text}: {message}")


def test_no_list_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder, list or image"):
        read_list(tmp_path / "none.flist")
    with pytest.raises(DataError, match="names no image, got an empty folder"):
        read_list(tmp_path)


def test_leftovers_are_named_on_either_side(tmp_path):
    def files(role, *stems):
        return [tmp_path / role / f"{stem}.png" for stem in stems]
    image = files("image", "a", "b", "c")
    with pytest.raises(DataError, match=r"b.png: image without mask, got no 'b' among 1 files \(and 1 more such\)"):
        paired({"image": image, "mask": files("mask", "a")})
    with pytest.raises(DataError, match="d.png: mask without image, got no 'd' among 3 files"):
        paired({"image": image, "mask": files("mask", "a", "b", "c", "d")})
    with pytest.raises(DataError, match="the mask list has this name twice"):
        paired({"image": image, "mask": [*files("mask", "a", "b", "c"), *files("other", "a")]})


# Weight files

def double(name: str, inner: int, outer: int, bias: bool) -> list[tuple[str, tuple[int, ...]]]:
    return [*layer(f"{name}.conv.0", (outer, inner, 3, 3), bias), *layer(f"{name}.conv.3", (outer, outer, 3, 3), bias)]


def layer(name: str, shape: tuple[int, ...], bias: bool) -> list[tuple[str, tuple[int, ...]]]:
    """With a bias and no spectral norm, or with spectral norm and no bias."""
    if bias:
        return [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]
    return [(f"{name}.weight_orig", shape), (f"{name}.weight_u", shape[:1]),
            (f"{name}.weight_v", (int(np.prod(shape[1:])),))]


def published_u_net(inner: int, outer: int, width: int, bias: bool, between: list) -> list:
    wide = [width * 2**level for level in range(5)]
    keys = double("Conv1", inner, wide[0], bias)
    for level in range(1, 5):
        keys += double(f"Conv{level + 1}", wide[level - 1], wide[level], bias)
    keys += between
    for level in range(4, 0, -1):
        keys += layer(f"Up{level + 1}.up.1", (wide[level - 1], wide[level], 3, 3), bias)
        keys += double(f"Up_conv{level + 1}", wide[level], wide[level - 1], bias)
    return keys + [("Conv_1x1.weight", (outer, width, 1, 1)), ("Conv_1x1.bias", (outer,))]


def published(network: type, width: int) -> list[tuple[str, tuple[int, ...]]]:
    """Keys and shapes of the earlier files, in their order."""
    if network is EdgeGenerator:
        return published_u_net(3, 1, width, False, [])
    if network is DefectGenerator:
        fusion = [*double("fusionconv1", 2 * width, width, True), *double("fusionconv2", 4 * width, 2 * width, True)]
        return published_u_net(4, 3, width, True, [*fusion, ("edge.convatt0.weight", (1, 1, 3))])
    channels = [3, width, 2 * width, 4 * width, 8 * width, 1]
    shapes = [(outer, inner, 4, 4) for inner, outer in zip(channels, channels[1:])]
    keys = [key for number, shape in enumerate(shapes, 1) for key in layer(f"conv{number}.0", shape, False)]
    return keys + layer("features.0", shapes[0], False)


@pytest.mark.parametrize(("network", "entries", "numbers"), [
    (EdgeGenerator, 68, 34_583_068), (DefectGenerator, 55, 35_067_398), (Discriminator, 18, 2_783_329)])
def test_the_keys_below_are_as_many_as_in_the_earlier_files(network, entries, numbers):
    keys = published(network, 64)
    assert (len(keys), sum(int(np.prod(shape)) for _, shape in keys)) == (entries, numbers)


@pytest.mark.parametrize("make", [lambda: EdgeGenerator(4), lambda: DefectGenerator(4), lambda: Discriminator(3, 4)])
def test_a_network_goes_through_its_earlier_file_unchanged(tmp_path, make):
    torch.manual_seed(0)
    network, path = make(), tmp_path / "weights.pth"
    save_earlier(path, network, iteration=9500)
    stored = torch.load(path, weights_only=True)
    state = stored["discriminator" if isinstance(network, Discriminator) else "generator"]
    assert [(key, tuple(value.shape)) for key, value in state.items()] == published(type(network), 4)
    torch.manual_seed(1)
    again = make()
    assert load_earlier(path, again) == (0 if isinstance(network, Discriminator) else 9500)
    mine = network.state_dict()
    assert all(torch.equal(value, mine[key]) for key, value in again.state_dict().items())


def test_spectral_norm_files_are_those_of_the_older_torch_call():
    """The earlier code used torch.nn.utils.spectral_norm: its own layer gives the same from the same keys."""
    torch.manual_seed(0)
    network = Discriminator(3, 4).eval()
    state, x = to_earlier(network), torch.rand(1, 3, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        plain = spectral_norm(torch.nn.Conv2d(3, 4, 4, 2, 1, bias=False)).eval()
    plain.load_state_dict({key.removeprefix("conv1.0."): value for key, value in state.items() if "conv1" in key})
    torch.testing.assert_close(torch.nn.functional.leaky_relu(plain(x), 0.2), network(x)[0])


def test_a_file_of_several_gpus_and_of_older_torch_is_read(tmp_path):
    torch.manual_seed(0)
    network, again = EdgeGenerator(2), EdgeGenerator(2)
    state = {f"module.{key}": value for key, value in to_earlier(network).items()}
    torch.save({"iteration": 5, "generator": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_earlier(tmp_path / "old.pth", again) == 5
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values()))


class Payload:
    def __reduce__(self):
        return os.system, ("echo run",)


def make_file(path, kind):
    network = EdgeGenerator(2)
    state = to_earlier(network)
    if kind == "payload":
        torch.save({"iteration": 1, "generator": state, "more": Payload()}, path)
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps({"generator": Payload()}, protocol=2))
    elif kind == "width":
        save_earlier(path, EdgeGenerator(4))
    elif kind == "other network":
        save_earlier(path, DefectGenerator(2))
    elif kind == "discriminator":
        save_earlier(path, Discriminator(3, 2))
    elif kind == "edge-connect":
        torch.save({"iteration": 1, "generator": {"encoder.1.weight_orig": torch.zeros(3)}}, path)
    elif kind == "not finite":
        torch.save({"iteration": 1, "generator": {**state, "Conv_1x1.bias": torch.tensor([float("nan")])}}, path)
    elif kind == "text":
        path.write_text("no weights")
    elif kind == "flipped":
        torch.save({"iteration": 1, "generator": state}, path)
        with zipfile.ZipFile(path) as archive:
            largest = max(archive.infolist(), key=lambda part: part.file_size)
        data = bytearray(path.read_bytes())
        data[largest.header_offset + 200 + largest.file_size // 2] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize(("kind", "message"), [
    ("payload", "holds more than tensors, numbers and text, got 'posix.system'"),
    ("bare pickle", "holds more than tensors, numbers and text"),
    ("width", "does not fit this EdgeGenerator: 'Conv1.conv.0.weight_orig' is [4, 3, 3, 3], here [2, 3, 3, 3]"),
    ("other network", "does not fit this EdgeGenerator: 'Conv1.conv.0.weight_orig' is missing"),
    ("discriminator", "not a file of the earlier code for this network, got 'discriminator'"),
    ("edge-connect", "does not fit this EdgeGenerator"),
    ("not finite", "holds numbers that are not finite, got 'Conv_1x1.bias'"),
    ("text", "cannot be read as weights"),
    ("flipped", "damaged, got a wrong checksum"),
    ("absent", "no such file of weights"),
])
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(tmp_path, capfd, kind, message):
    path, network = tmp_path / EDGE_FILES[0], EdgeGenerator(2)
    before = [value.clone() for value in network.state_dict().values()]
    make_file(path, kind)
    with pytest.raises(CheckpointError) as error:
        load_earlier(path, network)
    assert str(error.value).startswith(f"{path}: {message}")
    assert str(error.value).count(str(path)) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values()))
    assert "run" not in capfd.readouterr().out


def test_a_width_that_differs_says_which_to_set(tmp_path):
    make_file(tmp_path / "x.pth", "width")
    with pytest.raises(CheckpointError, match=r"and 61 more\. Set the width to 4, here 2"):
        load_earlier(tmp_path / "x.pth", EdgeGenerator(2))


@pytest.mark.parametrize("network", [
    EdgeGenerator(2, mask_channel=True), EdgeGenerator(2, classes=2), DefectGenerator(2, attention_levels=3),
    DefectGenerator(2, blend=True), Discriminator(2, 2)])
def test_what_the_earlier_code_cannot_hold_is_not_written(tmp_path, network):
    with pytest.raises(OutputError, match="cannot be written for the earlier code"):
        save_earlier(tmp_path / "x.pth", network)
    assert list(tmp_path.iterdir()) == []
