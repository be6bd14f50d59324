"""Products from labelme to COCO: parts stay whole, splits stay, every fault is named or left out."""
import base64
import itertools
import json
import os
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.data import formats
from core.data.images import encode_png, read_image, write_image
from core.data.shapes import instance_mask
from core.data.splits import NAMES
from core.errors import ConfigError, DataError, OutputError
from core.seeding import rng
from core.visualise import encode_jpeg
from detect.image_data import restore
from detect.prepare import EXCLUDED, SPLITS, SUMMARY, histogram, prepare, write
from detect.products import ProductsConfig
from tests.detect.made import SIZE, document, make_product, patch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path):
    make_product(tmp_path / "data")
    return settings(tmp_path)


def settings(root: Path, **more) -> ProductsConfig:
    product = {"good": ["good"], "defect": ["notok"], **more.pop("product", {})}
    return ProductsConfig(data=root / "data", output=root / "output", products={"model2": product}, **more)


def test_parts_never_straddle_and_the_set_reads_back_as_it_was(config):
    prepared = prepare(config, "model2")
    folder = write(config, prepared)
    back = formats.read(folder, "coco")
    assert len(back) == len(prepared.dataset) == 30
    assert len(back.good) == 10
    places: dict[str, set] = {}
    for record in back.records:
        places.setdefault(record.group, set()).add(record.split)
        assert record.image.parent.name == record.split
    assert sorted(places) == [f"part{n}" for n in range(10)], "good and defective patches of a part are one group"
    assert all(len(found) == 1 for found in places.values())
    assert {split for found in places.values() for split in found} == {"train", "val", "test"}
    masks = {record.name: instance_mask(record.instances[0], SIZE) for record in back.defective}
    for record in prepared.dataset.defective:
        name = f"{record.split}/{record.name.replace('/', '__')}"
        assert (masks[name] == instance_mask(record.instances[0], SIZE)).all()
    assert histogram(prepared.dataset.records) == {3: 10}


def test_equal_data_give_equal_bytes_and_old_parts_keep_their_place(config):
    folder = write(config, prepare(config, "model2"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    first = {path: path.read_bytes() for path in files}
    before = json.loads((folder / SPLITS).read_text())["groups"]
    write(config, prepare(config, "model2"))
    assert {path: path.read_bytes() for path in files} == first
    shutil.copy(config.data / "images/good/part0_r0_c0.png", config.data / "images/good/part77_r0_c0.png")
    pixels, ring = patch(999, defect=True)
    write_image(config.data / "images/notok/part88_r0_c0.png", pixels)
    (config.data / "labels/notok/part88_r0_c0.json").write_text(json.dumps(document("part88_r0_c0.png", [ring])))
    prepared = prepare(config, "model2")
    after = prepared.splits.groups
    assert {name: after[name] for name in before} == before
    assert after["part77"] == after["part0"], "the same file under another name stays with its part"
    assert prepared.excluded[str(config.data / "images/good/part77_r0_c0.png")].code == "duplicate"


def test_the_order_in_which_a_folder_lists_its_files_does_not_matter(config, tmp_path, monkeypatch):
    def listed_anyhow(folder):
        for here, folders, names in os_walk(folder):
            yield here, folders, [names[k] for k in rng(2, len(names)).permutation(len(names))]
    os_walk, written = os.walk, []
    for name in ("one", "other"):
        folder = write(config.model_copy(update={"output": tmp_path / name}), prepare(config, "model2"))
        written.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
        monkeypatch.setattr("core.data.formats.reading.os.walk", listed_anyhow)
    assert written[0] == written[1]


STYLES = ("_r{a:02d}_c{b:02d}", "_x{a:04d}_y{b:04d}", "_y{a}_x{b}", "_patch{a}", "_tile-{a}", "_{a:03d}_{b:04d}",
          "_p{a:04d}", "-{a}")


@pytest.mark.parametrize("seed", range(4))
def test_no_part_is_on_two_sides_however_its_tiles_are_named(tmp_path, seed):
    """Parts of 1 to 7 patches in both folders, each named in a style of its own."""
    random, number = rng(21, seed), 0
    for part in range(12):
        frame, style = f"{random.choice(['ring', '2026-05-0'])}{part}", random.choice(STYLES)
        for tile in range(1, 2 + random.integers(0, 7)):
            number, bad = number + 1, bool(random.random() < 0.5) or tile == 1
            name = frame + style.format(a=tile, b=tile % 3 + 1)
            pixels, ring = patch(1000 * seed + number, defect=bad)
            for folder in ("images", "labels"):
                (tmp_path / "data" / folder / ("notok" if bad else "good")).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "data/images" / ("notok" if bad else "good") / f"{name}.png", pixels)
            if bad:
                (tmp_path / f"data/labels/notok/{name}.json").write_text(json.dumps(document(name, [ring])))
    prepared = prepare(settings(tmp_path), "model2")
    places = {split: [one for one in prepared.dataset.records if one.split == split] for split in NAMES}
    assert all(any(one.instances for one in records) for records in places.values())
    for first, second in itertools.combinations(places.values(), 2):
        for told in (lambda one: re.match(r"\w+/(ring\d+|2026-05-0\d+)", one.name)[1], lambda one: one.group,
                     lambda one: prepared.report.prints[one.image].sha256):
            assert not set(map(told, first)) & set(map(told, second))


def test_written_names_are_plain_and_each_its_own(config):
    for name in ("s/x", "s__x", "S/x", "Größe 1", "größe 1"):
        target = config.data / "images/good" / f"{name}.png"
        target.parent.mkdir(exist_ok=True)
        write_image(target, patch(len(name) * 100 + ord(name[0]), defect=False)[0])
    folder = write(config, prepare(config, "model2"))
    names = [path.name for path in folder.glob("images/*/*.png")]
    assert len({name.lower() for name in names}) == len(names) == 35
    assert all(re.fullmatch(r"[a-z0-9_.-]+", name) for name in names)
    sources = json.loads((folder / SUMMARY).read_text())["sources"].values()
    assert sum(source.endswith(("s/x.png", "S/x.png", "s__x.png")) for source in sources) == 3


def test_what_is_no_longer_there_is_taken_out_of_the_folder(config):
    folder = write(config, prepare(config, "model2"))
    (folder / "images/train/mine.txt").write_text("kept")
    (config.data / "images/good/part3_r0_c0.png").unlink()
    write(config, prepare(config, "model2"))
    assert len(list(folder.glob("images/*/*.png"))) == 29
    assert (folder / "images/train/mine.txt").is_file()


def test_what_is_left_out_is_listed_and_never_becomes_background(config, tmp_path):
    (config.data / "labels/notok/part2_r0_c1.json").write_text(json.dumps(document("part2_r0_c1.png", [])))
    flagged = config.data / "labels/good"
    flagged.mkdir()
    (flagged / "part4_r0_c0.json").write_text(json.dumps(document("x", [], flags={"rework": True})))
    assert len(prepare(settings(tmp_path, empty_defect="good"), "model2").dataset.good) == 10
    (config.data / "labels/notok/part1_r0_c1.json").unlink()
    with pytest.raises(DataError, match=r"part1_r0_c1.png: in a folder of defects, got no label file"):
        prepare(config, "model2")
    prepared = prepare(config, "model2", lenient=True)
    told = {Path(path).stem: one.code for path, one in prepared.excluded.items()}
    assert told == {"part1_r0_c1": "no-label", "part2_r0_c1": "empty-defect", "part4_r0_c0": "put-aside"}
    folder = write(config, prepared)
    assert len(formats.read(folder, "coco")) == 27
    assert len(json.loads((folder / EXCLUDED).read_text())) == 3
    found = json.loads((folder / SUMMARY).read_text())["problems"]
    assert [found[code]["count"] for code in told.values()] == [1, 1, 1]


WRONG = {
    "json": lambda data: label(data).write_text('{"shapes": ['),
    "format": lambda data: label(data).write_text('{"images": [], "annotations": []}'),
    "size": lambda data: label(data, imageWidth=99),
    "turned": lambda data: label(data, imageWidth=SIZE[1], imageHeight=SIZE[0]),
    "points": lambda data: label(data, points=[[1, 2], [float("nan"), 3], [4, 9]]),
    "label": lambda data: label(data, label=" "),
    "no-image": lambda data: [label(data, name=f"notok/lost{number}", imagePath="lost.png") for number in range(7)],
    "no-label": lambda data: label(data).unlink(),
    "marked-good": lambda data: label(data, name="good/part0_r0_c0", flags={}),
    "two-labels": lambda data: label(data, name="notok/again", flags={}),
    "name": lambda data: shutil.copy(data / "images/good/part0_r0_c0.png", data / "images/good/part0_r0_c0.bmp"),
    "conflict": lambda data: shutil.copy(data / "images/notok/part1_r0_c1.png", data / "images/good/other.png"),
    "image": lambda data: (data / "images/good/part0_r0_c0.png").write_bytes(b""),
}


def label(data: Path, points: list | None = None, name: str = "notok/part1_r0_c1", **more) -> Path:
    """A label file, with other values where some are given."""
    path = data / f"labels/{name}.json"
    if points or more:
        path.parent.mkdir(exist_ok=True)
        rings, named = [points or patch(1, defect=True)[1]], {"label": more.pop("label")} if "label" in more else {}
        path.write_text(json.dumps({**document("part1_r0_c1.png", rings, **named), **more}))
    return path


@pytest.mark.parametrize("code", WRONG)
def test_every_fault_stops_the_preparation_or_is_left_out_by_its_code(config, code):
    """One line that names the file; with lenient that file is listed and nothing else is lost."""
    WRONG[code](config.data)
    with pytest.raises(DataError, match=r"(?s), got ") as caught:
        prepare(config, "model2")
    assert "\n" not in str(caught.value)
    prepared = prepare(config, "model2", lenient=True)
    assert {one.code for one in prepared.excluded.values()} == {code}
    summary = json.loads((write(config, prepared) / SUMMARY).read_text())
    assert summary["problems"][code]["count"] == len(prepared.excluded)
    files = [path for path in (config.data / "images").rglob("*") if path.is_file()]
    listed = sum(str(path) in prepared.excluded for path in files)
    assert len(prepared.dataset) + listed == len(files), "each image is used or listed"
    assert len(prepared.excluded) == {"no-image": 7, "conflict": 2}.get(code, 1)


def test_of_two_label_files_the_newest_counts(config):
    older, newer = label(config.data), config.data / "labels/notok/part1_r0_c1 (1).json"
    two = [patch(1, defect=True)[1], [[1, 1], [9, 1], [9, 9]]]
    newer.write_text(json.dumps(document("part1_r0_c1.png", two)))
    for first, second, count in ((older, newer, 2), (newer, older, 1)):
        os.utime(first, (1e9, 1e9))
        os.utime(second, (2e9, 2e9))
        prepared = prepare(config, "model2", lenient=True)
        record = next(one for one in prepared.dataset.records if one.name == "notok/part1_r0_c1")
        assert len(record.instances) == count
        assert list(prepared.excluded) == [str(first)]


def test_faults_stop_the_preparation_or_are_left_out_on_demand(config):
    data = config.data
    (data / "labels/notok/part1_r0_c1.json").write_text('{"shapes": [')
    (data / "images/notok/part2_r0_c1.png").write_bytes((data / "images/notok/part2_r0_c1.png").read_bytes()[:200])
    wide = document("part3_r0_c1.png", [patch(1, defect=True)[1]], imageWidth=99)
    (data / "labels/notok/part3_r0_c1.json").write_text(json.dumps(wide))
    with pytest.raises(DataError) as caught:
        prepare(config, "model2")
    for text in ("not readable as JSON", "another size than the image"):
        assert text in str(caught.value)
    prepared = prepare(config, "model2", lenient=True)
    kept = {record.name for record in prepared.dataset.records}
    assert len(kept) == 27
    assert not kept & {f"notok/part{n}_r0_c1" for n in (1, 2, 3)}
    assert sorted(one.code for one in prepared.excluded.values()) == ["image", "json", "size"]
    assert sum("not readable as JSON" in note for note in prepared.notes) == 1


def test_a_good_image_with_shapes_is_a_conflict(config):
    (config.data / "labels/good").mkdir()
    marked = document("part0_r0_c0.png", [patch(1, defect=True)[1]])
    (config.data / "labels/good/part0_r0_c0.json").write_text(json.dumps(marked))
    with pytest.raises(DataError, match=r"part0_r0_c0.png: labelled defects in a folder of good images, got 1"):
        prepare(config, "model2")
    assert len(prepare(config, "model2", lenient=True).dataset) == 29


def test_rework_images_are_kept_apart(tmp_path):
    make_product(tmp_path / "data")
    make_product(tmp_path / "data", parts=2, good="spare", defect="rework")
    config = settings(tmp_path, product={"rework": ["rework"], "aliases": {"pit": "hole"}})
    prepared = prepare(config, "model2")
    folder = write(config, prepared)
    back = formats.read(folder, "coco")
    assert len(back) == 30
    assert back.classes == ("hole",)
    assert len(formats.read(folder / "rework/coco").defective) == 4
    summary = json.loads((folder / SUMMARY).read_text())
    assert summary["rework"] == 4
    assert summary["splits"]["all"]["instances"] == 20
    place = prepared.splits.groups["part0"]
    assert summary["sources"][f"{place}/notok__part0_r0_c1"].endswith("images/notok/part0_r0_c1.png")


def test_parts_by_folder_or_by_pattern_and_a_warning_where_they_fail(tmp_path):
    make_product(tmp_path / "data")
    by_pattern = prepare(settings(tmp_path, group_regex=r"(?P<part>part\d)"), "model2")
    assert histogram(by_pattern.dataset.records) == {3: 10}
    with pytest.raises(DataError, match="too few separate groups"):
        prepare(settings(tmp_path, group_by="folder"), "model2")
    each = prepare(settings(tmp_path, group_regex="(?P<part>.*)"), "model2")
    assert histogram(each.dataset.records) == {1: 30}


def test_a_killed_preparation_is_done_again_and_a_damaged_one_named(config, monkeypatch):
    prepared = prepare(config, "model2")
    with monkeypatch.context() as killed:
        killed.setattr(formats, "write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(config, prepared)
    folder = write(config, prepare(config, "model2"))
    assert len(formats.read(folder, "coco")) == 30
    (folder / "annotations/val.json").write_text('{"images": [')
    with pytest.raises(OutputError, match="val.json: not a COCO file of a preparation"):
        write(config, prepared)


def test_a_folder_of_something_else_is_not_written_into(config):
    target = config.output / "model2"
    target.mkdir(parents=True)
    (target / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="has files in it that no preparation made, got letter.txt"):
        write(config, prepare(config, "model2"))


def test_mistakes_in_the_config_are_named(config, tmp_path):
    with pytest.raises(ConfigError, match="no such product. Did you mean 'model2'"):
        config.chosen("modell2")
    with pytest.raises(DataError, match="no such folder of the product. Did you mean 'notok'"):
        prepare(settings(tmp_path, product={"defect": ["notokk"]}), "model2")
    with pytest.raises(ValueError, match="must be different folders, got good twice"):
        settings(tmp_path, product={"defect": ["good"]})
    with pytest.raises(ValueError, match="must hold"):
        settings(tmp_path, group_regex="part")


def test_real_labelme_files(shared_data, tmp_path):
    """BSData: two folders of one set, groups from its index.csv."""
    source = shared_data / "bsdata_labelme"
    for kind, wanted in (("good", False), ("defect", True)):
        for path in sorted((source / "data").iterdir())[::5]:
            label = source / "label" / f"{path.stem}.json"
            if label.is_file() == wanted:
                for place, file in (("images", path), ("labels", label)):
                    if file.is_file():
                        (tmp_path / "data" / place / kind).mkdir(parents=True, exist_ok=True)
                        (tmp_path / "data" / place / kind / file.name).symlink_to(file)
    config = settings(tmp_path, product={"good": ["good"], "defect": ["defect"]}, images="copy",
                      group_regex=r"_(?P<part>\d{6}_\d{3})_")
    prepared = prepare(config, "model2")
    back = formats.read(write(config, prepared), "coco")
    assert back.classes == ("Pitting",)
    assert len(back.defective) == len(prepared.dataset.defective) > 3


def test_the_command(config, tmp_path, monkeypatch, capsys):
    def start(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["preprocess_to_coco.py", *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts/preprocess_to_coco.py"), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, printed.out + printed.err
    places = ("--set", f"data={config.data}", "--set", f"output={tmp_path / 'out'}")
    code, text = start("--model", "model2", *places, "--dry-run")
    assert code == 0, text
    assert "10 parts of 3 images" in text
    assert not (tmp_path / "out").exists()
    assert start("--model", "model2", *places)[0] == 0
    assert (tmp_path / "out/model2/annotations/val.json").is_file()
    assert start("--model", "model3", *places)[0] == 2
    code, text = start(*places)
    assert code == 2
    assert "no such folder of the product. There are good, notok" in text, "model1 has no folders here"
    code, text = start("--model", "model2", "--set", f"data={tmp_path / 'nowhere'}", "--allow-image-data")
    assert (code, "no such folder of the product. There are none" in text) == (2, True)


def test_images_are_written_from_label_files_where_that_is_asked_for(tmp_path):
    data = make_product(tmp_path / "data", parts=3)
    chosen = sorted((data / "images/notok").glob("*.png"))[:3]
    pixels = read_image(chosen[0])
    for path, encode in zip(chosen, (encode_png, lambda pixels: encode_jpeg(pixels, 95), lambda pixels: b"no image")):
        label = data / "labels/notok" / f"{path.stem}.json"
        document = json.loads(label.read_text())
        document["imageData"] = base64.b64encode(encode(read_image(path))).decode()
        label.write_text(json.dumps(document))
        path.unlink()
    config = ProductsConfig(data=data, output=tmp_path / "out", products={"m": {"good": ["good"], "defect": ["notok"]}})
    with pytest.raises(DataError, match="3 labelme JSON without an image"):
        prepare(config, "m")
    with pytest.raises(DataError, match="its own copy of the image cannot be read"):
        restore(config, "m")
    assert ["cannot be read" in note for note in restore(config, "m", lenient=True)] == [True]
    (data / "labels/notok" / f"{chosen[2].stem}.json").unlink()
    chosen[1].unlink()
    notes = restore(config, "m")
    assert (len(notes), "a JPEG, which has lost some" in notes[0]) == (1, True)
    assert np.array_equal(read_image(chosen[0]), pixels)
    assert restore(config, "m") == []
    assert len(prepare(config, "m").dataset.defective) == 5
