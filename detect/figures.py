"""What anomaly detection reaches on the magnetic tiles: trained and random features, by seed, and other models."""
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from core import config as configs
from core import experiment, loop
from core.errors import DataError, Stopped
from core.runlog import open_run

from .anomaly_settings import AnomalyConfig
from .anomaly_task import AnomalyTask

TILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "magnetic_tile"
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "anomaly.yaml"
COMMON = ("data.ratios=[0.5,0.2,0.3]", "data.scale=0.75", "threshold.false_alarms=0.05", "loop.batch_size=8",
          "loop.workers=0", "loop.save_every=100")
SHOWN = ("image/auroc", "image/ap", "image/f1_max", "pixel/auroc", "pixel/ap", "pixel/aupro_30")
# On the features of the first seed's run: overrides, and steps.
OTHERS = {"padim": (("model.aligned=true", "data.resize_px=[256,256]"), 1),
          "fastflow": ((), 300), "efficientad": ((), 600)}


def rows(folder: Path, steps: int, seeds: int = 3) -> Iterator[tuple[str, str, str]]:
    """Rows (what, image AUROC, the other figures): each seed splits and trains anew; killed, it goes on in `folder`.

    The features of step 0 are random. Of the other models each is trained on the features of seed 0, on its split.
    """
    if not TILE.is_dir():
        raise DataError(f"{TILE}: not at hand, which the figures are measured on. Put the magnetic tile set there")
    for seed in range(seeds):
        run = folder / f"seed{seed}" / "anomaly"
        first, last = trained(run, [f"loop.seed={seed}", f"data.split_seed={seed}", f"loop.steps={steps}",
                                    f"loop.evaluate_every={steps}"])
        yield row(f"patchcore, random features, seed {seed}", first)
        yield row(f"patchcore, synthetic-defect features of {steps} steps, seed {seed}", last)
    features = folder / "seed0" / "anomaly"
    for name, (options, count) in OTHERS.items():
        given = ["features.kind=network", f"features.file={features}", f"model.name={name}", *options,
                 f"loop.steps={count}", f"loop.evaluate_every={count}", *COMMON]
        yield row(f"{name} on the features of seed 0", trained(folder / name / "anomaly", given, None)[-1])


def trained(run: Path, options: list[str], file: Path | None = CONFIG) -> list[dict]:
    """Train a run, or go on with it; its evaluations from the first to the last."""
    config = configs.load(AnomalyConfig, file, [f"data.root={TILE}", *options])
    device = torch.device("cpu")
    opened = open_run(run, config.model_dump(mode="json"))
    code = loop.train(experiment.build(AnomalyTask, config, device, opened), config.loop, opened, device=device)
    if code:
        raise Stopped(f"stopped in {run}; the same command goes on", code - 128)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == "evaluate"]


def row(what: str, found: dict) -> tuple[str, str, str]:
    shown = ", ".join(f"{name} {found[name]:.3f}" for name in SHOWN[1:] if name in found)
    low, high = found["image/auroc_low"], found["image/auroc_high"]
    return what, f"{found['image/auroc']:.3f}", f"image AUROC, 95 % {low:.2f} to {high:.2f}; {shown}"
