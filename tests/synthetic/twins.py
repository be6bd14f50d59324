"""A made picture against its defect-free twin."""
import numpy as np
from scipy import ndimage

from core.synthetic.sample import Sample


def assert_true_twin(sample: Sample, reach_px: int) -> None:
    """Something has changed, and nothing farther than `reach_px` from every mask."""
    changed = (sample.image != sample.clean).any(axis=2)
    assert changed.any()
    masks = np.any([defect.mask for defect in sample.defects], axis=0)
    near = ndimage.binary_dilation(masks, np.ones((3, 3), bool), iterations=reach_px)
    assert not (changed & ~near).any()


def same(a: Sample, b: Sample) -> bool:
    return (np.array_equal(a.image, b.image) and np.array_equal(a.clean, b.clean)
            and [d.label for d in a.defects] == [d.label for d in b.defects]
            and all(np.array_equal(p.mask, q.mask) for p, q in zip(a.defects, b.defects)))
