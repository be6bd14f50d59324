"""The bench of CRG's samplers: what it counts is what the specification counts."""
from dataclasses import replace

import torch

from core.data import images
from crg import bench, figures
from crg.infer import MASK, Painter
from crg.networks import Shape, UNet
from crg.sampler_settings import FastConfig, SamplerConfig, WalkConfig, walk_indices

SMALL = Shape(size_px=32, width=32, multipliers=(1, 1), blocks=1, attention_px=(16,), head_channels=16)


def test_figures_of_the_three_samplers(one_thread, monkeypatch):
    monkeypatch.setattr(bench, "WALK", WalkConfig(start=4, jump=2, passes=2))
    monkeypatch.setattr(bench, "CONTEXT", SMALL)
    monkeypatch.setattr(bench, "DEFECT", replace(SMALL, classes=6))
    rows = {what: (figure, beside) for what, figure, beside in bench.rows()}
    assert rows["CRG plain, an image"][1] == "context 30 forward, 12 backward; defect 31 forward, 12 backward"
    assert rows["CRG exact, an image"][1] == "context 18 forward, 12 backward; defect 7 forward, 0 backward"
    assert rows["CRG fast, an image"][1] == "context 8 forward, 0 backward; defect 120 forward, 0 backward"
    assert float(rows["CRG exact against plain"][0].split()[0]) > 1
    assert float(rows["CRG fast against exact"][0].split()[0]) > 1


def test_the_steps_to_the_fast_sampler_each_keep_those_before():
    found = figures.steps(SamplerConfig(mask=MASK))
    walked = [len(walk_indices(found[name].walk, 250)) for name in list(found)[:4]]
    assert walked == [110, 30, 30, 7]
    assert [found[name].guidance.iterations(20, 250) for name in list(found)[:4]] == [2, 2, 1, 1]
    assert found["no gradient"].fast.start == found["exact"].walk.start
    assert (found["no gradient"].fast.defect_steps, found["patch drawn first"].fast.defect_steps) == (0, 12)
    assert found["fast"].fast == FastConfig()
    assert {config.mask for config in found.values()} == {MASK}


def test_figures_of_a_way_on_boards(one_thread, monkeypatch, tmp_path):
    """By networks that have learnt nothing, on a few boards; the judge is a stand-in."""
    torch.manual_seed(0)
    classes = ("missing_hole", "mouse_bite", "open_circuit", "short", "spur", "spurious_copper")
    networks = [UNet(replace(SMALL, classes=count)) for count in (0, 6)]
    for network in networks:
        torch.nn.init.normal_(network.out[2].weight, std=0.1)
    parts = tuple((network.shape, {key: value.numpy() for key, value in network.state_dict().items()})
                  for network in networks)
    monkeypatch.setattr(figures.Painter, "load", lambda *given: Painter(classes, parts, SamplerConfig(mask=MASK)))
    monkeypatch.setattr(figures, "trained", lambda *given: None)
    for name, count in (("LEARNT", 8), ("UNSEEN", 16), ("KNOWN", 8)):
        monkeypatch.setattr(figures, name, count)
    asked, real = [], []

    class Judge:
        def figures(self, dataset):
            (asked if real else real).extend(dataset.records)
            return {"class": 0.5, "class/spur": 0.5}

    rows = {what.removeprefix("synthetic pcb, "): (figure, beside)
            for what, figure, beside in figures.made(tmp_path, 12, lambda known: Judge(), ways="fast")}
    assert rows["fast: processor time a defect"][0].endswith(" s")
    assert "visible ones against" in rows["fast: KID x1000 of defect crops [scattering]"][1]
    share = float(rows["fast: passed the gate"][0].rstrip("%")) / 100
    assert len(asked) == round(share * int(rows["fast: processor time a defect"][1].split()[0]))
    for record in asked:
        assert images.read_size(record.image) == record.size
