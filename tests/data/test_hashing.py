"""Fingerprints: a re-encoded picture is known again, another part in the same set-up is not taken for it."""
import cv2
import numpy as np
import pytest

from core.data import hashing, images
from core.errors import DataError
from core.seeding import rng
from tests.sets import plate


def scene(number: int, size: tuple[int, int] = (160, 160)) -> np.ndarray:
    """One set-up: light and bright edges common to all numbers, the grain of the surface its own. uint8 [H, W, 3]."""
    pixels = cv2.resize(rng(1).normal(0, 60, (6, 6)), size, interpolation=cv2.INTER_CUBIC) + 128
    cv2.line(pixels, (10, 20), (150, 60), 250, 5)
    cv2.line(pixels, (20, 140), (140, 100), 10, 7)
    grain = cv2.GaussianBlur(rng(2, number).normal(0, 1, size[::-1]), (0, 0), 1.0)
    return np.clip(pixels + 12 * grain, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def prints_of(folder, *pictures: np.ndarray) -> list[hashing.Fingerprint]:
    found = []
    for number, pixels in enumerate(pictures):
        images.write_image(folder / f"{number}.png", pixels)
        found.append(hashing.fingerprint(folder / f"{number}.png"))
    return found


def bits_apart(first: hashing.Fingerprint, second: hashing.Fingerprint) -> int:
    return (first.phash ^ second.phash).bit_count()


CHANGES = {
    "jpeg 75": lambda p: jpeg(p, 75),
    "smaller": lambda p: cv2.resize(p, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA),
    "larger": lambda p: cv2.resize(p, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC),
    "darker": lambda p: (p * 0.8).astype(np.uint8),
    "gamma": lambda p: (255 * (p / 255) ** 1.3).astype(np.uint8),
    "noise": lambda p: np.clip(p + rng(3).normal(0, 3, p.shape), 0, 255).astype(np.uint8),
    "16-bit": lambda p: p.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_near(tmp_path, change):
    for number in range(4):
        pixels = scene(number)
        assert hashing.near_duplicates(prints_of(tmp_path, pixels, CHANGES[change](pixels))) == [(0, 1)]


def test_other_parts_in_the_same_set_up_are_not_near_though_their_hashes_are(tmp_path):
    prints = prints_of(tmp_path, *(scene(number) for number in range(8)))
    assert min(bits_apart(prints[0], other) for other in prints[1:]) <= hashing.NEAR_BITS
    assert hashing.near_duplicates(prints) == []
    alike = [(i, j) for i in range(8) for j in range(i + 1, 8) if bits_apart(prints[i], prints[j]) <= hashing.NEAR_BITS]
    assert hashing.look_alikes(prints, "abcdefgh", 3) == (len(alike), alike[:3])
    assert hashing.look_alikes(prints, ["one"] * 8, 3) == (0, [])


def test_plain_and_unrelated_pictures_are_not_near(tmp_path):
    plain = [np.full((40, 40, 3), level, np.uint8) for level in (0, 100, 101)]
    assert hashing.near_duplicates(prints_of(tmp_path, *plain, *(plate(number) for number in range(6)))) == []


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_specks_on_plain_pictures_make_no_texture(tmp_path, depth):
    specked = [np.full((400, 400, 3), 100, np.uint8) for _ in range(2)]
    specked[0][50, 50] = 101
    specked[1][50, 50] = 102
    scale = np.iinfo(depth).max // 255
    prints = prints_of(tmp_path, *(pixels.astype(depth) * depth(scale) for pixels in specked))
    assert hashing.near_duplicates(prints) == []


def test_the_same_bytes_are_equal_and_not_near(tmp_path):
    prints = prints_of(tmp_path, plate(1), plate(1))
    assert prints[0].sha256 == prints[1].sha256
    assert hashing.near_duplicates(prints) == []


def test_near_pairs_of_many_are_those_of_all_pairs():
    draw = rng(4)
    textures = draw.normal(size=(3, 64))
    textures /= np.linalg.norm(textures, axis=1, keepdims=True)
    kinds, hashes = draw.integers(0, 3, 700), draw.integers(0, 2 ** 64, 40, np.uint64)[draw.integers(0, 40, 700)]
    flips = np.uint64(1) << draw.integers(0, 64, 700, np.uint64)
    prints = [hashing.Fingerprint(sha256=str(k // 2), phash=int(hashes[k] ^ flips[k]),
                                  texture=textures[kinds[k]].astype(np.float16)) for k in range(700)]
    expected = [(i, j) for i in range(700) for j in range(i + 1, 700)
                if bits_apart(prints[i], prints[j]) <= hashing.NEAR_BITS and i // 2 != j // 2
                and float(textures[kinds[i]] @ textures[kinds[j]]) >= hashing.NEAR_TEXTURE]
    assert len(expected) > 100
    assert hashing.near_duplicates(prints) == expected


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "broken image.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="broken image.png"):
        hashing.fingerprints([tmp_path / "broken image.png"])


def test_different_places_of_one_spindle_are_not_near_but_one_photograph_is(shared_data):
    spindle = sorted((shared_data / "bsdata_labelme" / "data").glob("01_2008*.jpg"))
    prints = list(hashing.fingerprints(spindle).values())
    hashed_near = [(i, j) for i in range(len(prints)) for j in range(i) if bits_apart(prints[i], prints[j]) <= 4]
    assert len(hashed_near) > 10
    assert hashing.near_duplicates(prints) == []
    board = sorted((shared_data / "pku_market_pcb" / "images").glob("10_*.jpg"))
    assert len(hashing.near_duplicates(list(hashing.fingerprints(board).values()))) == len(board) * (len(board) - 1) / 2
