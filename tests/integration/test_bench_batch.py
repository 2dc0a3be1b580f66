"""The bench of batches, in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.benches import run_bench


def report(folder: Path, *options: str) -> dict[str, Any]:
    return run_bench("batch", *options, "--limit", "120", "--json", folder=folder, patience=150)


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
