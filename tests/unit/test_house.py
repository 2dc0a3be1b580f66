"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def holding(pattern: str, files: list[Path]) -> list[str]:
    return [
        str(file.relative_to(ROOT)) for file in files if re.search(pattern, file.read_text(), re.MULTILINE)
    ]


def test_there_is_one_connect() -> None:
    """Address, data converter and patience are decided in one place."""
    files = [
        *sources("common", "workflows", "activities", "cli", "gateway"),
        ROOT / "worker.py",
        ROOT / "starter.py",
    ]
    assert holding(r"\bClient\.connect\(", files) == ["common/temporal/connect.py"]


def test_the_environment_is_read_by_the_doors_alone() -> None:
    """Settings are frozen and read once."""
    assert holding(r"os\.environ|getenv", sources("common", "workflows", "activities")) == []


def test_nothing_imports_a_door() -> None:
    """Arrows point down: the doors stand on top."""
    files = sources("common", "workflows", "activities", "cli")
    assert holding(r"^\s*(import|from) (starter|worker|gateway|testing)\b", files) == []
    assert (
        holding(r"^\s*(import|from) (starter|worker|cli|workflows|activities|testing)\b", sources("gateway"))
        == []
    )
    assert holding(r"^\s*(import|from) cli\b", sources("common", "workflows", "activities")) == []


def test_no_test_module_imports_another() -> None:
    """What tests share is in tests/support; a fixture of one folder reaches no other."""
    assert holding(r"\b(from|import) tests\.(\w+\.)*(test_\w+|conftest)\b", sources("tests", "bench")) == []
    assert holding(r"^\s*from tests(\.\w+)* import .*\b(test_\w+|conftest)\b", sources("tests")) == []
    assert holding(r"^\s*from \.", sources("tests")) == []


@pytest.mark.parametrize("package", ["workflows", "activities"])
def test_packages_import_nothing_by_themselves(package: str) -> None:
    """Every workflow start would pay for it."""
    assert (ROOT / package / "__init__.py").read_text() == ""


def test_workflow_files_have_no_clock_no_chance_no_environment_and_no_data_classes_of_pydantic() -> None:
    """What runs in the sandbox is deterministic and light."""
    forbidden = (
        r"^\s*(import|from) (os|time|random|secrets|uuid|socket|subprocess|threading|requests|httpx)\b"
        r"|datetime\.(now|utcnow)\(|\bprint\(|class \w+\(.*BaseModel"
    )
    instead = "use workflow.now(), workflow.random(), workflow.uuid4(), self.note(…), and types from common/"
    assert holding(forbidden, sources("workflows")) == [], instead


def test_no_registry_of_packages_is_named_in_any_file() -> None:
    """The lock carries versions and hashes, and every client uses the registry it is set up for."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    hosts = re.compile("|".join(["pypi" + r"\.org", "pythonhost" + r"ed\.org", "npmjs" + r"\.(org|com)"]))
    found = []
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.is_file() and hosts.search(file.read_text(errors="replace")):
            found.append(name)
    assert found == []


def test_files_can_be_taken_in_at_one_sitting() -> None:
    """No module has over 280 lines of code, docstrings and comments apart; the kit has under 2,130."""
    files = sources("common", "workflows", "activities", "cli", "gateway")
    long = [file for file in files if file.read_text().count("\n") > 280]
    assert {file.name: count for file in long if (count := lines_of_code(file)) > 280} == {}
    assert sum(map(lines_of_code, sources("workflows/core"))) < 2130


def lines_of_code(file: Path) -> int:
    """Lines with something else on them than a comment or a docstring."""
    text = file.read_text()
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type
        not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        for line in range(token.start[0], token.end[0] + 1)
    }
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return len(code - docstrings)
