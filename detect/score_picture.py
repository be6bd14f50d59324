"""A picture of how image scores tell good from defective, and where the threshold cuts."""
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .overlays import BANNER, RED

SIZE, LEFT, TOP, BOTTOM, BINS = (720, 360), 50, 40, 40, 25


def score_picture(scores: Sequence[float], defective: Sequence[bool], threshold: float) -> np.ndarray:
    """uint8 [H, W, 3]: counts of good and of defective images by score 0..1, side by side, and the threshold."""
    values, truth = np.clip(np.asarray(scores, float), 0, 1), np.asarray(defective, bool)
    cut = min(max(threshold, 0.0), 1.0)
    edges = np.unique(np.clip(cut + np.arange(-BINS, BINS + 1) / BINS, 0, 1))       # no bar on both sides of the cut
    counts = [np.histogram(values[chosen], edges)[0] for chosen in (~truth, truth)]
    most = max(1, *(int(one.max()) for one in counts))
    picture = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    width, height = SIZE[0] - LEFT - 20, SIZE[1] - TOP - BOTTOM
    base = TOP + height
    for kind, (count, colour) in enumerate(zip(counts, (BANNER["good"], RED))):
        for number, start, end in zip(count.tolist(), edges, edges[1:]):
            left, wide = LEFT + width * (start + (0.1 + 0.4 * kind) * (end - start)), 0.38 * width * (end - start)
            if number:
                draw.rectangle((left, base - height * number / most, left + wide, base), fill=colour)
    for at in range(6):
        draw.text((LEFT + width * at / 5, base + 8), f"{at / 5:.1f}", (60, 60, 60), font, anchor="mt")
    draw.line((LEFT, base, LEFT + width, base), (120, 120, 120))
    draw.text((LEFT - 8, TOP), str(most), (60, 60, 60), font, anchor="rm")
    draw.text((LEFT - 8, base), "0", (60, 60, 60), font, anchor="rm")
    draw.line((LEFT + width * cut, TOP - 6, LEFT + width * cut, base), (0, 0, 0), 2)
    words = f"good ({int((~truth).sum())})", f"defective ({int(truth.sum())})", f"threshold {threshold:.3f}"
    for x, text, colour in zip((LEFT, LEFT + 130, LEFT + 300), words, (BANNER["good"], RED, (0, 0, 0))):
        draw.text((x, 14), text, colour, font, anchor="lm")
    draw.text((LEFT + width / 2, SIZE[1] - 10), "score of the image", (60, 60, 60), font, anchor="mm")
    return np.asarray(picture)
