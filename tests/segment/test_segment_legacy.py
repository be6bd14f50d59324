"""The earlier INI files are read as they are: every key mapped or told why not, mistakes named, nothing run."""
from pathlib import Path

import pytest
import torch

from core import experiment
from core.config import load
from core.errors import ConfigError
from core.registry import find
from segment import legacy_file
from segment.legacy import config_values
from segment.models import build, parameter_count
from segment.settings import SegmentConfig
from segment.task import SegmentTask

ALUMINIUM = """\
; train_eval_infer.config
[model]
model          = "TensorFlowFlexUNet"
generator      = False
image_width    = 512
image_height   = 512
image_channels = 3
input_normalize = True
normalization  = False
num_classes    = 7
base_filters   = 16
base_kernels   = (11,11)
num_layers     = 8
dropout_rate   = 0.05
optimizer      = "Adam"
clipvalue      = 0.5
learning_rate  = 0.00007
activation     = "relu"
dilation       = (1,1)
loss           = "categorical_crossentropy"
metrics        = ["dice_coef_multiclass"]
show_summary   = False

[dataset]
class_name = "ImageCategorizedMaskDataset"

[train]
epochs        = 100
batch_size    = 2
patience      = 10
metrics       = ["dice_coef_multiclass", "val_dice_coef_multiclass"]
model_dir     = "./models"
eval_dir      = "./eval"
images_dir    = "../../../dataset/Aluminum-Surface-Defect/train/images/"
masks_dir     = "../../../dataset/Aluminum-Surface-Defect/train/masks/"
learning_rate_reducer = True
reducer_factor     = 0.5
reducer_patience   = 4
epoch_change_infer     = False
epoch_change_infer_dir = "./epoch_change_infer"
epoch_change_tiled_infer     = True
epoch_change_tiled_infer_dir = "./epoch_change_tiled_infer"
num_infer_images       = 6

[valid]
images_dir    = "../../../dataset/Aluminum-Surface-Defect/valid/images/"
masks_dir     = "../../../dataset/Aluminum-Surface-Defect/valid/masks/"

[test]
images_dir    = "../../../dataset/Aluminum-Surface-Defect/test/images/"
masks_dir     = "../../../dataset/Aluminum-Surface-Defect/test/masks/"

[infer]
images_dir    = "./mini_test/images/"
output_dir    = "./mini_test_output/"

[tiledinfer]
overlapping   = 64
images_dir    = "./mini_test/images/"
output_dir    = "./mini_test_output_tiled/"

[image]
color_order = "RGB"

[mask]
mask_datatype    = "categorized"
mask_file_format = ".png"
;Aluminum-Surface-Defect 1+6
rgb_map = {(0, 0, 0): 0, (255, 0, 0): 1, (0, 255, 0): 2, (0, 0, 255): 3, (255, 255, 0): 4, (0, 255, 255): 5, \
(255, 0, 255): 6}
"""


@pytest.fixture
def write(tmp_path):
    def write_config(*changes, text=ALUMINIUM):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "a" / "b" / "c" / "train_eval_infer.config"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
    return write_config


def read(path):
    values, notes = config_values(path)
    return load(SegmentConfig, path, values=values), notes


def test_the_aluminium_config_means_the_published_training(write):
    path = write()
    config, _ = read(path)
    with torch.device("meta"):
        assert parameter_count(build(config.network, 7, config.data.channels)) == 126_809_303
    assert config.network.dropout == 0.05
    assert (config.optim.optimizer, config.optim.learning_rate, config.optim.clip_value) == ("adam", 7e-5, 0.5)
    assert config.optim.schedule == "constant"
    assert config.optim.ema_half_life_steps is None
    assert config.loss.name == "ce"
    assert (config.loop.batch_size, config.loop.steps, config.loop.evaluate_every) == (2, 40_000, 400)
    assert (config.watch.metric, config.watch.stop_after, config.watch.reduce_after, config.watch.reduce_factor) == (
        "loss", 10, 4, 0.5)
    assert config.data.crop_px == 512
    assert list(config.data.colours) == ["background", "1", "2", "3", "4", "5", "6"]
    assert config.data.colours["6"] == (255, 0, 255)
    assert config.data.root.resolve() == (path.parent / "../../../dataset/Aluminum-Surface-Defect").resolve()
    assert not config.augment.enabled
    assert (config.infer.mode, config.infer.tile_px, config.infer.overlap_px) == ("blend", 640, 128)
    assert config.panels == 6


def test_the_other_published_form(write):
    path = write(("num_classes    = 7", "num_classes = 6"), ("(11,11)", "(9,9)"), ("(1,1)", "(3,3)"),
                 ("0.00007", "0.00008"), (", (255, 0, 255): 6}", "}"))
    config, _ = read(path)
    assert config.network.dilation == 3
    with torch.device("meta"):
        assert parameter_count(build(config.network, 6, 3)) == 124_996_934


def test_every_key_is_mapped_or_told(write):
    path = write()
    _, notes = read(path)
    lines = [number for number, line in enumerate(path.read_text().splitlines(), 1) if "=" in line]
    told = {int(note.split(":")[1]) for note in notes if note.split(":")[1].isdigit()}
    mapped = {int(value.where.rpartition(":")[2]) for section in legacy_file.read_file(path).values.values()
              for value in section.values()}
    assert told | mapped == set(lines)
    assert any("dice_coef_multiclass is soft_pixel_accuracy" in note for note in notes)
    assert any("nothing is ever deleted" in note for note in notes)
    assert any("in the earlier code it never did" in note for note in notes)


def test_train_takes_it_by_config(write, capsys):
    path = write()
    config = experiment.training_config(find("7"), SegmentTask, None, path, ["loop.steps=5"])
    assert config.loop.steps == 5
    assert config.network.name == "flexunet"
    assert "[train] model_dir is not read" in capsys.readouterr().err


def test_an_epoch_is_the_number_of_images_where_they_lie_there(write):
    path = write()
    folder = path.parent / "../../../dataset/Aluminum-Surface-Defect/train/images"
    folder.resolve().mkdir(parents=True)
    for number in range(7):
        (folder / f"{number}.jpg").touch()
    assert read(path)[0].loop.steps == 100 * 4
    with pytest.raises(ConfigError, match="'loop.batch_size' must be a whole number, at least 1, got 0"):
        read(write(("batch_size    = 2", "batch_size = 0")))


def test_generator_mode_augments(write):
    path = write(("generator      = False", "generator = True"), ("[image]", "[generator]\naugmentation = True\n"
                 "debug = True\n[augmentor]\nhflip = True\nrotation = True\nangles = [90, 30, -20]\nshrinks = [0.6]\n"
                 "deformation = True\n[deformation]\nalpah = 1300\n[image]"))
    config, notes = read(path)
    assert (config.augment.turn, config.augment.rotate_deg, config.augment.scale) == (True, 30, (0.6, 1.0))
    assert config.augment.elastic_px > 0
    assert config.loop.steps == 100 * 400
    assert any("[deformation] alpah is not read" in note for note in notes)


def test_one_class_has_one_output(write):
    path = write(("num_classes    = 7", "num_classes = 1"), ("categorical_crossentropy", "binary_crossentropy"),
                 ("(0, 255, 0): 2, (0, 0, 255): 3, (255, 255, 0): 4, (0, 255, 255): 5, (255, 0, 255): 6", ""))
    assert read(path)[0].loss.name == "bce"


@pytest.mark.parametrize(("old", "new", "message"), [
    ("base_filters   =", "base_filter =", r"config:11: unknown key 'base_filter' in \[model\]. Did you mean "
     "'base_filters'"),
    ("base_kernels   = (11,11)", "base_kernels = (11,11", "config:12: 'base_kernels' is no number, text, list or dict"),
    ("base_kernels   = (11,11)", "base_kernels = (11,9)", "config:12: 'base_kernels' must be two equal numbers, got"),
    ("epochs        = 100", "epochs = __import__('os').getpid()", "'epochs' is no number, text, list or dict, got __"),
    ("epochs        = 100", 'epochs = "100"', "config:28: 'epochs' must be a number, got \"100\". Write it without"),
    ("learning_rate_reducer = True", 'learning_rate_reducer = "False"',
     "'learning_rate_reducer' must be True or False, got \"False\""),
    ("[image]", "[augmentor]\nshrinks = 0.8\n[image]", r"'shrinks' must be a list of numbers, got 0.8. Write .*\[0.8"),
    ("[image]", "[augmentor]\nangles = ['x']\n[image]", "'angles' must be a list of numbers"),
    ("(255, 0, 255): 6", "(255, 0, 255): 'six'", "not a map of colours to 0, 1, 2, ..., got"),
    ("rgb_map = {", "rgb_map {", r"no 'key = value', got 'rgb_map .*Write rgb_map = \.\.\. in one line"),
    ("(255, 0, 255): 6", "(255, 0, 255): 9", "not a map of colours to 0, 1, 2, ..., got"),
    ("num_classes    = 7", "num_classes = 8", "not as many classes as colours, got 8 for 7 in rgb_map"),
    ("[valid]", "[validd]", r"unknown section \[validd\]. Did you mean 'valid'"),
    ('"TensorFlowFlexUNet"', '"TensorFlowSwinUNet"', "no network of that name is rebuilt here, got 'Tens"),
    ('"categorical_crossentropy"', '"dice_loss"', "'loss' has no counterpart, got 'dice_loss'"),
    ('".png"', '".npz"', "masks are read as PNG, got '.npz'"),
    ("/valid/masks/", "/elsewhere/masks/", "not a folder valid/masks, got"),
    ("Defect/test/images/", "Other/test/images/", "the folders of one set lie apart"),
    ('activation     = "relu"', 'activation = "reluu"', "no such activation, got 'reluu'. Did you mean 'relu'"),
])
def test_mistakes_are_named(write, old, new, message):
    with pytest.raises(ConfigError, match=message):
        read(write((old, new)))


def test_our_own_files_are_not_taken_for_it(tmp_path):
    root = Path(__file__).resolve().parents[2]
    assert config_values(root / "configs" / "segment.yaml") is None
    assert config_values(tmp_path / "absent.config") is None


def test_comments_behind_values():
    for text, expected in (("5 ; five", "5"), ('"a;b" ; c', '"a;b"'), ('"a ; b"', '"a ; b"'), ("(1,1)", "(1,1)")):
        assert legacy_file.without_comment(text) == expected
