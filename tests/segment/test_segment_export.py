"""The segmenter as an ONNX file: the same probabilities, the same labels, and no PyTorch where it runs."""
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.images import read_mask, write_image
from core.errors import ConfigError, OutputError
from core.onnx_packages import FACTS, PACKAGES
from segment import export
from segment.apply import apply
from segment.task import SegmentTask
from tests.segment.made import picture

ROOT, CPU = Path(__file__).resolve().parents[2], torch.device("cpu")
WITHOUT = "import sys\nfor name in ('torch', 'cv2', 'core', 'segment'): sys.modules[name] = None\nimport runpy\n"


@pytest.fixture(scope="module")
def packages():
    for name in PACKAGES:
        pytest.importorskip(name, reason=f"{name}, an extra, is not installed")


@pytest.fixture(scope="module")
def exported(packages, run, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return path, SegmentTask.export(run, path, [], None)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, size in (("even", (96, 80)), ("b/odd", (101, 53))):
        (folder / name).parent.mkdir(exist_ok=True)
        write_image(folder / f"{name}.png", picture(2, size)[0])
    write_image(folder / "dot.png", np.full((1, 1, 3), 200, np.uint8))
    return folder


def test_its_answers_are_the_networks(exported):
    path, found = exported
    assert found["difference"] < 1e-5
    assert found["same_label"] == 1
    assert 0.01 < found["mebibytes"] < 0.5
    assert path.stat().st_size == pytest.approx(found["mebibytes"] * 2 ** 20)


@pytest.mark.parametrize("options", [["--tile", "64"], []])
def test_the_runner_alone_gives_the_labels_of_the_project(exported, run, images, tmp_path, options):
    path, _ = exported
    apply(run, {"input": images}, tmp_path / "ours", [], CPU)
    script = ROOT / "scripts" / "run_onnx.py"
    command = [script, path, images, "--output", tmp_path / "theirs", *options]
    code = f"{WITHOUT}sys.argv = {[str(part) for part in command]!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "even: " in done.stdout
    for name in ("even", "b/odd", "dot"):
        ours, theirs = (read_mask(tmp_path / kind) for kind in (f"ours/labels/{name}.png", f"theirs/{name}.png"))
        assert ours.shape == theirs.shape
        assert (ours != theirs).mean() < 1e-3
    assert len(np.unique(read_mask(tmp_path / "theirs" / "even.png"))) > 1


def test_blended_tiles_and_unreadable_files(exported, run, images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "graph", lambda *_: exported[0].read_bytes())
    options = ["infer.mode=blend", "infer.tile_px=32", "infer.overlap_px=16"]
    path = tmp_path / "blend.onnx"
    SegmentTask.export(run, path, options, images)
    apply(run, {"input": images}, tmp_path / "ours", options, CPU)
    (images / "broken.png").write_bytes(b"no image")
    script = str(ROOT / "scripts" / "run_onnx.py")
    monkeypatch.setattr(sys, "argv", [script, str(path), str(images), "--output", str(tmp_path / "theirs")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    (images / "broken.png").unlink()
    assert ended.value.code == 2
    assert "broken.png: not a readable image" in capsys.readouterr().err
    for name in ("even", "b/odd"):
        ours, theirs = (read_mask(tmp_path / kind) for kind in (f"ours/labels/{name}.png", f"theirs/{name}.png"))
        assert (ours != theirs).mean() < 0.02           # tiles may lie elsewhere


def test_the_runner_replaces_nothing_and_names_what_it_cannot_use(exported, images, tmp_path, monkeypatch, capsys):
    script, given, full = ROOT / "scripts" / "run_onnx.py", tmp_path / "in", tmp_path / "full"
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    (tmp_path / "file").touch()
    for folder in (given, full):
        folder.mkdir()
        (folder / "even.png").write_bytes((images / "even.png").read_bytes())
    before = (given / "even.png").read_bytes()
    for model, place, output, options, message in (
            (exported[0], given, given, [], f"{given}: has files in it. Give another --output"),
            (exported[0], given, given, ["--overwrite"], "even.png: its labels would take its place"),
            (exported[0], given, full, [], f"{full}: has files in it"),
            (exported[0], given, given / "even.png", [], "even.png: has files in it"),
            (exported[0], given, tmp_path / "file" / "out", [], "even.png: cannot be written, got '"),
            (exported[0], tmp_path / "none", tmp_path / "out", [], "none: no such image or folder, got nothing there"),
            (exported[0], given, tmp_path / "out", ["--tile", "0"], "--tile: must be at least 1 px, got 0"),
            (tmp_path / "absent.onnx", given, tmp_path / "out", [], "absent.onnx: not a readable ONNX file, got '"),
            (tmp_path / "damaged.onnx", given, tmp_path / "out", [], "damaged.onnx: not a readable ONNX file, got '")):
        command = [script, model, place, "--output", output, *options]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.splitlines()) == 1
    assert all((folder / "even.png").read_bytes() == before for folder in (given, full))
    assert not (tmp_path / "out").exists()


def test_a_file_whose_answers_differ_is_not_written(exported, run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "graph", lambda *_: exported[0].read_bytes())
    monkeypatch.setattr(export, "probabilities", lambda logits: (1.01 * logits).softmax(1))
    with pytest.raises(OutputError, match="not written, for its answers differ"):
        SegmentTask.export(run, tmp_path / "model.onnx", [], None)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(("option", "plain"), [
    ("infer.context=1", "infer.context=0"), ("infer.flips=true", "infer.flips=false"),
    ("infer.minimum_px=20", "infer.minimum_px=0")])
def test_what_the_file_would_not_do_is_refused(packages, run, tmp_path, option, plain):
    with pytest.raises(ConfigError, match=f"an ONNX file gives the plain pass .* --set {plain} exports that pass"):
        SegmentTask.export(run, tmp_path / "model.onnx", [option], None)
    assert not (tmp_path / "model.onnx").exists()


def test_without_the_packages_one_line_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match="pip install -r requirements-extras.txt, or onnx onnxscript onnxruntime"):
        SegmentTask.export(run, tmp_path / "model.onnx", [], None)


def test_the_file_says_what_a_program_needs_to_know(exported):
    import onnx
    path, _ = exported
    stored = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    facts = json.loads(stored[FACTS])
    assert facts["classes"] == ["square", "disc"]
    assert (facts["stride"], facts["reach"], facts["channels"]) == (4, 23, 3)
    assert len(facts["colours"]) == 2
