"""What the segmenter's tests share: a run that has learned a little."""
import pytest
import torch

from core import experiment
from core.config import load
from core.loop import train
from core.runlog import open_run
from segment.settings import SegmentConfig
from segment.task import SegmentTask
from tests.segment.made import make_set


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The run of a small network with two classes, stride 4 and reach 23 px; it finds some of the defects."""
    root = make_set(tmp_path_factory.mktemp("set") / "made", 12)
    config = load(SegmentConfig, None, [
        f"data.root={root}", "loop.steps=60", "loop.batch_size=8", "loop.workers=0", "data.crop_px=32", "panels=0",
        "data.defect_share=1", "data.clean_share=0", "network.name=small-unet", "network.filters=4",
        "optim.learning_rate=0.01", "optim.warmup_steps=0", "optim.ema_half_life_steps=null", "watch=null",
        "augment.enabled=false", "loop.evaluate_every=60"])
    folder = tmp_path_factory.mktemp("experiment") / "segment"
    record, device = open_run(folder, config.model_dump(mode="json")), torch.device("cpu")
    task = experiment.build(SegmentTask, config, device, record)
    assert train(task, config.loop, record, device=device) == 0
    return folder
