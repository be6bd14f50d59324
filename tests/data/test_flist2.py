"""MIDG's lists of images: one list a folder, one path a line."""
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import DataError
from scripts.flist2 import write_lists

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "flist2.py"


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("kinds/copper/train/b 2.PNG", "kinds/copper/train/a.jpg", "kinds/copper/train/c.TIFF",
                 "kinds/copper/train/d.tif", "kinds/copper/train/e.JPEG", "kinds/copper/train/notes.txt",
                 "kinds/copper/train/jpg", "kinds/copper/train/.hidden.png", "kinds/copper/test/ü.png",
                 "kinds/top.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    Path("kinds/copper/empty").mkdir()
    return Path("kinds")


def test_every_folder_gets_a_sorted_list_of_its_own_images(tree):
    written = write_lists(tree)
    assert {str(path): count for path, count in written.items()} == {
        "kinds/kinds.flist": 1, "kinds/copper/copper.flist": 0, "kinds/copper/empty/empty.flist": 0,
        "kinds/copper/test/test.flist": 1, "kinds/copper/train/train.flist": 5}
    lines = Path("kinds/copper/train/train.flist").read_text(encoding="utf-8").splitlines()
    assert lines == [f"kinds/copper/train/{name}" for name in ("a.jpg", "b 2.PNG", "c.TIFF", "d.tif", "e.JPEG")]
    assert all(Path(line).is_file() for line in lines)
    assert Path("kinds/copper/empty/empty.flist").read_bytes() == b""
    assert write_lists(tree) == written


def test_the_command_says_what_it_wrote_and_takes_a_trailing_slash(tree):
    done = subprocess.run([sys.executable, str(SCRIPT), "--path", "kinds/copper/"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kinds/copper/train/train.flist: 5 images" in done.stdout.splitlines()
    assert Path("kinds/copper/copper.flist").is_file()
    assert not list(Path("kinds").rglob(".flist"))
    assert not Path("kinds/kinds.flist").exists()
    wrong = subprocess.run([sys.executable, str(SCRIPT), "--path", "kinds/coper"], capture_output=True, text=True)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)


def test_the_working_directory_itself_has_a_name(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert Path("kinds.flist") in write_lists(Path("."))
    assert Path("copper/train/train.flist").read_text().startswith("copper/train/a.jpg\n")


def test_names_that_a_list_cannot_hold_and_files_as_root(tree):
    with pytest.raises(DataError, match="not a folder"):
        write_lists(Path("kinds/top.png"))
    Path("kinds/copper/a\nb.png").write_bytes(b"")
    with pytest.raises(DataError, match="line break"):
        write_lists(tree)
