"""Lines of 1 px where a predicted edge map is highest, so that predicted edges are what Canny's are: thin, 0 or 1."""
import torch
import torch.nn.functional as F
from torch import Tensor

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
LOW_SHARE = 0.5             # a line goes on, once begun, down to this share of the threshold
REACH_PX = 0.55             # of a crest from its pixel's middle: a little beyond the half, so that lines do not break
LEAST_BEND = 1e-4           # of the map's second difference: a flat top has no crest


@torch.no_grad()
def ridge_lines(chance: Tensor, threshold: float) -> Tensor:
    """bool [N, 1, H, W]: the ridges of a map [N, 1, H, W] in 0..1 (Steger 1998).

    A ridge pixel is one through whose square the crest runs: where, across the line, the smoothed map's slope is 0.
    Lines begin where that map reaches `threshold`, and go on over eight neighbours down to half of it.
    """
    smooth = _smoothed(chance.float())
    height, width = smooth.shape[2:]
    wide = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    near = {(y, x): wide[:, :, 1 + y:1 + y + height, 1 + x:1 + x + width] for y in (-1, 0, 1) for x in (-1, 0, 1)}
    down, right = (near[1, 0] - near[-1, 0]) / 2, (near[0, 1] - near[0, -1]) / 2
    bend_down, bend_right = near[1, 0] + near[-1, 0] - 2 * smooth, near[0, 1] + near[0, -1] - 2 * smooth
    twist = (near[1, 1] + near[-1, -1] - near[1, -1] - near[-1, 1]) / 4
    across = torch.atan2(2 * twist, bend_right - bend_down) / 2             # one of the two axes of the Hessian
    cosine, sine = across.cos(), across.sin()
    first = bend_right * cosine**2 + 2 * twist * cosine * sine + bend_down * sine**2
    second = bend_right + bend_down - first
    turn = second.abs() > first.abs()                                       # the axis along which the map bends most
    along_x, along_y = torch.where(turn, -sine, cosine), torch.where(turn, cosine, sine)
    bend = torch.where(turn, second, first)
    shift = -(right * along_x + down * along_y) / torch.where(bend < 0, bend, -1)
    on_crest = torch.maximum((shift * along_x).abs(), (shift * along_y).abs()) <= REACH_PX
    level = (down * along_x - right * along_y).abs() <= -bend       # beside a curved crest the map falls along the line
    ridge = (bend < -LEAST_BEND) & on_crest & level
    return _grown(ridge & (smooth >= threshold), ridge & (smooth >= LOW_SHARE * threshold))


def drawn_edges(logits: Tensor, mask: Tensor, line_threshold: float | None) -> Tensor:
    """What the edge generator draws in the mask, float [N, 1, H, W] in 0..1, as it goes into `merged_edges`.

    line_threshold      lines of 1 px, see ridge_lines; None: the soft map as it is, as published
    The gradient is the soft map's in both cases.
    """
    chance = logits.float().sigmoid()
    if line_threshold is None:
        return chance
    lines = ridge_lines(chance * mask, line_threshold).to(chance.dtype)
    return lines + (chance - chance.detach())


def _smoothed(chance: Tensor) -> Tensor:
    kernel = chance.new_tensor(BINOMIAL)
    padded = F.pad(chance, (2, 2, 2, 2), mode="replicate")
    with torch.autocast(chance.device.type, enabled=False):
        return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))


def _grown(strong: Tensor, weak: Tensor) -> Tensor:
    """`strong` with all of `weak` that hangs together with it."""
    while True:
        more = (F.max_pool2d(strong.float(), 3, 1, 1) > 0) & weak
        if torch.equal(more, strong):
            return strong
        strong = more
