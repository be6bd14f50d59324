"""State dicts of guided diffusion's form: read into this package's U-Net, written from it, and described in a sentence.

    network = load_earlier(Path("checkpoint-64-defect.pt"), DEFECT)
    print(describe(Path("checkpoint-64-defect.pt")))

A file is a plain state dict, one below "state_dict", or one with "module." before every key. What a state dict does not
say (the side of the images, the channels of a head, the schedule) is taken from the shape that is asked for.
"""
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.files import whole_file
from core.weight_files import read_weights

from .networks import CONTEXT, DEFECT, Shape, UNet

SHOWN = 5
PUBLISHED = {"the published context model": CONTEXT, "the published defect model": DEFECT}
OTHERS = {                  # the beginning of a key -> what has such keys
    "model.diffusion_model.": "Stable Diffusion's or another latent diffusion model's",
    "down_blocks.": "a U-Net of the diffusers library",
    "denoise_fn.": "another diffusion code's (denoise_fn)",
}


def load_earlier(path: Path, shape: Shape) -> UNet:
    """A frozen network with the file's weights, in evaluation mode. CheckpointError says why they do not fit."""
    state = unwrapped(path, read_weights(path))
    with torch.device("meta"):
        network = UNet(shape)
    mine = network.state_dict()
    problems = [f"'{key}' is missing" for key in mine if key not in state]
    problems += [f"'{key}' is unknown here" for key in state if key not in mine]
    problems += [f"'{key}' is {list(state[key].shape)}, here {list(mine[key].shape)}" for key in mine
                 if key in state and state[key].shape != mine[key].shape]
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CheckpointError(f"{path}: does not fit. {what_differs(state, shape)}{'; '.join(problems[:SHOWN])}{more}")
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path}: holds numbers that are not finite, got '{broken[0]}' and {len(broken) - 1} "
                              "more such tensors. Take another copy")
    network.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def save_earlier(path: Path, network: UNet) -> None:
    """Write the network as guided diffusion reads it, whole or not at all. Raises OutputError."""
    with whole_file(path) as file:
        torch.save({key: value.detach().cpu().float().contiguous() for key, value in network.state_dict().items()},
                   file)


def describe(path: Path) -> str:
    """One sentence: what a file of weights is, and which of the published models it fits. Raises CheckpointError."""
    stored = read_weights(path)
    if isinstance(stored, dict) and {"format", "step", "parts"} <= stored.keys():
        return (f"{path}: a checkpoint of this project at step {stored['step']} with {', '.join(stored['parts'])}; "
                "give its run, not the file")
    if isinstance(stored, dict) and {"state", "param_groups"} <= stored.keys():
        return f"{path}: the state of an optimiser (opt*.pt), no weights; take model*.pt or ema_*.pt beside it"
    state = unwrapped(path, stored)
    found = shape_of(state)
    if found is None:
        return f"{path}: {foreign(state)}"
    numbers = f"{sum(value.numel() for value in state.values()):,} parameters in {len(state)} tensors"
    fits = [name for name, shape in PUBLISHED.items() if not differences(found, facts(shape))]
    fit = f"it fits {fits[0]}" if fits else "it is neither of the published models: name its shape in the config"
    return f"{path}: a U-Net of guided diffusion's form with {in_words(found)}; {numbers}; {fit}"


def unwrapped(path: Path, stored: Any) -> dict[str, Tensor]:
    """The tensors by their key. CheckpointError: there are none."""
    if isinstance(stored, dict) and isinstance(stored.get("state_dict"), dict):
        stored = stored["state_dict"]
    if not isinstance(stored, dict) or not stored or not all(isinstance(value, Tensor) for value in stored.values()):
        got = f"'{', '.join(map(str, list(stored)[:SHOWN]))}'" if isinstance(stored, dict) else type(stored).__name__
        raise CheckpointError(f"{path}: not a state dict, got {got}. It must hold tensors by name, as model*.pt and "
                              "ema_*.pt do")
    return {key.removeprefix("module."): value for key, value in stored.items()}


def shape_of(state: dict[str, Tensor]) -> dict[str, Any] | None:
    """What a state dict tells of its network; None: it is of another form."""
    first, last = state.get("time_embed.0.weight"), state.get("out.2.weight")
    count = 1 + max((int(match[1]) for key in state if (match := re.match(r"input_blocks\.(\d+)\.", key))), default=-1)
    if first is None or last is None or "input_blocks.0.0.weight" not in state:
        return None
    widened = [int(match[1]) for key in state
               if (match := re.match(r"output_blocks\.(\d+)\.[12]\.(?:in_layers\.2|conv)\.weight$", key))]
    blocks = min(widened, default=count - 1)
    step, width = max(blocks + 1, 1), first.shape[1]
    starts = [f"input_blocks.{1 + level * step}.0.in_layers.2.weight" for level in range(count // step)]
    if not all(key in state for key in starts):
        return None
    scale = state[starts[0].replace("in_layers.2", "emb_layers.1")].shape[0] == 2 * state[starts[0]].shape[0]
    return {
        "width": width, "multipliers": tuple(state[key].shape[0] // width for key in starts), "blocks": blocks,
        "attention": tuple(level for level, key in enumerate(starts)
                           if key.replace("0.in_layers.2", "1.qkv") in state),
        "classes": len(state["label_emb.weight"]) if "label_emb.weight" in state else 0,
        "variance": last.shape[0] == 2 * state["input_blocks.0.0.weight"].shape[1],
        "scale": scale, "resize": not any(".op." in key or re.search(r"output_blocks\.\d+\.[12]\.conv\.", key)
                                          for key in state),
    }


def facts(shape: Shape) -> dict[str, Any]:
    """The same for a shape of this package."""
    return {"width": shape.width, "multipliers": shape.multipliers, "blocks": shape.blocks,
            "attention": tuple(level for level in range(len(shape.multipliers))
                               if shape.size_px // 2 ** level in shape.attention_px),
            "classes": shape.classes, "variance": True, "scale": True, "resize": True}


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return [name for name in wanted if found[name] != wanted[name]]


WORDS = {                   # fact -> how it is said, and the earlier code's key for it
    "width": "width {} (num_channels)", "multipliers": "levels {} (channel_mult)",
    "blocks": "{} residual blocks a level (num_res_blocks)",
    "attention": "attention at levels {}, counted from 0 (attention_resolutions)", "classes": "{} classes",
}
SWITCHES = {"variance": "a learned variance (learn_sigma)", "scale": "scale and shift by the time "
            "(use_scale_shift_norm)", "resize": "resizing residual blocks (resblock_updown)"}


def in_words(found: dict[str, Any]) -> str:
    return ", ".join([*(text.format(plainly(found[name])) for name, text in WORDS.items()),
                      *(("" if found[name] else "no ") + text for name, text in SWITCHES.items())])


def plainly(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def what_differs(state: dict[str, Tensor], shape: Shape) -> str:
    """In the terms of the config, where the file is of this form."""
    found, wanted = shape_of(state), facts(shape)
    if found is None:
        return f"It is {foreign(state)}: "
    names = differences(found, wanted)
    said = [f"{WORDS[name].format(plainly(found[name]))}, here {plainly(wanted[name])}" if name in WORDS else
            f"{'' if found[name] else 'no '}{SWITCHES[name]}" for name in names]
    return f"Its network has {'; '.join(said)}. " if said else ""


def foreign(state: dict[str, Tensor]) -> str:
    for beginning, name in OTHERS.items():
        if any(key.startswith(beginning) for key in state):
            return f"weights of {name}, which cannot be used here"
    if any(key.startswith("input_blocks.") for key in state):
        return "a network like guided diffusion's U-Net but another (a classifier, a super-resolution model)"
    return f"no U-Net of guided diffusion's form: its first keys are '{', '.join(list(state)[:3])}'"
