"""Canny in torch against scikit-image, pixel by pixel, and how edges of defect and background meet."""
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import color, feature

from core.data.images import read_image
from core.errors import DataError
from core.seeding import rng
from midg import edges

torch.set_num_threads(1)


def reference(grey: np.ndarray, sigma: float, valid: np.ndarray | None = None) -> np.ndarray:
    return feature.canny(grey, sigma=sigma, mask=valid)


def found(grey: np.ndarray, sigma, valid: np.ndarray | None = None, **options) -> np.ndarray:
    given = None if valid is None else torch.from_numpy(valid)[None, None]
    return edges.canny(torch.from_numpy(grey)[None, None], sigma, given, **options)[0, 0].numpy()


def with_holes(shape: tuple[int, int]) -> np.ndarray:
    """Valid pixels: all but a rectangle inside and one in the corner."""
    valid = np.ones(shape, bool)
    valid[shape[0] // 3:shape[0] // 2, shape[1] // 4:shape[1] // 2] = False
    valid[:shape[0] // 8, :shape[1] // 6] = False
    return valid


def made(kind: str, index: int = 0) -> np.ndarray:
    """Grey pictures 0..1 of odd sizes: noise, weak noise on steps, and stripes whose neighbours are equally strong."""
    random, (height, width) = rng(0, index), (61, 90)
    if kind == "noise":
        return random.random((height, width))
    steps = 0.35 * (np.indices((height, width)).sum(0) // 17 % 2)
    return steps + (0.08 * random.random((height, width)) if kind == "steps" else 0)


def fpc_pictures(shared_data) -> dict[str, np.ndarray]:
    folder = shared_data / "midg_fpc/dataset/kinds/exposed_copper/exposed_copper"
    return {path.name[:6]: color.rgb2gray(read_image(path)) for path in sorted(folder.rglob("*.png"))}


@pytest.mark.parametrize("sigma", [1, 2, 3, 4])
def test_the_real_fpc_images_have_scikit_images_edges_to_the_pixel(shared_data, sigma):
    for grey in fpc_pictures(shared_data).values():
        for valid in (None, with_holes(grey.shape)):
            assert (found(grey, sigma, valid) == reference(grey, sigma, valid)).all()


def test_the_real_fpc_images_have_the_published_number_of_edge_pixels(shared_data):
    counts = {name: int(found(grey, 3).sum()) for name, grey in fpc_pictures(shared_data).items()}
    assert counts == {"000577": 2001, "000578": 2101, "000686": 1148, "000759": 2088}


def test_float32_differs_in_hardly_any_pixel_of_the_fpc_images(shared_data):
    for grey in fpc_pictures(shared_data).values():
        assert (found(grey, 3, dtype=torch.float32) != reference(grey, 3)).sum() <= 2


@pytest.mark.parametrize(("folder", "pattern"), [("magnetic_tile", "*.jpg"), ("deeppcb", "*_test.jpg"),
                                                 ("deeppcb", "*_temp.jpg")])
def test_other_real_images_too(shared_data, folder, pattern):
    paths = sorted((shared_data / folder).rglob(pattern))[::40][:3]
    assert paths
    for path in paths:
        grey = color.rgb2gray(read_image(path))
        for sigma in (1, 3):
            assert (found(grey, sigma) == reference(grey, sigma)).all(), path


@pytest.mark.parametrize("kind", ["noise", "steps", "stripes"])
@pytest.mark.parametrize("sigma", [0.4, 1, 2.3, 4])
def test_made_images_of_odd_size(kind, sigma):
    grey = made(kind)
    for valid in (None, with_holes(grey.shape)):
        assert (found(grey, sigma, valid) == reference(grey, sigma, valid)).all()


def test_a_batch_gives_what_its_samples_give_each_with_its_own_sigma():
    greys = torch.from_numpy(np.stack([made(kind) for kind in ("noise", "steps", "stripes", "noise")]))
    sigmas = [1.0, 3.0, 1.0, 2.0]
    together = edges.canny(greys[:, None], sigmas)
    assert together.shape == (4, 1, 61, 90)
    assert torch.equal(edges.canny(greys, torch.tensor(sigmas))[:, None], together)
    for grey, sigma, one in zip(greys, sigmas, together):
        assert torch.equal(edges.canny(grey[None], sigma), one)


def test_flat_images_and_images_without_a_valid_pixel_have_no_edges():
    assert not edges.canny(torch.full((2, 1, 20, 30), 0.5), 2).any()
    noise = torch.from_numpy(made("noise"))[None]
    assert not edges.canny(noise, 1, torch.zeros_like(noise, dtype=torch.bool)).any()


@pytest.mark.parametrize("sigma", [0, -1.0, [1.0], [1.0, 0.0]])
def test_sigma_must_be_positive_one_or_one_a_sample(sigma):
    with pytest.raises(ValueError, match="sigma must be > 0"):
        edges.canny(torch.zeros(2, 8, 8), sigma)


def linked(candidates: np.ndarray, strong: np.ndarray) -> np.ndarray:
    place = torch.from_numpy(candidates).view(-1).nonzero()[:, 0]
    kept = edges._linked(place, torch.from_numpy(strong).view(-1)[place], candidates.shape)
    result = np.zeros(candidates.size, bool)
    result[place[kept].numpy()] = True
    return result.reshape(candidates.shape)


def by_labels(candidates: np.ndarray, strong: np.ndarray) -> np.ndarray:
    kept = []
    for one, seeds in zip(candidates, strong):
        labels, _ = ndimage.label(one, np.ones((3, 3)))
        kept.append(np.isin(labels, np.unique(labels[seeds & one])) & one)
    return np.stack(kept)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_weak_pixels_live_by_their_link_to_a_strong_one(share):
    random = rng(1, int(share * 10))
    candidates = random.random((3, 70, 50)) < share
    strong = candidates & (random.random(candidates.shape) < 0.002)
    expected = by_labels(candidates, strong)
    assert expected.any()
    assert (expected != candidates).any()
    assert (linked(candidates, strong) == expected).all()


def test_one_strong_end_holds_a_line_of_thousands_of_weak_pixels():
    line = np.zeros((2, 101, 101), bool)
    line[:, ::2] = True
    line[:, 1::4, -1] = line[:, 3::4, 0] = True             # back and forth over the whole picture
    strong = np.zeros_like(line)
    strong[0, 0, 0] = True
    kept = linked(line, strong)
    assert (kept[0] == line[0]).all()
    assert not kept[1].any()                                # nor does anything reach over into the next sample


def test_grey_has_scikit_images_weights():
    image = rng(2).random((5, 7, 3))
    grey = edges.grey_of(torch.from_numpy(image.transpose(2, 0, 1)))
    assert grey.shape == (1, 5, 7)
    assert np.allclose(grey[0].numpy(), color.rgb2gray(image), atol=1e-12)


def test_merged_edges_are_the_defects_inside_and_the_materials_outside():
    inside, outside = torch.full((2, 1, 4, 6), 0.25, requires_grad=True), torch.ones(2, 1, 4, 6, dtype=torch.bool)
    mask = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    mask[..., 1:3, 2:4] = True
    merged = edges.merged_edges(inside, outside, mask)
    assert merged.dtype == torch.float32
    assert (merged[mask] == 0.25).all()
    assert (merged[~mask] == 1).all()
    merged.sum().backward()
    assert torch.equal(inside.grad, mask.float())           # the generator learns from the mask alone
    assert torch.equal(edges.merged_edges(outside, outside, mask.float()), torch.ones(2, 1, 4, 6))


def disc(radius: float = 14) -> np.ndarray:
    rows, columns = np.indices((80, 80)) - 40
    return np.hypot(rows, columns) <= radius


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((80, 80), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_a_drawn_contour_means_the_area_within_it():
    mask = rectangle(15, 15, 65, 65)
    area = edges.edges_of_drawing(disc(), mask, 2.0)
    contour = edges.edges_of_drawing(disc(15) & ~disc(12), mask, 2.0)
    rows, columns = area.nonzero()
    assert np.abs(np.hypot(rows - 40, columns - 40) - 14).max() < 2.5
    assert ndimage.label(area, np.ones((3, 3)))[1] == 1     # one closed line
    assert ndimage.binary_fill_holes(area).sum() > 400
    assert ndimage.distance_transform_edt(~area)[contour].max() < 3


def test_open_lines_are_kept_one_pixel_wide():
    line = rectangle(38, 20, 42, 60)
    drawn = edges.edges_of_drawing(line, rectangle(10, 10, 70, 70), 3.0)
    assert drawn.sum(axis=0).max() == 1
    assert 34 <= drawn.sum() <= 40


def test_a_shape_cut_by_the_mask_gets_no_edge_along_the_cut():
    mask = rectangle(20, 20, 40, 60)
    drawn = edges.edges_of_drawing(disc(), mask, 2.0)
    assert drawn.any()
    assert not drawn[~mask].any()
    assert drawn[36:40, 30:50].sum() == 0


def test_a_drawing_joins_the_backgrounds_edges_and_covers_those_behind_it():
    mask = rectangle(15, 15, 65, 65)
    background = rectangle(0, 5, 80, 6) | rectangle(0, 40, 80, 41) | rectangle(0, 60, 80, 61)
    joined = edges.with_drawing(disc(), torch.from_numpy(background)[None], torch.from_numpy(mask)[None], 2.0)[0] > 0
    drawn = edges.edges_of_drawing(disc(), mask, 2.0)
    assert (joined.numpy()[~mask] == background[~mask]).all()
    assert (joined.numpy()[disc()] == drawn[disc()]).all()
    assert joined[:, 60].all()                              # behind no part of the shape
    assert joined[15:20, 40].all()
    assert not joined[30:50, 40].any()


def test_a_drawing_outside_the_mask_is_an_error():
    with pytest.raises(DataError, match="no line or area inside the mask"):
        edges.edges_of_drawing(disc(), rectangle(0, 0, 10, 10), 2.0)
