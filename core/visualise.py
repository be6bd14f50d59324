"""Pictures of images, masks and boxes: shown in eight bits, cut out, enlarged, outlined, laid out in labelled grids."""
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]     # x1, y1, x2, y2 in px, x2 and y2 exclusive
Window = tuple[int, int, int, int]

# Colours RGB by class number, told apart by most people with colour-deficient sight too (after Okabe and Ito).
COLOURS = np.array([(230, 75, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167), (240, 200, 30), (86, 180, 233),
                    (150, 90, 40), (120, 120, 120)], np.uint8)


def white_point(samples: list[np.ndarray]) -> int:
    """The level to show as white: 255 for eight-bit images; for deeper ones what 99.9 % of the pixels stay below.

    A 12-bit camera's 16-bit files would otherwise be shown almost black. Give images that are shown together at once.
    """
    deep = [pixels for pixels in samples if pixels.dtype != np.uint8]
    if not deep:
        return 255
    return max(1, int(np.percentile(np.concatenate([pixels[::4, ::4].ravel() for pixels in deep]), 99.9)))


def shown(pixels: np.ndarray, white: int = 65535) -> np.ndarray:
    """Pixels uint8 [H, W, 3] as they are; uint16 ones as uint8 with the level `white` at 255."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(np.minimum(pixels.astype(np.float32) / white, 1) * 255).astype(np.uint8)


def square_window(box: Box, size: tuple[int, int], side_px: int) -> Window:
    """The square window of `side_px` round a box's middle, moved inside an image of `size` (w, h) and cut to it."""
    spans = []
    for low, high, length in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        start = min(max(int((low + high - side_px) // 2), 0), max(length - side_px, 0))
        spans.append((start, min(start + side_px, length)))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def cut(pixels: np.ndarray, window: Window) -> np.ndarray:
    """The window's pixels, a view."""
    return pixels[window[1]:window[3], window[0]:window[2]]


def reduced(pixels: np.ndarray, side_px: int) -> np.ndarray:
    """The picture with its longer side at most `side_px`, averaged; as it is where it is small enough."""
    height, width = pixels.shape[:2]
    factor = side_px / max(height, width)
    if factor >= 1:
        return pixels
    return cv2.resize(pixels, (max(1, round(width * factor)), max(1, round(height * factor))),
                      interpolation=cv2.INTER_AREA)


def enlarged(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Every pixel `factor` times in both directions, edges crisp."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def overlay(pixels: np.ndarray, masks: list[np.ndarray] = (), boxes: list[Box] = (), *, colours: np.ndarray = COLOURS,
            kinds: list[int] | None = None, fill: float = 0.3) -> np.ndarray:
    """A copy of uint8 pixels [H, W, 3] with masks, bool [H, W], tinted and outlined and boxes drawn round the outside.

    Mask and box i take colour `kinds[i]` (by default i); `fill` is the strength of the tint, 0..1.
    """
    drawn = pixels.copy()
    kinds = list(range(max(len(masks), len(boxes)))) if kinds is None else kinds
    for mask, kind in zip(masks, kinds):
        colour = colours[kind % len(colours)]
        drawn[mask] = np.rint(drawn[mask] * (1 - fill) + colour * fill).astype(np.uint8)
        edge = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
        drawn[edge] = colour
    for box, kind in zip(boxes, kinds):
        x1, y1, x2, y2 = (round(value) for value in box)
        cv2.rectangle(drawn, (x1 - 1, y1 - 1), (x2, y2), colours[kind % len(colours)].tolist(), 1)
    return drawn


def grid(rows: list[list[np.ndarray]], *, row_labels: list[str] = (), column_labels: list[str] = (),
         gap_px: int = 4) -> np.ndarray:
    """One picture of many: uint8 [H, W, 3] images in rows on white, each in the middle of a cell of the largest's size.

    Labels stand left of the rows and above the columns.
    """
    tallest = max(image.shape[0] for row in rows for image in row)
    widest = max(image.shape[1] for row in rows for image in row)
    font = ImageFont.load_default(size=12)
    left = max((int(font.getlength(label)) + 2 * gap_px for label in row_labels), default=gap_px)
    top = 20 if column_labels else gap_px
    columns = max(map(len, rows))
    sheet = np.full((top + len(rows) * (tallest + gap_px), left + columns * (widest + gap_px), 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            y = top + r * (tallest + gap_px) + (tallest - image.shape[0]) // 2
            x = left + c * (widest + gap_px) + (widest - image.shape[1]) // 2
            sheet[y:y + image.shape[0], x:x + image.shape[1]] = image
    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    for r, label in enumerate(row_labels):
        draw.text((gap_px, top + r * (tallest + gap_px) + tallest // 2), label, (30, 30, 30), font, anchor="lm")
    for c, label in enumerate(column_labels):
        draw.text((left + c * (widest + gap_px) + widest // 2, top // 2), label, (30, 30, 30), font, anchor="mm")
    return np.asarray(picture)


def fill_path(mask: np.ndarray, x: int = 0, y: int = 0) -> str:
    """SVG path over exactly the mask's pixels, bool [H, W] with its corner at (x, y): one rectangle a run of a row."""
    rows, starts, lengths = _runs(mask)
    return "".join(f"M{x + c} {y + r}h{n}v1h-{n}z" for r, c, n in zip(rows, starts, lengths))


def edge_path(mask: np.ndarray, x: int = 0, y: int = 0) -> str:
    """SVG path along the mask's pixel edges, round holes too."""
    framed = np.pad(mask, 1)
    rows, starts, lengths = _runs(framed[1:, 1:-1] != framed[:-1, 1:-1])
    columns, tops, heights = _runs((framed[1:-1, 1:] != framed[1:-1, :-1]).T)
    return ("".join(f"M{x + c} {y + r}h{n}" for r, c, n in zip(rows, starts, lengths))
            + "".join(f"M{x + c} {y + r}v{n}" for c, r, n in zip(columns, tops, heights)))


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of uint8 pixels [H, W, 3] RGB, colour at full resolution."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    return data.tobytes()


def _runs(mask: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Row, first column and length of every horizontal run of true pixels."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = (steps == 1).nonzero()
    ends = (steps == -1).nonzero()[1]
    return rows.tolist(), starts.tolist(), (ends - starts).tolist()
