"""Generated images of a study: one pool a generator and seed, made from that seed's shots alone."""
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import config as configs
from ..augment import methods
from ..augment.bank import DefectBank
from ..augment.margins import learn_margins
from ..augment.pipeline import augment
from ..augment.settings import AugmentConfig
from ..data import formats
from ..data.images import write_bytes
from ..errors import DataError, OutputError
from ..files import writing
from ..lock import lock, unlock
from .arms import WITHOUT, Arm, arms_of
from .sets import check_clean, paths, shots_folder
from .settings import ABLATIONS, StudyConfig

MINUTES, MARGINS, WAIT_S = "minutes.json", "margins.json", 2.0


def pool_folder(study: Path, arm: Arm) -> Path:
    return study / "pools" / arm.pool


def images_wanted(config: StudyConfig, facts: dict, arm: Arm, scale: float) -> int:
    """So many generated images as the scale asks for: so often the defective shots of the seed."""
    return max(1, round(scale * facts["shots"][str(arm.seed)]["defective"]))


def fill_pool(config: StudyConfig, facts: dict, arm: Arm) -> float:
    """Generate what the arms of this pool need; returns the minutes that it took in all, over every start.

    Image i of a pool does not depend on how many there are: an arm of a smaller scale takes the first ones.
    """
    folder = pool_folder(config.output, arm)
    largest = max(other.row.scale for other in arms_of(config) if other.pool == arm.pool)
    with alone_in(folder):
        count = images_wanted(config, facts, arm, largest)
        began, before = time.monotonic(), _minutes(folder)
        if before.get("count", 0) < count:
            shots = formats.read(shots_folder(config.output, arm.seed), "coco")
            check_clean(config.output, paths(shots.records))
            margins = learn_margins(shots, DefectBank.build(shots))
            write_bytes(folder / MARGINS, (json.dumps(margins) + "\n").encode())
            models = config.output / "models" / arm.models
            with alone_in(models):
                augment(augment_config(config, facts, arm, folder / "set", models, count))
            spent = before.get("minutes", 0.0) + (time.monotonic() - began) / 60
            before = {"count": count, "minutes": spent}
            write_bytes(folder / MINUTES, (json.dumps(before) + "\n").encode())
    return before["minutes"]


def per_image(facts: dict, arm: Arm) -> tuple[int, int]:
    """Fewest and most defects of a generated image, with the real ones' mean."""
    shots = facts["shots"][str(arm.seed)]
    mean = round(sum(shots["defects"].values()) / max(shots["defective"], 1))
    return 1, max(1, 2 * mean - 1)


def augment_config(config: StudyConfig, facts: dict, arm: Arm, output: Path, models: Path, count: int) -> AugmentConfig:
    """The main job's configuration: the study's own keys, the user's, and what an ablation takes away."""
    each, normal = per_image(facts, arm), facts["shots"][str(arm.seed)]["normal"]
    values = [f"data={json.dumps(str(shots_folder(config.output, arm.seed)))}", f"output={json.dumps(str(output))}",
              f"count={count}", f"method={arm.row.method}", f"seed={arm.seed}", "format=coco",
              f"workers={config.workers}", f"device={config.device}", f"placement.per_image=[{each[0]}, {each[1]}]",
              f"backgrounds={'good' if normal else 'all'}"]
    if arm.row.method in AugmentConfig.model_fields:
        values.append(f"{arm.row.method}.checkpoints={json.dumps(str(models))}")
    others = [f"{name}." for name in methods.METHODS if name != arm.row.method]
    values += [one for one in config.augment if not one.startswith(tuple(others))]
    if arm.row.variant.startswith(WITHOUT):
        values += ABLATIONS[arm.row.variant.removeprefix(WITHOUT)][1]
    return configs.load(AugmentConfig, None, values)


def pool_lines(study: Path, arm: Arm, count: int) -> list[dict]:
    """The manifest's lines of the first `count` images of a pool, those that were made."""
    path = pool_folder(study, arm) / "set" / "manifest.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read, got '{error}'. Delete its folder to generate anew") from error
    return [line for line in lines[:count] if line["image"]]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Within, no other process works in the folder; waits for one that does."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    said = False
    while True:
        try:
            lock(folder)
            break
        except OutputError:
            if not said:
                print(f"{folder}: another process is at work there; waiting for it", flush=True)
            said = True
            time.sleep(WAIT_S)
    try:
        yield
    finally:
        unlock(folder)


def _minutes(folder: Path) -> dict:
    path = folder / MINUTES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
