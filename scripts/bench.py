"""Measures what the README claims, beside a named baseline in the same run or the figure to reach."""
import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.command import run_command, starting  # noqa: E402

with starting():
    from core.augment import bench as road
    from core.errors import ConfigError
    from core.registry import resolve

SHARED = ROOT.parent / "shared" / "data"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"timings and the like: {', '.join(TIMINGS)} (all of "
                        f"these where none is named); trainings, up to two hours each: {', '.join(TRAININGS)}")
    parser.add_argument("--sets", default="deeppcb,magnetic_tile,midg_fpc,bsdata_labelme,neu_det,pku_market_pcb",
                        help="public sets of `gate` (default: %(default)s)")
    parser.add_argument("--defects", type=int, default=200, help="of each set in `gate`, drawn by a fixed seed; in all "
                        "in `crg-figures`")
    parser.add_argument("--images", type=int, default=60, help="images made in each timing of `generate`")
    parser.add_argument("--widths", default="16,32,64", help="of the networks in `midg` (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each in `midg` (default: %(default)s)")
    parser.add_argument("--midg-steps", type=int, nargs=2, default=(700, 600), metavar="N",
                        help="of model 1 and of model 3 in `midg-figures` (default: 700 600)")
    parser.add_argument("--anomaly-steps", type=int, default=8000, metavar="N", help="of each seed in "
                        "`anomaly-figures` (default: 8000)")
    parser.add_argument("--folder", type=Path, help="keeps what the trainings make: after a kill they go on")
    given = parser.parse_args()
    parts = {**TIMINGS, **TRAININGS}
    for name in given.parts:
        if name not in parts:
            raise ConfigError(f"bench: no such part, got '{name}'. One of {', '.join(parts)}")
    for name in given.parts or TIMINGS:
        if name in TIMINGS:
            show(TIMINGS[name](given))
            continue
        with contextlib.ExitStack() as stack:
            show(TRAININGS[name](given, given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))))
    return 0


def show(rows: Iterable[tuple[str, ...]]) -> None:
    for what, figure, *beside in rows:
        print(f"{what:<72} {figure:>18}   {' '.join(beside)}", flush=True)


def package(*names: str) -> Callable[[argparse.Namespace], Iterable]:
    """A timing that a package's own module gives, by "module:function"; imported when it is asked for."""
    return lambda given: (row for name in names for row in resolve(name)())


def segment_figures(given: argparse.Namespace, folder: Path) -> Iterable[tuple[str, ...]]:
    for part, name in (("surfaces", ""), ("tiles", "magnetic_tile"), ("profiles", "aluminum_large")):
        if name and not (SHARED / name).is_dir():
            yield f"segment, {name}", "left out", f"{SHARED / name} is not there"
            continue
        yield from resolve(f"segment.figures:{part}")(folder, *([SHARED / name] if name else []))


def crg_figures(given: argparse.Namespace, folder: Path) -> Iterable[tuple[str, ...]]:
    yield from resolve("crg.figures:made")(folder / "made", given.defects, resolve("midg.judges:trained_judges"))
    root = SHARED / "deeppcb"
    if not root.is_dir():
        yield "CRG, DeepPCB", "left out", f"{root} is not there"
        return
    yield from resolve("crg.figures:real")(folder / "deeppcb", root, given.defects,
                                           resolve("midg.judges:trained_judges"))


TIMINGS: dict[str, Callable] = {
    "generate": lambda given: road.generate(given.images),
    "read": lambda given: road.read(),
    "synthetic": lambda given: road.made_data(),
    "labels": lambda given: road.labels(),
    "gate": lambda given: road.gate(SHARED, given.sets.split(","), given.defects),
    "flat": lambda given: road.flat(),
    "canny": package("midg.bench:edges"),
    "midg": lambda given: resolve("midg.bench:training")(list(map(int, given.widths.split(","))), given.steps),
    "segment": package("segment.bench:speed", "segment.bench:large"),
    "crg": package("crg.bench:rows"),
    "anomaly": package("detect.bench:coreset", "detect.bench:memory"),
}
TRAININGS: dict[str, Callable] = {
    "drawn": lambda given, folder: resolve("midg.judges:boards")(folder / "drawn"),
    "midg-figures": lambda given, folder: resolve("midg.figures:rows")(folder, *given.midg_steps),
    "midg-classes": lambda given, folder: resolve("midg.class_input:rows")(folder / "classes"),
    "crg-figures": crg_figures,
    "segment-figures": segment_figures,
    "anomaly-figures": lambda given, folder: resolve("detect.figures:rows")(folder, given.anomaly_steps),
}


if __name__ == "__main__":
    run_command(main)
