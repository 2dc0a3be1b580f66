"""Programs that packages install are found on any layout of Python."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from activities.auditor.scan.programs import program
from cli.copying import litestream
from cli.dev_server import find_program
from common.settings import Settings


@pytest.fixture
def system_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This Python as a system has it: the interpreter in one folder, what packages install in another."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("system_python")
def test_programs_are_found_where_packages_put_them() -> None:
    """An analyser, the server and the program that copies databases."""
    scripts = sysconfig.get_path("scripts")
    found = [program("ruff", "ruff"), find_program(Settings.read({})), litestream.find_program()]
    assert found == [f"{scripts}/{name}" for name in ("ruff", "temporal", "litestream")]
