"""From a product's labelme files to its own COCO set: train, val and test by photographed part, and a summary."""
import hashlib
import json
import re
import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.data import formats, splits, verify
from core.data.formats.groups import frame_of
from core.data.formats.reading import SHOWN_PROBLEMS, subfolder
from core.data.images import encode_png, is_grey, read_image, write_bytes
from core.data.problems import ERROR, Problem, shortened
from core.data.records import Dataset, Instance, Record
from core.data.shapes import box_ring
from core.data.summary import by_code, summarise
from core.errors import DataError, OutputError, did_you_mean
from core.files import writing

from .products import Product, ProductsConfig

SPLITS, EXCLUDED, SUMMARY = "splits.json", "excluded.json", "dataset_summary.json"
GOOD, DEFECT, REWORK = "good", "defect", "rework"


@dataclass(frozen=True)
class Prepared:
    """One product, read, checked and split, before anything is written.

    dataset   the images that are learned from or tested on, each with its split
    rework    those for trying rework rules on
    excluded  source path -> why it is left out: an image, or a label file without one
    report    what the checks found on `dataset` and the duplicates taken out of it
    """
    name: str
    dataset: Dataset
    rework: tuple[Record, ...]
    excluded: Mapping[str, Problem]
    splits: splits.Splits
    report: verify.Report
    notes: tuple[str, ...]


def prepare(config: ProductsConfig, name: str, *, lenient: bool = False, resplit: bool = False) -> Prepared:
    """Read, check and split one product; an earlier splits.json in its folder is kept unless `resplit`.

    DataError: every problem with its file. With `lenient` what is wrong is left out and listed instead.
    """
    product = config.chosen(name)
    read = {kind: _read(config, product, kind, lenient) for kind in (GOOD, DEFECT, REWORK)}
    excluded: dict[str, Problem] = {}
    wrong: dict[str, Problem] = {}
    records = [record for kind in (GOOD, DEFECT) for record in read[kind].records
               if _counts(record, kind, config, read[kind].unlabelled, excluded, wrong)]
    if wrong and not lenient:
        raise DataError("\n".join(shortened([f"{path}: {one.message}" for path, one in wrong.items()], SHOWN_PROBLEMS)))
    excluded |= wrong
    labels = sorted({item.label for record in records for item in record.instances})
    classes = product.classes or tuple(labels)
    dataset = Dataset(root=config.data, format="labelme", classes=classes,
                      records=tuple(sorted(records, key=lambda record: record.name)))
    if not dataset.defective:
        raise DataError(f"{name}: no labelled defect, got {len(dataset)} images that count. Label some, see "
                        f"{', '.join(product.defect)}")
    dataset, report = _checked(dataset, lenient, excluded)
    kept = config.output / name / SPLITS
    previous = splits.load(kept) if kept.is_file() and not resplit else None
    found = splits.split(dataset, ratios=config.ratios, seed=config.seed, folds=config.folds, previous=previous,
                         prints=report.prints)
    dataset = _without_copies(splits.apply(dataset, found), report, excluded)
    notes = [note for kind in read.values() for note in kind.notes]
    excluded |= {path: replace(one, message=one.message.removeprefix(f"{path}: ")) for kind in read.values()
                 for one in reversed(kind.problems) for path in one.paths}
    return Prepared(name, dataset, read[REWORK].records, dict(sorted(excluded.items())), found, report,
                    (*notes, *_doubts(dataset)))


def write(config: ProductsConfig, prepared: Prepared) -> Path:
    """Write the product's folder: annotations, images, splits.json, dataset_summary.json, and the rework set.

    Images of an earlier preparation that have no place any more are deleted; nothing else is. Returns the folder.
    OutputError: the folder holds other things than a product's.
    """
    folder = config.output / prepared.name
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SPLITS).is_file():
        raise OutputError(f"{folder}: has files in it that no preparation made, got "
                          f"{', '.join(sorted(path.name for path in folder.iterdir())[:3])}. Choose another output")
    names = _file_names(prepared.dataset.records)
    before = _listed(folder)
    splits.save(folder / SPLITS, prepared.splits)           # first: a killed preparation is known by it, and done again
    placed = [_placed(record, folder / "images" / record.split, names[record.name], config)
              for record in prepared.dataset.records]
    for part in splits.NAMES:
        chosen = tuple(record for record in placed if record.split == part)
        formats.write(replace(prepared.dataset, root=folder, records=chosen), folder, "coco", images="keep",
                      file=f"annotations/{part}.json")
    for path in before - {record.image for record in placed}:
        path.unlink(missing_ok=True)
    if prepared.rework:
        kept = replace(prepared.dataset, records=prepared.rework, classes=_all_classes(prepared))
        formats.write(kept, folder / "rework" / "coco", "coco")
    _save(folder / EXCLUDED, _told(prepared.excluded))
    _save(folder / SUMMARY, _summary(prepared, names))
    return folder


def histogram(records: Sequence[Record]) -> dict[int, int]:
    """Images of one part -> number of such parts."""
    return dict(sorted(Counter(Counter(map(splits.group_of, records)).values()).items()))


def _read(config: ProductsConfig, product: Product, kind: str, lenient: bool) -> Dataset:
    folders = getattr(product, kind)
    empty = Dataset(root=config.data, format="labelme", classes=(), records=())
    if not folders:
        return empty
    pictures = subfolder(config.data, "images", "data", "imgs", "img") or config.data
    there = sorted(path.name for path in pictures.iterdir() if path.is_dir()) if pictures.is_dir() else []
    for folder in folders:
        if not (pictures / folder).is_dir():
            raise DataError(f"{pictures / folder}: no such folder of the product. {did_you_mean(folder, there)}"
                            f"There are {', '.join(there) or 'none'}")
    allowed = product.classes and (*product.classes, *product.aliases)
    found = formats.read(config.data, "labelme", unlabelled="good" if kind == GOOD else "skip", classes=allowed,
                         folders=folders, faulty="skip" if lenient else "error")
    return replace(found, records=tuple(_record(record, folders, product, config) for record in found.records))


def _record(record: Record, folders: Sequence[str], product: Product, config: ProductsConfig) -> Record:
    """Labels as classes, rectangles as shapes, and the part that is shown.

    The product's own folders are no part of the part's name: its good and its defective patches lie in two of them.
    """
    instances = tuple(_shaped(replace(item, label=product.aliases.get(item.label, item.label)))
                      for item in record.instances)
    inner = next((record.name[len(folder) + 1:] for folder in folders if record.name.startswith(f"{folder}/")),
                 record.name)
    group = record.group
    if config.group_regex and (match := re.search(config.group_regex, record.name)):
        group = match["part"]
    elif group == frame_of(record.name):                    # no index.csv names it
        group = frame_of(inner) if config.group_by == "name" else record.name.rpartition("/")[0]
    return replace(record, instances=instances, group=group)


def _shaped(item: Instance) -> Instance:
    return item if item.has_shape else replace(item, polygons=(box_ring(item.box),))


def _counts(record: Record, kind: str, config: ProductsConfig, unlabelled: Sequence[Path],
            excluded: dict[str, Problem], wrong: dict[str, Problem]) -> bool:
    """Whether an image is learned from or tested on; else `excluded`, or `wrong`, says why not."""
    path = str(record.image)
    if not record.verified and record.image in unlabelled:
        wrong[path] = Problem(code="no-label", message="in a folder of defects, got no label file. Label it, take it "
                                                       "out, or say --lenient")
    elif not record.verified:
        excluded[path] = Problem(code="put-aside", message="flagged 'ignore' or 'rework'")
    elif kind == GOOD and record.instances:
        wrong[path] = Problem(code="marked-good", message="labelled defects in a folder of good images, got "
                              f"{len(record.instances)}. Move the image, or take the shapes out")
    elif kind == DEFECT and not record.instances and config.empty_defect == "exclude":
        excluded[path] = Problem(code="empty-defect", message="in a folder of defects, but its label file has no shape")
    else:
        return True
    return False


def _checked(dataset: Dataset, lenient: bool, excluded: dict[str, Problem]) -> tuple[Dataset, verify.Report]:
    """Decode and compare every file; with `lenient` what is damaged or contradicts itself goes, and the rest is
    checked once more."""
    report = verify.check(dataset)
    if lenient and report.of(ERROR):
        broken = {str(found.record.image): one for found in report.examined for one in reversed(found.problems)
                  if one.level == ERROR} | _contradicting(report)
        excluded |= {path: replace(one, message=one.message.removeprefix(f"{path}: ")) for path, one in broken.items()}
        dataset = replace(dataset, records=tuple(r for r in dataset.records if str(r.image) not in broken))
        report = verify.check(dataset)
    report.raise_errors()
    return dataset, report


def _contradicting(report: verify.Report) -> dict[str, Problem]:
    """Image path -> that the same file is good under one name and defective under another."""
    same: dict[str, list[Record]] = defaultdict(list)
    for found in report.examined:
        if found.record.image in found.prints:
            same[found.prints[found.record.image].sha256].append(found.record)
    return {str(record.image): Problem(code="conflict", message="the same file as good and as defective, got "
                                       f"{', '.join(str(other.image) for other in records if other is not record)}")
            for records in same.values() if len({record.is_good for record in records}) > 1 for record in records}


def _without_copies(dataset: Dataset, report: verify.Report, excluded: dict[str, Problem]) -> Dataset:
    """The first of the files that are byte for byte the same and labelled the same."""
    first: dict[tuple, Record] = {}
    kept = []
    for record in dataset.records:
        labels = sorted((item.label, *map(round, item.box)) for item in record.instances)
        key = (report.prints[record.image].sha256, tuple(labels))
        if key in first:
            excluded[str(record.image)] = Problem(code="duplicate", message=f"the same file as {first[key].image}")
        else:
            first[key] = record
            kept.append(record)
    return replace(dataset, records=tuple(kept))


def _doubts(dataset: Dataset) -> Iterator[str]:
    counts = histogram(dataset.records)
    squares = sum(record.size[0] == record.size[1] for record in dataset.records)
    if counts.get(1, 0) > 0.9 * sum(counts.values()) and squares > 0.5 * len(dataset):
        yield ("nearly every image is a part of its own, and they are square like patches: were patches of one part "
               "told apart? Set group_regex, or name the parts in index.csv")
    for part in ("val", "test"):
        if dataset.records and not any(record.split == part and record.instances for record in dataset.records):
            yield f"no defect in {part}: nothing can be chosen or measured on it"
    train = {item.label for r in dataset.records if r.split == "train" for item in r.instances}
    for label in dataset.classes:
        if label not in train:
            yield f"class '{label}' has no sample in train and cannot be learned"


def _file_names(records: Sequence[Record]) -> dict[str, str]:
    """Record name -> a unique stem in lower-case ASCII: `F/s/x` -> `f__s__x`, with a digest where letters were lost."""
    found, taken = {}, defaultdict(list)
    for record in records:
        plain = re.sub(r"[^a-z0-9_.-]", "_", unicodedata.normalize("NFKD", record.name.replace("/", "__").lower()))
        found[record.name] = plain
        taken[plain].append(record.name)
    for plain, names in taken.items():
        for name in names if len(names) > 1 or any(not name.isascii() for name in names) else ():
            found[name] = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return found


def _placed(record: Record, folder: Path, name: str, config: ProductsConfig) -> Record:
    """The record with its image in its split's folder."""
    suffix = ".png" if config.images == "png" else record.image.suffix.lower()
    target = folder / f"{name}{suffix}"
    with writing(target):
        folder.mkdir(parents=True, exist_ok=True)
        if suffix == record.image.suffix.lower():
            shutil.copyfile(record.image, target)
        else:
            pixels = read_image(record.image)
            write_bytes(target, encode_png(pixels[..., 0] if is_grey(pixels) else pixels))
    return replace(record, image=target, name=name)


def _listed(folder: Path) -> set[Path]:
    """The images that an earlier preparation put there."""
    found = set()
    for part in splits.NAMES:
        path = folder / "annotations" / f"{part}.json"
        if path.is_file():
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                found |= {folder / "images" / entry["file_name"] for entry in document["images"]}
            except (ValueError, KeyError, TypeError) as error:
                raise OutputError(f"{path}: not a COCO file of a preparation, got '{error}'. Delete it and "
                                  f"{folder / 'images'}, and run the same again") from error
    return found


def _all_classes(prepared: Prepared) -> tuple[str, ...]:
    more = {item.label for record in prepared.rework for item in record.instances}
    return (*prepared.dataset.classes, *sorted(more - set(prepared.dataset.classes)))


def _summary(prepared: Prepared, names: Mapping[str, str]) -> dict:
    """core.data.summary's, by split; and per written file its source, what was left out and why, and the notes.

    The problems are those of what is left out as well.
    """
    split_of = {record.name: record for record in prepared.dataset.records}
    kept = tuple(replace(found, record=split_of[found.record.name]) for found in prepared.report.examined
                 if found.record.name in split_of)
    made = summarise(replace(prepared.report, dataset=prepared.dataset, examined=kept))
    del made["seconds"]                                     # equal data give equal bytes
    made["problems"] = by_code([*prepared.report.problems, *(replace(one, message=f"{path}: {one.message}")
                                                             for path, one in prepared.excluded.items())])
    return {"product": prepared.name, **made, "rework": len(prepared.rework), "excluded": _told(prepared.excluded),
            "sources": {f"{record.split}/{names[record.name]}": str(record.image)
                        for record in prepared.dataset.records}, "notes": list(prepared.notes)}


def _told(excluded: Mapping[str, Problem]) -> dict[str, dict[str, str]]:
    return {path: {"code": one.code, "reason": one.message} for path, one in excluded.items()}


def _save(path: Path, content: object) -> None:
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
