"""A small made set that several tests of this folder learn from."""
from pathlib import Path

from core.augment.bank import DefectBank
from core.data import formats
from core.data.records import Dataset
from core.synthetic.write import Recipe, make_set


def made(folder: Path, kind: str = "pcb", count: int = 24) -> tuple[Dataset, DefectBank]:
    """A made set of 200x200 px on disk, read back, and its defects."""
    recipe = Recipe(kind=kind, count=count, seed=3, good_share=0.2, options={}, size=(200, 200))
    make_set(recipe, folder / kind, ["coco"], workers=1)
    dataset = formats.read(folder / kind)
    return dataset, DefectBank.build(dataset)
