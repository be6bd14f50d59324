"""Further sets that only train, such as made defects, beside the set that is learned from and measured on."""
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from core.data import splits
from core.data.hashing import fingerprints
from core.data.records import Dataset as LabelledSet
from core.data.records import Record
from core.errors import DataError, did_you_mean
from core.seeding import rng

from .data import Crops, check_leaks, read_set
from .settings import DataConfig, SegmentConfig

MIXED = 2               # position of the draw between the sets, behind the crop's
OF_MASKS = ("colours", "unknown_colours", "clean_rings", "minimum_px")


def training_crops(dataset: LabelledSet, config: SegmentConfig) -> "Crops | Mixed":
    """Crops of the training images, and at data.extra_share of those of data.extra. DataError: they do not fit."""
    own = Crops(dataset.of_split("train"), dataset.classes, config.data, config.augment, config.loop.seed)
    if not config.data.extra:
        return own
    extra = extra_records(config.data, dataset)
    alone = config.data.model_copy(update={"hard": None})
    return Mixed(own, Crops(extra, dataset.classes, alone, config.augment, config.loop.seed), config.data.extra_share)


class Mixed(Dataset):
    """Crops of two sources; an epoch is that of the first."""

    def __init__(self, own: Crops, extra: Crops, share: float):
        self.own, self.extra, self.share = own, extra, share

    def __len__(self) -> int:
        return len(self.own)

    def __getitem__(self, index_and_draw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, draw = index_and_draw
        random = rng(self.own.seed, draw, MIXED)
        if random.random() >= self.share:
            return self.own[index, draw]
        return self.extra[int(random.integers(len(self.extra.records))), draw]


def extra_records(config: DataConfig, dataset: LabelledSet) -> tuple[Record, ...]:
    """All images of the further sets, in groups of their own; none that is a copy of one to measure on."""
    usual = {name: DataConfig.model_fields[name].default for name in (*OF_MASKS, "classes", "format")}
    found = []
    for number, root in enumerate(config.extra):
        made = read_set(config.model_copy(update={**usual, "root": Path(root), "unlabelled": "skip"}))
        unknown = [name for name in made.classes if name not in dataset.classes]
        if unknown:
            raise DataError(f"{root}: a class that {config.root} does not have, got '{unknown[0]}'. "
                            f"{did_you_mean(unknown[0], dataset.classes)}It has {', '.join(dataset.classes)}; "
                            "data.merge=true makes all one")
        found += [replace(record, split="train", group=f"extra {number}/{splits.group_of(record)}",
                          name=f"extra {number}/{record.name}") for record in made.records if record.verified]
    if config.duplicates == "error":
        both = replace(dataset, records=(*dataset.records, *found))
        check_leaks(both, fingerprints(splits.paths(both)))
    return tuple(found)
