"""Measures what the README claims, beside a named baseline in the same run or the figure to reach."""
import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    import cv2
    import numpy as np
    from PIL import Image

    from core import synthetic
    from core.augment import compose
    from core.augment.bank import DefectBank
    from core.augment.copypaste import CopyPaste
    from core.augment.generator import Request
    from core.augment.labels import tight_mask
    from core.augment.pipeline import images_of, learn, maker_of, read_verified
    from core.augment.placement import Placement
    from core.augment.settings import AugmentConfig
    from core.augment.trial import gate_rates
    from core.data import formats, images, shapes
    from core.data.records import Dataset, Record
    from core.errors import ConfigError
    from core.registry import resolve
    from core.seeding import rng
    from core.synthetic.write import Recipe, make_set


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all where none is named")
    parser.add_argument("--sets", default="deeppcb,magnetic_tile,midg_fpc,bsdata_labelme,neu_det,pku_market_pcb",
                        help="public sets of `gate` (default: %(default)s)")
    parser.add_argument("--defects", type=int, default=200, help="of each set in `gate`, drawn by a fixed seed")
    parser.add_argument("--images", type=int, default=60, help="images made in each timing of `generate`")
    parser.add_argument("--widths", default="16,32,64", help="of the networks in `midg` (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each in `midg` (default: %(default)s)")
    parser.add_argument("--midg-steps", type=int, nargs=2, default=(700, 600), metavar="N",
                        help="of model 1 and of model 3 in `midg-figures` (default: 700 600)")
    parser.add_argument("--anomaly-steps", type=int, default=2000, metavar="N", help="of each seed in "
                        "`anomaly-figures` (default: 2000)")
    parser.add_argument("--folder", type=Path, help="keeps what `drawn`, `midg-figures` train: after a kill they go on")
    given = parser.parse_args()
    for name in given.parts or PARTS:
        if name not in PARTS:
            raise ConfigError(f"bench: no such part, got '{name}'. One of {', '.join(PARTS)}")
        PARTS[name](given)
    return 0


def generate(given: argparse.Namespace) -> None:
    """Labelled 640x640 images a second, against plain copy-paste, which neither places, labels, matches nor judges."""
    cores, count = os.cpu_count() or 1, given.images
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
    say("generate 640x640, plain copy-paste, 1 process", f"{plain:.1f} images/s")
    say("generate 640x640, the main job, 1 process", f"{one:.1f} images/s", f"{one / plain:.2f} x plain copy-paste")
    say(f"generate 640x640, the main job, {cores} processes", f"{many:.1f} images/s", "reach >= 5")


def flat(given: argparse.Namespace) -> None:
    """Processor time an image and memory, at the start and after many images: neither may grow."""
    with tempfile.TemporaryDirectory() as folder:
        config = AugmentConfig(data=board_set(Path(folder) / "data", 12, (128, 128)), output=Path(folder) / "out")
        maker = maker_of(config, learn(config, read_verified(config)[0]))
        marks = []
        for block in range(20):
            began = time.process_time()
            for made in images_of(maker, range(block * 500, block * 500 + 500), 1):
                del made
            marks.append((1000 * (time.process_time() - began) / 500, memory_mib()))
    first, last = (np.mean([mark[0] for mark in part]) for part in (marks[1:6], marks[-5:]))
    say("10,000 images of 128x128: cost of the last 2,500 against the first", f"{last:.1f} ms", f"{last / first:.2f} x")
    say("10,000 images: memory after 1,000 and after 10,000", f"{marks[1][1]:.0f} and {marks[-1][1]:.0f} MiB")


def read(given: argparse.Namespace) -> None:
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
            say(f"read 10,000 records, {name}", f"{time.perf_counter() - began:.2f} s", "reach < 5")
            if len(found) != 10_000:
                raise SystemExit(f"{name}: {len(found)} records were read")
            os.rename(root / "images", dataset.root / "images")


def made_data(given: argparse.Namespace) -> None:
    """Pictures of made data a second, on one core."""
    cv2.setNumThreads(1)
    for kind in synthetic.KINDS:
        options = {"patch": 256} if kind == "oring" else {"size": (256, 256)}
        pictures = (synthetic.make(kind, 0, i, **options) for i in range(40))
        rate = per_second(40, partial(deque, pictures, 0))
        say(f"make_synthetic {kind}, 256x256, 1 core", f"{rate:.1f} images/s", "reach >= 20")


def labels(given: argparse.Namespace) -> None:
    """IoU of the written label with the truth: the pasted defect's own exact mask, moved as the defect was."""
    for kind, size in (("pcb", (256, 256)), ("fpc", (224, 224))):
        with tempfile.TemporaryDirectory() as name:
            found = label_ious(board_set(Path(name), 60, size, kind))
        say(f"label IoU, synthetic {kind}, {len(found)} defects, median", f"{np.median(found):.3f}", "reach >= 0.85")


def gate(given: argparse.Namespace) -> None:
    """Real defects that the gate rejects, and planted faults that it finds, on the public sets beside the checkout."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    for name in given.sets.split(","):
        if not (shared / name).is_dir():
            say(f"gate, {name}", "not at hand")
            continue
        dataset = formats.read(shared / name)
        rates = gate_rates(dataset, DefectBank.build(dataset, workers=os.cpu_count() or 1), most=given.defects)
        say(f"gate, {name}: {rates.judged} of {rates.known} real defects, rejected", f"{rates.real:.1%}",
            f"reach < 10 %; {counted(rates.rejected)}; besides {rates.repeats} true repeats, "
            f"{rates.unseen} fill the picture")
        say(f"gate, {name}: planted empty ones found", f"{rates.empty:.1%}", "reach 100 %")
        say(f"gate, {name}: planted copies found", f"{rates.copied:.1%}", "reach 100 %")


def canny(given: argparse.Namespace) -> None:
    """Edges of a batch against scikit-image's, one by one."""
    for row in resolve("midg.bench:edges")():
        say(*row)


def midg(given: argparse.Namespace) -> None:
    """Training of MIDG's models 1 and 3 against a plain build of the same networks."""
    widths = [int(width) for width in given.widths.split(",")]
    for row in resolve("midg.bench:training")(widths, given.steps):
        say(*row)


def drawn(given: argparse.Namespace) -> None:
    """Defects drawn by --method midg, and copied ones, before judges that have learnt real ones."""
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row in resolve("midg.judges:boards")(folder / "drawn"):
            say(*row)


def segment(given: argparse.Namespace) -> None:
    """Time and memory of the segmenter on large images, against the earlier network and tiling."""
    for part in ("speed", "large"):
        for row in resolve(f"segment.bench:{part}")():
            say(*row)


def segment_figures(given: argparse.Namespace) -> None:
    """What trainings of the segmenter reach on unseen images of the sets beside the checkout; about two hours."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for part, name in (("tiles", "magnetic_tile"), ("surfaces", ""), ("profiles", "aluminum_large")):
            if name and not (shared / name).is_dir():
                say(f"segment, {name}", "left out", f"{shared / name} is not there")
                continue
            for row in resolve(f"segment.figures:{part}")(folder, *([shared / name] if name else [])):
                say(*row)


def crg(given: argparse.Namespace) -> None:
    """Time of CRG's samplers, against the published algorithm written down straight."""
    for row in resolve("crg.bench:rows")():
        say(*row)


def crg_figures(given: argparse.Namespace) -> None:
    """What CRG's small models paint on boards that they have not seen, by each way of sampling; about an hour."""
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row in resolve("crg.figures:rows")(folder, given.defects, resolve("midg.judges:trained_judges")):
            say(*row)


def anomaly(given: argparse.Namespace) -> None:
    """The choice of what anomaly detection remembers, against the usual one, and memory of a fit."""
    for part in ("coreset", "memory"):
        for row in resolve(f"detect.bench:{part}")():
            say(*row)


def anomaly_figures(given: argparse.Namespace) -> None:
    """What anomaly detection reaches on the magnetic tiles, random features beside it; half an hour."""
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row in resolve("detect.figures:rows")(folder, given.anomaly_steps):
            say(*row)


def midg_figures(given: argparse.Namespace) -> None:
    """What short trainings of MIDG's models 1 and 3 reach on pictures that they have not seen; about an hour."""
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row in resolve("midg.figures:rows")(folder, *given.midg_steps):
            say(*row)


def midg_classes(given: argparse.Namespace) -> None:
    """One MIDG model of several classes against one a class, for as many steps; a quarter of an hour."""
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row in resolve("midg.class_input:rows")(folder / "classes"):
            say(*row)


PARTS: dict[str, Callable] = {
    "generate": generate, "read": read, "synthetic": made_data, "labels": labels, "gate": gate, "flat": flat,
    "canny": canny, "midg": midg, "drawn": drawn, "midg-figures": midg_figures, "midg-classes": midg_classes,
    "segment": segment, "segment-figures": segment_figures, "crg": crg, "crg-figures": crg_figures, "anomaly": anomaly,
    "anomaly-figures": anomaly_figures}


def counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"


def say(what: str, figure: str, beside: str = "") -> None:
    print(f"{what:<72} {figure:>18}   {beside}", flush=True)


def per_second(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def memory_mib() -> float:
    """Memory of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2 ** 20


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


if __name__ == "__main__":
    run_command(main)
