"""docs/upgrades.md is true: what it says of recordings is run, in a copy of a few of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = [
    line.removeprefix(".venv/bin/python ").split()
    for line in (ROOT / "docs" / "upgrades.md").read_text().splitlines()
    if line.startswith((".venv/bin/python -m tests.", ".venv/bin/python bench/"))
]


def run(folder: Path, words: list[str], timeout: float = 600) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout with a few recordings only."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        if Path(folder).name == "histories":
            return {name for name in names if not name.startswith(("buyer-asleep", "buyer-afresh@2"))}
        return {name for name in names if name in ("__pycache__", "samples", ".venv", ".git")}

    for part in ("activities", "cli", "common", "workflows", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=left_out)
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    return tmp_path


def test_the_page_names_these_commands() -> None:
    """Each is run by one of the tests below."""
    assert LINES == [
        ["-m", "tests.replay.record", "failed"],
        ["-m", "tests.replay.fingerprints"],
        ["-m", "tests.replay.fingerprints"],
        ["-m", "tests.replay.fingerprints", "--check"],
        ["-m", "tests.replay.releases", "freeze", "0.1.0"],
        ["bench/replay_mutants.py", "--sample", "2"],
    ]


@pytest.mark.timeout(900)
def test_a_changed_step_shows_in_its_fingerprint_and_a_release_is_frozen(copy: Path) -> None:
    """Another time of a reminder: no replay notices, the check does, and once written anew it is as kept."""
    asking = copy / "common" / "agents" / "asking.py"
    asking.write_text(asking.read_text().replace("timedelta(hours=4)", "timedelta(hours=5)"))
    apart = run(copy, LINES[3])
    assert apart.returncode == 1
    assert "-    [approval] start_timer start_to_fire_timeout=14399." in apart.stdout
    assert "+    [approval] start_timer start_to_fire_timeout=17999." in apart.stdout
    assert run(copy, LINES[1]).returncode == 0
    frozen = run(copy, LINES[4])
    assert frozen.stdout == "tests/replay/releases/0.1.0\n"
    kept = {file.name for file in (copy / "tests" / "replay" / "histories").iterdir()}
    assert {file.name for file in (copy / frozen.stdout.strip()).iterdir()} == {*kept, "SHA256SUMS"}


@pytest.mark.timeout(900)
def test_some_mutants_of_each_sort_are_caught() -> None:
    """The small form of the bench; the code as it is passes first."""
    ran = run(ROOT, [*LINES[5], "--seed", "3"])
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    assert (report["mutants"], report["caught"], report["missed"], report["seed"]) == (2, 2, [], 3)
    assert len(report["sorts"]) == 2


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_all_mutants_are_caught() -> None:
    """At least forty, of every sort; and what changes nothing is not."""
    ran = run(ROOT, ["bench/replay_mutants.py"], 3600)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["caught"] == report["mutants"] >= 40
    assert len(report["sorts"]) == 10
    code = (
        "from bench.mutants import Mutant; from bench.replay_mutants import bench; import json\n"
        "idle = Mutant('idle', 'none', 'workflows/buyer.py', (('Buys at no more', 'Buys at not more'),))\n"
        "print(json.dumps(bench([idle], 0)))\n"
    )
    idle = run(ROOT, ["-c", code], 600)
    assert json.loads(idle.stdout.splitlines()[-1])["missed"] == ["idle"], idle.stderr


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_story_is_recorded_anew(copy: Path) -> None:
    """An agent that fails, on a stack of its own: a file that replays."""
    ran = run(copy, LINES[0], 300)
    assert ran.returncode == 0, ran.stderr
    assert (copy / "tests" / "replay" / "histories" / "code-auditor-failed.json").exists()
