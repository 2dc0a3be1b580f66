"""The benchmark of the search, small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "search.py"


@pytest.mark.soak
def test_it_ends_with_one_line_of_json_with_what_it_measured() -> None:
    """It finds as many as there are, and reads the days alone that can hold them."""
    ran = subprocess.run(
        [sys.executable, str(BENCH), "--runs", "4000"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["runs"] == 4000
    assert found["days_pruned"] == 50
    assert 0 < found["bytes_per_agent"] < found["history_json_bytes_per_agent"]
    assert found["query_seconds"] > 0
    assert found["memory_mb"] > 0
