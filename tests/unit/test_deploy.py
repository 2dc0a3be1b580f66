"""Deployment files say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from cli.dev_server import DYNAMIC_CONFIG, PRAGMAS, attribute_type
from cli.output import ExitCode
from common.settings import table
from common.temporal.search_attributes import REGISTRY
from starter import app

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text()


def test_compose_registers_the_search_attributes_of_the_registry() -> None:
    """One registry; what is written again must be the same."""
    written = dict(re.findall(r"--search-attribute=(\w+)=(\w+)", COMPOSE))
    assert written == {each.name: attribute_type(each.indexed_value_type) for each in REGISTRY}


def test_compose_runs_the_server_as_the_embedded_stack_does() -> None:
    """Same durability, same limits; skipping time is for tests alone."""
    assert dict(re.findall(r"--sqlite-pragma=(\w+)=(\w+)", COMPOSE)) == PRAGMAS
    expected = {name: value for name, value in DYNAMIC_CONFIG.items() if "TimeSkipping" not in name}
    assert dict(re.findall(r"--dynamic-config-value=([\w.]+)=(\S+)", COMPOSE)) == expected


def test_the_image_holds_every_package_the_doors_import() -> None:
    """A package left out would be missed at the first start."""
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE))
    assert copied == {"common", "activities", "workflows", "cli", "gateway"}


def test_the_image_holds_compiled_files() -> None:
    """They are written after the last package came, and before the user who may not write them."""
    steps = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    last_copy = max(number for number, step in enumerate(steps) if step.startswith("COPY"))
    assert last_copy < steps.index("RUN python -m compileall -q .") < steps.index("USER hibernaut")


def test_the_settings_page_is_the_table_of_the_code() -> None:
    """Every setting with its default and meaning, and no other."""
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| `HIBERNAUT", "| `TEMPORAL"))]
    assert rows == [
        f"| `{variable}` | {f'`{row.default}`' if row.default else ''} | {row.description} |"
        for variable, row in table().items()
    ]


def test_the_page_on_security_names_tests_that_are_there() -> None:
    """A promise is worth the test that holds it."""
    named = set(re.findall(r"tests/[\w/]+\.py", (ROOT / "docs" / "security.md").read_text()))
    assert named
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []


def test_the_page_of_the_kit_lists_the_search_attributes() -> None:
    """All of them, in backquotes."""
    page = (ROOT / "docs" / "kit.md").read_text()
    assert [each.name for each in REGISTRY if f"`{each.name}`" not in page] == []


def test_the_page_of_the_command_line_names_every_command_and_exit_code() -> None:
    """None missing, none invented."""
    page = (ROOT / "docs" / "cli.md").read_text()
    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    names |= {group.name or "" for group in app.registered_groups}
    table = page.split("Reading commands")[0]
    assert set(re.findall(r"`(\w[\w-]*)(?: [^`]*)?`(?=, `resume| \||,)", table)) == names
    assert {int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)} == set(map(int, ExitCode))
