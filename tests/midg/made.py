"""A tiny made set and small configs, with which the tests of MIDG's tasks train in a second."""
from pathlib import Path

import torch

from core.synthetic.write import Recipe, make_set
from core.task import LoopConfig
from midg.settings import (
    DataConfig,
    DefectConfig,
    DefectLossConfig,
    DefectNetworkConfig,
    EdgeConfig,
    EdgeLossConfig,
    EdgeNetworkConfig,
    GivenEdgesConfig,
    JointConfig,
    SheetConfig,
)

CPU = torch.device("cpu")
SIDE_PX = 48
SHEET = SheetConfig(samples=4, shown=2)


def fpc(folder: Path, count: int = 10, seed: int = 0) -> Path:
    """Flexible circuits of 112 px with their twins, as a COCO set."""
    make_set(Recipe(kind="fpc", count=count, size=(112, 112), good_share=0.0, seed=seed), folder)
    return folder


def few_steps(steps: int = 10, **changes) -> LoopConfig:
    few = {"batch_size": 2, "workers": 0, "save_every": 4, "evaluate_every": 5, "report_every": 3}
    return LoopConfig(steps=steps, **few | changes)


def data(root: Path, **changes) -> DataConfig:
    return DataConfig(root=root, **{"size_px": SIDE_PX, "margin_px": (2, 3), "sigma": 2.0} | changes)


def edge_config(root: Path, *, loop: LoopConfig | None = None, loss: dict | None = None, **changes) -> EdgeConfig:
    return EdgeConfig(loop=loop or few_steps(), data=data(root, **changes), sheet=SHEET,
                      network=EdgeNetworkConfig(width=2), loss=EdgeLossConfig(**loss or {}))


def given_config(root: Path, *, loop: LoopConfig | None = None, loss: dict | None = None,
                 **changes) -> GivenEdgesConfig:
    return GivenEdgesConfig(loop=loop or few_steps(), data=data(root, **changes), sheet=SHEET,
                            network=DefectNetworkConfig(width=2), loss=DefectLossConfig(**loss or {}))


def defect_config(root: Path, *, loop: LoopConfig | None = None, edges: Path | None = None, **changes) -> DefectConfig:
    return DefectConfig(loop=loop or few_steps(), data=data(root, **changes), sheet=SHEET,
                        network=DefectNetworkConfig(width=2), edges=edges)


def joint_config(root: Path, *, loop: LoopConfig | None = None, **changes) -> JointConfig:
    return JointConfig(loop=loop or few_steps(), data=data(root, **changes), sheet=SHEET,
                       edge_network=EdgeNetworkConfig(width=2), network=DefectNetworkConfig(width=2))
