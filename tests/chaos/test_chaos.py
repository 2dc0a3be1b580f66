"""The bench of chaos: agents of every kind while everything around them fails."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import MUST_BE_ZERO, wanted
from tests.support.benches import run_bench
from tests.support.seeds import seed


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: dovecot's sockets need a short path, and its reader is another user."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def run(*options: str, folder: Path, limit: int) -> dict[str, Any]:
    drawn = seed("CHAOS_SEED")
    words = (*options, "--seed", str(drawn), "--limit", str(limit))
    report = run_bench("chaos", *words, folder=folder, patience=limit + 60)
    print(report)
    assert report["seed"] == drawn
    assert {name: report[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0)
    assert [name for name in wanted(report["left_out"]) if not report[name]] == [], "it did not happen"
    return report


@pytest.mark.timeout(700)
def test_agents_of_every_kind_outlive_every_fault_once(folder: Path) -> None:
    """In two minutes each fault happens, and what was seen outside is what the agents say."""
    report = run("--seconds", "120", folder=folder, limit=600)
    assert (report["kills"], report["stops"], report["server_stops"], report["outages"]) == (3, 1, 1, 1)
    assert report["agents"] == 12
    assert report["effects"] >= 25


@pytest.mark.soak
def test_a_thousand_kills_among_all_other_faults(folder: Path) -> None:
    """For hours all of it happens at any time, to agents of every kind that follow each other."""
    report = run("--kills", "1000", "--workers", "3", "--agents", "3", folder=folder, limit=6 * 3600)
    assert report["kills"] >= 1000
    assert report["outages"] > 10
