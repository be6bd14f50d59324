"""The page of a study."""
from collections.abc import Mapping
from pathlib import Path

from .. import report
from .arms import Arm
from .settings import StudyConfig

PAGE = "report.html"


def write_page(config: StudyConfig, facts: dict, results: Mapping[Arm, dict], table: dict, command: str) -> Path:
    page = report.Page("Does the generated data help?")
    page.section("Command", report.code(command))
    return page.write(config.output / PAGE)
