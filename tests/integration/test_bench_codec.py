"""The bench of encryption, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "codec.py"


@pytest.mark.soak
def test_the_bench_of_encryption_prints_its_ratios_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Every agent's result waited for; what is encrypted is compressed before, and so shorter."""
    ended = subprocess.run(
        [sys.executable, str(BENCH), "--agents", "1", "--limit", "120"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["agents"] == 4
    assert 0.3 < report["history_bytes"] < 1
    assert min(report[name] for name in ("start_seconds", "wake_p50", "cpu")) > 0
    assert list(tmp_path.iterdir()) == []
