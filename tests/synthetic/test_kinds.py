"""What holds for every kind of made picture."""
import pytest

from core.synthetic import make
from tests.synthetic.twins import same

KINDS = {"pcb": {}, "fpc": {}, "metal": {}, "oring": {"size": (640, 560)}, "oring, patches": {"patch": 320}}


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_depends_on_seed_and_index_alone(name):
    kind, options = name.split(",")[0], KINDS[name]
    in_order = [make(kind, 3, index, **options) for index in range(4)]
    for index in (2, 0, 3, 1):
        assert same(make(kind, 3, index, **options), in_order[index])
    assert not same(make(kind, 4, 1, **options), in_order[1])
    assert not same(in_order[0], in_order[1])


@pytest.mark.parametrize("name", KINDS)
def test_a_good_part_has_no_defect(name):
    sample = make(name.split(",")[0], 1, 0, defects=0, **KINDS[name])
    assert sample.defects == ()
    assert (sample.image == sample.clean).all()


@pytest.mark.parametrize(("kind", "sizes"), [
    ("pcb", ((257, 191), (97, 300), (640, 480))), ("fpc", ((257, 191), (64, 200), (500, 320))),
    ("metal", ((257, 191), (65, 90), (300, 500))), ("oring", ((257, 291), (500, 320)))])
def test_odd_and_oblong_sizes(kind, sizes):
    for size in sizes:
        sample = make(kind, 2, 1, size)
        assert sample.image.shape == sample.clean.shape == (size[1], size[0], 3)
        assert all(defect.mask.shape == size[::-1] for defect in sample.defects)
