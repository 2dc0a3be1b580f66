"""The bench of the gateway, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "gateway.py"


@pytest.mark.soak
def test_the_bench_of_the_gateway_ends_with_one_line_of_figures(tmp_path: Path) -> None:
    """Every poll answered, events seen, nothing left behind."""
    ended = subprocess.run(
        [sys.executable, str(BENCH), "--pollers", "20", "--streams", "10", "--agents", "5", "--seconds", "5"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["errors"] == 0
    assert report["polls"] >= 20
    assert report["events"] > 10
    assert 0 < report["poll_ms"]["p50"] <= report["poll_ms"]["p95"] <= report["poll_ms"]["p99"]
    assert report["gateway_mb"] > 0
    assert list(tmp_path.iterdir()) == []
