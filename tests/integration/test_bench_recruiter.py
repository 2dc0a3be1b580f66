"""The bench of the recruiter, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "recruiter.py"


@pytest.mark.soak
def test_ten_candidates_sleep_as_one_does(tmp_path: Path) -> None:
    """No process, one timer, as many events; every figure is there."""
    ended = subprocess.run(
        [sys.executable, str(BENCH), "--candidates", "10", "--limit", "200"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one, ten = json.loads(ended.stdout.splitlines()[-1])["asleep"]
    assert (one["candidates"], ten["candidates"]) == (1, 10)
    for each in (one, ten):
        assert (each["processes_asleep"], each["timers_asleep"]) == (0, 1)
        assert each["database_bytes"] > each["history_bytes"] > 0
        assert each["first_wake_up"]["ms"] > 0
    assert ten["history_events"] == one["history_events"]
    assert list(tmp_path.iterdir()) == []
