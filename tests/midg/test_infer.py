"""Painting into pictures of any size: nothing changes outside the mask, equal seeds equal bytes, drawings followed."""
import pickle

import numpy as np
import pytest
import torch

from core.data import images
from core.errors import ConfigError, DataError
from core.seeding import rng
from midg import runs
from midg.boxes import in_box
from midg.edges import edges_of_drawing
from midg.infer import draw, feathered, without_norms
from midg.settings import EdgeNetworkConfig
from tests.midg.painters import untrained

torch.set_num_threads(1)


def plate(width: int, height: int, dtype=np.uint8) -> np.ndarray:
    grain = rng(1, width, height).integers(90, 160, (height, width, 1))
    return (grain * (np.iinfo(dtype).max // 255)).astype(dtype).repeat(3, axis=2)


def disc(width: int, height: int, x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows - y, columns - x) < radius


@pytest.fixture(scope="module")
def painter():
    return untrained()


@pytest.mark.parametrize(("width", "height"), [(48, 48), (50, 37), (131, 97), (20, 17), (48, 200), (33, 60)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_nothing_changes_outside_the_mask_in_a_picture_of_any_size(painter, width, height, dtype):
    picture, mask = plate(width, height, dtype), disc(width, height, width // 2, height // 2, 8)
    drawn = draw(painter, picture, mask, "pit", seed=3)
    assert drawn.picture.dtype == dtype
    assert (drawn.picture[~mask] == picture[~mask]).all()
    assert (drawn.picture[mask] != picture[mask]).mean() > 0.5
    assert not (drawn.label & ~mask).any()
    assert drawn.edges.shape == mask.shape


def test_a_mask_larger_than_half_the_window_is_painted_whole_and_the_rest_kept_sharp(painter):
    picture, mask = plate(200, 180), disc(200, 180, 100, 90, 45)
    drawn = draw(painter, picture, mask, "pit")
    assert (drawn.picture[~mask] == picture[~mask]).all()
    quarters = [drawn.picture[part] != picture[part] for part in
                (np.s_[50:90, 60:100], np.s_[50:90, 100:140], np.s_[90:130, 60:100], np.s_[90:130, 100:140])]
    assert min(changed.mean() for changed in quarters) > 0.4


def test_every_part_of_a_mask_gets_a_defect_of_its_own(painter):
    one, other = disc(150, 120, 30, 30, 8), disc(150, 120, 110, 80, 8)
    picture = plate(150, 120)
    both = draw(painter, picture, one | other, "pit", seed=5).picture
    first = draw(painter, picture, one, "pit", seed=5).picture
    assert (both[one] == first[one]).all()                  # the second does not change the first
    assert (both[other] != picture[other]).mean() > 0.5


def test_a_rectangle_is_no_shape_but_for_networks_that_learnt_from_rectangles():
    picture, mask = plate(90, 80), np.zeros((80, 90), bool)
    mask[20:60, 25:75] = True
    drawn = [draw(untrained(), picture, mask, "pit", seed=seed).picture for seed in (0, 1)]
    for made in drawn:
        assert (made[~mask] == picture[~mask]).all()
        corners = [made[row, column] == picture[row, column] for row in (21, 58) for column in (26, 73)]
        assert np.all(corners), "rounded"
        assert (made[30:50, 40:60] != picture[30:50, 40:60]).mean() > 0.3
    assert ((drawn[0] != picture).any(2) != (drawn[1] != picture).any(2)).sum() > 40, "another seed, another shape"
    boxed = untrained()
    boxed.data = boxed.data.model_copy(update={"masks": "box"})
    assert in_box(mask, boxed.data, rng(0)) is mask
    small = np.zeros((20, 20), bool)
    small[3:12, 3:12] = True
    assert in_box(small, untrained().data, rng(0)) is small


def test_equal_seeds_equal_bytes_and_others_differ(painter):
    picture, mask = plate(90, 70), disc(90, 70, 40, 35, 10)
    first, again, other, of_class = (draw(painter, picture, mask, label, seed=seed).picture
                                     for label, seed in (("pit", 0), ("pit", 0), ("pit", 1), ("crack", 0)))
    assert first.tobytes() == again.tobytes()
    assert (first != other).any()
    assert (first != of_class).any()


def test_threads_and_a_trip_to_another_process_change_no_byte(painter):
    picture, mask = plate(90, 70), disc(90, 70, 40, 35, 10)
    first = draw(painter, picture, mask, "pit").picture
    assert draw(pickle.loads(pickle.dumps(painter)), picture, mask, "pit").picture.tobytes() == first.tobytes()
    torch.set_num_threads(3)
    try:
        assert draw(painter, picture, mask, "pit").picture.tobytes() == first.tobytes()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_a_drawn_shape_is_what_the_networks_see(painter):
    picture, mask = plate(48, 48), disc(48, 48, 24, 24, 16)
    square = np.zeros((48, 48), bool)
    square[18:31, 17:30] = True
    painted = painter.paint(images.to_tensor(picture), mask, "pit", rng(0), drawing=square)
    wanted = edges_of_drawing(square, mask, 1.0)
    assert wanted.sum() > 20
    assert (painted.edges[wanted] == 1).all()
    free = painter.paint(images.to_tensor(picture), mask, "pit", rng(0))
    assert (free.edges[mask] != painted.edges[mask]).any()              # the networks' own
    assert (free.edges[~mask] == painted.edges[~mask]).all()            # the background's edges, in both


def test_given_edges_need_no_edge_model(painter):
    picture, mask = plate(60, 60), disc(60, 60, 30, 30, 10)
    alone = untrained(edge=False)
    with pytest.raises(ConfigError, match="no model 1"):
        draw(alone, picture, mask, "pit")
    edges = disc(60, 60, 30, 30, 6) & ~disc(60, 60, 30, 30, 5)
    drawn = draw(alone, picture, mask, "pit", edges=edges)
    assert ((drawn.edges > 0.5) & mask == edges & mask).all()
    assert (drawn.picture[mask] != picture[mask]).mean() > 0.5


def test_a_generator_without_opacity_paints_shrunk_windows_by_their_difference():
    picture, mask = plate(160, 160), disc(160, 160, 80, 80, 50)
    drawn = draw(untrained(blend=False), picture, mask, "pit")
    assert (drawn.picture[~mask] == picture[~mask]).all()
    # the picture's own grain is still there under a smooth change
    inside = disc(160, 160, 80, 80, 40)
    change = drawn.picture[..., 0].astype(int) - picture[..., 0]
    assert change[inside].std() < drawn.picture[..., 0][inside].std()


def test_classes_sizes_and_empty_masks_are_named(painter):
    picture = plate(60, 60)
    with pytest.raises(ConfigError, match="Did you mean 'crack'"):
        draw(painter, picture, disc(60, 60, 30, 30, 5), "crac")
    with pytest.raises(DataError, match="mask: of another size.*50x60.*60x60"):
        draw(painter, picture, disc(50, 60, 30, 30, 5), "pit")
    with pytest.raises(DataError, match="empty"):
        draw(painter, picture, np.zeros((60, 60), bool), "pit")
    assert untrained(("pit",)).number_of(None) == 0


def test_a_mask_fades_towards_its_rim_but_not_towards_the_pictures_border():
    mask = np.zeros((40, 40), bool)
    mask[:20, 10:30] = True
    alpha = feathered(mask)
    assert (alpha[~mask] == 0).all()
    assert (alpha[mask] > 0).all()
    assert alpha[0, 20] == alpha[10, 20] == 1
    assert alpha[19, 20] < 1
    assert alpha[10, 10] < 1


def test_spectral_norms_worked_in_give_the_same_answers():
    network = runs.edge_generator(EdgeNetworkConfig(width=4), 0).eval()
    x = torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        before = network(x)
        after = without_norms(network)(x)
    assert torch.allclose(before, after, atol=1e-6)
    assert not any("parametrizations" in name for name in network.state_dict())
