"""Images larger than memory: read and written in bands of rows.

TIFF and BigTIFF (strips or tiles, stored plain or deflated) and plain BMP are read from the disk band by band; any
other image is decoded whole. PNG is written row by row.
"""
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import DataError
from .images import read_image

# TIFF tags and what is read of them.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION, SAMPLES, STRIP_ROWS, COUNTS = (
    256, 257, 258, 259, 262, 273, 274, 277, 278, 279)
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, FORMAT = 284, 317, 322, 323, 324, 325, 339
PLAIN, DEFLATED = 1, (8, 32946)
PLAIN_ROWS = 64         # read at a time where an image is stored plain and in one piece
TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
# What a head with wrong numbers in it can raise, among them memory for more bytes than any file has.
UNREADABLE = (OSError, struct.error, KeyError, IndexError, ValueError, ArithmeticError, MemoryError)


class Unfit(Exception):
    """A file that is not of the kinds that can be read in bands."""


class WholeRows:
    """Pixels uint8 or uint16 [H, W, 3] in memory, as rows."""

    def __init__(self, pixels: np.ndarray):
        self.pixels, self.size = pixels, pixels.shape[1::-1]

    def rows(self, top: int, bottom: int) -> np.ndarray:
        return self.pixels[top:bottom]


def open_rows(path: Path) -> "WholeRows | BlockRows":
    """An image with `size` (width, height) and `rows(top, bottom)` -> pixels uint8 or uint16 [bottom - top, W, 3].

    `top` must not fall from call to call. DataError: no image, or a damaged one, also later when its rows are read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            reader = _tiff if start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None
            if start[:2] == b"BM":
                reader = _bmp
            if reader is not None:
                return reader(Path(path), file)
    except (Unfit, *UNREADABLE):
        pass                                    # read_image reads it, or says what is wrong with it
    return WholeRows(read_image(path))


class BlockRows:
    """An image in rows of blocks (strips, tiles), each row decoded when it is asked for and dropped when it is passed.

    decode      number of a row of blocks -> pixels [rows, W, S]
    """

    def __init__(self, size: tuple[int, int], block_rows: int, decode: Callable[[int], np.ndarray]):
        self.size, self.block_rows, self.decode = size, block_rows, decode
        self.held: dict[int, np.ndarray] = {}

    def rows(self, top: int, bottom: int) -> np.ndarray:
        first, last = top // self.block_rows, (bottom - 1) // self.block_rows
        self.held = {number: block for number, block in self.held.items() if number >= first}
        for number in range(first, last + 1):
            if number not in self.held:
                self.held[number] = self.decode(number)
        low = first * self.block_rows
        pixels = np.concatenate([self.held[number] for number in range(first, last + 1)])[top - low:bottom - low]
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


class PngRows:
    """Writes a PNG uint8 band after band, an index mask [h, W] with a palette, or RGB [h, W, 3]; `close` ends it."""

    def __init__(self, file: BinaryIO, size: tuple[int, int], palette: np.ndarray | None = None):
        """`palette`: uint8 [K, 3]; None: RGB."""
        self.file, self.packer = file, zlib.compressobj(3)
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2 if palette is None else 3, 0, 0, 0))
        if palette is not None:
            self._chunk(b"PLTE", palette.astype(np.uint8).tobytes())

    def write(self, pixels: np.ndarray) -> None:
        rows = pixels.reshape(len(pixels), -1)
        unfiltered = np.zeros((len(rows), rows.shape[1] + 1), np.uint8)
        unfiltered[:, 1:] = rows
        packed = self.packer.compress(unfiltered.tobytes())
        if packed:
            self._chunk(b"IDAT", packed)

    def close(self) -> None:
        self._chunk(b"IDAT", self.packer.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _tiff(path: Path, file: BinaryIO) -> BlockRows:
    tags, order = _tiff_tags(file)
    one = {tag: values[0] for tag, values in tags.items()}
    bits, samples = set(tags.get(BITS, (1,))), one.get(SAMPLES, 1)
    compression, predictor = one.get(COMPRESSION, PLAIN), one.get(PREDICTOR, 1)
    readable = (compression in (PLAIN, *DEFLATED) and predictor in (1, 2) and one.get(PLANAR, 1) == 1
                and (one.get(PHOTOMETRIC), samples) in ((1, 1), (2, 3)) and bits in ({8}, {16})
                and one.get(ORIENTATION, 1) == 1 and set(tags.get(FORMAT, (1,))) == {1})
    if not readable:
        raise Unfit
    width, height, tiled = one[WIDTH], one[HEIGHT], TILE_OFFSETS in tags
    block_rows = one[TILE_HEIGHT] if tiled else min(one.get(STRIP_ROWS, height), height)
    block_width = one[TILE_WIDTH] if tiled else width
    across, kind = -(-width // block_width), np.dtype(f"{order}u{min(bits) // 8}")
    offsets, counts = (tags[TILE_OFFSETS], tags[TILE_COUNTS]) if tiled else (tags[OFFSETS], tags[COUNTS])
    if len(offsets) == 1 and compression == PLAIN and not tiled:        # one strip: cut where we like
        row_bytes, block_rows = width * samples * kind.itemsize, min(block_rows, PLAIN_ROWS)
        tops = range(0, height, block_rows)
        offsets = [offsets[0] + top * row_bytes for top in tops]
        counts = [min(block_rows, height - top) * row_bytes for top in tops]
    if len(offsets) != across * -(-height // block_rows) or len(offsets) != len(counts):
        raise Unfit

    def block(number: int, rows: int) -> np.ndarray:
        stored_rows = block_rows if tiled else rows
        try:
            with open(path, "rb") as opened:
                opened.seek(offsets[number])
                data = opened.read(counts[number])
            data = data if compression == PLAIN else zlib.decompress(data)
            pixels = np.frombuffer(data, kind, stored_rows * block_width * samples)
        except (zlib.error, *UNREADABLE) as error:
            place = f"{'tile' if tiled else 'strip'} {number} of {len(offsets)}"
            reason = str(error) or type(error).__name__
            raise DataError(f"{path}: not a readable image, got '{reason}' in its {place}. Replace it or take it "
                            "out") from error
        pixels = pixels.reshape(stored_rows, block_width, samples).astype(kind.newbyteorder("="))
        if predictor == 2:
            pixels = np.cumsum(pixels, axis=1, dtype=pixels.dtype)
        return pixels[:rows]

    def decode(row: int) -> np.ndarray:
        rows = min(block_rows, height - row * block_rows)
        return np.concatenate([block(row * across + column, rows) for column in range(across)], 1)[:, :width]
    return BlockRows((width, height), block_rows, decode)


def _tiff_tags(file: BinaryIO) -> tuple[dict[int, tuple[int, ...]], str]:
    """Tag -> whole numbers of the first image, and the byte order, "<" or ">"."""
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", start[2:4])[0] == 43
    place, = struct.unpack(f"{order}Q", start[8:16]) if big else struct.unpack(f"{order}I", start[4:8])
    number, entry = ("Q", "HHQ8s") if big else ("H", "HHI4s")
    file.seek(place)
    count, = struct.unpack(f"{order}{number}", file.read(struct.calcsize(f"{order}{number}")))
    size = struct.calcsize(f"{order}{entry}")
    entries, tags = file.read(size * count), {}
    for at in range(count):
        tag, kind, length, value = struct.unpack_from(f"{order}{entry}", entries, at * size)
        if kind not in TYPES:
            continue
        form = f"{order}{length}{TYPES[kind]}"
        if struct.calcsize(form) > len(value):
            file.seek(struct.unpack(f"{order}{'Q' if big else 'I'}", value)[0])
            value = file.read(struct.calcsize(form))
        tags[tag] = struct.unpack_from(form, value)
    return tags, order


def _bmp(path: Path, file: BinaryIO) -> BlockRows:
    """Plain 24-bit BMP, whose rows stand upside down."""
    file.seek(0)
    head = file.read(34)
    start, = struct.unpack_from("<I", head, 10)
    width, height, planes, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    if (bits, compression, planes) != (24, 0, 1) or width <= 0 or height <= 0:
        raise Unfit
    stride, block_rows = -(-width * 3 // 4) * 4, PLAIN_ROWS

    def decode(number: int) -> np.ndarray:
        top, bottom = number * block_rows, min((number + 1) * block_rows, height)
        with open(path, "rb") as opened:
            opened.seek(start + (height - bottom) * stride)
            data = opened.read((bottom - top) * stride)
        if len(data) < (bottom - top) * stride:
            raise DataError(f"{path}: not a readable image, got {len(data)} bytes for its rows {top} to {bottom}. "
                            "Replace it or take it out")
        rows = np.frombuffer(data, np.uint8).reshape(-1, stride)[::-1, :width * 3]
        return np.ascontiguousarray(rows.reshape(-1, width, 3)[..., ::-1])
    return BlockRows((width, height), block_rows, decode)
