"""A trained segmenter as an ONNX file that runs without PyTorch, held against the network that it comes from.

The file takes `image`, float32 [N, C, H, W] in 0..1 with sides that are multiples of the stride, and gives `chances`,
float32 [N, K, H, W]: probabilities of background and classes, or of the defect alone where K = 1. What a program needs
to know beside that is in its metadata (FACTS), as JSON; scripts/run_onnx.py is such a program.
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

from .apply import Segmenter, load
from .data import network_input
from .infer import up_to
from .losses import probabilities
from .panels import palette
from .settings import InferConfig

LARGEST_SIDES = 2048            # of the input, in strides
MOST_APART, LEAST_EQUAL = 1e-3, 0.9999
CHECKED_PX = 512


class Probabilities(nn.Module):
    """A network whose output are probabilities."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return probabilities(self.network(image))


def export(run: Path, output: Path, overrides: Sequence[str], images: Path | None = None) -> dict[str, float]:
    """Write the segmenter of a run with its best weights as ONNX; return how far the file's answers are from its own.

    images   pictures to compare on, beside random ones
    ConfigError: the packages for it are not installed, or infer.* asks for more than a file does. OutputError: the
    answers differ; then there is no file.
    """
    onnx, runtime = needed()
    segmenter = load(run, overrides, torch.device("cpu"))
    check_plain(segmenter.config.infer)
    network = Probabilities(segmenter.network.to(memory_format=torch.contiguous_format)).eval()
    model = onnx.load_from_string(graph(network, segmenter))
    onnx.helper.set_model_props(model, {FACTS: json.dumps(facts(segmenter))})
    data = model.SerializeToString()
    found = parity(network, runtime, data, inputs(segmenter, images))
    if found["difference"] > MOST_APART or found["same_label"] < LEAST_EQUAL:
        raise OutputError(f"{output}: not written, for its answers differ from the network's, got {found} (at most "
                          f"{MOST_APART}, at least {LEAST_EQUAL}). Export another network, or another onnxruntime")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(output, data)
    return {**found, "mebibytes": len(data) / 2 ** 20}


def check_plain(config: InferConfig) -> None:
    """ConfigError: what test.py does beside the pass at native scale, and a program that runs the file would not."""
    for name, plain in (("context", "0"), ("flips", "false"), ("minimum_px", "0")):
        if value := getattr(config, name):
            raise ConfigError(f"infer.{name}: an ONNX file gives the plain pass at native scale alone, got {value}, so "
                              f"its labels would not be test.py's. --set infer.{name}={plain} exports that pass")


def graph(network: nn.Module, segmenter: Segmenter) -> bytes:
    """The network as ONNX; any number of images, any sides that are multiples of the stride."""
    stride, channels = segmenter.network.stride, segmenter.config.data.channels
    sides = {at: stride * torch.export.Dim(name, min=1, max=LARGEST_SIDES)
             for at, name in ((2, "rows"), (3, "columns"))}
    example = torch.zeros(2, channels, 4 * stride, 6 * stride)
    made = torch.onnx.export(network, (example,), dynamo=True, input_names=["image"], output_names=["chances"],
                             dynamic_shapes={"image": {0: torch.export.Dim("count", min=1, max=4096), **sides}},
                             opset_version=OPSET, verbose=False)
    return made.model_proto.SerializeToString()


def facts(segmenter: Segmenter) -> dict[str, object]:
    """What a program that runs the file has to know."""
    config, network = segmenter.config, segmenter.network
    colours = palette(len(segmenter.classes))[1:len(segmenter.classes) + 1].tolist()
    return {"classes": list(segmenter.classes), "colours": colours, "channels": config.data.channels,
            "stride": network.stride, "reach": network.reach if config.infer.mode == "exact" else None,
            "tile_px": config.infer.tile_px, "overlap_px": config.infer.overlap_px,
            "threshold": config.infer.threshold}


def inputs(segmenter: Segmenter, images: Path | None) -> list[Tensor]:
    """Float32 [N, C, H, W]: noise of several sizes, and the middle of each picture."""
    stride, channels, random = segmenter.network.stride, segmenter.config.data.channels, rng(0)
    sizes = [(1, 1, 1), (2, 3, 5), (1, up_to(CHECKED_PX, stride) // stride, 2)]
    made = [torch.from_numpy(random.random((count, channels, rows * stride, columns * stride), np.float32))
            for count, rows, columns in sizes]
    for path in image_places(images).values() if images else ():
        pixels = read_image(path)
        sides = [min(side, CHECKED_PX) // stride * stride for side in pixels.shape[:2]]
        y, x = ((side - kept) // 2 for side, kept in zip(pixels.shape, sides))
        if all(sides):
            made.append(network_input(pixels[y:y + sides[0], x:x + sides[1]], channels)[None])
    return made


@torch.inference_mode()
def parity(network: nn.Module, runtime, data: bytes, given: Sequence[Tensor]) -> dict[str, float]:
    """The largest difference of a probability, and the share of pixels whose likeliest class is the same."""
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    apart, equal, count = 0.0, 0, 0
    for images in given:
        own, other = network(images).numpy(), session.run(None, {"image": images.numpy()})[0]
        apart = max(apart, float(np.abs(own - other).max()))
        labels = [values.argmax(1) if values.shape[1] > 1 else values > 0.5 for values in (own, other)]
        equal, count = equal + int((labels[0] == labels[1]).sum()), count + labels[0].size
    return {"difference": apart, "same_label": equal / count}
