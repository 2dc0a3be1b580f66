"""The benches of outages and of killed workers, in small. How long things take is for people to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.benches import run_bench


def run(name: str, *options: str, folder: Path) -> dict[str, Any]:
    """The report, whether or not the times in it are those that are wanted."""
    words = (*options, "--limit", "150", "--json")
    return run_bench(name, *words, folder=folder, patience=200, ends_well=False)


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
