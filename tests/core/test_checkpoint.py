"""A checkpoint is whole or absent, checked when read, and never runs code."""
import os
import pickle
import random
import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from core import checkpoint
from core.errors import CheckpointError, OutputError
from tests.children import same, save_for_ever, start, wait_for


def small(width: int = 3) -> dict[str, checkpoint.Stateful]:
    network = nn.Linear(2, width)
    optimizer = optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"module/network": network, "optimizer/network": optimizer}


@pytest.fixture
def saved(tmp_path) -> Path:
    torch.manual_seed(0)
    path = checkpoint.path_of(tmp_path, 7)
    checkpoint.save(path, 7, small())
    return path


def test_round_trip(saved):
    torch.manual_seed(1)
    parts = small()
    assert checkpoint.restore(saved, parts) == 7
    stored = checkpoint.load(saved)["parts"]
    assert all(same(part.state_dict(), stored[name]) for name, part in parts.items())


def test_one_part_is_read_alone(saved):
    network = nn.Linear(2, 3)
    assert checkpoint.load_part(saved, "module/network", network) == 7
    assert same(dict(network.state_dict()), dict(checkpoint.load(saved)["parts"]["module/network"]))


def test_no_flipped_byte_passes_for_a_weight(saved):
    """Every byte in turn: the file is refused, or what it holds is unchanged."""
    whole, truth, refused = saved.read_bytes(), checkpoint.load(saved), 0
    for place in range(0, len(whole), 3):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1:])
        try:
            state = checkpoint.load(saved)
        except CheckpointError as error:
            refused += str(error).startswith(str(saved))
        else:
            assert same(state, truth), f"byte {place} of {len(whole)}"
    assert refused > 100


def test_damaged_part_is_named_and_the_file_to_delete(saved):
    checkpoint.save(checkpoint.path_of(saved.parent, 5), 5, small())
    with zipfile.ZipFile(saved) as archive:
        part = next(name for name in archive.namelist() if name.endswith("data/0"))
        weight = archive.read(part)
    whole = bytearray(saved.read_bytes())
    whole[whole.index(weight)] ^= 1
    saved.write_bytes(whole)
    with pytest.raises(CheckpointError, match=rf"'{part}'.*Delete step-00000007.pt to go on from step-00000005.pt"):
        checkpoint.load(saved)


@pytest.mark.parametrize("kept", [0, 100, -1, -100])
def test_cut_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="Delete step-00000007.pt to start again"):
        checkpoint.load(saved)


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("ran-code"),)


def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": checkpoint.FORMAT, "step": 1, "parts": {"module/network": Payload()}}, "step-00000001.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        checkpoint.load(tmp_path / "step-00000001.pt")
    assert not Path("ran-code").exists()


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, {"format": 99}])
def test_other_files_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this project"):
        checkpoint.load(tmp_path / "weights.pt")


def test_absent_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "step-00000001.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"format": 1}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(tmp_path / "old.pt")


def test_checkpoint_of_another_model_says_what_does_not_fit(saved):
    wide, before = small(width=5), None
    before = wide["module/network"].weight.clone()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.restore(saved, wide)
    assert "in 'module/network' 'weight' is [3, 2], here [5, 2]" in str(caught.value)
    assert torch.equal(wide["module/network"].weight, before)

    with pytest.raises(CheckpointError, match="it has no 'module/edges'; it has 'module/network' too"):
        checkpoint.restore(saved, {"module/edges": nn.Linear(2, 3), "optimizer/network": small()["optimizer/network"]})
    with pytest.raises(CheckpointError, match="'bias' is unknown here"):
        checkpoint.load_part(saved, "module/network", nn.Linear(2, 3, bias=False))
    with pytest.raises(CheckpointError, match=r"there are \[2\] parameters by group, here \[1\]"):
        checkpoint.load_part(saved, "optimizer/network", optim.Adam([nn.Parameter(torch.ones(3, 2))]))
    with pytest.raises(CheckpointError, match=r"'exp_avg' of parameter 0 is \[3, 2\], here \[5, 2\]"):
        checkpoint.load_part(saved, "optimizer/network", optim.Adam(nn.Linear(2, 5).parameters()))


def test_found_orders_by_step_and_prune_keeps_the_newest(tmp_path):
    for name in ("step-00000009.pt", "step-100000000.pt", "step-00000100.pt", "step-x.pt", "other.pt",
                 ".step-00000004.pt.partial"):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000009.pt", "step-00000100.pt",
                                                                   "step-100000000.pt"]
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pt", "step-00000100.pt", "step-100000000.pt",
                                                                "step-x.pt"]


def test_file_reaches_the_disk_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    calls, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("rename"), replace(*paths)))
    checkpoint.save(checkpoint.path_of(tmp_path, 1), 1, small())
    assert calls == (["sync", "rename", "sync"] if hasattr(os, "O_DIRECTORY") else ["sync", "rename"])


def test_killed_while_saving(tmp_path):
    """Whenever the kill comes, what is there is whole, and the one before the newest is there too."""
    chance = random.Random(0)
    for _ in range(8):
        process = start(save_for_ever, tmp_path)
        wait_for(checkpoint.path_of(tmp_path, 3), process)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
        paths = checkpoint.found(tmp_path)
        assert len(paths) >= 2
        for path in paths:
            state = checkpoint.load(path)
            assert (state["parts"]["module/network"]["weight"] == state["step"]).all()
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("width", [3, 300_000])
def test_full_disk_leaves_the_old_checkpoint_whole_and_no_partial(saved, width):
    """The file is written through a link to a device that is always full: the system's own error, small and large."""
    whole, target = saved.read_bytes(), checkpoint.path_of(saved.parent, 9)
    (saved.parent / f".{target.name}.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="step-00000009.pt: cannot be written, got 'No space left on device'. Free"):
        checkpoint.save(target, 9, {"module/network": nn.Linear(2, width)})
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == whole


def test_folder_without_right_to_write(tmp_path):
    with pytest.raises(OutputError, match="cannot be written, got 'No such file or directory'"):
        checkpoint.save(checkpoint.path_of(tmp_path / "absent", 1), 1, small())
