"""Published figures of the field: each with its recipe, what is measured here, and what differs."""
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import Parser, run_command, starting  # noqa: E402

with starting():
    from core.errors import ConfigError, DataError
    from core.study import overlap
    from core.study.recipes import RECIPES, Recipe, find

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    made = Parser(description=__doc__)
    made.add_argument("--list", action="store_true", help="the tables that can be reproduced")
    made.add_argument("--table", metavar="NAME", help="one of them")
    made.add_argument("--data", type=Path, metavar="DIR", help="the data; see what --table NAME alone asks for")
    made.add_argument("--output", type=Path, metavar="DIR", help="where results go (default: runs/reproduce/NAME)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    given = made.parse_args()
    if given.table is None:
        print(listing())
        return 0
    recipe = find(given.table)
    output = given.output or Path("runs") / "reproduce" / recipe.name
    print(told(recipe))
    if given.data is None:
        print(f"\nNothing was run. With the data at hand: python scripts/reproduce.py --table {recipe.name} --data DIR")
        return 0
    if not given.data.is_dir() and "make_synthetic" not in recipe.steps[0]:
        raise DataError(f"{given.data}: no such folder. Wanted: {recipe.wanted}")
    began = time.monotonic()
    for step in recipe.steps:
        code = run(step, given.data.resolve(), output.resolve(), given.device)
        if code:
            return code
    print("\nmeasured here:")
    for what, file, keys in recipe.ours:
        print(f"  {what}: {value_of(output / file, keys)}")
    print(f"  time: {(time.monotonic() - began) / 60:.1f} minutes; results in {output}")
    return 0


def listing() -> str:
    width = max(len(recipe.name) for recipe in RECIPES)
    return "\n".join(f"{recipe.name:<{width}}  {recipe.system}: {recipe.published[0][0]} {recipe.published[0][1]}"
                     for recipe in RECIPES)


def told(recipe: Recipe) -> str:
    """All that is known before anything is run."""
    lines = [f"{recipe.name}: {recipe.system}", "", "published:",
             *(f"  {what}: {value}" for what, value in recipe.published), f"  source: {recipe.source}", "",
             f"data wanted: {recipe.wanted}", "", "what differs here:", *(f"  {line}" for line in recipe.differs), "",
             f"commands (about {recipe.time.removeprefix('about ')} on one CPU core):",
             *(f"  {shown(step)}" for step in recipe.steps)]
    return "\n".join(lines)


def shown(step: str) -> str:
    return f"core.study.overlap.{step[1:]}(DIR, OUT)" if step.startswith(":") else \
        step.format(data="DIR", output="OUT", device="auto")


def run(step: str, data: Path, output: Path, device: str) -> int:
    """One command or function; its exit code."""
    if step.startswith(":"):
        getattr(overlap, step[1:])(data, output)
        return 0
    words = [word.format(data=data, output=output, device=device) for word in shlex.split(step)]
    print(f"\n{shlex.join(words)}", flush=True)
    return subprocess.run([sys.executable, *words[1:]], cwd=ROOT).returncode


def value_of(path: Path, keys: str) -> str:
    """A figure of a result file; lists of rows are entered by the row's name."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no result there, got '{error}'. Run the commands above one by one") from error
    rest = keys
    while rest and value is not None:
        if isinstance(value, dict) and rest in value:           # names with a slash of their own
            value, rest = value[rest], ""
            continue
        key, _, rest = rest.partition("/")
        value = next((row for row in value if row["name"] == key), None) if isinstance(value, list) else value.get(key)
    return "unknown" if value is None else f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


if __name__ == "__main__":
    run_command(main)
