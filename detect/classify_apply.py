"""A trained patch classifier on image files: a table of verdicts, and pictures with heat maps."""
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from core import checkpoint
from core import config as configs
from core.data.applied import on_each, only_input, refuse_unread
from core.data.images import image_places, read_image, write_bytes
from core.errors import CheckpointError
from core.visualise import encode_jpeg, shown, white_point

from .classify_networks import build
from .classify_settings import ClassifyConfig
from .history import read_kept
from .overlays import verdict_picture
from .patches import PatchJudge, heated

HEAD = ("image", "verdict", "chance", "patches", "patches_flagged", "worst_x", "worst_y", "seconds")


def load(run: Path, overrides: Sequence[str], device: torch.device) -> tuple[PatchJudge, float]:
    """The classifier of a run with its best weights, or its newest, and the chance from which a patch is defective."""
    config = configs.load(ClassifyConfig, run / "config.yaml", overrides)
    network = build(config.network.name)
    best, paths = checkpoint.best_path(run), checkpoint.found(run)
    if not best.is_file() and not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    checkpoint.load_part(best if best.is_file() else paths[-1], "module/network", network)
    judge = PatchJudge(network.to(device).eval(), config, read_kept(run, "temperature", 1.0), device)
    return judge, read_kept(run, "threshold", config.threshold.value, overrides)


def apply(run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
          on: torch.device) -> dict[str, float]:
    """Write summary.csv and heat/NAME.jpg into `output`.

    A file that cannot be read is passed over; when all others are done, DataError names every one.
    """
    places = image_places(only_input(inputs, "the patch classifier"))
    judge, threshold = load(run, overrides, on)

    def work(name: str, path: Path) -> tuple:
        pixels = read_image(path)
        judged = judge(pixels)
        verdict = "defect" if judged.chance >= threshold else "good"
        chances = judged.logits / judge.temperature
        worst = judged.windows[int(chances.argmax())][:2] if len(chances) else ("", "")
        flagged = int((torch.from_numpy(chances).sigmoid() >= threshold).sum()) if len(chances) else 0
        picture = heated(shown(pixels, white_point([pixels])), judged.heat)
        picture = verdict_picture(picture, [], verdict, (), f"chance of a defect {judged.chance:.3f}")
        (output / "heat" / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output / "heat" / f"{name}.jpg", encode_jpeg(picture, 90))
        return name, verdict, f"{judged.chance:.4f}", len(chances), flagged, *worst, judged.seconds

    done, unread = on_each(places, work)
    rows = list(done.values())
    if rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
        write_bytes(output / "summary.csv", text.getvalue().encode())
    refuse_unread(unread, places, output)
    return {"images": len(rows), **{f"verdict/{name}": float(count)
                                    for name, count in sorted(Counter(row[1] for row in rows).items())}}
