"""The arms of a study: what each of them learns from, and the command that runs it."""
import shlex
from dataclasses import dataclass
from pathlib import Path

from .settings import REAL, StudyConfig

ONLY = "only"                   # variant of an arm that learns from generated defects alone
WITHOUT = "no-"                 # before the name of what an ablation leaves out


@dataclass(frozen=True, order=True)
class Row:
    """One line of the table: a method at a scale, with `variant` "" (whole), "only", or "no-gate" and the like."""
    method: str
    scale: float
    variant: str = ""

    @property
    def name(self) -> str:
        """Such as "none", "copypaste-2x", "midg-1x-no-gate"."""
        if self.method in REAL:
            return self.method
        return "-".join(part for part in (self.method, f"{self.scale:g}x", self.variant) if part)


@dataclass(frozen=True, order=True)
class Arm:
    """One training: a row's with one seed."""
    row: Row
    seed: int

    @property
    def name(self) -> str:
        return f"{self.row.name}-s{self.seed}"

    @property
    def pool(self) -> str | None:
        """Which generated images it takes; several arms share one. None: it takes none."""
        if self.row.method in REAL:
            return None
        labelling = ("", ONLY, f"{WITHOUT}label", f"{WITHOUT}margin")
        shaping = "" if self.row.variant in labelling else self.row.variant
        return "-".join(part for part in (self.row.method, shaping, f"s{self.seed}") if part)

    @property
    def models(self) -> str | None:
        """Which trained models draw: those of the method and seed, apart where a network lacks a part."""
        if self.row.method in REAL:
            return None
        apart = f"{WITHOUT}attention"
        return "-".join(part for part in (self.row.method, apart if self.row.variant == apart else "",
                                          f"s{self.seed}") if part)


def rows_of(config: StudyConfig) -> list[Row]:
    """The lines of the table, in its order."""
    rows = [Row(name, 0.0) for name in REAL if name in config.methods]
    generators = [name for name in config.methods if name not in REAL]
    rows += [Row(name, scale) for name in generators for scale in config.scales]
    if config.generated_only:
        rows += [Row(name, scale, ONLY) for name in generators for scale in config.scales]
    return rows + [Row(name, config.scales[0], f"{WITHOUT}{part}") for name in generators for part in config.ablate
                   if part != "attention" or name == "midg"]


def arms_of(config: StudyConfig) -> list[Arm]:
    """Every arm, seed by seed, so that a stopped study has whole comparisons."""
    return [Arm(row, seed) for seed in range(config.seeds) for row in rows_of(config)]


def command(arm: Arm, output: Path) -> str:
    """What runs one arm of the study in `output`."""
    return f"python scripts/study.py --output {shlex.quote(str(output))} --arm {arm.name}"


def whole_command(config: StudyConfig) -> str:
    """What makes the study from the data on: every setting that is not the default."""
    words = ["python", "scripts/study.py"]
    for name, field in StudyConfig.model_fields.items():
        value, option = getattr(config, name), f"--{name.replace('_', '-')}"
        if value == field.default and name not in ("methods", "scales", "seeds"):
            continue
        if value is True:
            words.append(option)
        elif name in ("set", "augment"):
            words += [word for one in value for word in (option, one)]
        elif isinstance(value, tuple):
            words += [option, ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)]
        else:
            words += [option, "all" if value is None else str(value)]
    return shlex.join(words)
