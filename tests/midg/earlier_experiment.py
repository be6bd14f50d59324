"""An experiment of the earlier MIDG code, as its commands and its config name things."""
from pathlib import Path

DIR = "checkpoints/exposed_copper"
KIND = "./datasets/kinds/exposed_copper"        # as the published config has it; the folders are under dataset
LISTS = {"FLIST": "exposed_copper", "MASK_FLIST": "mask", "INPAINTING_FLIST": "inpaint", "EDGE_FLIST": "edge"}
DEAD = ("MODE", "MODEL", "MASK", "NMS", "GPU", "VERBOSE", "DEBUG", "GAN_POOL_SIZE", "SAMPLE_INTERVAL", "EVAL_INTERVAL",
        "TRAIN_EDGE_FLIST", "VAL_EDGE_FLIST", "TEST_EDGE_FLIST")
CONFIG = {
    "MODE": 1, "MODEL": 1, "MASK": 6, "EDGE": 1, "NMS": 1, "SEED": 10, "GPU": "[0]", "DEBUG": 0, "VERBOSE": 0,
    **{f"{split}_{key}": f"{KIND}/{folder}/{'train/train' if split == 'TRAIN' else 'test/test'}.flist"
       for split in ("TRAIN", "VAL", "TEST") for key, folder in LISTS.items()},
    "TEST_FLIST": f"{KIND}/inpaint/test/test.flist",
    "LR": 0.0001, "D2G_LR": 0.1, "BETA1": 0.0, "BETA2": 0.9, "BATCH_SIZE": 2, "INPUT_SIZE": 224, "SIGMA": 3,
    "MAX_ITERS": "1e4", "EDGE_THRESHOLD": 0.5, "L1_LOSS_WEIGHT": 1, "FM_LOSS_WEIGHT": 10, "STYLE_LOSS_WEIGHT": 250,
    "CONTENT_LOSS_WEIGHT": 0.1, "INPAINT_ADV_LOSS_WEIGHT": 0.1, "GAN_LOSS": "nsgan", "GAN_POOL_SIZE": 0,
    "SAVE_INTERVAL": 500, "SAMPLE_INTERVAL": 500, "SAMPLE_SIZE": 12, "EVAL_INTERVAL": 500, "LOG_INTERVAL": 10,
}
TINY = ("--set", "network.width=4", "--set", "loop.steps=2", "--set", "loop.workers=0", "--device", "cpu")
TRAIN, TEST = ("train.py", *TINY, "--checkpoints", DIR), ("test.py", "--device", "cpu", "--checkpoints", DIR)


def config_text(**changes) -> str:
    """The published config.yml with some keys changed; None takes a key out."""
    return "".join(f"{key}: {value}\n" for key, value in {**CONFIG, **changes}.items() if value is not None)


def role(folder: str, split: str = "train") -> Path:
    """Where made samples lie, from the working folder."""
    return Path("dataset/kinds/exposed_copper", folder, split)


def write_config(**changes) -> None:
    """A config for made samples."""
    Path(DIR, "config.yml").write_text(config_text(**{"INPUT_SIZE": 96, **changes}))
