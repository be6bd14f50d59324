"""Images in bands: the same pixels as whole, for every way that TIFF stores them; damage is named; PNG row by row."""
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from core.data.bands import BlockRows, PngRows, WholeRows, open_rows
from core.data.images import read_image, read_mask
from core.errors import DataError
from core.seeding import rng


def picture(channels=3, depth=np.uint8, size=(53, 71)):
    top = np.iinfo(depth).max
    smooth = np.linspace(0, top, size[0] * size[1]).reshape(size[1], size[0], 1)
    return (smooth * rng(0).uniform(0.5, 1, (size[1], size[0], channels))).astype(depth)


def write_tiff(path, pixels, *, order="<", big=False, tile=None, strip=16, deflate=False, predictor=1):
    """A TIFF as other programs write it; `tile` is (width, height)."""
    height, width, samples = pixels.shape
    kind = pixels.dtype.newbyteorder(order)
    blocks = []
    if tile:
        for y in range(0, height, tile[1]):
            for x in range(0, width, tile[0]):
                block = np.zeros((tile[1], tile[0], samples), pixels.dtype)
                part = pixels[y:y + tile[1], x:x + tile[0]]
                block[:part.shape[0], :part.shape[1]] = part
                blocks.append(block)
    else:
        blocks = [pixels[y:y + strip] for y in range(0, height, strip)]
    if predictor == 2:
        blocks = [np.concatenate([block[:, :1], np.diff(block, axis=1).astype(block.dtype)], 1) for block in blocks]
    data = [block.astype(kind).tobytes() for block in blocks]
    data = [zlib.compress(one) for one in data] if deflate else data
    start = 16 if big else 8
    offsets = np.cumsum([start, *map(len, data)])[:-1].tolist()
    body = b"".join(data)
    tags = {256: [width], 257: [height], 258: [pixels.itemsize * 8] * samples, 259: [8 if deflate else 1],
            262: [2 if samples == 3 else 1], 277: [samples], 284: [1], 317: [predictor]}
    counts = list(map(len, data))
    tags |= {322: [tile[0]], 323: [tile[1]], 324: offsets, 325: counts} if tile else {
        273: offsets, 278: [strip], 279: counts}
    word, code, letter = ("Q", 16, "Q") if big else ("I", 4, "I")
    room, extra, entries = struct.calcsize(word), b"", []
    place = start + len(body)
    behind = place + (8 if big else 2) + len(tags) * (20 if big else 12) + room
    for tag in sorted(tags):
        values = struct.pack(f"{order}{len(tags[tag])}{letter}", *tags[tag])
        if len(values) > room:
            stored, extra = struct.pack(f"{order}{word}", behind + len(extra)), extra + values
        else:
            stored = values.ljust(room, b"\0")
        entries.append(struct.pack(f"{order}HH{word}", tag, code, len(tags[tag])) + stored)
    mark = b"II" if order == "<" else b"MM"
    head = (mark + struct.pack(f"{order}HHHQ", 43, 8, 0, place) if big else mark + struct.pack(f"{order}HI", 42, place))
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    path.write_bytes(head + body + count + b"".join(entries) + b"\0" * room + extra)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize(("deflate", "predictor"), [(False, 1), (True, 1), (True, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_in_bands_has_the_pixels_of_the_whole(tmp_path, order, big, tile, deflate, predictor, channels):
    depth = np.uint16 if order == ">" else np.uint8
    pixels = picture(channels, depth)
    path = write_tiff(tmp_path / "a.tif", pixels, order=order, big=big, tile=tile, deflate=deflate, predictor=predictor)
    image = open_rows(path)
    assert isinstance(image, BlockRows)
    assert image.size == (53, 71)
    bands = [image.rows(top, min(top + 19, 71)) for top in range(0, 71, 19)]
    assert np.array_equal(np.concatenate(bands), np.broadcast_to(pixels, (71, 53, 3)))
    assert np.concatenate(bands).dtype == depth


def test_files_of_other_programs_are_read_alike(tmp_path):
    pixels = picture()
    for name, options in (("a.tif", {}), ("b.tif", {"compression": "tiff_adobe_deflate"}), ("c.bmp", {}),
                          ("d.tif", {"compression": "tiff_lzw"}), ("e.png", {}), ("f.jpg", {})):
        Image.fromarray(pixels).save(tmp_path / name, **options)
        image = open_rows(tmp_path / name)
        assert isinstance(image, BlockRows) == (name[0] in "abc"), name
        assert np.array_equal(image.rows(5, 64), read_image(tmp_path / name)[5:64]), name


def test_an_image_in_one_plain_strip_is_read_in_pieces(tmp_path):
    pixels = picture(size=(20, 400))
    image = open_rows(write_tiff(tmp_path / "a.tif", pixels, strip=400))
    assert np.array_equal(image.rows(150, 290), pixels[150:290])
    assert max(block.nbytes for block in image.held.values()) < pixels.nbytes / 5


def test_bands_may_overlap_and_what_was_passed_is_dropped(tmp_path):
    pixels = picture(size=(20, 400))
    image = open_rows(write_tiff(tmp_path / "a.tif", pixels, strip=8))
    for top in range(0, 360, 20):
        assert np.array_equal(image.rows(top, top + 40), pixels[top:top + 40])
        assert len(image.held) <= 6


def test_damage_is_named_with_its_place(tmp_path):
    path = write_tiff(tmp_path / "a.tif", picture(), deflate=True)
    data = bytearray(path.read_bytes())
    middle = open_rows(path)
    assert middle.rows(0, 16).shape == (16, 53, 3)
    data[len(data) // 2:len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    image = open_rows(path)
    with pytest.raises(DataError, match=r"a.tif: not a readable image, got '.*' in its strip \d of 5"):
        image.rows(0, 71)
    short = tmp_path / "b.bmp"
    Image.fromarray(picture()).save(short)
    image = open_rows(short)
    short.write_bytes(short.read_bytes()[:2000])
    with pytest.raises(DataError, match="b.bmp: not a readable image, got .* bytes for its rows"):
        image.rows(0, 71)
    (tmp_path / "c.bmp").write_bytes(b"BMnothing")
    with pytest.raises(DataError, match="c.bmp: not a readable image"):
        open_rows(tmp_path / "c.bmp")
    with pytest.raises(DataError, match="no such image"):
        open_rows(tmp_path / "absent.tif")


@pytest.mark.filterwarnings("ignore")                # of Pillow, about the same damage
@pytest.mark.parametrize("big", [False, True])
def test_wrong_numbers_in_a_head_are_a_damaged_file(tmp_path, big):
    """Whatever they are, the file is read after all, or named; the program goes on with the next one."""
    data = write_tiff(tmp_path / "a.tif", picture(), big=big).read_bytes()
    place, = struct.unpack_from("<Q" if big else "<I", data, 8 if big else 4)
    entry, first = (20, place + 8) if big else (12, place + 2)
    count, = struct.unpack_from("<Q" if big else "<H", data, place)
    named = 0
    for number in range(count):
        for at, width in ((2, 2), (4, 8 if big else 4), (entry - (8 if big else 4), 8 if big else 4)):
            for value in (0, 2 ** (8 * width) - 1):
                start, changed = first + entry * number + at, bytearray(data)
                changed[start:start + width] = value.to_bytes(width, "little")
                (tmp_path / "b.tif").write_bytes(changed)
                try:
                    image = open_rows(tmp_path / "b.tif")
                    if image.size[0] * image.size[1] < 10 ** 6:
                        image.rows(0, image.size[1])
                except DataError as error:
                    named += "b.tif: not a readable image, got '" in str(error)
    assert named > 10


def test_an_index_png_written_in_bands_is_read_as_a_whole(tmp_path):
    labels = rng(0).integers(0, 7, (61, 47)).astype(np.uint8)
    palette = rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    png = PngRows(buffer, (47, 61), palette)
    for top in range(0, 61, 10):
        png.write(labels[top:top + 10])
    png.close()
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert np.array_equal(read_mask(tmp_path / "a.png"), labels)
    assert np.array_equal(read_image(tmp_path / "a.png"), palette[labels])
    assert WholeRows(palette[labels]).size == (47, 61)


def test_an_rgb_png_written_in_bands_is_read_as_a_whole(tmp_path):
    pixels, buffer = rng(0).integers(0, 256, (61, 47, 3)).astype(np.uint8), io.BytesIO()
    png = PngRows(buffer, (47, 61))
    for top in range(0, 61, 10):
        png.write(pixels[top:top + 10])
    png.close()
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
