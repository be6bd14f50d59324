"""Label images: colours to class numbers, the names of the numbers, and rims that interpolation left."""
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from ...errors import ConfigError, DataError

IGNORED = 255                           # code of pixels that neither train nor count
TOLERANCE = 40                          # levels a channel that a colour may be off
UNKNOWN_COLOURS = ("error", "ignore")   # what pixels of a colour that is in no class are
BACKGROUND = ("background", "bg", "_background_")


class ColourMap:
    """Class colours, in the order of their codes 1, 2, ...; black is the background unless one is named so."""

    def __init__(self, colours: Mapping[str, tuple[int, int, int]], unknown: str = "error"):
        if unknown not in UNKNOWN_COLOURS:
            raise ConfigError(f"unknown_colours: no such choice, got '{unknown}'. One of {', '.join(UNKNOWN_COLOURS)}")
        self.unknown = unknown
        self.names = [name for name in colours if name.lower() not in BACKGROUND]
        black = [colours[name] for name in colours if name.lower() in BACKGROUND] or [(0, 0, 0)]
        self.table = np.array([*black[:1], *(colours[name] for name in self.names)], np.int16)

    def codes(self, values: np.ndarray, path: Path) -> np.ndarray:
        """uint8 [H, W, 3] or [H, W] -> class codes uint8 [H, W]. DataError: colours of no class, with their counts."""
        if values.ndim == 2:
            if values.max(initial=0) <= len(self.names):
                return values                               # indices of a palette in the order of the classes
            values = np.repeat(values[..., None], 3, axis=2)
        codes = np.full(values.shape[:2], IGNORED, np.uint8)
        packed = _packed(values)
        for code, colour in enumerate(self.table):
            codes[packed == _packed(colour)] = code
        odd = np.nonzero(codes == IGNORED)
        if len(odd[0]):
            codes[odd] = self._nearest(values[odd], path)
        return codes

    def _nearest(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        apart = np.abs(pixels[:, None].astype(np.int16) - self.table).max(-1)
        codes = np.where(apart.min(1) <= TOLERANCE, apart.argmin(1), IGNORED).astype(np.uint8)
        strange = pixels[codes == IGNORED]
        if len(strange) and self.unknown == "error":
            found, counts = np.unique(strange, axis=0, return_counts=True)
            listed = ", ".join(f"{tuple(found[at].tolist())} {counts[at]} px" for at in np.argsort(-counts)[:5])
            jpeg = "JPEG changes colours: store masks as PNG. Else name" if is_jpeg(path) else "Name"
            raise DataError(f"{path}: colours of no class, got {listed}{' ...' if len(found) > 5 else ''}. {jpeg} them "
                            "in the colour map, or pass over them: scripts/convert.py --unknown-colours ignore, "
                            "train.py --set data.unknown_colours=ignore")
        return codes


def is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg")


def pure_colours(values: np.ndarray, path: Path) -> np.ndarray:
    """uint8 [H, W, 3] of fully saturated colours -> the codes of PURE; black is 0."""
    if not ((values == 0) | (values == 255)).all():
        count = len(np.unique(_packed(values)))
        raise DataError(f"{path}: a coloured mask without a colour map, got {count} colours. Say which colour is which "
                        f"class in colours.json, or with scripts/convert.py --colours crack=255,0,0")
    bits = (values > 0).astype(np.uint8) @ np.array([4, 2, 1], np.uint8)
    return np.where(bits > 0, bits + 240, 0).astype(np.uint8)


PURE = {240 + bits: "#" + "".join("ff" if bits >> at & 1 else "00" for at in (2, 1, 0)) for bits in range(1, 8)}


def without_rings(codes: np.ndarray) -> np.ndarray:
    """Give every connected part (8 neighbours, all classes together) the class that most of its pixels have."""
    count, parts = cv2.connectedComponents((codes > 0).astype(np.uint8), connectivity=8)
    votes = np.bincount(parts.ravel() * 256 + codes.ravel(), minlength=count * 256).reshape(count, 256)
    return votes.argmax(1).astype(np.uint8)[parts]


def parse_classes(root: Path) -> tuple[tuple[str, ...] | None, dict[str, tuple[int, int, int]] | None]:
    """What classes.json and colours.json say: names of the values 1, 2, ... and class -> RGB; None where they do not.

    classes.json: ["crack", ...], {"1": "crack"}, {"crack": 1}, or colours. colours.json: {"crack": [255, 0, 0]}.
    """
    names = colours = None
    for file in ("colours.json", "colors.json", "classes.json"):
        if (root / file).is_file():
            stored = _parsed(root / file)
            if isinstance(stored, dict) and stored and all(_is_colour(value) for value in stored.values()):
                colours = {name: tuple(value) for name, value in stored.items()}
            else:
                names = _names(stored, root / file)
    return names, colours


def parse_colour(option: str, text: str) -> tuple[str, tuple[int, int, int]]:
    """`crack=255,0,0` of a command line's option -> ("crack", (255, 0, 0))."""
    name, _, levels = text.rpartition("=")
    numbers = levels.split(",")
    if not name or len(numbers) != 3 or not all(part.strip().isdigit() and int(part) < 256 for part in numbers):
        raise ConfigError(f"{option}: not a class and its colour, got '{text}'. As in crack=255,0,0")
    return name, tuple(int(part) for part in numbers)


def _names(stored: object, path: Path) -> tuple[str, ...]:
    if isinstance(stored, list) and all(isinstance(name, str) for name in stored):
        return tuple(stored)
    if isinstance(stored, dict):
        numbered = {key: name for key, name in stored.items() if str(key).isdigit() and isinstance(name, str)}
        if len(numbered) < len(stored):
            numbered = {value: key for key, value in stored.items() if isinstance(value, int) and value >= 0}
        numbered = {int(number): name for number, name in numbered.items()}
        background = {number for number, name in numbered.items() if number == 0 or name.lower() in BACKGROUND}
        kept = sorted(set(numbered) - background)
        if len(numbered) == len(stored) and kept == list(range(1, len(kept) + 1)):
            return tuple(numbered[number] for number in kept)
    raise DataError(f'{path}: not a list of classes, got {str(stored)[:80]}. Write {{"1": "crack", "2": "pit"}} for '
                    f'the values of an index mask, {{"crack": [255, 0, 0]}} for colours')


def _parsed(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as JSON, got '{error}'. Mend the file") from error


def _is_colour(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value)


def _packed(values: np.ndarray) -> np.ndarray:
    """RGB [..., 3] -> one number a pixel."""
    wide = values.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
