"""The bench of the gateway, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benches import run_bench


@pytest.mark.soak
def test_the_bench_of_the_gateway_ends_with_one_line_of_figures(tmp_path: Path) -> None:
    """Every poll answered, events seen, nothing left behind."""
    options = ("--pollers", "20", "--streams", "10", "--agents", "5", "--seconds", "5")
    report = run_bench("gateway", *options, folder=tmp_path, patience=120)
    assert report["errors"] == 0
    assert report["polls"] >= 20
    assert report["events"] > 10
    assert 0 < report["poll_ms"]["p50"] <= report["poll_ms"]["p95"] <= report["poll_ms"]["p99"]
    assert report["gateway_mb"] > 0
