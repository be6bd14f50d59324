"""Who may import whom: reads every import of the project and holds it against one table."""
import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("midg", "crg", "segment", "detect")
ENTRIES = ("train", "test", "scripts")                  # imported by nobody

# A module may import its own row's modules, those of the rows above that it names, and core.errors.
PURE = ("errors", "files", "seeding", "schedules", "ema", "tiling", "progress", "data.records")
RUNS = ("checkpoint", "command", "config", "config_words", "config_yaml", "device", "experiment", "lock",
        "onnx_packages", "product", "registry", "runlog", "schema", "weight_files")
LOOP = ("task", "loop", "phase", "feeding", "signals", "watch")
WORKERS = ("workers", "signals", "errors")
# Each of these may import those before it.
READS = ("data", "metrics", "synthetic", "visualise", "report", "plots", "verify_page")


def core(*names: str) -> tuple[str, ...]:
    return tuple(f"core.{name}" for name in names)


def allowed(module: str) -> tuple[str, ...] | None:
    """What a module of the project may import of it: names, each with everything below. None: no row in the table."""
    package, _, name = module.partition(".")
    if package in ENTRIES:
        return ("core",)
    if package in PACKAGES:
        pure = name.split(".")[0] in ("networks", "losses", "diffusion")
        return tuple(f"{package}.{part}" for part in ("networks", "losses", "diffusion")) if pure else ("core", package)
    if name == "":
        return ()
    if name in PURE:
        return core("errors")
    if name in RUNS:
        return core(*PURE, *RUNS)
    if name in LOOP:
        return core(*LOOP, "checkpoint", "device", "runlog", "ema", "errors", "files", "progress",
                    "schedules", "seeding")
    if name == "workers":
        return core(*WORKERS)
    part = name.split(".")[0]
    if part in READS:
        return core(*WORKERS, "files", "seeding", "progress", "data.records", *READS[:READS.index(part) + 1])
    return ("core",) if part in ("augment", "study") else None


def libraries(module: str) -> set[str] | None:
    """The libraries, beside Python's own, that a module may import; None: any."""
    package, _, name = module.partition(".")
    if package == "core" and name in PURE:
        return {"numpy", "torch"} | ({"tqdm"} if name == "progress" else set())
    if package in PACKAGES and name.split(".")[0] in ("networks", "losses", "diffusion"):
        return {"torch", "torchvision"}
    return None


def faults(path: Path, text: str, files: set[str]) -> list[str]:
    """Imports of one file against the table. `path` is relative to the project, `files` all its modules' names."""
    module, problems = module_name(path), []
    mine = allowed(module)
    if mine is None:
        return [f"{path.as_posix()}: has no row in the table of tests/test_imports.py. Say there what it may import"]
    for found in imports(path, text, files):
        top = found.split(".")[0]
        if top in ENTRIES and (top != "test" or found in files):
            problems.append(f"{path.as_posix()} imports {found}: nobody imports {', '.join(ENTRIES)}")
        elif top in ("core", *PACKAGES):
            if not any(found == name or found.startswith(f"{name}.") for name in mine):
                problems.append(f"{path.as_posix()} imports {found}: {subject(module)} may import only "
                                f"{', '.join(mine) or 'nothing of the project'}")
        elif libraries(module) is not None and top not in libraries(module) | sys.stdlib_module_names:
            problems.append(f"{path.as_posix()} imports {top}: {module} may import only Python's own modules and "
                            f"{', '.join(sorted(libraries(module)))}")
    return problems


def subject(module: str) -> str:
    package = module.split(".")[0]
    return f"{package}/" if allowed(module) == ("core", package) else module


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, text: str, files: set[str]) -> list[str]:
    """Full names of the modules that a file imports, wherever in it, relative ones resolved."""
    here = list(path.with_suffix("").parts[:-1])
    names = []
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[:len(here) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            below = [f"{source}.{alias.name}" for alias in node.names]
            names += [name if name in files or not node.module and node.level else source for name in below]
    return list(dict.fromkeys(names))


def project_files() -> list[Path]:
    tops = ("core", *PACKAGES, "scripts")
    found = [path for top in tops for path in (ROOT / top).rglob("*.py")] + [ROOT / "train.py", ROOT / "test.py"]
    return sorted(path.relative_to(ROOT) for path in found if path.is_file())


def test_every_import_is_allowed():
    paths = project_files()
    files = {module_name(path) for path in paths}
    assert len(files) > 10, "the project's files were not found"
    problems = [fault for path in paths for fault in faults(path, (ROOT / path).read_text(encoding="utf-8"), files)]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(("path", "text", "fault"), [
    ("midg/task.py", "from crg.sampler import sample",
     "midg/task.py imports crg.sampler: midg/ may import only core, midg"),
    ("midg/task.py", "def f():\n    import crg", "midg/task.py imports crg: midg/ may import only core, midg"),
    ("crg/networks.py", "from .data import x", "crg/networks.py imports crg.data"),
    ("crg/networks.py", "from core.errors import x", "crg/networks.py imports core.errors"),
    ("segment/losses.py", "import cv2", "segment/losses.py imports cv2: segment.losses may import only Python's"),
    ("core/loop.py", "from .data import images", "core/loop.py imports core.data"),
    ("core/loop.py", "from . import tiling", "core/loop.py imports core.tiling"),
    ("core/loop.py", "import core.metrics.image", "core/loop.py imports core.metrics.image"),
    ("core/task.py", "from segment import task", "core/task.py imports segment"),
    ("core/errors.py", "from . import config", "core/errors.py imports core.config"),
    ("core/tiling.py", "import cv2", "core/tiling.py imports cv2"),
    ("core/data/splits.py", "from ..augment import gate", "core/data/splits.py imports core.augment"),
    ("core/data/verify.py", "from ..report import page", "core/data/verify.py imports core.report"),
    ("core/data/formats/coco.py", "from ...metrics import image", "core/data/formats/coco.py imports core.metrics"),
    ("core/augment/pipeline.py", "from midg.infer import Generator", "core/augment/pipeline.py imports midg.infer"),
    ("core/metrics/image.py", "import train", "core/metrics/image.py imports train: nobody imports"),
    ("scripts/study.py", "from scripts.augment import main", "scripts/study.py imports scripts.augment: nobody"),
    ("scripts/study.py", "from midg.task import x", "scripts/study.py imports midg.task: scripts.study may import"),
    ("core/new.py", "import os", "core/new.py: has no row"),
])
def test_a_forbidden_import_is_named(path, text, fault):
    found = faults(Path(path), text, {"core.tiling", "core.config", "core.data.images", "scripts.augment"})
    assert len(found) == 1
    assert found[0].startswith(fault)


@pytest.mark.parametrize(("path", "text"), [
    ("crg/sampler.py", "from .networks import x\nfrom core.data import images\nimport cv2\nfrom . import data"),
    ("detect/networks.py", "import math\nimport torch.nn.functional as F\nimport torchvision\nfrom .losses import x"),
    ("core/loop.py", "from . import checkpoint\nfrom .device import x\nfrom .ema import y\nimport tqdm"),
    ("core/augment/pipeline.py", "from ..report import x\nfrom ..data import verify\nfrom . import gate"),
    ("core/report.py", "from .visualise import x\nfrom .data.records import y"),
    ("scripts/bench.py", "from core.registry import find\nimport numpy"),
    ("core/config.py", "import yaml\nfrom .errors import x"),
])
def test_an_allowed_import_passes(path, text):
    assert faults(Path(path), text, {"core.checkpoint", "core.data.verify", "core.augment.gate"}) == []
