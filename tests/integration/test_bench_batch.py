"""The bench of batches, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "batch.py"


def report(folder: Path, *options: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, str(BENCH), *options, "--limit", "120", "--json"],
        env={"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert list(folder.iterdir()) == []
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.soak
def test_the_bench_of_batches_tells_what_an_item_costs(tmp_path: Path) -> None:
    """Each activity leaves its three events at least, and the bench leaves nothing behind."""
    figures = report(tmp_path, "--items", "20", "--at-once", "5")
    assert (figures["few"]["items"], figures["many"]["items"]) == (2, 20)
    assert figures["many"]["pages"] == 1
    assert figures["many"]["longest_page_events"] >= 60
    assert figures["many"]["items_a_minute"] > 0
    assert figures["memory_ratio"] > 0


@pytest.mark.soak
def test_the_bench_of_batches_tells_what_a_sleeping_agent_costs(tmp_path: Path) -> None:
    """No process is left, and the agents are in the database."""
    figures = report(tmp_path, "--children", "3")
    assert (figures["children"], figures["processes_asleep"]) == (3, 0)
    assert figures["database_bytes_each"] > 0
    assert figures["events_each"] > 3
