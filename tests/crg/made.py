"""A tiny made set and small configs, with which the tests of CRG's models train in seconds."""
from pathlib import Path

from core.synthetic.write import Recipe, make_set
from core.task import LoopConfig
from crg.settings import (
    ContextConfig,
    ContextDataConfig,
    DefectConfig,
    DefectDataConfig,
    EmaConfig,
    NetworkConfig,
    OptimizerConfig,
    SheetConfig,
)

SIDE_PX = 16
SHEET = SheetConfig(samples=3, shown=2, steps=2)
NETWORK = NetworkConfig(size_px=SIDE_PX, width=32, multipliers=(1, 1), blocks=1, attention_px=(8,), head_channels=16)


def boards(folder: Path, count: int = 8) -> Path:
    """Circuit boards of 96 px with their twins, some of them good, as a COCO set."""
    make_set(Recipe(kind="pcb", count=count, size=(96, 96), good_share=0.3), folder)
    return folder


def few_steps(steps: int = 8, **changes) -> LoopConfig:
    few = {"batch_size": 2, "workers": 0, "save_every": 3, "evaluate_every": 8, "report_every": 3}
    return LoopConfig(steps=steps, **few | changes)


def context_config(root: Path | None, *, loop: LoopConfig | None = None, data: dict | None = None,
                   **changes) -> ContextConfig:
    return ContextConfig(loop=loop or few_steps(), data=ContextDataConfig(root=root, **data or {}), sheet=SHEET,
                         network=NETWORK, ema=EmaConfig(half_life_steps=5),
                         optimizer=OptimizerConfig(learning_rate=1e-3), **changes)


def defect_config(root: Path | None, *, loop: LoopConfig | None = None, data: dict | None = None,
                  **changes) -> DefectConfig:
    return DefectConfig(loop=loop or few_steps(), data=DefectDataConfig(root=root, **data or {}), sheet=SHEET,
                        network=NETWORK, ema=EmaConfig(half_life_steps=5),
                        optimizer=OptimizerConfig(learning_rate=1e-3), **changes)
