"""Parts of scripts/bench.py about the road: generation, labels, the gate, reading, made data."""
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from .. import synthetic
from ..data import formats, images, shapes
from ..data.records import Dataset, Record
from ..device import memory_gib
from ..seeding import rng
from ..synthetic.write import Recipe, make_set
from . import compose
from .bank import DefectBank
from .copypaste import CopyPaste
from .generator import Request
from .labels import tight_mask
from .pipeline import images_of, learn, maker_of, read_verified
from .placement import Placement
from .settings import AugmentConfig
from .trial import gate_rates

Row = tuple[str, ...]           # what, its figure, and what stands beside it


def generate(count: int) -> Iterator[Row]:
    """Labelled 640x640 images a second, against plain copy-paste, which neither places, labels, matches nor judges."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = AugmentConfig(data=board_set(folder / "data", 20, (640, 640)), output=folder / "out", count=count)
        dataset, _ = read_verified(config)
        maker = maker_of(config, learn(config, dataset))
        plain = per_second(count, lambda: plain_copypaste(dataset, count, folder))
        one = per_second(count, lambda: write_all(images_of(maker, list(range(count)), 1), folder))
        around = 8 * cores              # images before and after the timed ones: as many are under way at either end
        started = images_of(maker, list(range(around + count + around)), cores)
        write_all(islice(started, around), folder)
        many = per_second(count, lambda: write_all(islice(started, count), folder))
        started.close()
    yield "generate 640x640, plain copy-paste, 1 process", f"{plain:.1f} images/s"
    yield "generate 640x640, the main job, 1 process", f"{one:.1f} images/s", f"{one / plain:.2f} x plain copy-paste"
    yield f"generate 640x640, the main job, {cores} processes", f"{many:.1f} images/s", "reach >= 5"


def flat() -> Iterator[Row]:
    """Processor time an image and memory, at the start and after many images: neither may grow."""
    with tempfile.TemporaryDirectory() as folder:
        config = AugmentConfig(data=board_set(Path(folder) / "data", 12, (128, 128)), output=Path(folder) / "out")
        maker = maker_of(config, learn(config, read_verified(config)[0]))
        marks = []
        for block in range(20):
            began = time.process_time()
            for made in images_of(maker, range(block * 500, block * 500 + 500), 1):
                del made
            marks.append((1000 * (time.process_time() - began) / 500, memory_gib(torch.device("cpu"))))
    first, last = (np.mean([mark[0] for mark in part]) for part in (marks[1:6], marks[-5:]))
    yield "10,000 images of 128x128: the last 2,500 against the first", f"{last:.1f} ms", f"{last / first:.2f} x"
    memory = [f"{1024 * mark[1]:.0f}" if mark[1] else "unknown" for mark in (marks[1], marks[-1])]
    yield "10,000 images: memory after 1,000 and after 10,000", f"{' and '.join(memory)} MiB"


def read() -> Iterator[Row]:
    """Seconds to read 10,000 records in each format, images of 64x64."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = many_records(Path(folder) / "set", 10_000)
        for name in ("coco", "yolo", "voc", "masks"):
            root = Path(folder) / name
            root.mkdir()
            os.rename(dataset.root / "images", root / "images")
            moved = relocated(dataset, root)
            formats.write(moved, root, name, images="keep")
            began = time.perf_counter()
            found = formats.read(root, name)
            yield f"read 10,000 records, {name}", f"{time.perf_counter() - began:.2f} s", "reach < 5"
            if len(found) != 10_000:
                raise SystemExit(f"{name}: {len(found)} records were read")
            os.rename(root / "images", dataset.root / "images")


def made_data() -> Iterator[Row]:
    """Pictures of made data a second, on one core."""
    cv2.setNumThreads(1)
    for kind in synthetic.KINDS:
        options = {"patch": 256} if kind == "oring" else {"size": (256, 256)}
        pictures = (synthetic.make(kind, 0, i, **options) for i in range(40))
        rate = per_second(40, partial(deque, pictures, 0))
        yield f"make_synthetic {kind}, 256x256, 1 core", f"{rate:.1f} images/s", "reach >= 20"


def labels() -> Iterator[Row]:
    """IoU of the written label with the truth: the pasted defect's own exact mask, moved as the defect was."""
    for kind, size in (("pcb", (256, 256)), ("fpc", (224, 224))):
        with tempfile.TemporaryDirectory() as name:
            found = label_ious(board_set(Path(name), 60, size, kind))
        yield f"label IoU, synthetic {kind}, {len(found)} defects, median", f"{np.median(found):.3f}", "reach >= 0.85"


def gate(shared: Path, names: Sequence[str], most: int) -> Iterator[Row]:
    """Real defects that the gate rejects, and planted faults that it finds, on the public sets beside the checkout."""
    for name in names:
        if not (shared / name).is_dir():
            yield f"gate, {name}", "not at hand"
            continue
        dataset = formats.read(shared / name)
        rates = gate_rates(dataset, DefectBank.build(dataset, workers=os.cpu_count() or 1), most=most)
        beside = f"besides {rates.repeats} true repeats, {rates.unseen} fill the picture"
        yield (f"gate, {name}: {rates.judged} of {rates.known} real defects, rejected", f"{rates.real:.1%}",
               f"reach < 10 %; {counted(rates.rejected)}; {beside}")
        yield f"gate, {name}: planted empty ones found", f"{rates.empty:.1%}", "reach 100 %"
        yield f"gate, {name}: planted copies found", f"{rates.copied:.1%}", "reach 100 %"


def counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"


def per_second(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def board_set(folder: Path, count: int, size: tuple[int, int], kind: str = "pcb") -> Path:
    recipe = Recipe(kind=kind, count=count, seed=0, good_share=0.3, options={}, size=size)
    make_set(recipe, folder, ["coco"], workers=1)
    return folder


def label_ious(folder: Path) -> list[float]:
    """The IoU of label and truth for four pasted defects of every class."""
    dataset = formats.read(folder)
    bank = DefectBank.build(dataset)
    placement, generator = Placement.learn(bank), CopyPaste(bank)
    found = []
    for number in range(60):
        record = dataset.records[number % len(dataset)]
        board = images.read_image(record.clean or record.image)
        for order, label in enumerate(bank.labels):
            draw = rng(4, number, order)
            box = placement.draw(board, label, [], draw)
            if box is None:
                continue
            window = compose.window_round(box, record.size, generator.window_px)
            clean = compose.cut(board, window)
            inside = compose.shifted(box, -window[0], -window[1])
            generated, truth = generator.paste(
                Request(image=images.to_tensor(clean), box=inside, label=label, rng=draw))
            mask = tight_mask(clean, compose.blend(clean, generated), generated.alpha.numpy())
            if mask.any():
                found.append(float((mask & truth).sum() / (mask | truth).sum()))
    return found


def write_all(made, folder: Path) -> None:
    for item in made:
        if item.png is not None:
            images.write_bytes(folder / f"{item.index:06d}.png", item.png)


def plain_copypaste(dataset: Dataset, count: int, folder: Path) -> None:
    """The baseline: two random defects an image, cut out by their boxes, cloned in at random places, PNG by Pillow."""
    bad, good = dataset.defective, dataset.good
    for index in range(count):
        draw = rng(1, index)
        target = images.read_image(good[index % len(good)].image).copy()
        for _ in range(2):
            donor = bad[int(draw.integers(len(bad)))]
            item = donor.instances[int(draw.integers(len(donor.instances)))]
            x1, y1, x2, y2 = (round(value) for value in item.box)
            patch = images.read_image(donor.image)[max(y1 - 4, 0):y2 + 4, max(x1 - 4, 0):x2 + 4].copy()
            height, width = patch.shape[:2]
            x, y = draw.integers((target.shape[1] - width - 4, target.shape[0] - height - 4)) + 2
            centre, whole = (int(x) + width // 2, int(y) + height // 2), np.full((height, width), 255, np.uint8)
            target = cv2.seamlessClone(patch, target, whole, centre, cv2.NORMAL_CLONE)
        Image.fromarray(target).save(folder / f"plain{index:06d}.png")


def many_records(root: Path, count: int) -> Dataset:
    """A set of `count` small pictures with one defect each; the pictures' bytes repeat, their labels do not."""
    (root / "images").mkdir(parents=True)
    pictures = [images.encode_png(rng(2, i).integers(0, 255, (64, 64), np.uint8)) for i in range(20)]
    records = []
    for index in range(count):
        path = root / "images" / f"{index:06d}.png"
        path.write_bytes(pictures[index % 20])
        mask = np.zeros((64, 64), bool)
        x, y = rng(3, index).integers(2, 50, 2)
        mask[y:y + 8, x:x + 9] = True
        found = (shapes.mask_instance(mask, ("spot", "scratch")[index % 2]),)
        records.append(Record(image=path, name=path.stem, size=(64, 64), instances=found))
    return Dataset(root=root, format="coco", classes=("spot", "scratch"), records=tuple(records))


def relocated(dataset: Dataset, root: Path) -> Dataset:
    moved = tuple(replace(record, image=root / "images" / record.image.name) for record in dataset.records)
    return replace(dataset, root=root, records=moved)
