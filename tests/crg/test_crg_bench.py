"""The bench of CRG's samplers: what it counts is what the specification counts."""
from dataclasses import replace

from crg import bench
from crg.networks import Shape
from crg.sampler_settings import WalkConfig

SMALL = Shape(size_px=32, width=32, multipliers=(1, 1), blocks=1, attention_px=(16,), head_channels=16)


def test_figures_of_the_three_samplers(one_thread, monkeypatch):
    monkeypatch.setattr(bench, "WALK", WalkConfig(start=4, jump=2, passes=2))
    monkeypatch.setattr(bench, "CONTEXT", SMALL)
    monkeypatch.setattr(bench, "DEFECT", replace(SMALL, classes=6))
    rows = {what: (figure, beside) for what, figure, beside in bench.rows()}
    assert rows["CRG plain, an image"][1] == "context 30 forward, 12 backward; defect 31 forward, 12 backward"
    assert rows["CRG exact, an image"][1] == "context 18 forward, 12 backward; defect 7 forward, 0 backward"
    assert rows["CRG fast, an image"][1] == "context 10 forward, 0 backward; defect 54 forward, 0 backward"
    assert float(rows["CRG exact against plain"][0].split()[0]) > 1
    assert float(rows["CRG fast against exact"][0].split()[0]) > 1
