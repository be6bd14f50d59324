"""A fitted model of good images on image files: scores and verdicts as JSON and as a table, findings, heat maps."""
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from core.data.applied import on_each, only_input, refuse_unread
from core.data.images import encode_png, image_places, read_image, write_bytes
from core.files import writing
from core.visualise import encode_jpeg

from .screen import Screen, load, outlined, picture

HEAD = ("image", "verdict", "score", "p_value", "threshold", "findings", "area_px")
FOUND = (255, 200, 0)


def apply(run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
          on: torch.device) -> dict[str, float]:
    """Write into `output` scores.csv, scores.json, heat/NAME.jpg (the map over the image, findings outlined) and
    found/NAME.png (white where the map is above its threshold).

    A file that cannot be read is passed over; when all others are done, DataError names every one.
    """
    places = image_places(only_input(inputs, "anomaly detection"))
    screen = load(run, overrides, on)
    done, unread = on_each(places, lambda name, path: _judged(screen, name, path, output))
    told = list(done.values())
    if told:
        text = io.StringIO()
        rows = [(one["image"], one["verdict"], one["score"], one["p_value"], one["threshold"], len(one["findings"]),
                 sum(part["area_px"] for part in one["findings"])) for one in told]
        csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
        write_bytes(output / "scores.csv", text.getvalue().encode())
        write_bytes(output / "scores.json", (json.dumps(told, indent=1) + "\n").encode())
    refuse_unread(unread, places, output)
    return {"images": len(told), "rejected": sum(one["verdict"] == "defect" for one in told)}


def _judged(screen: Screen, name: str, path: Path, output: Path) -> dict:
    """Write the pictures of one image; what is told of it."""
    pixels = read_image(path)
    result = screen(pixels)
    mask, findings = screen.findings(result.map)
    for folder, suffix in (("heat", "jpg"), ("found", "png")):
        target = output / folder / f"{name}.{suffix}"
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        data = (encode_png(mask.astype("uint8") * 255) if folder == "found" else
                encode_jpeg(outlined(picture(pixels, result.map, screen.limits), mask, FOUND), 90))
        write_bytes(target, data)
    return {"image": name, "file": str(path), "verdict": "defect" if result.rejected else "good",
            "score": round(result.score, 6), "p_value": round(result.p_value, 6),
            "threshold": round(screen.limits.image, 6),
            "findings": [{"box": list(one.box), "area_px": one.area_px, "highest": round(one.highest, 6)}
                         for one in findings]}
