"""An experiment of the earlier MIDG code as one of ours: what its config means here, and what its test lists name.

    values, notes = config_values(Path("checkpoints/exposed_copper/config.yml"), EdgeConfig)

The keys themselves are those of midg/legacy.py; midg/adopted.py makes runs of the trained weights.
"""
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from core.errors import ConfigError

from .legacy import LIST_KEYS, Earlier, EarlierConfig, is_earlier, read_config
from .legacy_lists import place_of
from .settings import DefectNetworkConfig, EdgeNetworkConfig, ModelConfig

PUBLISHED_EDGE_NETWORK = {"mask_channel": False, "line_threshold": None}
PUBLISHED_DEFECT_NETWORK = {"blend": False, "grain": False, "noise_channel": False, "legacy_attention": True}
ROLE_OF_OPTION = {"input": "image", "mask": "mask", "inpaint": "inpaint", "edge": "edge"}
SIGMA_BY_CHANCE = 2.0


def config_values(path: Path, model: type[ModelConfig], widths: Mapping[str, int] | None = None,
                  ) -> tuple[dict, list[str]] | None:
    """What an earlier config.yml means for one of the models: nested values of its config, and notes, a line each.

    widths      of trained networks that are taken over, by section ("network", "edge_network"): those sections get the
                published form, whose weights fit. Others are this project's own, which is better
    None: the file is not of the earlier code. ConfigError: a value that cannot be right, or has no counterpart.
    """
    if not is_earlier(path):
        return None
    earlier = read_config(path)
    lists, notes = training_lists(earlier)
    values = {**shared_values(earlier.values, lists), **losses(earlier.values, model),
              **networks(model, widths or {})}
    return values, sorted([*earlier.notes, *further_notes(earlier, model), *notes], key=line_of)


def line_of(note: str) -> int:
    """The line of the file that a note is about; those about none come last."""
    found = re.search(r":(\d+): ", note)
    return int(found[1]) if found else sys.maxsize


def shared_values(earlier: EarlierConfig, lists: dict | None) -> dict:
    """Sections that all models have."""
    data = {"lists": lists, "sigma": earlier.SIGMA or SIGMA_BY_CHANCE, "fit": "whole", "shift": 0.0, "turns": False,
            "masks": "shape", "margin_px": [0, 0]}
    if earlier.INPUT_SIZE:
        data["size_px"] = earlier.INPUT_SIZE
    else:
        data["fit"] = "window"
    looks = [steps for steps in (earlier.SAMPLE_INTERVAL, earlier.EVAL_INTERVAL) if steps]
    loop = {"steps": earlier.MAX_ITERS, "batch_size": earlier.BATCH_SIZE, "seed": earlier.SEED,
            "save_every": earlier.SAVE_INTERVAL or earlier.MAX_ITERS,
            "evaluate_every": min(looks or [earlier.MAX_ITERS]),
            "report_every": earlier.LOG_INTERVAL or earlier.MAX_ITERS}
    return {"loop": loop, "data": data, "sheet": {"shown": earlier.SAMPLE_SIZE},
            "optimizer": {"learning_rate": earlier.LR, "discriminator_factor": earlier.D2G_LR,
                          "betas": [earlier.BETA1, earlier.BETA2]}}


def losses(earlier: EarlierConfig, model: type[ModelConfig]) -> dict:
    edges = {"gan": earlier.GAN_LOSS, "feature_matching": earlier.FM_LOSS_WEIGHT, "threshold": earlier.EDGE_THRESHOLD}
    defect = {"gan": earlier.GAN_LOSS, "adversarial": earlier.INPAINT_ADV_LOSS_WEIGHT, "l1": earlier.L1_LOSS_WEIGHT,
              "perceptual": earlier.CONTENT_LOSS_WEIGHT, "style": earlier.STYLE_LOSS_WEIGHT}
    if "edge_loss" in model.model_fields:
        return {"edge_loss": edges, "loss": defect}
    return {"loss": edges if draws_edges(model) else defect}


def draws_edges(model: type[ModelConfig]) -> bool:
    """Whether `network` is that of the edge model."""
    return issubclass(model.model_fields["network"].annotation, EdgeNetworkConfig)


def networks(model: type[ModelConfig], widths: Mapping[str, int]) -> dict:
    """Sections of trained networks."""
    forms = {EdgeNetworkConfig: PUBLISHED_EDGE_NETWORK, DefectNetworkConfig: PUBLISHED_DEFECT_NETWORK}
    return {name: {"width": width, **forms[model.model_fields[name].annotation]} for name, width in widths.items()}


def training_lists(earlier: Earlier) -> tuple[dict | None, list[str]]:
    """Section `data.lists`, None where the config names no training images, and notes on where lists were found."""
    lists, notes = {}, []
    for split in ("train", "val"):
        if earlier.list_of("image", split) is None:
            continue
        lists[split] = {}
        for role in ("image", "mask", "inpaint"):
            named = earlier.list_of(role, split)
            if named is None and role == "mask":
                raise ConfigError(f"{earlier.path}: {LIST_KEYS[role].format(split.upper())} is needed beside "
                                  f"{LIST_KEYS['image'].format(split.upper())}, got nothing. Name the list of masks")
            if named is not None:
                place, found = place_of(named, earlier)
                lists[split][role] = str(place.resolve())        # a run may go on from another folder
                notes += found
    if "train" not in lists:
        return None, [*notes, f"{earlier.path}: TRAIN_FLIST is not given: it can be tested with, not trained"]
    return lists, notes


def further_notes(earlier: Earlier, model: type[ModelConfig]) -> list[str]:
    """What of the config has another effect here, or none."""
    values, notes = earlier.values, []
    if values.SIGMA == -1:
        raise ConfigError(f"{earlier.path}: SIGMA -1 (no edges) has no counterpart here, got -1. Give Canny's sigma, "
                          "such as 3")
    if values.SIGMA == 0:
        notes.append(f"{earlier.path}: SIGMA 0 (1 to 4 by chance) stands at {SIGMA_BY_CHANCE:g}")
    if values.EDGE == 2:
        notes.append(f"{earlier.path}: EDGE 2 counts in test.py alone, and without NMS: training takes Canny's edges")
    if values.INPUT_SIZE == 0:
        notes.append(f"{earlier.path}: INPUT_SIZE 0 (native): training takes windows of data.size_px round each defect")
    if not draws_edges(model):
        notes.append(f"{earlier.path}: VGG19 is not downloaded by itself: perceptual and style losses are those of "
                     "fixed filters. --set loss.features=download takes VGG19, as published")
    return notes


def test_inputs(path: Path, given: Mapping[str, Path], *, with_inpaint: bool) -> dict[str, Path]:
    """What test.py works on: options and, for those not given, the TEST lists of an earlier config.

    Images from an option come with nothing of these lists, which belong to other images.
    """
    inputs = dict(given)
    if "input" in given or not is_earlier(path):
        return inputs
    earlier = read_config(path)
    wanted = ["input", "mask"]
    if with_inpaint:
        wanted.append("inpaint")
    if earlier.values.EDGE == 2:
        wanted.append("edge")
    for option in wanted:
        named = earlier.list_of(ROLE_OF_OPTION[option], "test")
        if option not in inputs and named is not None:
            inputs[option] = place_of(named, earlier)[0]
    return inputs if "input" in inputs else dict(given)
