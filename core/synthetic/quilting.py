"""New surfaces from the defect-free parts of real pictures: patches laid so that they fit, cut along the best seam.

Image quilting, Efros and Freeman 2001. Light that changes over more than a patch is taken off the pictures before.
"""
import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..data import formats
from ..data.formats.masks import index_mask
from ..data.images import read_image
from ..errors import DataError

PATCH_PX, OVERLAP_PX = 64, 20
GRID_PX = 4                 # of the places that patches are taken from
PLAIN_SIGMA_PX = 6.0        # what is finer is texture
ONE_COLOUR = 0.02           # mean colours of the patches of one surface differ by no more
ONE_TEXTURE = 0.2           # and the logarithms of their contrasts
CANDIDATES = 120            # patches looked at for each place
NEARLY = 1.2                # one is drawn among those whose misfit is at most so many times the least
CLEAR_PX = 5                # from any labelled defect
FLAT_SIGMA_PX = 40.0
LARGEST_PX = 1500           # a picture's longer side is cut to this
KEPT = 64                   # pictures


@dataclass(frozen=True)
class Material:
    """A real picture and where its patches without a defect lie.

    pixels      float32 [H, W, 3], of even light
    corners     int32 [N, 2], row and column of the first px of each patch
    means       float32 [N, 3], its mean colour
    rough       float32 [N], the standard deviation of its texture, in a logarithm
    """
    pixels: np.ndarray
    corners: np.ndarray
    means: np.ndarray
    rough: np.ndarray

    def like(self, number: int) -> np.ndarray:
        """The corners of the patches of the same surface as one of them."""
        apart = np.abs(self.means - self.means[number]).max(axis=1) / ONE_COLOUR
        apart = np.maximum(apart, np.abs(self.rough - self.rough[number]) / ONE_TEXTURE)
        return self.corners[apart <= max(1.0, np.percentile(apart, 5))]


@functools.lru_cache(maxsize=4)
def materials(folder: Path) -> tuple[Material, ...]:
    """What is in `folder`: pictures of good parts, or a labelled set of any format.

    DataError: no picture has a patch without a defect.
    """
    dataset = formats.read(folder, unlabelled="good")
    chosen = [dataset.records[at] for at in np.unique(np.linspace(0, len(dataset) - 1, KEPT).astype(int))]
    found = []
    for record in chosen:
        pixels = read_image(record.image)[:LARGEST_PX, :LARGEST_PX]
        marked = index_mask(record, dataset.classes)[:LARGEST_PX, :LARGEST_PX] > 0
        if min(marked.shape) >= PATCH_PX:
            made = clean_material(even(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max), marked)
            found += [made] if len(made.corners) else []
    if not found:
        raise DataError(f"{folder}: no defect-free patch of {PATCH_PX} px, got {len(dataset)} pictures. Give larger "
                        "pictures, or some of good parts")
    return tuple(found)


def clean_material(pixels: np.ndarray, marked: np.ndarray) -> Material:
    """The plainer half of the patches: a texture can be sewn together, the edges of a part cannot."""
    wide = cv2.dilate(marked.astype(np.float32), np.ones((2 * CLEAR_PX + 1,) * 2, np.uint8))
    slow = cv2.GaussianBlur(pixels.mean(axis=2), (0, 0), PLAIN_SIGMA_PX)
    free = patch_means(wide) == 0
    unlike = patch_means(slow * slow) - patch_means(slow) ** 2
    plain = free & (unlike <= np.median(unlike[free])) if free.any() else free
    rough = 0.5 * np.log(patch_means(np.square(pixels.mean(axis=2) - slow)) + 1e-6)
    return Material(pixels, (GRID_PX * np.argwhere(plain)).astype(np.int32), patch_means(pixels)[plain], rough[plain])


def patch_means(values: np.ndarray) -> np.ndarray:
    """Mean over every patch of float32 [H, W] or [H, W, 3], by its first px, each GRID_PX-th."""
    means = cv2.blur(values, (PATCH_PX, PATCH_PX), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    return means[:values.shape[0] - PATCH_PX + 1:GRID_PX, :values.shape[1] - PATCH_PX + 1:GRID_PX]


def even(pixels: np.ndarray) -> np.ndarray:
    """The picture without slow changes of its light."""
    grey = pixels.mean(axis=2)
    slow = cv2.GaussianBlur(grey, (0, 0), FLAT_SIGMA_PX)
    return (pixels * np.clip(grey.mean() / (slow + 0.02), 0.3, 3)[..., None]).clip(0, 1).astype(np.float32)


def quilt(rng: np.random.Generator, size: tuple[int, int], folder: Path) -> np.ndarray:
    """A surface float32 [H, W, 3] of `size` (w, h), of the material of one of the pictures."""
    pictures = materials(Path(folder))
    picture = pictures[int(rng.integers(len(pictures)))]
    pixels, corners = picture.pixels, picture.like(int(rng.integers(len(picture.corners))))
    step = PATCH_PX - OVERLAP_PX
    width, height = (PATCH_PX + step * max(0, -(-(side - PATCH_PX) // step)) for side in size)
    made = np.zeros((height, width, 3), np.float32)
    for y in range(0, height - OVERLAP_PX, step):
        for x in range(0, width - OVERLAP_PX, step):
            there = made[y:y + PATCH_PX, x:x + PATCH_PX]
            patch = fitting(rng, pixels, corners, there, left=x > 0, above=y > 0)
            share = seam_mask(patch, there, left=x > 0, above=y > 0)[..., None]
            there[:] = share * patch + (1 - share) * there
    return made[:size[1], :size[0]]


def fitting(rng: np.random.Generator, pixels: np.ndarray, corners: np.ndarray, there: np.ndarray, *, left: bool,
            above: bool) -> np.ndarray:
    """A patch of the picture that is like what already lies in the overlaps to the left and above."""
    drawn = corners[rng.integers(len(corners), size=CANDIDATES if left or above else 1)]
    patches = np.stack([pixels[y:y + PATCH_PX, x:x + PATCH_PX] for y, x in drawn])
    misfit = np.zeros(len(patches))
    if left:
        misfit += np.square(patches[:, :, :OVERLAP_PX] - there[:, :OVERLAP_PX]).sum((1, 2, 3))
    if above:
        misfit += np.square(patches[:, :OVERLAP_PX] - there[:OVERLAP_PX]).sum((1, 2, 3))
    near = np.flatnonzero(misfit <= NEARLY * misfit.min() + 1e-6)
    return patches[int(rng.choice(near))]


def seam_mask(patch: np.ndarray, there: np.ndarray, *, left: bool, above: bool) -> np.ndarray:
    """float32 [P, P]: 1 where the patch shows; it meets what lies there where both are most alike, softly."""
    share = np.ones(patch.shape[:2], np.float32)
    apart = np.square(patch - there).sum(axis=2)
    if left:
        share[:, :OVERLAP_PX] *= behind_seam(apart[:, :OVERLAP_PX])
    if above:
        share[:OVERLAP_PX] *= behind_seam(apart[:OVERLAP_PX].T).T
    soft = cv2.GaussianBlur(share, (0, 0), 0.8, borderType=cv2.BORDER_REPLICATE)
    return soft if left or above else share


def behind_seam(apart: np.ndarray) -> np.ndarray:
    """float32 [H, W]: 1 to the right of the path from top to bottom along which `apart` adds up to the least."""
    cost = apart.astype(np.float64)
    for row in range(1, len(cost)):
        before = np.pad(cost[row - 1], 1, constant_values=np.inf)
        cost[row] += np.minimum(np.minimum(before[:-2], before[1:-1]), before[2:])
    path = np.empty(len(cost), np.int64)
    path[-1] = cost[-1].argmin()
    for row in range(len(cost) - 2, -1, -1):
        low, high = max(0, path[row + 1] - 1), path[row + 1] + 2
        path[row] = low + cost[row, low:high].argmin()
    return (np.arange(cost.shape[1]) >= path[:, None]).astype(np.float32)
