"""A fitted model of good images as an ONNX file that runs without PyTorch, held against the model itself.

The file takes one `image`, float32 [1, 3, H, W] of a fixed size, prepared as its metadata say, and gives `score`
[1] and `map` [1, H, W]. In the metadata (FACTS, as JSON) stand width and height, how grey levels are prepared
("plain": in 0..1; "standard": less the median, over half the span from the 16th to the 84th percentile of all three
channels), and the thresholds of score and map.
"""
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.data.images import image_places, read_image, write_bytes
from core.errors import ConfigError, OutputError
from core.onnx_packages import FACTS, OPSET, needed
from core.seeding import rng

from .anomaly import FromGood
from .anomaly_data import prepared
from .screen import load

CHECKED = 8             # images on which the file is held against the model
MOST_APART = 1e-3       # of a score or a map, in thresholds
MOST_MIB = 100          # of what is remembered


class Scored(nn.Module):
    """A model as a graph of one image."""

    def __init__(self, model: FromGood):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(image)


def export(run: Path, output: Path, overrides: Sequence[str], images: Path | None = None) -> dict[str, object]:
    """Write the model of a run as ONNX; return how far the file's answers are from its own.

    images   pictures to compare on; noise beside and without them
    ConfigError: no size is set, or the packages are not installed. OutputError: the answers differ; there is no file.
    """
    onnx, runtime = needed()
    screen = load(run, overrides, torch.device("cpu"))
    size, model = screen.config.data.resize_px, screen.model.requires_grad_(False)
    if size is None:
        raise ConfigError("export: the size of the images must be set, got data.resize_px null. Train with it; "
                          "--set data.resize_px=[256,256] takes the model as it is, for images of that size")
    way = screen.config.data.foreground.method
    if way != "none":
        raise ConfigError(f"export: finding the part is not in the file, got data.foreground.method {way}. "
                          "--set data.foreground.method=none, and cut the part out beforehand")
    kept = sum(value.numel() * value.element_size() for value in model.state_dict().values()) / 2 ** 20
    if kept > MOST_MIB:
        raise ConfigError(f"export: too much is remembered for a file, got {kept:.0f} MiB for at most {MOST_MIB}. Fit "
                          "with a smaller model.most")
    light, network = model.features.light, Scored(model).eval()
    made = torch.onnx.export(network, (torch.rand(1, 3, *size[::-1]),), dynamo=True, input_names=["image"],
                             output_names=["score", "map"], opset_version=OPSET, verbose=False)
    proto = onnx.load_from_string(made.model_proto.SerializeToString())
    facts = {"width": size[0], "height": size[1], "light": light, "model": screen.config.model.name,
             "threshold": screen.limits.image, "map_threshold": screen.limits.pixel}
    onnx.helper.set_model_props(proto, {FACTS: json.dumps(facts)})
    data = proto.SerializeToString()
    paths = list(image_places(images).values())[:CHECKED] if images else []
    given = [prepared(read_image(path), screen.config.data, light) for path in paths]
    given += [torch.from_numpy(rng(0, number).random((3, *size[::-1]), np.float32))
              for number in range(CHECKED - len(given))]
    apart = difference(network, runtime, data, given, (screen.limits.image, screen.limits.pixel))
    if not apart <= MOST_APART:
        raise OutputError(f"{output}: not written, for its answers differ from the model's, got {apart:.2g} thresholds "
                          f"(at most {MOST_APART}). Export another model, or take another onnxruntime")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(output, data)
    return {"difference": apart, "of": "a score or a map, in thresholds", "mebibytes": len(data) / 2 ** 20}


@torch.inference_mode()
def difference(network: nn.Module, runtime, data: bytes, given: Sequence[Tensor],
               units: tuple[float, float]) -> float:
    """The largest difference of a score or a map, each in its threshold (or in the answer itself, where that is
    larger)."""
    session, apart = runtime.InferenceSession(data, providers=["CPUExecutionProvider"]), 0.0
    for image in given:
        own, other = network(image[None]), session.run(None, {"image": image[None].numpy()})
        for mine, theirs, unit in zip(own, other, units):
            scale = max(unit, float(mine.abs().max()))
            apart = max(apart, float(np.abs(mine.numpy() - theirs).max()) / scale)
    return apart
