"""Extractors: the default one orders sets as people do, pictures of every kind, names, resizing, defect crops."""
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import ConfigError, DataError
from core.metrics.distribution import kernel_distance
from core.metrics.features import Extractor, compare, defect_crops, extractor
from core.metrics.resize import RESIZES, resized
from core.metrics.scattering import LENGTH
from core.seeding import rng
from core.synthetic import make

PICTURES = 40
GOLDEN = [4.6759, -6.3227, 2.798, 1.8626, -0.6716, 0.0793, 0.35, 0.2015, 1.0616]
pytestmark = pytest.mark.usefixtures("one_thread")


def made(kind, seed, size):
    """(picture, mask of all its defects) of some made pictures."""
    samples = [make(kind, seed, i, size) for i in range(PICTURES)]
    return [(one.image, np.any([defect.mask for defect in one.defects], axis=0)) for one in samples if one.defects]


def crops(pictures, change=lambda picture: picture):
    return [crop for picture, mask in pictures for crop in defect_crops(change(picture), mask)]


def blurred(sigma):
    return lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma)


def redder(picture):
    return np.clip(picture * np.array([1.15, 1, 0.85]) + 6, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", [0, 100])
def test_kernel_distance_orders_sets_sensibly(seed):
    """The same distribution < slightly wrong < badly wrong < another kind of object."""
    real, others = made("fpc", seed, (128, 128)), made("fpc", seed + 1, (128, 128))
    boards = made("pcb", seed, (256, 256))
    extract = extractor()
    rows = extract(crops(real))

    def distance(pictures):
        return kernel_distance(rows, extract(pictures))
    same, other_kind = distance(crops(others)), distance(crops(boards))
    slightly = [distance(crops(others, change)).value for change in (blurred(1), redder)]
    badly = distance(crops(others, blurred(3))).value
    assert abs(same.value) < 3 * same.standard_error
    assert same.value + 0.05 < min(slightly)
    assert slightly[0] < badly < other_kind.value
    assert max(slightly) < other_kind.value / 3


@pytest.fixture(scope="module")
def some():
    draw = rng(1)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 64), (40, 90), (7, 9), (200, 120))]


def test_a_batch_gives_what_each_alone_gives(some):
    extract = extractor()
    rows = extract(some)
    assert rows.shape == (4, LENGTH)
    assert rows.dtype == np.float64
    assert np.isfinite(rows).all()
    for picture, row in zip(some, rows):
        np.testing.assert_allclose(extract([picture])[0], row, atol=1e-5)
    many = extract(some * 9)                                    # more than one batch
    np.testing.assert_allclose(many[-4:], rows, atol=1e-5)
    assert extract([]).shape == (0, LENGTH)


def test_kinds_of_pictures_give_the_same(some):
    extract = extractor()
    wanted = extract(some[:1])
    for same in (some[0] / 255, some[0].astype(np.uint16) * 257, torch.from_numpy(some[0]).permute(2, 0, 1)):
        np.testing.assert_allclose(extract([same]), wanted, atol=1e-4)
    grey = some[0][..., 0]
    np.testing.assert_allclose(extract([grey]), extract([grey[..., None].repeat(3, 2)]), atol=1e-5)


def test_flat_pictures_have_features():
    rows = extractor()([np.full((30, 30, 3), level, np.uint8) for level in (0, 128, 255)])
    assert np.isfinite(rows).all()
    assert np.abs(rows[0] - rows[1]).max() > 1


def test_the_default_is_the_same_everywhere():
    """Figures of two machines can be compared: these are stored ones. A change of them needs another name."""
    y, x = np.mgrid[:64, :64] / 64
    picture = np.stack([0.5 + 0.5 * np.sin(40 * x * x), (x + y) / 2, (np.hypot(x - 0.5, y - 0.5) < 0.3) * 0.8], -1)
    row = extractor()([picture])[0]
    found = [*row[[0, 5, 11, 20, 40, 100, 251]], row.mean(), row.std()]
    np.testing.assert_allclose(found, GOLDEN, atol=2e-4)


def test_the_middle_counts_apart_from_the_rim():
    plain = np.full((64, 64, 3), 0.5)
    middle, corner = plain.copy(), plain.copy()
    middle[28:36, 28:36, 0] = 1
    corner[:8, :8, 0] = 1
    rows = extractor()([plain, middle, corner])
    middle, corner = (row[:2] - rows[0][:2] for row in rows[1:])
    assert middle[0] > 2 * middle[1] > 0
    assert 0 <= corner[0] < corner[1] / 2


def test_figures_carry_the_extractors_name(some):
    def means(pictures):
        return pictures.mean((2, 3))
    found = compare(some * 2, [255 - picture for picture in some] + [picture // 2 for picture in some], extractor())
    assert list(found)[:3] == [f"{name} [scattering-clean]" for name in
                               ("kernel distance", "kernel distance standard error", "frechet distance")]
    assert all(isinstance(value, float) for value in found.values())
    assert found["diversity within clusters [scattering-clean]"] > 0
    assert not any("FID" in name or "KID" in name for name in found)
    true = Extractor("inception-pool", 3, 8, "clean", means, is_fid=True)
    assert list(compare(some * 2, some * 2, true))[:4] == ["KID", "KID standard error", "FID", "precision (Inception)"]
    other = Extractor("inception-pool", 3, 8, "legacy_pytorch", means, is_fid=True)
    assert other.title("frechet distance") == "FID [legacy_pytorch]"


@pytest.mark.parametrize(("count", "known"), [(1, []), (2, ["frechet"]), (4, ["kernel", "frechet"])])
def test_too_few_pictures_leave_figures_out(some, count, known):
    found = compare(some[:count], some[:count], extractor())
    assert {name.split()[0] for name, value in found.items() if value is not None} == set(known)


def test_clean_resizing_is_pillows(some):
    for side in (16, 150):
        picture = some[1]
        planes = [np.asarray(Image.fromarray(picture[..., c].astype(np.float32)).resize((side, side), Image.BICUBIC))
                  for c in range(3)]
        np.testing.assert_allclose(resized([picture], side)[0], np.clip(np.stack(planes) / 255, 0, 1), atol=1e-4)


def test_resizings_differ_and_keep_what_they_promise():
    ramp = np.tile(np.arange(8) / 8, (8, 1))
    found = {mode: resized([ramp], 4, mode)[0, 0, 0].tolist() for mode in RESIZES}
    assert found["legacy_tensorflow"] == pytest.approx([0, 0.25, 0.5, 0.75])            # places 0, 2, 4, 6
    assert found["legacy_pytorch"] == pytest.approx([0.0625, 0.3125, 0.5625, 0.8125])   # places 0.5, 2.5, ...
    stripes = np.tile([0.0, 1.0], (8, 32))
    assert np.ptp(resized([stripes], 16, "clean").numpy()) < 0.1
    assert resized([stripes], 16, "legacy_tensorflow").max() == 0, "aliased: every fourth column is black"
    for mode in RESIZES:
        flat = resized([np.full((5, 9, 3), 0.3)], 7, mode)
        assert flat.shape == (1, 3, 7, 7)
        np.testing.assert_allclose(flat, 0.3, atol=1e-6)


def test_defect_crops_are_square_and_round_the_defect():
    picture = rng(2).integers(0, 65536, (60, 80, 3), dtype=np.uint16)
    mask = np.zeros((60, 80), bool)
    mask[20:30, 40:60] = mask[0:4, 0:4] = True
    corner, middle = sorted(defect_crops(picture, mask, context=0.25), key=len)
    assert middle.dtype == np.uint16
    np.testing.assert_array_equal(middle, picture[10:40, 35:65])
    padded = np.pad(picture, ((1, 0), (1, 0), (0, 0)), "reflect")
    np.testing.assert_array_equal(corner, padded[:6, :6])
    (whole,) = defect_crops(picture, np.ones((60, 80), bool), context=2)                # mirrored more than once
    assert whole.shape == (400, 400, 3)
    assert defect_crops(picture, np.zeros((60, 80), bool)) == []
    with pytest.raises(DataError, match="mask: of another size than the picture"):
        defect_crops(picture, mask[1:])


@pytest.mark.parametrize(("arguments", "message"), [
    (("scatering",), "features: no such extractor, got 'scatering'. Did you mean 'scattering'?"),
    (("scattering", "weights.pth"), "features: scattering has no weights, got 'weights.pth'."),
    (("inception",), "inception: no weights, got none given. Name a local file"),
    (("vgg19", "absent.pth"), "vgg19: no such weights file, got absent.pth."),
])
def test_wrong_extractors_are_named(arguments, message):
    with pytest.raises(ConfigError) as raised:
        extractor(*arguments)
    assert str(raised.value).startswith(message)
    with pytest.raises(ConfigError, match="resize: no such mode, got 'bilinear'. One of clean"):
        extractor(resize="bilinear")
