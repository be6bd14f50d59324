"""JSON schemas of all config files, with which an editor completes keys and marks mistakes while one types."""
import json
from pathlib import Path

from . import registry

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "schema"
RENEW = "python scripts/write_schema.py"
COMMANDS = {"augment": "core.augment.settings:AugmentConfig", "crg-paint": "crg.settings:PaintConfig",
            "products": "detect.products:ProductsConfig", "rework": "detect.rework:RulesConfig"}       # no model's


def targets() -> dict[str, str]:
    """Schema name -> "package.module:Class" of the config that it describes."""
    return COMMANDS | {model.name: f"{model.target}.Config" for model in registry.MODELS}


def schema_text(target: str) -> str:
    """One schema as it is written to its file."""
    return json.dumps(registry.resolve(target).model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every schema as NAME.json and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in targets().items():
        (folder / f"{name}.json").write_text(schema_text(target), encoding="utf-8")
    return [folder / f"{name}.json" for name in targets()]


def stale(folder: Path = FOLDER) -> list[str]:
    """What is wrong with the schemas in `folder`, one line each; empty where all is right."""
    problems = []
    for name, target in targets().items():
        path = folder / f"{name}.json"
        if not path.is_file():
            problems.append(f"{path}: missing. Run: {RENEW}")
        elif json.loads(path.read_text(encoding="utf-8")) != json.loads(schema_text(target)):
            problems.append(f"{path}: differs from {target}. Run: {RENEW}")
    unknown = sorted(path for path in folder.glob("*.json") if path.stem not in targets())
    return problems + [f"{path}: no config has this schema. Delete the file" for path in unknown]
