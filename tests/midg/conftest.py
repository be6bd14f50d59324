"""What the tests of MIDG's commands share: a way to run them, and small experiments of the earlier code."""
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.images import write_image
from midg.legacy_weights import DEFECT_FILES, EDGE_FILES, save_earlier
from midg.networks import DefectGenerator, Discriminator, EdgeGenerator
from tests.midg.earlier_experiment import DIR, write_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(monkeypatch, capsys):
    """command("train.py", ...) -> (exit code, printed, said on stderr), run within this process."""
    def start(script, *arguments):
        monkeypatch.setattr("sys.argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err
    return start


@pytest.fixture
def works(command):
    def start(*words):
        code, out, said = command(*words)
        assert code == 0, out + said
        return out, said
    return start


@pytest.fixture
def fails(command):
    """What a mistake brings on stderr, with exit code 2: notes perhaps, then the line that says what is wrong."""
    def start(*words):
        code, out, said = command(*words)
        assert code == 2, out + said
        assert "Traceback" not in said
        return said
    return start


@pytest.fixture
def made_samples(tmp_path, monkeypatch):
    """The layout with two made samples a split, 96 px, in which everything is quick."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(2):
            image = np.full((96, 96, 3), 120, np.uint8) + draw.integers(0, 20, (96, 96, 3), np.uint8)
            mask = np.zeros((96, 96), np.uint8)
            x, y = draw.integers(10, 50, 2)
            mask[y:y + 30, x:x + 30] = 255
            defect = image.copy()
            defect[y + 8:y + 22, x + 8:x + 22] //= 3
            for folder, pixels in (("exposed_copper", defect), ("inpaint2", image), ("mask2", mask)):
                place = tmp_path / "dataset/kinds/exposed_copper" / folder / split
                place.mkdir(parents=True, exist_ok=True)
                write_image(place / f"{number} a.png", pixels)          # names with blanks
            for folder in ("exposed_copper", "inpaint2", "mask2"):
                place = tmp_path / "dataset/kinds/exposed_copper" / folder / split
                names = "".join(f"./{(place / f'{n} a.png').relative_to(tmp_path)}\n" for n in range(number + 1))
                (place / f"{split}.flist").write_text(names)
    Path(DIR).mkdir(parents=True)
    write_config()
    return tmp_path


@pytest.fixture
def earlier_weights(made_samples):
    """Weight files of the earlier code in the experiment's folder."""
    torch.manual_seed(0)
    for files, generator in ((EDGE_FILES, EdgeGenerator(4)), (DEFECT_FILES, DefectGenerator(4))):
        save_earlier(Path(DIR, files[0]), generator, 9500)
        save_earlier(Path(DIR, files[1]), Discriminator(3, 4))
    return made_samples
