"""The numbers of training do not drift: ten steps of each toy model against stored losses.

In float64, so that processors that round differently agree to far more than the tolerance.
"""
import json

import pytest
import torch

from tests import golden
from tests.children import TOYS
from tests.toys import ToyConfig, settings


@pytest.mark.parametrize("model", TOYS)
def test_losses_are_as_stored(model):
    config = ToyConfig(loop=settings(clip_norm=1.0), dtype="float64")
    task = TOYS[model](config, torch.device("cpu"))
    golden.check(f"toy-{model}", golden.losses_of(task, config.loop), "tests/core/test_golden.py")


def test_a_drift_says_how_to_accept_it(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    monkeypatch.delenv("GOLDEN", raising=False)
    (tmp_path / "x.json").write_text(json.dumps([{"loss": 1.0}]))
    golden.check("x", [{"loss": 1.0 + 1e-7}], "tests/x.py")
    with pytest.raises(AssertionError, match="loss was 1.0, got 1.00001. .* GOLDEN=accept python -m pytest tests/x.py"):
        golden.check("x", [{"loss": 1.00001}], "tests/x.py")
    monkeypatch.setenv("GOLDEN", "accept")
    golden.check("x", [{"loss": 2.0}], "tests/x.py")
    monkeypatch.delenv("GOLDEN")
    golden.check("x", [{"loss": 2.0}], "tests/x.py")
