"""Image files of every kind: read as they are meant, or refused by name."""
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from core.data import images
from core.errors import DataError

GREY = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10) * 2
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def saved(path, pixels: np.ndarray, mode: str | None = None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp"])
def test_lossless_colour(tmp_path, suffix):
    path = saved(tmp_path / f"größe 1{suffix}", COLOUR, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(images.read_image(path), COLOUR)
    assert images.read_size(path) == (10, 12)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_grey_becomes_three_equal_channels(tmp_path, suffix):
    pixels = images.read_image(saved(tmp_path / f"g{suffix}", GREY))
    assert np.array_equal(pixels, np.repeat(GREY[..., None], 3, 2))
    assert images.is_grey(pixels)
    assert not images.is_grey(COLOUR)


def test_one_bit_and_grey_with_alpha(tmp_path):
    black_white = saved(tmp_path / "b.png", (GREY > 100).astype(np.uint8) * 255, "1")
    assert np.array_equal(images.read_image(black_white)[..., 0], (GREY > 100) * 255)
    transparent = np.dstack([np.full_like(GREY, 200), np.where(GREY > 100, 255, 0).astype(np.uint8)])
    assert np.array_equal(images.read_image(saved(tmp_path / "la.png", transparent))[..., 1], (GREY > 100) * 200)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("alpha", [None, 0, 255])
def test_bitmaps_of_32_bits_are_read_whatever_their_fourth_byte(tmp_path, top_down, alpha):
    """alpha None: the header knows of none, and the byte is 0, as most cameras' programs write it."""
    height, width = GREY.shape
    rows = COLOUR if top_down else COLOUR[::-1]
    data = np.dstack([rows[..., ::-1], np.full_like(GREY, alpha or 0)]).tobytes()
    masks = b"" if alpha is None else struct.pack("<4I", 0xff0000, 0xff00, 0xff, 0xff000000) + b"BGRs" + bytes(48)
    info = struct.pack("<IiiHHIIiiII", 40 + len(masks), width, -height if top_down else height, 1, 32,
                       0 if alpha is None else 3, len(data), 0, 0, 0, 0) + masks
    start = 14 + len(info)
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + data)
    assert np.array_equal(images.read_image(tmp_path / "a.bmp"), COLOUR)


def test_a_compressed_bitmap_is_read(tmp_path):
    height, width = GREY.shape
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    data = b"".join(b"".join(bytes([1, level]) for level in row) + b"\0\0" for row in GREY[::-1]) + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    (tmp_path / "a.bmp").write_bytes(head + info + palette + data)
    assert np.array_equal(images.read_image(tmp_path / "a.bmp")[..., 1], GREY)


def test_alpha_is_dropped_over_black(tmp_path):
    alpha = np.where(GREY > 100, 255, 0).astype(np.uint8)
    pixels = images.read_image(saved(tmp_path / "a.png", np.dstack([COLOUR, alpha])))
    assert np.array_equal(pixels, np.where(alpha[..., None] > 0, COLOUR, 0))


def test_palettes_are_resolved_but_kept_in_masks(tmp_path):
    indices = (GREY // 64).astype(np.uint8)
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 9, 255]], np.uint8)
    path = tmp_path / "p.png"
    path.write_bytes(images.encode_png(indices, palette=palette))
    assert np.array_equal(images.read_image(path), palette[indices])
    assert np.array_equal(images.read_mask(path), indices)
    for suffix in (".bmp", ".tif"):
        image = Image.fromarray(indices)
        image.putpalette(palette.tobytes())
        image.save(tmp_path / f"p{suffix}")
        assert np.array_equal(images.read_image(tmp_path / f"p{suffix}"), palette[indices])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_is_kept(tmp_path, suffix, channels):
    deep = COLOUR.astype(np.uint16) * 257 - 3
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), deep[..., 0] if channels == 1 else deep[..., ::-1])
    pixels = images.read_image(path)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, deep if channels == 3 else np.repeat(deep[..., :1], 3, 2))
    assert np.array_equal(images.to_pixels(images.to_tensor(pixels), np.uint16), pixels)


def test_writing_and_reading_again(tmp_path):
    for pixels in (COLOUR, COLOUR.astype(np.uint16) * 200):
        images.write_image(tmp_path / "w.png", pixels)
        assert np.array_equal(images.read_image(tmp_path / "w.png"), pixels)
    assert np.array_equal(images.to_pixels(images.to_tensor(COLOUR)), COLOUR)
    assert [path.name for path in tmp_path.iterdir()] == ["w.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_turned_images_stand_upright(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 220                                             # light top left
    upright[:16, 24:] = 90
    undo = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
            6: np.rot90(upright, 1), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1)}[orientation]
    path = saved(tmp_path / f"t{suffix}", np.ascontiguousarray(undo), exif=exif)
    assert images.read_size(path) == (48, 32)
    pixels = images.read_image(path).astype(int)
    assert pixels.shape == (32, 48, 3)
    assert np.abs(pixels - upright).mean() < 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = saved(tmp_path / f"cut off{suffix}", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])
    with pytest.raises(DataError, match=f"cut off{suffix}: not a readable image"):
        images.read_image(path)


def test_a_truncated_16_bit_file_is_named(tmp_path, capfd):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 65535, (64, 64, 3), dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match="deep.png: not a readable image, got 'damaged pixels'"):
        images.read_image(path)
    capfd.readouterr()                                                  # the codec's own complaint


def test_light_is_what_is_shown_in_8_bits(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    path = tmp_path / "palette.png"
    path.write_bytes(images.encode_png(indices, palette=np.array([[0, 0, 0], [255, 255, 255], [9, 130, 40]], np.uint8)))
    assert images.read_light(path).tolist() == [[0, 255], [130, 255]]
    for levels, shown in (([0, 128 * 257, 65535], [0, 128, 255]), ([0, 128, 255], [0, 128, 255])):
        images.write_image(tmp_path / "deep.png", np.array([levels], np.uint16))
        assert images.read_light(tmp_path / "deep.png").tolist() == [shown]
    images.write_image(tmp_path / "red.png", np.array([[[200, 3, 0]]], np.uint8))
    assert images.read_light(tmp_path / "red.png").tolist() == [[200]]


@pytest.mark.parametrize("read", [images.read_image, images.read_size, images.read_mask,
                                  images.read_light])
def test_what_is_no_image_is_named(tmp_path, read):
    for name, data in (("zero.png", b""), ("text.jpg", b"not a picture"), ("page.bmp", b"BM")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: not a readable image"):
            read(tmp_path / name)
    with pytest.raises(DataError, match=r"gone.png: no such image"):
        read(tmp_path / "gone.png")


def test_masks_keep_grey_levels_and_colours(tmp_path):
    assert np.array_equal(images.read_mask(saved(tmp_path / "g.png", GREY)), GREY)
    assert np.array_equal(images.read_mask(saved(tmp_path / "c.png", COLOUR)), COLOUR)
    assert images.read_mask(saved(tmp_path / "same.png", np.repeat(GREY[..., None], 3, 2))).shape == GREY.shape
    assert np.array_equal(images.read_mask(saved(tmp_path / "one.png", GREY, "1")) > 0, np.array(
        Image.fromarray(GREY).convert("1")))


def test_sizes_come_from_the_header_alone(tmp_path):
    """A picture cut off right after its header still tells its size: nothing was decoded."""
    path = saved(tmp_path / "large.png", np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:200])
    assert images.read_size(path) == (400, 300)


def test_image_names(tmp_path):
    names = ("a.PNG", "b.Tiff", ".a.png", "Thumbs.db", "a.gif", "c.webp")
    assert [images.is_image(tmp_path / name) for name in names] == [True, True, False, False, False, True]
