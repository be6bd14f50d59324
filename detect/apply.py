"""A trained detector on image files: verdicts, defects as JSON, table, COCO and labelme, and pictures of them."""
import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from core import checkpoint
from core import config as configs
from core.data import formats
from core.data.applied import on_each, only_input, refuse_unread
from core.data.images import encode_png, image_places, read_image, write_bytes
from core.data.records import Dataset, Record
from core.data.shapes import crop_instance, crop_to_rle, rle_crop
from core.errors import CheckpointError
from core.experiment import tell
from core.files import writing
from core.visualise import encode_jpeg, shown, white_point

from . import portable
from .anomaly import fingerprint
from .fullimage import Frame, inspect
from .history import read_kept
from .merging import Piece, Window
from .models import build, norm_of
from .networks import Detector, coco_statistics
from .overlays import verdict_picture
from .predict import TileDetector
from .rework import PartVerdict, RulesConfig, judge_part
from .settings import DetectConfig

CLASSES, JUDGE = "classes.json", "judge.json"
HEAD = ("image", "verdict", "score", "defects", "area_px", "rule", "reason", "warning", "seconds")


@dataclass(frozen=True)
class Inspected:
    """What is said of an image: a verdict ("good", "defect", or a rule's), by which rule, and why.

    judged   what the rework rules say, where there are some
    beside   further values for the image's JSON, such as a screen's score
    """
    frame: Frame
    verdict: str
    rule: str
    reason: str
    judged: PartVerdict | None = None
    beside: Mapping[str, object] = field(default_factory=dict)

    @property
    def pieces(self) -> Sequence[Piece]:
        return self.frame.defects if self.judged is None else self.judged.defects


@dataclass(frozen=True)
class Inspector:
    """A detector with its threshold and, where there are some, the rules that turn defects into verdicts."""
    detector: TileDetector
    config: DetectConfig
    threshold: float
    rules: RulesConfig | None = None

    def __call__(self, pixels: np.ndarray, wanted: Callable[[Window], bool] = lambda window: True) -> Inspected:
        """What is on the tiles of an image, judged."""
        least = min(self.threshold, self.config.frame.least_score)
        frame = inspect(pixels, self.detector, self.config.frame.model_copy(update={"least_score": least}), wanted)
        kept = tuple(piece for piece in frame.defects if piece.score >= self.threshold)
        frame = Frame(kept, frame.part, frame.windows, frame.seconds)
        if self.rules is None:
            return Inspected(frame, "defect" if kept else "good", "threshold", "", beside={"threshold": self.threshold})
        judged = judge_part(kept, pixels, frame.part, self.rules)
        return Inspected(frame, judged.part.verdict, judged.part.rule, judged.part.reason, judged,
                         {"threshold": self.threshold})

    @property
    def identity(self) -> str:
        """Equal where everything is that a verdict depends on: weights, config, threshold, rules."""
        said = [fingerprint(self.detector.network), self.config.frame.model_dump_json(), repr(self.threshold),
                "" if self.rules is None else self.rules.model_dump_json()]
        return hashlib.sha256("|".join(said).encode()).hexdigest()[:16]


def load(run: Path, overrides: Sequence[str], device: torch.device, rules: Path | None = None) -> Inspector:
    """The detector of a run with its best weights, or its newest; or that of a best_model.pth.

    Its threshold is the one that was chosen on val, unless `overrides` give threshold.value.
    """
    judge = None if rules is None else configs.load(RulesConfig, rules)
    if run.is_file():
        kept = portable.read(run)
        config = configs.load(DetectConfig, None, [f"threshold.value={kept.threshold!r}", *overrides],
                              values=kept.config.model_dump(mode="json"))
        network = empty(config, kept.classes)
        portable.put_in(network, kept, run)
        return Inspector(TileDetector(network.to(device).eval(), kept.classes, device), config, config.threshold.value,
                         judge)
    config = configs.load(DetectConfig, run / "config.yaml", overrides)
    try:
        classes = tuple(json.loads((run / CLASSES).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run / CLASSES}: cannot be read, got '{error}'. It names the classes that the run "
                              "learned; copy it with the run") from error
    network = empty(config, classes)
    best, paths = checkpoint.best_path(run), checkpoint.found(run)
    if not best.is_file() and not paths:
        raise CheckpointError(f"{run}: holds no checkpoint (step-*.pt). Train first, or check the folder's name")
    checkpoint.load_part(best if best.is_file() else paths[-1], "module/network", network)
    threshold = read_kept(run, "threshold", config.threshold.value, overrides)
    return Inspector(TileDetector(network.to(device).eval(), classes, device), config, threshold, judge)


def empty(config: DetectConfig, classes: Sequence[str]) -> Detector:
    """The network of a config as it was trained, without its weights."""
    network = build(config.network.model_copy(update={"weights": "none", "norm": norm_of(config.network)}),
                    len(classes), 1)
    if config.network.weights.startswith("coco:"):
        coco_statistics(network)
    return network


def apply(run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
          on: torch.device, rules: Path | None = None) -> dict[str, float]:
    """See `judge_files`; by the detector of a run, or of a file."""
    source = only_input(inputs, "the detector")
    inspector = load(run, overrides, on, rules)
    return judge_files(inspector, inspector.detector.classes, source, output, inspector.identity)


def judge_files(judge: Callable[[np.ndarray], Inspected], classes: tuple[str, ...], source: Path, output: Path,
                identity: str | None = None) -> dict[str, float]:
    """Write into `output` defects/NAME.json, overlays/NAME.jpg, numbers/NAME.png (16 bits: 0, or a defect's id + 1),
    summary.csv, and all as COCO and labelme to correct.

    A file that cannot be read is passed over; when all others are done, DataError names every one.
    identity    of the judge: images that it has judged in this folder already, and that have not changed since, are
                not judged again; None: all are
    """
    places = image_places(source)
    if identity is not None:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
        write_bytes(output / JUDGE, (json.dumps({"identity": identity}) + "\n").encode())

    def work(name: str, path: Path) -> dict:
        document = _judged_before(name, path, output, identity)
        if document is None:
            pixels = read_image(path)
            document = _write(name, path, pixels, judge(pixels), classes, output, identity)
        return document

    done, unread = on_each(places, work)
    records = [_record(name, places[name], document) for name, document in done.items()]
    rows = [_row(name, document) for name, document in done.items()]
    if rows:
        _table(output / "summary.csv", rows)
        found = Dataset(root=output, format="made", classes=_labels(records, classes), records=tuple(records))
        formats.write(found, output / "coco", "coco")
        formats.write(found, output / "labelme", "labelme")
    warned = {name: document["warning"] for name, document in done.items() if document["warning"]}
    for name, warning in list(warned.items())[:1]:
        tell([f"note: {len(warned)} of {len(places)} images: the part was not found and the whole frame looked at, "
              f"such as {name}: {warning}. summary.csv names all; is there a part on them?"])
    refuse_unread(unread, places, output)
    counts = Counter(row[1] for row in rows)
    return {"images": len(rows), **{f"verdict/{name}": float(count) for name, count in sorted(counts.items())}}


def goes_on(output: Path, identity: str) -> bool:
    """Whether a folder holds results of this judge, which a killed command left there, say."""
    try:
        return json.loads((output / JUDGE).read_text(encoding="utf-8"))["identity"] == identity
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _judged_before(name: str, path: Path, output: Path, identity: str | None) -> dict | None:
    """What an earlier start has written of an image last, so that all of it is there; None: nothing that counts."""
    told = output / "defects" / f"{name}.json"
    if identity is None or not told.is_file() or not path.is_file() or told.stat().st_mtime < path.stat().st_mtime:
        return None
    document = json.loads(told.read_text(encoding="utf-8"))
    return document if (document.get("judge"), document.get("file")) == (identity, str(path)) else None


def _write(name: str, path: Path, pixels: np.ndarray, said: Inspected, classes: tuple[str, ...], output: Path,
           identity: str | None) -> dict:
    """The files of one image; returns what is told of it."""
    size, pieces, judged = pixels.shape[1::-1], said.pieces, said.judged
    told = [{"id": number, "class": piece.label, "score": round(piece.score, 4), "bbox": list(piece.box),
             "area_px": piece.area_px, "tiles": piece.tiles, "rle": crop_to_rle(piece.crop, piece.x, piece.y, size),
             **({} if judged is None else {"verdict": judged.judged[number].verdict, "rule": judged.judged[number].rule,
                                           "features": dict(judged.features[number])})}
            for number, piece in enumerate(pieces)]
    document = {"file": str(path), "width": size[0], "height": size[1], "verdict": said.verdict,
                "score": said.frame.score, "rule": said.rule, "reason": said.reason, **said.beside,
                "warning": said.frame.part.warning, "seconds": said.frame.seconds,
                **({} if judged is None else {"measured": judged.part.measured, "part": dict(judged.part_features)}),
                "defects": told, "judge": identity}
    numbers = np.zeros(size[::-1], np.uint16)
    for number, piece in reversed(list(enumerate(pieces, 1))):          # the surest defect lies on top
        numbers[piece.y:piece.box[3], piece.x:piece.box[2]][piece.crop] = number
    for folder in ("defects", "overlays", "numbers"):
        (output / folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(output / "numbers" / f"{name}.png", encode_png(numbers))
    picture = verdict_picture(shown(pixels, white_point([pixels])), pieces, said.verdict, classes)
    write_bytes(output / "overlays" / f"{name}.jpg", encode_jpeg(picture, 90))
    write_bytes(output / "defects" / f"{name}.json", (json.dumps(document, indent=1) + "\n").encode())
    return document


def _record(name: str, path: Path, document: dict) -> Record:
    size = document["width"], document["height"]
    instances = tuple(crop_instance(*rle_crop(one["rle"]), size, one["class"]) for one in document["defects"])
    return Record(image=path, name=name, size=size, instances=instances)


def _labels(records: Sequence[Record], classes: tuple[str, ...]) -> tuple[str, ...]:
    """The detector's classes, then those that the outline gave."""
    return (*classes, *sorted({item.label for record in records for item in record.instances} - set(classes)))


def _row(name: str, told: dict) -> tuple:
    return (name, told["verdict"], f"{told['score']:.4f}", len(told["defects"]),
            sum(one["area_px"] for one in told["defects"]), told["rule"], told["reason"], told["warning"] or "",
            f"{sum(told['seconds'].values()):.3f}")


def _table(path: Path, rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
    write_bytes(path, text.getvalue().encode())
