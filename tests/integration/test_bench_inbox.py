"""The bench of the inbox, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benches import run_bench


@pytest.mark.soak
def test_the_inbox_lists_every_agent_that_asks_in_each_of_its_forms(tmp_path: Path) -> None:
    """More than have their question shown: the table, the JSON, and the list for one person are complete."""
    options = ("--agents", "25", "--runs", "2", "--limit", "200")
    report = run_bench("inbox", *options, folder=tmp_path, patience=250)
    assert (report["agents"], report["listed"], report["runs"]) == (25, 25, 2)
    for name in ("table_seconds", "json_seconds", "for_seconds"):
        assert 0 < report[name]["median"] <= report[name]["max"]
