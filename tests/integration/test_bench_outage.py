"""The benches of outages and of killed workers, in small. How long things take is for people to judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def run(name: str, *options: str, folder: Path) -> dict[str, Any]:
    """The report, whether or not the times in it are those that are wanted."""
    ended = subprocess.run(
        [sys.executable, str(BENCH / f"{name}.py"), *options, "--limit", "150", "--json"],
        env={"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.stdout, ended.stderr
    assert list(folder.iterdir()) == []
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return report


def test_what_ends_while_the_server_is_away_is_not_run_again(tmp_path: Path) -> None:
    """Longer than the SDK alone reports an outcome; one in ten activities heartbeats."""
    options = ("--seconds", "12", "--activities", "40", "--agents", "4", "--workers", "1", "--seed", "1")
    report = run("outage", *options, folder=tmp_path)
    assert (report["activities"], report["ended_while_away"]) == (40, 40)
    assert report["away_seconds"] >= 12
    assert (report["executed_again"], report["lost"], report["need_a_human"]) == (0, 0, 0)


@pytest.mark.soak
def test_an_agent_wakes_whose_worker_was_killed(tmp_path: Path) -> None:
    """Whether another takes over or one is started, each once."""
    report = run("wake", "--kill", "--asleep", "2", "--kills", "1", folder=tmp_path)
    assert (report["asleep"], report["kills"]) == (2, 2)
    for way in ("taken_over_ms", "restarted_ms"):
        assert report[way]["2"]["p99"] > 0
