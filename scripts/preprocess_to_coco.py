"""Turn the labelme files of each product into its own COCO set: train, val and test by photographed part."""
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core import config as configs
    from core.registry import resolve

EPILOG = """examples:
  python scripts/preprocess_to_coco.py                    every product of configs/products.yaml
  python scripts/preprocess_to_coco.py --model model1     one
  python scripts/preprocess_to_coco.py --set data=datasets/rings --dry-run

The same command again keeps every part in its split and places new parts only. Written to OUTPUT/PRODUCT:
  annotations/{train,val,test}.json   images/{train,val,test}/   splits.json   excluded.json   dataset_summary.json
  rework/coco, where the product has rework folders: for trying rework rules, never learned from"""
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "products.yaml"
EXAMPLES = 20


def parser() -> Parser:
    made = Parser(description=__doc__, epilog=EPILOG)
    made.add_argument("--model", "--product", action="append", metavar="NAME",
                      help="a product; repeatable; all without")
    made.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="configs/products.yaml without")
    made.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a config key; repeatable")
    made.add_argument("--lenient", action="store_true", help="leave out and list what is wrong; an error without")
    made.add_argument("--allow-image-data", action="store_true",
                      help="write images that are missing from the copies in their label files")
    made.add_argument("--resplit", action="store_true", help="forget the earlier splits")
    made.add_argument("--dry-run", action="store_true", help="show parts and splits, write nothing")
    return made


def main() -> None:
    given = parser().parse_args()
    config = configs.load(resolve("detect.products:ProductsConfig"), given.config, given.set)
    names = given.model or list(config.products)
    for name in names:
        config.chosen(name)
    for name in names:
        restored = resolve("detect.image_data:restore")(config, name, given.lenient) if given.allow_image_data else ()
        for note in restored:
            print(f"note: {note}")
        prepared = resolve("detect.prepare:prepare")(config, name, lenient=given.lenient, resplit=given.resplit)
        for note in prepared.notes:
            print(f"note: {note}")
        if given.dry_run:
            show(prepared)
        else:
            resolve("detect.prepare:write")(config, prepared)
        print(line(prepared), "" if given.dry_run else f"in {config.output / name}")


def line(prepared) -> str:
    """Images by split, defects and what was left out."""
    records = prepared.dataset.records
    parts = ", ".join(f"{split} {sum(record.split == split for record in records)}"
                      for split in ("train", "val", "test"))
    return (f"{prepared.name}: {len(records)} images ({parts}), {len(prepared.dataset.good)} good, "
            f"{sum(len(record.instances) for record in records)} defects, {len(prepared.rework)} for rework, "
            f"{len(prepared.excluded)} left out{why(prepared.excluded)}")


def why(excluded) -> str:
    """How many were left out by each code, where some were."""
    counts = Counter(one.code for one in excluded.values())
    return f" ({', '.join(f'{code} {count}' for code, count in sorted(counts.items()))})" if counts else ""


def show(prepared) -> None:
    """Which part the first images are taken for, and how many images the parts have."""
    for record in prepared.dataset.records[:EXAMPLES]:
        print(f"  {record.name}  part {record.group}  {record.split}")
    for images, parts in resolve("detect.prepare:histogram")(prepared.dataset.records).items():
        print(f"  {parts} parts of {images} images")


if __name__ == "__main__":
    run_command(main)
