"""Deployment files say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from typer.main import get_command

from cli.dev_server import DYNAMIC_CONFIG
from cli.output import ExitCode
from common.settings import table
from common.temporal.search_attributes import REGISTRY
from starter import app

ROOT = Path(__file__).parents[2]


def test_the_cluster_runs_the_server_as_the_embedded_stack_does() -> None:
    """`deploy/temporal` is what `make cluster` and compose read; skipping time is for tests alone."""
    shipped = yaml.safe_load((ROOT / "deploy" / "temporal" / "dynamic_config.yaml").read_text())
    expected = {name: value for name, value in DYNAMIC_CONFIG.items() if "TimeSkipping" not in name}
    assert {name: found["value"] for name, [found] in shipped.items()} == {
        name: yaml.safe_load(value) for name, value in expected.items()
    }


def test_the_settings_page_is_the_table_of_the_code() -> None:
    """Every setting with its default and meaning, and no other."""
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| `HIBERNAUT", "| `TEMPORAL", "| `OTEL"))]
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
    names = set(get_command(app).commands)  # type: ignore[attr-defined]
    table = page.split("\n\nEvery command but")[0]
    assert set(re.findall(r"`(\w[\w-]*)(?: [^`]*)?`(?=, `resume| \||,)", table)) == names
    assert {int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)} == set(map(int, ExitCode))
