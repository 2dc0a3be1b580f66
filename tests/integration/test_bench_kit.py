"""The bench of the kit, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benches import run_bench


@pytest.mark.soak
def test_the_bench_of_the_kit_ends_with_one_line_of_figures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Both sides, their ratios, every agent's result waited for; temporary files are gone."""
    options = ("--agents", "5", "--steps", "2", "--limit", "120", "--json")
    report = run_bench("kit", *options, folder=tmp_path, patience=150)
    assert (report["agents"], report["steps"], report["local"]) == (5, 2, False)
    assert set(report["ratios"]) == {
        "start_rate",
        "wake_p50",
        "server_cpu",
        "worker_cpu",
        "history_bytes",
        "database_bytes",
    }
    for side in ("kit", "bare"):
        figures = report[side]
        assert figures["start_rate"] > 0
        assert 0 < figures["wake_ms"]["p50"] <= figures["wake_ms"]["p95"] <= figures["wake_ms"]["p99"]
        assert figures["server_cpu_ms"]["all"] > 0
        assert figures["worker_cpu_ms"]["all"] > 0
        # Two steps of 2 KB are in both histories, and the bare one is no longer than the kit's.
        assert figures["history_bytes"] > 4000
    assert report["bare"]["events"] < report["kit"]["events"]
    assert report["ratios"]["history_bytes"] == round(
        report["kit"]["history_bytes"] / report["bare"]["history_bytes"], 3
    )
