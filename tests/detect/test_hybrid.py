"""Screen and detector together: the table of verdicts, the limit that val chooses, and what is saved and missed."""
import csv
import json
import os

import numpy as np
import pytest

from core.data import formats
from core.data.images import read_image, write_image
from core.data.records import Dataset, Record
from core.data.shapes import mask_instance
from core.errors import CheckpointError, DataError
from core.loop import LoopConfig
from detect.apply import Inspector, goes_on, judge_files
from detect.foreground import ForegroundConfig
from detect.fullimage import FrameConfig
from detect.hybrid import Hybrid, choose_limit, compare, load
from detect.merging import Piece
from detect.rework import RulesConfig
from detect.screen import Screened
from detect.settings import DataConfig, DetectConfig

CONFIG = DetectConfig(data=DataConfig(root="unused"), loop=LoopConfig(steps=1, batch_size=1), frame=FrameConfig(
    tile_px=32, overlap_px=0, foreground={"method": "none"}))


class Bright:
    """A detector that finds what is brighter than 150 on a tile, sure by its brightness; it counts its tiles."""
    classes = ("spot",)

    def __init__(self):
        self.tiles = 0

    def __call__(self, tiles):
        self.tiles += len(tiles)
        found = []
        for tile in tiles:
            mask = tile[..., 0] > 150
            found.append([Piece("spot", float(tile.max()) / 255, mask, 0, 0)] if mask.any() else [])
        return found


def screen(pixels):
    """The map is the red channel: all that is there is strange."""
    found = pixels[..., 0].astype(np.float32)
    return Screened(float(found.max()), found, bool(found.max() > 50), 0.5)


def picture(*spots: tuple[int, int, int]) -> np.ndarray:
    """Grey 10, 96 wide and 32 high; a 6 px square of a brightness at each x, y."""
    pixels = np.full((32, 96, 3), 10, np.uint8)
    for x, y, level in spots:
        pixels[y:y + 6, x:x + 6] = level
    return pixels


def hybrid(limit: float = 50, mode: str = "screen") -> Hybrid:
    return Hybrid(screen, Inspector(Bright(), CONFIG, 0.5), limit, mode)


def test_the_table_of_verdicts():
    both = hybrid()
    nothing, named, unnamed = both(picture()), both(picture((40, 10, 200))), both(picture((40, 10, 100)))
    assert [said.verdict for said in (nothing, named, unnamed)] == ["good", "defect", "review"]
    assert both.inspector.detector.tiles == 2               # one of three tiles twice, none of the good picture
    assert unnamed.reason == "1 of 3 tiles unlike good parts, but no defect was named"
    assert set(named.frame.seconds) == {"screen", "foreground", "detect", "merge"}
    assert named.beside["screen"]["flagged"] == 1


def test_either_may_reject():
    blind = hybrid(limit=250)
    assert blind(picture((40, 10, 200))).verdict == "good"
    either = hybrid(limit=250, mode="or")
    assert either(picture((40, 10, 200))).verdict == "defect"
    assert hybrid(mode="or")(picture((40, 10, 100))).verdict == "review"


@pytest.mark.parametrize(("verdict", "expected"), [("good", ["good", "review"]), ("rework", ["rework", "review"]),
                                                   ("reject", ["reject", "reject"])])
@pytest.mark.parametrize("mode", ["screen", "or"])
def test_a_rule_about_the_part_counts_where_no_defect_was_found(mode, verdict, expected):
    rule = {"id": "part", "scope": "part", "verdict": verdict, "reason": "its size", "all": [["defects", "==", 0]]}
    rules = RulesConfig(ring=False, rules=[rule])
    both = Hybrid(screen, Inspector(Bright(), CONFIG, 0.5, rules), 50, mode)
    assert [both(pixels).verdict for pixels in (picture(), picture((40, 10, 100)))] == expected
    if verdict == "reject":
        assert both(picture()).rule == "part"


@pytest.fixture
def records(tmp_path):
    made = []
    for name, spots, bad in (("bright", [(40, 10, 200)], True), ("faint", [(40, 10, 100)], True), ("good", [], False),
                             ("dust", [(8, 8, 30)], False)):
        pixels = picture(*spots)
        write_image(tmp_path / f"{name}.png", pixels)
        mask = pixels[..., 0] > 20
        made.append(Record(image=tmp_path / f"{name}.png", name=name, size=(96, 32),
                           instances=(mask_instance(mask, "spot"),) if bad else ()))
    return made


def test_the_limit_flags_the_defects_of_val(records):
    limit = choose_limit(screen, hybrid().inspector, records)
    assert 30 < limit <= 100
    with pytest.raises(DataError, match="no defective image to choose it on"):
        choose_limit(screen, hybrid().inspector, records[2:])


def test_what_is_saved_and_missed(records):
    found = compare(hybrid(limit=50), records)
    assert (found["detector/escape"], found["screen/escape"], found["hybrid/escape"]) == (0.5, 0.0, 0.0)
    assert found["hybrid/tiles_skipped"] == pytest.approx(10 / 12)
    assert (found["hybrid/review"], found["hybrid/lost_by_screen"], found["hybrid/overkill"]) == (0.25, 0, 0)
    blind = compare(hybrid(limit=150), records)
    assert (blind["hybrid/escape"], blind["hybrid/lost_by_screen"]) == (0.5, 0)
    assert compare(hybrid(limit=250), records)["hybrid/lost_by_screen"] == 1
    assert found["hybrid/escape_low"] <= found["hybrid/escape"] <= found["hybrid/escape_high"]


def test_files_are_judged_and_reasons_written(records, tmp_path):
    (tmp_path / "in").mkdir()
    for record in records[:2]:
        record.image.rename(tmp_path / "in" / record.image.name)
    counts = judge_files(hybrid(), ("spot",), tmp_path / "in", tmp_path / "out")
    assert counts == {"images": 2, "verdict/defect": 1, "verdict/review": 1}
    told = json.loads((tmp_path / "out/defects/faint.json").read_text())
    assert (told["rule"], told["screen"]["tiles"]) == ("screen", 3)
    numbers = read_image(tmp_path / "out/numbers/bright.png")[..., 0]
    assert sorted(np.unique(numbers)) == [0, 1]
    assert np.count_nonzero(numbers) == 36
    back: Dataset = formats.read(tmp_path / "out/coco")
    assert sum(len(record.instances) for record in back.records) == 1


def test_a_frame_of_background_alone_is_told_of(tmp_path, capsys):
    write_image(tmp_path / "black.png", np.zeros((40, 40, 3), np.uint8))
    frame = CONFIG.frame.model_copy(update={"foreground": ForegroundConfig()})
    inspector = Inspector(Bright(), CONFIG.model_copy(update={"frame": frame}), 0.5)
    judge_files(inspector, ("spot",), tmp_path / "black.png", tmp_path / "out")
    row, = csv.DictReader((tmp_path / "out/summary.csv").read_text().splitlines())
    assert "no two clear levels" in row["warning"]
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("note: 1 of 1 images: the part was not found")], told


def test_a_killed_inspection_goes_on_with_the_images_that_are_left(tmp_path):
    (tmp_path / "in").mkdir()
    for number, level in enumerate((200, 220, 240)):
        write_image(tmp_path / "in" / f"{number}.png", picture((10 + 20 * number, 8, level), (70, 20, 250)))
    inspector, seen = Inspector(Bright(), CONFIG, 0.5), []

    def judge(pixels):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(pixels)
        return inspector(pixels)

    def judged(identity):
        seen.clear()
        return judge_files(judge, ("spot",), tmp_path / "in", tmp_path / "out", identity)["images"], len(seen)
    with pytest.raises(KeyboardInterrupt):
        judged("one")
    assert goes_on(tmp_path / "out", "one")
    assert not goes_on(tmp_path / "out", "another")
    assert [judged("one"), judged("one")] == [(3, 1), (3, 0)]
    judge_files(inspector, ("spot",), tmp_path / "in", tmp_path / "whole")
    back, whole = (json.loads((tmp_path / name / "coco/annotations.json").read_text()) for name in ("out", "whole"))
    assert back["annotations"] == whole["annotations"]
    assert len(back["annotations"]) == 6
    later = (tmp_path / "out/defects/1.json").stat().st_mtime + 5
    os.utime(tmp_path / "in/1.png", (later, later))         # the picture has changed since
    assert judged("one") == (3, 1)
    with pytest.raises(KeyboardInterrupt):                  # of another judge nothing counts
        judged("another")


def test_a_product_without_a_screen_is_told_how_to_get_one(tmp_path):
    with pytest.raises(CheckpointError, match="train.py --model anomaly --product ring"):
        load(tmp_path, tmp_path / "ring/runs/anomaly", (), None)
