"""Weight files of the earlier MIDG code, read into and written from this package's networks.

EdgeModel_gen.pth, InpaintingModel_gen.pth      {"iteration": int, "generator": state_dict}
EdgeModel_dis.pth, InpaintingModel_dis.pth      {"discriminator": state_dict}
The second copies (.pth2) are not written. A `module.` before every key (several GPUs) is taken off.
"""
from pathlib import Path

import torch
from torch import Tensor

from core.errors import CheckpointError, OutputError
from core.files import whole_file
from core.weight_files import read_weights

from .networks import LEVELS, DefectGenerator, Discriminator, EdgeGenerator

Network = EdgeGenerator | DefectGenerator | Discriminator
EDGE_FILES = ("EdgeModel_gen.pth", "EdgeModel_dis.pth")                     # generator, discriminator
DEFECT_FILES = ("InpaintingModel_gen.pth", "InpaintingModel_dis.pth")
PUBLISHED_ATTENTION = 2
SHOWN = 5
SUFFIXES = {            # within a layer: this package's key -> the earlier one
    ".weight": ".weight",
    ".bias": ".bias",
    ".parametrizations.weight.original": ".weight_orig",
    ".parametrizations.weight.0.u": ".weight_u",
    ".parametrizations.weight.0.v": ".weight_v",
}


def load_earlier(path: Path, network: Network) -> int:
    """Read an earlier file into the network; return its iteration, 0 for a discriminator's. Raises CheckpointError."""
    stored, part = read_weights(path), part_of(network)
    if not isinstance(stored, dict) or not isinstance(stored.get(part), dict):
        files = [names[part == "discriminator"] for names in (EDGE_FILES, DEFECT_FILES)]
        got = f"'{', '.join(map(str, list(stored)[:SHOWN]))}'" if isinstance(stored, dict) else type(stored).__name__
        raise CheckpointError(f"{path}: not a file of the earlier code for this network, got {got}. "
                              f"It must hold '{part}', as {' and '.join(files)} do")
    try:
        state = from_earlier(stored[part], network)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    network.load_state_dict(state)
    iteration = stored.get("iteration", 0)
    return iteration if isinstance(iteration, int) else 0


def width_of(path: Path) -> int:
    """The width of the generator in an earlier file: channels of its first convolution. Raises CheckpointError."""
    stored = read_weights(path)
    state = stored.get("generator") if isinstance(stored, dict) else None
    for key, value in state.items() if isinstance(state, dict) else ():
        if key.removeprefix("module.").startswith("Conv1.conv.0.weight") and isinstance(value, Tensor):
            return len(value)
    raise CheckpointError(f"{path}: not a generator of the earlier code, got no 'Conv1.conv.0.weight' in its "
                          "'generator'. Take the file away, or put the right one in its place")


def save_earlier(path: Path, network: Network, iteration: int = 0) -> None:
    """Write the network as the earlier code reads it, whole or not at all. Raises OutputError."""
    part = part_of(network)
    state = {part: to_earlier(network)}
    if part == "generator":
        state = {"iteration": iteration, **state}
    with whole_file(path) as file:
        torch.save(state, file)


def from_earlier(state: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """A state_dict for the network. CheckpointError names the tensors that are missing, unknown or of another shape."""
    state = {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, Tensor)}
    names, mine = earlier_names(network), network.state_dict()
    problems = [f"'{key}' has no counterpart in the earlier code" for key in mine if key not in names]
    problems += [f"'{earlier}' is missing" for earlier in names.values() if earlier not in state]
    problems += [f"'{key}' is unknown here" for key in state if key not in {*names.values(), *repeated(names)}]
    problems += [f"'{earlier}' is {list(state[earlier].shape)}, here {list(mine[key].shape)}"
                 for key, earlier in names.items() if earlier in state and state[earlier].shape != mine[key].shape]
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CheckpointError(f"does not fit this {type(network).__name__}: {'; '.join(problems[:SHOWN])}{more}. "
                              f"{advice(state, names, mine)}")
    broken = [key for key in names.values() if not state[key].isfinite().all()]
    if broken:
        raise CheckpointError(f"holds numbers that are not finite, got '{broken[0]}' and {len(broken) - 1} more such "
                              "tensors. Take an earlier copy")
    return {key: state[earlier] for key, earlier in names.items()}


def to_earlier(network: Network) -> dict[str, Tensor]:
    """The network's weights under the earlier keys, in their order, on the CPU. OutputError where they do not fit."""
    names, mine = earlier_names(network), network.state_dict()
    planes, published = next(iter(mine.values())).shape[1], 4 if isinstance(network, DefectGenerator) else 3
    for differs, got in ((len(names) < len(mine), f"{network.classes} classes"),
                         (planes != published, f"{planes} input planes"),
                         (attention_levels(network) not in (0, PUBLISHED_ATTENTION), "more levels of attention"),
                         (getattr(network, "blend", False), "a plane of opacity (blend)")):
        if differs:
            raise OutputError(f"{type(network).__name__}: cannot be written for the earlier code, got {got}. Only a "
                              "network of the published form can")
    state = {earlier: mine[key].detach().cpu().clone() for key, earlier in names.items()}
    return {**state, **{copy: state[earlier].clone() for copy, earlier in repeated(names).items()}}


def repeated(names: dict[str, str]) -> dict[str, str]:
    """Keys under which the earlier discriminator holds its first layer once more -> those that count."""
    return {f"features.{earlier.removeprefix('conv1.')}": earlier for earlier in names.values()
            if earlier.startswith("conv1.")}


def advice(state: dict[str, Tensor], names: dict[str, str], mine: dict[str, Tensor]) -> str:
    if any(key.startswith("encoder.") for key in state):
        return "It is of EdgeConnect's own networks, which are not part of this package"
    first, earlier = next(iter(names.items()))
    if earlier in state and state[earlier].ndim == 4 and len(state[earlier]) != len(mine[first]):
        return f"Set the width to {len(state[earlier])}, here {len(mine[first])}"
    return "Take a file of this network, or build the network as that one was"


def earlier_names(network: Network) -> dict[str, str]:
    """This package's key -> the earlier one, for every tensor that both know, in the order of the earlier files."""
    mine = network.state_dict()
    return {layer + own: earlier_layer + earlier for layer, earlier_layer in layers(network).items()
            for own, earlier in SUFFIXES.items() if layer + own in mine}


def layers(network: Network) -> dict[str, str]:
    """This package's name of a layer -> the earlier one, in the order of the earlier files."""
    if isinstance(network, Discriminator):
        return {f"layers.{number}": f"conv{number + 1}.0" for number in range(len(network.layers))}
    names = {}
    for level in range(LEVELS):
        names |= double(f"down.{level}", f"Conv{level + 1}")
    for level in range(attention_levels(network)):
        names |= double(f"fusion.{level}", f"fusionconv{level + 1}")
    names["attention.gate"] = "edge.convatt0"
    for turn, level in enumerate(range(LEVELS, 1, -1)):
        names |= {f"up.{turn}.conv": f"Up{level}.up.1", **double(f"merge.{turn}", f"Up_conv{level}")}
    return {**names, "output": "Conv_1x1"}


def double(mine: str, earlier: str) -> dict[str, str]:
    return {f"{mine}.first.conv": f"{earlier}.conv.0", f"{mine}.second.conv": f"{earlier}.conv.3"}


def attention_levels(network: Network) -> int:
    return len(network.fusion) if isinstance(network, DefectGenerator) else 0


def part_of(network: Network) -> str:
    return "discriminator" if isinstance(network, Discriminator) else "generator"
