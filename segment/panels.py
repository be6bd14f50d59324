"""Pictures of a prediction: image, truth, prediction and error side by side; index masks in colour."""
import numpy as np

from core.visualise import COLOURS, enlarged, grid, overlay, reduced, shown, white_point

from .losses import IGNORE

FALSE, MISSED, CONFUSED = 0, 1, 2       # of the error's colours
ERRORS = np.array([(230, 60, 40), (30, 110, 220), (240, 190, 40)], np.uint8)
IGNORED = (128, 128, 128)
SIDE_PX = 480
COLUMNS = ["image", "truth", "prediction", "error", "made small, at once"]


def panel(pixels: np.ndarray, truth: np.ndarray, predicted: np.ndarray, side_px: int = SIDE_PX,
          whole: np.ndarray | None = None) -> np.ndarray:
    """uint8 [H', W', 3]: the four beside each other, small ones enlarged; labels uint8 [H, W].

    whole   labels of the image in one small piece, for a fifth picture
    """
    seen = shown(pixels, white_point([pixels]))
    pictures = [seen, tinted(seen, truth), tinted(seen, predicted), errors(seen, truth, predicted)]
    pictures += [] if whole is None else [tinted(seen, whole)]
    factor = max(1, side_px // 2 // max(truth.shape))
    fitted = [reduced(enlarged(picture, factor), side_px) for picture in pictures]
    return grid([fitted], column_labels=COLUMNS[:len(fitted)])


def tinted(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The picture uint8 with each class in its colour, filled and outlined."""
    kinds = [number - 1 for number in np.unique(labels).tolist() if number not in (0, IGNORE)]
    drawn = overlay(pixels, [labels == kind + 1 for kind in kinds], kinds=kinds, fill=0.45)
    drawn[labels == IGNORE] = IGNORED
    return drawn


def errors(pixels: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The picture pale and grey, with what is wrong in colour: false findings, missed defects, wrong classes."""
    grey = np.rint(pixels.mean(2) * 0.5 + 127).astype(np.uint8)
    drawn = np.repeat(grey[..., None], 3, axis=2)
    counted = truth != IGNORE
    drawn[counted & (truth == 0) & (predicted > 0)] = ERRORS[FALSE]
    drawn[counted & (truth > 0) & (predicted == 0)] = ERRORS[MISSED]
    drawn[counted & (truth > 0) & (predicted > 0) & (truth != predicted)] = ERRORS[CONFUSED]
    drawn[~counted] = IGNORED
    return drawn


def palette(classes: int) -> np.ndarray:
    """uint8 [256, 3] for index PNGs: black, the classes' colours, grey for IGNORE."""
    table = np.zeros((256, 3), np.uint8)
    for number in range(1, classes + 1):
        table[number] = COLOURS[(number - 1) % len(COLOURS)] // (1 + (number - 1) // len(COLOURS))
    table[IGNORE] = IGNORED
    return table
