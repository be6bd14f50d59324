"""Devices by name, precision, and settings that are put back."""
import contextlib
from collections import namedtuple

import pytest
import torch

from core import device as devices
from core.errors import ConfigError


def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch):
    without_gpu(monkeypatch)
    assert devices.choose("auto") == devices.choose("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "problem"), [
    ("cuda", "torch finds no CUDA GPU on this machine, got 'cuda'. Choose auto or cpu"),
    ("cuda:1", "torch finds no CUDA GPU on this machine, got 'cuda:1'. Choose auto or cpu"),
    ("mps", "this machine has no Apple GPU, got 'mps'. Choose auto or cpu"),
    ("cdua", "unknown, got 'cdua'. Did you mean 'cuda'? Choose auto, cpu, cuda, cuda:N or mps"),
    ("cuda:x", "unknown, got 'cuda:x'. Did you mean 'cuda'? Choose auto, cpu, cuda, cuda:N or mps"),
    ("cpu:0", "unknown, got 'cpu:0'. Did you mean 'cpu'? Choose auto, cpu, cuda, cuda:N or mps"),
])
def test_what_is_not_there_is_one_clear_line(monkeypatch, name, problem):
    without_gpu(monkeypatch)
    with pytest.raises(ConfigError) as caught:
        devices.choose(name)
    assert str(caught.value) == f"device: {problem}"
    assert caught.value.exit_code == 2


def test_gpu_by_number_and_by_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.choose("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert devices.choose("cuda") == torch.device("cuda", 1)
    assert devices.choose("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(ConfigError, match="there are 2 GPUs, numbered from 0, got number 2"):
        devices.choose("cuda:2")


def test_bfloat16_is_autocast_and_float32_is_not():
    layer, image = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with devices.autocast(torch.device("cpu"), "bfloat16"):
        assert layer(image).dtype == torch.bfloat16
    with devices.autocast(torch.device("cpu"), "float32"):
        assert layer(image).dtype == torch.float32


@pytest.mark.parametrize("deterministic", [True, False])
def test_settings_are_put_back(monkeypatch, deterministic):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with contextlib.suppress(KeyError), devices.numerics(deterministic):
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert not torch.backends.cudnn.benchmark
        raise KeyError
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark) == before


def test_batches_of_any_form_are_moved():
    pair = namedtuple("pair", "image name")
    batch = {"a": [torch.ones(1)], "b": (torch.ones(2), "text"), "c": pair(torch.ones(3), 4)}
    moved = devices.to_device(batch, torch.device("meta"))
    assert [moved["a"][0].device.type, moved["b"][0].device.type, moved["c"].image.device.type] == ["meta"] * 3
    assert moved["b"][1] == "text"
    assert isinstance(moved["c"], pair)


def test_memory_is_told_in_gib():
    memory = devices.memory_gib(torch.device("cpu"))
    assert memory is None or 0.01 < memory < 100
