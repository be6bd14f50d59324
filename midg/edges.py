"""Canny edges of a batch on any device, and how a defect's edges meet the background's."""
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from skimage.morphology import skeletonize

from core.errors import DataError

LOW, HIGH = float(np.float32(0.1)), 0.2     # on the gradient of grey 0..1; scikit-image keeps the low one as float32
TRUNCATE = 4.0                              # the Gaussian ends at this many sigmas
LINE_WIDTH_PX = 6                           # a drawing this thin is a line, a thicker one an area
COVER_PX = 2                                # a drawn area hides the background's edges this far beyond its border
ROUNDS = 4                                  # of the search for connected pixels, between two looks whether it is done


def grey_of(image: torch.Tensor) -> torch.Tensor:
    """RGB [..., 3, H, W] -> grey [..., 1, H, W], the weights of scikit-image and MIDG."""
    red, green, blue = image.unbind(-3)
    return (0.2125 * red + 0.7154 * green + 0.0721 * blue).unsqueeze(-3)


@torch.no_grad()
def canny(grey: torch.Tensor, sigma: float | Sequence[float] | torch.Tensor, valid: torch.Tensor | None = None, *,
          dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return the edges, bool of the shape of `grey`.

    grey     float [N, 1, H, W] or [N, H, W] in 0..1, on any device
    sigma    of the Gaussian in px, > 0: one for all or one a sample
    valid    bool like grey: pixels outside are not looked at, and no edge touches them (scikit-image calls it mask)
    dtype    with torch.float64 the edges are those of `skimage.feature.canny` to the pixel, because every sum is taken
             in the same order; torch.float32 halves the cost, and differs where two neighbours are equally strong, as
             along the straight borders of black and white pictures
    """
    images = grey.reshape(-1, *grey.shape[-2:]).to(dtype)
    inside = None if valid is None else valid.reshape(images.shape).bool()
    blurred = _blurred_by_sample(images, _sigmas(sigma, len(images)), inside)
    down, right = _sobel(blurred)
    strength = (down * down + right * right).sqrt()
    ridge = _thinned(down, right, strength, _away_from_border(images, inside))
    strong = strength.view(-1)[ridge] >= HIGH
    edges = torch.zeros(strength.shape, dtype=torch.bool, device=grey.device)
    edges.view(-1)[ridge[_linked(ridge, strong, strength.shape)]] = True
    return edges.view(grey.shape)


def merged_edges(inside: torch.Tensor, outside: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The edge map that the defect generator sees, in training and in use alike: float of the shape of `inside`.

    inside   the defect's edges, taken within the mask: predicted (0..1), drawn, or the real defect's
    outside  the edges of the material, taken everywhere else
    mask     bool or 0/1: the rectangles
    """
    mask = mask.to(inside.dtype if inside.is_floating_point() else torch.float32)
    return inside * mask + outside * (1 - mask)


def with_drawing(drawing: np.ndarray, background: torch.Tensor, mask: torch.Tensor, sigma: float) -> torch.Tensor:
    """The edge map of a drawn defect on a background: float32 [1, H, W].

    drawing     bool [H, W]: areas, closed contours or lines of the wanted defect; only what is in the mask counts
    background  edges of the material without the defect [1, H, W]. Outside the mask they are kept; inside it too, as in
                a picture of a real defect, but for those that the drawn area covers
    mask        bool or 0/1 [1, H, W]
    """
    drawn, area = _drawn(drawing, mask[0].cpu().numpy() > 0.5, sigma)
    covered = cv2.dilate(area.astype(np.uint8), np.ones((2 * COVER_PX + 1,) * 2, np.uint8)) > 0
    drawn, covered = (torch.from_numpy(values)[None].to(background.device) for values in (drawn, covered))
    return merged_edges((drawn | (background > 0.5) & ~covered).float(), background.float(), mask)


def edges_of_drawing(drawing: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """The edges that a drawn defect [H, W] would have in a picture, inside the mask [H, W]: bool [H, W].

    Areas and closed contours get the Canny edges of their area, so that a drawing looks like what the generator was
    trained on; open lines are thinned to 1 px. DataError: nothing is drawn there.
    """
    return _drawn(drawing, mask, sigma)[0]


def _drawn(drawing: np.ndarray, mask: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges of a drawing inside the mask, and the area that it covers: bool [H, W] each."""
    drawing, mask = drawing.astype(bool), mask.astype(bool)
    if not (drawing & mask).any():
        raise DataError(f"drawn shape: no line or area inside the mask, got {drawing.sum()} px drawn and a mask of "
                        f"{mask.sum()} px that do not meet. Move one onto the other")
    area, lines = _areas_and_lines(drawing & mask)
    outline = canny(torch.from_numpy(area)[None].double(), sigma, torch.from_numpy(mask)[None])[0].numpy()
    return outline | lines, area


def _areas_and_lines(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a drawing into areas, those within closed thin contours too, and 1 px wide open lines: bool [H, W] each."""
    area, lines = np.zeros_like(drawn), np.zeros_like(drawn)
    count, parts = cv2.connectedComponents(drawn.astype(np.uint8), connectivity=8)
    for number in range(1, count):
        part = parts == number
        if cv2.distanceTransform(np.pad(part.astype(np.uint8), 1), cv2.DIST_L2, 5).max() > LINE_WIDTH_PX / 2:
            area |= part
            continue
        line = skeletonize(part)
        filled = ndimage.binary_fill_holes(line)
        if (filled & ~line).any():
            area |= filled
        else:
            lines |= line
    return area, lines


def _sigmas(sigma: float | Sequence[float] | torch.Tensor, count: int) -> list[float]:
    values = sigma.tolist() if isinstance(sigma, torch.Tensor) else sigma
    values = [float(value) for value in values] if isinstance(values, Sequence) else [float(values)] * count
    if len(values) != count or min(values, default=1) <= 0:
        raise ValueError(f"sigma must be > 0, one for all or one for each of {count} samples, got {sigma}")
    return values


def _blurred_by_sample(images: torch.Tensor, sigmas: list[float], inside: torch.Tensor | None) -> torch.Tensor:
    if len(set(sigmas)) <= 1:
        return _blurred(images, sigmas[0], inside) if sigmas else images
    result = torch.empty_like(images)
    for sigma in sorted(set(sigmas)):
        chosen = torch.tensor([i for i, value in enumerate(sigmas) if value == sigma], device=images.device)
        result[chosen] = _blurred(images[chosen], sigma, None if inside is None else inside[chosen])
    return result


def _blurred(images: torch.Tensor, sigma: float, inside: torch.Tensor | None) -> torch.Tensor:
    """Gaussian blur of the valid pixels alone: what lies outside the picture or `inside` has no weight."""
    if inside is None:
        return _convolved(images, sigma) / _weight(sigma, *images.shape[1:], images.dtype, images.device)
    weight = _convolved(inside.to(images.dtype), sigma) + torch.finfo(images.dtype).eps
    return _convolved(torch.where(inside, images, 0), sigma) / weight


@lru_cache(maxsize=16)
def _weight(sigma: float, height: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The blur of a picture of ones [1, H, W]."""
    return _convolved(torch.ones((1, height, width), dtype=dtype, device=device), sigma) + torch.finfo(dtype).eps


def _convolved(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Separable Gaussian with zeros outside: rows first, the centre first, then pairs from the outside in.

    That is the order of scipy.ndimage; multiplication and addition are kept apart, since a fused one rounds once less.
    """
    radius = int(TRUNCATE * sigma + 0.5)
    kernel = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    weights = (kernel / kernel.sum()).tolist()
    for dim, padding in ((1, (0, 0, radius, radius)), (2, (radius, radius))):
        padded, length = F.pad(images, padding), images.shape[dim]
        images, pair = images * weights[radius], torch.empty_like(images)
        for near, weight in enumerate(weights[:radius]):
            torch.add(padded.narrow(dim, near, length), padded.narrow(dim, 2 * radius - near, length), out=pair)
            images.add_(pair.mul_(weight))
    return images


def _sobel(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients [N, H, W] downwards and to the right, not normalised; the border is repeated outwards."""
    padded = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down = padded[:, 2:] - padded[:, :-2]
    right = padded[:, :, 2:] - padded[:, :, :-2]
    return (2 * down[:, :, 1:-1] + (down[:, :, :-2] + down[:, :, 2:]),
            2 * right[:, 1:-1] + (right[:, :-2] + right[:, 2:]))


def _away_from_border(images: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """bool [N, H, W]: pixels whose eight neighbours are all in the picture and valid."""
    if inside is None:
        allowed = torch.zeros(images.shape, dtype=torch.bool, device=images.device)
        allowed[:, 1:-1, 1:-1] = True
        return allowed
    outside = F.pad((~inside).to(torch.float32), (1, 1, 1, 1), value=1.0)
    return F.max_pool2d(outside[:, None], 3, stride=1)[:, 0] == 0


def _thinned(down: torch.Tensor, right: torch.Tensor, strength: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Places (in the flattened batch) of pixels at least as strong as the two across the edge, which are interpolated.

    Those lie between a straight and a diagonal neighbour, towards the gradient and away from it.
    """
    width, flat = strength.shape[2], strength.reshape(-1)
    place = ((strength >= LOW) & allowed).view(-1).nonzero()[:, 0]
    here, along_y, along_x = (values.reshape(-1).index_select(0, place) for values in (strength, down, right))
    same_sign = (along_y > 0) == (along_x > 0)
    size_y, size_x = along_y.abs(), along_x.abs()
    steep = torch.where(same_sign, size_y > size_x, size_y >= size_x)
    share = torch.where(steep, size_x / size_y, size_y / size_x)
    rows = torch.where(same_sign, width, -width)            # a step down, or up, as the gradient goes when x grows
    straight, diagonal = torch.where(steep, rows, 1), rows + 1
    kept = torch.ones_like(same_sign)
    for sign in (1, -1):
        across = flat.index_select(0, place + sign * diagonal) * share
        across += flat.index_select(0, place + sign * straight) * (1 - share)
        kept &= across <= here
    return place[kept]


def _linked(place: torch.Tensor, strong: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Which of the pixels at `place` hang together, over eight neighbours, with a strong one: bool [K].

    Among the weak ones every pixel takes the highest number of its neighbours, tells it to the pixel whose number it
    had, and then takes that pixel's number: a line of any length is one after a few rounds. Strong pixels are the
    highest number from the start.
    """
    weak = (~strong).nonzero()[:, 0]
    count, device = len(weak), place.device
    linked, nobody = count, count + 1
    height, width = shape[1] + 2, shape[2] + 2              # a border, so that neighbours never lie in the next row
    sample, inner = place // (shape[1] * shape[2]), place % (shape[1] * shape[2])
    place = sample * (height * width) + (inner // shape[2] + 1) * width + inner % shape[2] + 1
    numbers = torch.full((shape[0] * height * width,), nobody, device=device)
    numbers[place] = linked
    numbers[place[weak]] = torch.arange(count, device=device)
    steps = torch.tensor([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1], device=device)
    neighbours = numbers[place[weak] + steps[:, None]].view(-1)
    label = torch.arange(count + 2, device=device)
    label[nobody] = -1
    while True:
        before = label
        for _ in range(ROUNDS):
            own = label[:count]
            best = torch.maximum(label.index_select(0, neighbours).view(8, count).amax(0), own)
            told = label.scatter_reduce(0, own, best, "amax")
            label = torch.cat([told.index_select(0, told[:count]), told[count:]])
        if torch.equal(label, before):
            break
    result = strong.clone()
    result[weak] = label[:count] == linked
    return result
