"""docs/own-agent.md is true: its files and lines, put where it says, are an agent whose test passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-agent.md").read_text()
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LINES = {"common/agents/kinds.py", "worker.py"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout in which somebody has done what the page says."""
    copy = tmp_path_factory.mktemp("own-agent") / "checkout"
    ignored = shutil.ignore_patterns(".venv", ".git", ".hibernaut", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / ".venv").symlink_to(Path(sys.executable).parents[1])
    for name, text in BLOCKS:
        if name not in LINES:
            (copy / name).write_text(text)
    lines = {name: text for name, text in BLOCKS if name in LINES}
    assert set(lines) == LINES
    insert(copy / "common/agents/kinds.py", "    for kind in (\n", lines["common/agents/kinds.py"])
    add_import(copy / "common/agents/kinds.py", "from common.agents.old_files import OldFilesInput")
    insert(copy / "worker.py", "        DecisionChecks(authority),\n", lines["worker.py"])
    add_import(copy / "worker.py", "from activities.old_files import OldFiles")
    return copy


def insert(file: Path, after: str, text: str) -> None:
    before, found, rest = file.read_text().partition(after)
    assert found, f"{file.name} has no line {after!r}"
    file.write_text(before + found + text + rest)


def add_import(file: Path, line: str) -> None:
    text = file.read_text()
    first = text.index("\nfrom common.")
    file.write_text(f"{text[:first]}\n{line}{text[first:]}")


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "TEMPORAL_"))
    }
    return subprocess.run(
        [sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def test_its_test_passes(checkout: Path) -> None:
    """It asks, asks again where the list has changed, deletes once, and replays."""
    [command] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert command.startswith(".venv/bin/python -m pytest")
    done = run(checkout, *command.split()[1:])
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_command_line_knows_it(checkout: Path) -> None:
    """What it takes is read from the one line."""
    done = run(checkout, "starter.py", "agents")
    assert "old-files" in done.stdout
    assert "files untouched for so many days are old" in done.stdout


def test_the_worker_runs_it(checkout: Path) -> None:
    """Its workflow and its activities are registered."""
    code = (
        "import worker; from common.settings import Settings\n"
        "settings = Settings.read({'HIBERNAUT_DATA_DIR': '.data'})\n"
        "print([each.__name__ for each in worker.workflow_classes()])\n"
        "print([type(each).__name__ for each in worker.activity_objects(settings)])\n"
    )
    done = run(checkout, "-c", code)
    assert "'OldFilesAgent'" in done.stdout, done.stderr
    assert "'OldFiles'" in done.stdout


def test_it_is_well_formed(checkout: Path) -> None:
    """The page's code passes the checks of the checkout."""
    files = [name for name, _ in BLOCKS if name not in LINES]
    done = run(checkout, "-m", "ruff", "check", *files)
    assert done.returncode == 0, done.stdout


def test_it_can_be_rehearsed(checkout: Path, tmp_path: Path) -> None:
    """Nobody has taught `rehearse` this kind: it asks, is answered, and deletes nothing."""
    folder = checkout / "files"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("old")
        os.utime(folder / name, (0, 0))
    done = run(checkout, "starter.py", "rehearse", "old-files", f"path={folder}", "approvers=ann")
    assert "asks    Delete 2 files, 6 bytes" in done.stdout, done.stdout + done.stderr
    assert "acts    delete_old_files, which is not done" in done.stdout
    assert '"2 files deleted"' in done.stdout, "as it would have said"
    assert sorted(each.name for each in folder.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.soak
def test_a_flaw_in_its_code_ends_the_rehearsal(checkout: Path) -> None:
    """Temporal would try it again until a fix is deployed; here it is told at once."""
    file = checkout / "workflows" / "old_files.py"
    text = file.read_text()
    file.write_text(text.replace("if not plan.files:", "if not plan.flies:"))
    try:
        done = run(checkout, "starter.py", "rehearse", "old-files", f"path={checkout}", "approvers=ann")
    finally:
        file.write_text(text)
    assert done.returncode == 1
    assert "its code fails again and again" in done.stdout.splitlines()[0]
    assert "'OldFilesPlan' object has no attribute 'flies'" in done.stdout
