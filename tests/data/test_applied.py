"""Work on every image of an input: the unreadable ones are named at the end, the others are done."""
from pathlib import Path

import pytest

from core.data.applied import on_each, only_input, refuse_unread
from core.errors import ConfigError, DataError, OutputError


def test_unreadable_images_are_named_when_the_others_are_done():
    def work(name: str, path: Path) -> str:
        if "bad" in name:
            raise DataError(f"{path}: truncated")
        return name.upper()
    places = {name: Path(f"{name}.png") for name in ("a", "bad1", "b", "bad2")}
    done, unread = on_each(places, work)
    assert done == {"a": "A", "b": "B"}
    with pytest.raises(DataError) as error:
        refuse_unread(unread, places, Path("out"))
    assert str(error.value).splitlines() == [
        "bad1.png: truncated", "bad2.png: truncated",
        "2 of 4 images could not be read; out holds the results of the others"]
    with pytest.raises(DataError, match="^a: no such image\n1 of 1 images could not be read, nothing was judged$"):
        refuse_unread(["a: no such image"], {"a": Path("a")}, Path("out"))
    refuse_unread([], places, Path("out"))


def test_a_full_disk_is_not_taken_for_an_unreadable_image():
    def work(name: str, path: Path) -> None:
        raise OutputError("out: the disk is full")
    with pytest.raises(OutputError):
        on_each({"a": Path("a.png")}, work)


def test_other_options_than_input_are_refused():
    assert only_input({"input": Path("a")}, "the detector") == Path("a")
    with pytest.raises(ConfigError, match="--mask: not for the detector, which takes --input alone"):
        only_input({"input": Path("a"), "mask": Path("b")}, "the detector")
