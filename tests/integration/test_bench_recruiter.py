"""The bench of the recruiter, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benches import run_bench


@pytest.mark.soak
def test_ten_candidates_sleep_as_one_does(tmp_path: Path) -> None:
    """No process, one timer, as many events; every figure is there."""
    options = ("--candidates", "10", "--limit", "200")
    report = run_bench("recruiter", *options, folder=tmp_path, patience=250)
    one, ten = report["asleep"]
    assert (one["candidates"], ten["candidates"]) == (1, 10)
    for each in (one, ten):
        assert (each["processes_asleep"], each["timers_asleep"]) == (0, 1)
        assert each["database_bytes"] > each["history_bytes"] > 0
        assert each["first_wake_up"]["ms"] > 0
    assert ten["history_events"] == one["history_events"]
