"""The bench of exactly-once action, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benches import run_bench
from tests.support.seeds import seed

NOTHING = ("duplicated", "missing", "forbidden_orders", "open_orders", "beyond", "contradicted", "failed")


def run(*options: str, folder: Path, limit: int) -> dict[str, int]:
    drawn = seed("EXACTLY_ONCE_SEED")
    words = (*options, "--seed", str(drawn), "--limit", str(limit))
    report: dict[str, int] = run_bench("exactly_once", *words, folder=folder, patience=limit + 60)
    print(report)
    assert report["seed"] == drawn
    return report


@pytest.mark.soak
def test_each_approval_becomes_one_order_through_kills_and_an_outage(tmp_path: Path) -> None:
    """The faults happened, every agent ended, and the book is as it must be."""
    report = run(
        "--agents", "20", "--kills", "3", "--outages", "1", "--pauses", "0", folder=tmp_path, limit=400
    )
    assert {name: report[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)
    assert (report["agents"], report["kills"], report["outages"]) == (20, 3, 1)
    assert (report["approved"], report["rejected"], report["drifted"]) == (12, 2, 2)
    assert 12 <= report["orders"] <= 12 + report["raced"] + report["cancelled"]
    assert report["attempts_over_one"] > 0
    assert report["unheard"] + report["lost_requests"] > 0


@pytest.mark.soak
def test_two_hundred_agents_forty_kills_and_workers_that_stop_and_go_on(tmp_path: Path) -> None:
    """Kills hit orders in flight, and stopped workers go on after their agents have decided otherwise."""
    report = run("--agents", "200", "--kills", "40", "--pauses", "2", folder=tmp_path, limit=1800)
    assert {name: report[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)
    assert (report["kills"], report["outages"], report["pauses"]) == (40, 2, 2)
    assert report["kills_in_flight"] > 0
    assert report["pauses_in_flight"] > 0
